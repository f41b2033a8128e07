/** The program as people start it: a process, the demo model, and a router that is a few lines long. */
import { type ChildProcess, spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { WebSocketServer } from 'ws';
import { programArgs } from './processes.ts';

const key = 'adm_secret-that-must-not-show';

/** In a folder without a `.env`, and without the settings of whoever runs the tests. */
function start(args: readonly string[], env: Record<string, string> = {}) {
  const clean = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('AUXOT_')));
  const child = spawn(process.execPath, [...programArgs('worker'), ...args], {
    cwd: tmpdir(),
    env: { ...clean, ...env },
  });
  let out = '';
  child.stdout.on('data', data => {
    out += data;
  });
  child.stderr.on('data', data => {
    out += data;
  });
  const exit = new Promise<number | null>(resolve => child.on('close', resolve));
  return { child, exit, out: () => out };
}

async function ran(args: readonly string[], env: Record<string, string> = {}) {
  const { child, exit, out } = start(args, env);
  return { code: await within(20_000, child, exit), out: out() };
}

async function within<T>(ms: number, child: ChildProcess, promise: Promise<T>): Promise<T> {
  const timer = setTimeout(() => child.kill('SIGKILL'), ms);
  try {
    return await promise;
  } finally {
    clearTimeout(timer);
  }
}

test('what it cannot understand ends it with 2 and a suggestion, what it lacks with 1 and the name', async () => {
  const typo = await ran(['--gpu-ky', 'x']);
  assert.is(typo.code, 2);
  assert.match(typo.out, 'Did you mean --gpu-key?');
  const noKey = await ran([]);
  assert.is(noKey.code, 1);
  assert.match(noKey.out, 'AUXOT_GPU_KEY');
  const badDuration = await ran(['--gpu-key', 'k', '--model-path=demo'], { AUXOT_HEARTBEAT_INTERVAL: '10' });
  assert.is(badDuration.code, 1);
  assert.match(badDuration.out, 'AUXOT_HEARTBEAT_INTERVAL');
});

test('what the worker would refuse at each start is refused when it is installed (G24)', async () => {
  const install = async (...words: string[]) => ran(['install', '--gpu-key', key, ...words]);
  for (const [word, name] of [
    ['AUXOT_JOB_TIMEOUT=5', /AUXOT_JOB_TIMEOUT=\\"5\\": not a duration/],
    ['AUXOT_ROUTER_URL=ftp://nonsense', /AUXOT_ROUTER_URL: the router address begins with ftp/],
    ['AUXOT_MODEL_FILE=nope.gguf', /no model file is at nope\.gguf/],
  ] as const) {
    const { code, out } = await install(word);
    assert.ok(code === 1 || code === 2, out);
    assert.match(out, name);
  }
});

test('help and version are answered without a key', async () => {
  const help = await ran(['--help']);
  assert.is(help.code, 0);
  assert.match(help.out, '--router-url');
  assert.match((await ran(['--version'])).out, /^auxot-worker v\d+\.\d+\.\d+\n$/);
});

interface Seen {
  readonly frames: Record<string, unknown>[];
  closed: number | null;
}

/** Answers a hello as `ack` says, sends one job after `config`, and reports what it saw once that is complete. */
async function withRouter(ack: object, run: (url: string, complete: Promise<void>, seen: Seen) => Promise<void>) {
  const server = new WebSocketServer({ port: 0, host: '127.0.0.1', path: '/ws' });
  await new Promise(resolve => server.once('listening', resolve));
  const seen: Seen = { frames: [], closed: null };
  let done: () => void = () => undefined;
  const complete = new Promise<void>(resolve => {
    done = resolve;
  });
  server.on('connection', socket => {
    socket.on('close', code => {
      seen.closed = code;
    });
    socket.on('message', (data: Buffer) => {
      const frame: Record<string, unknown> = JSON.parse(data.toString());
      seen.frames.push(frame);
      if (frame.type === 'hello') socket.send(JSON.stringify(ack));
      if (frame.type === 'config') {
        const messages = [{ role: 'user', content: 'hello!' }];
        socket.send(JSON.stringify({ type: 'job', job_id: 'j1', attempt: 1, messages, temperature: 0 }));
      }
      if (frame.type === 'complete') done();
    });
  });
  try {
    await run(`ws://127.0.0.1:${(server.address() as AddressInfo).port}`, complete, seen);
  } finally {
    for (const client of server.clients) client.terminate();
    await new Promise(resolve => server.close(resolve));
  }
}

const policy = {
  model_name: 'auxot-demo',
  quantization: '',
  context_size: 2048,
  max_parallelism: 2,
  capabilities: ['chat'],
};

for (const version of [1, 2]) {
  test(`a version ${version} router gets an answer of the demo model and a good-bye, and the key shows nowhere (weakness X5)`, () =>
    withRouter(
      { type: 'hello_ack', success: true, gpu_id: 'ab', policy, ...(version === 2 ? { protocol_version: 2 } : {}) },
      async (url, complete, seen) => {
        const worker = start(['--router-url', url, '--gpu-key', key, '--model-path', 'demo', '--debug=2']);
        await within(60_000, worker.child, Promise.race([complete, worker.exit]));
        const last = seen.frames.find(({ type }) => type === 'complete');
        assert.is(last?.full_response, "Hello! I am Auxot's tiny demo model. How can I help?", worker.out());
        const tokens = seen.frames.filter(({ type }) => type === 'token');
        assert.is(tokens.map(({ token }) => token).join(''), last?.full_response);
        if (process.platform === 'linux') {
          assert.not.match(readFileSync(`/proc/${worker.child.pid}/cmdline`, 'utf8'), key);
        }
        worker.child.kill('SIGTERM');
        assert.is(await within(20_000, worker.child, worker.exit), 0, worker.out());
        assert.is(seen.closed, 1001);
        assert.not.match(worker.out(), key);
      },
    ));
}

test('a wrong key ends it with 3, and the key does not show', () =>
  withRouter({ type: 'error', error: 'invalid GPU key', details: '' }, async url => {
    const { code, out } = await ran(['--model-path', 'demo', '--router-url', url], { AUXOT_GPU_KEY: key });
    assert.is(code, 3);
    assert.match(out, 'invalid GPU key');
    assert.not.match(out, key);
  }));

test.run();
