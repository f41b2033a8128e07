/** `auxot-tools` as people start it: a process, and a router that is a few lines long. */
import { mkdtempSync, rmSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type WebSocket, WebSocketServer } from 'ws';
import { type Program, runProgram, waitUntil, within } from './processes.ts';

const key = 'tls_secret-that-must-not-show';

type Frame = Readonly<Record<string, unknown>>;

interface Router {
  readonly url: string;
  /** Of all connections, in order. */
  readonly frames: Frame[];
  readonly closes: number[];
  send(frame: object): void;
  result(jobId: string): Promise<Frame>;
  drop(): void;
}

async function withRouter(version: 1 | 2, run: (router: Router) => Promise<void>): Promise<void> {
  const server = new WebSocketServer({ port: 0, host: '127.0.0.1', path: '/ws' });
  await new Promise(resolve => server.once('listening', resolve));
  const frames: Frame[] = [];
  const closes: number[] = [];
  let socket: WebSocket | null = null;
  server.on('connection', connected => {
    socket = connected;
    connected.on('close', code => closes.push(code));
    connected.on('message', (data: Buffer) => {
      const frame: Frame = JSON.parse(data.toString());
      frames.push(frame);
      if (frame.type === 'hello')
        connected.send(
          JSON.stringify(
            frame.gpu_key === key
              ? { type: 'hello_ack', success: true, gpu_id: 'ab', ...(version === 2 ? { protocol_version: 2 } : {}) }
              : { type: 'error', error: 'authentication failed' },
          ),
        );
    });
  });
  const resultOf = (jobId: string) => frames.filter(({ type, job_id }) => type === 'tool_result' && job_id === jobId);
  try {
    await run({
      url: `ws://127.0.0.1:${(server.address() as AddressInfo).port}`,
      frames,
      closes,
      send: frame => socket?.send(JSON.stringify(frame)),
      async result(jobId) {
        await waitUntil(
          () => resultOf(jobId).length > 0,
          30_000,
          () => `no result for ${jobId}; ${JSON.stringify(frames)}`,
        );
        return resultOf(jobId).at(-1) ?? {};
      },
      drop: () => socket?.terminate(),
    });
  } finally {
    for (const client of server.clients) client.terminate();
    await new Promise(resolve => server.close(resolve));
  }
}

async function withTools(
  args: readonly string[],
  env: Record<string, string>,
  run: (program: Program, folder: string) => Promise<void>,
): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'auxot-tools-test-'));
  const program = runProgram('tools', args, env, folder);
  try {
    await run(program, folder);
  } finally {
    program.kill('SIGKILL');
    await program.ended;
    rmSync(folder, { recursive: true, force: true });
  }
}

const job = (jobId: string, name: string, args: object, more: object = {}): object => ({
  type: 'tool_job',
  job_id: jobId,
  parent_job_id: 'chatcmpl-1',
  tool_name: name,
  tool_call_id: `call_${jobId}`,
  arguments: args,
  ...more,
});

test('help, version, a wrong flag and a missing key say what they should, with their exit codes', () =>
  Promise.all([
    withTools(['--help'], {}, async program => {
      assert.is((await within(20_000, program.ended, 'help')).status, 0);
      assert.match(program.output(), 'AUXOT_TOOLS_KEY');
    }),
    withTools(['version'], {}, async program => {
      assert.is((await within(20_000, program.ended, 'version')).status, 0);
      assert.match(program.output(), /^auxot-tools v\d/);
    }),
    withTools(['--tools-ky', 'x'], {}, async program => {
      assert.is((await within(20_000, program.ended, 'typo')).status, 2);
      assert.match(program.output(), 'Did you mean --tools-key?');
    }),
    withTools([], {}, async program => {
      assert.is((await within(20_000, program.ended, 'no key')).status, 1);
      assert.match(program.output(), 'AUXOT_TOOLS_KEY');
    }),
  ]).then(() => undefined));

for (const version of [1, 2] as const)
  test(`a version ${version} router is told the tools, has a script run, and gets a good-bye`, () =>
    withRouter(version, router =>
      withTools(['--router-url', router.url], { AUXOT_TOOLS_KEY: key }, async program => {
        await waitUntil(
          () => router.frames.length > 0,
          30_000,
          () => program.output(),
        );
        const hello = router.frames[0] as { tools_capabilities?: { tools: string[] }; worker_type?: string };
        assert.is(hello.worker_type, 'tools');
        assert.ok(hello.tools_capabilities?.tools.includes('code_executor'));
        router.send(job('j1', 'code_executor', { code: 'console.log("hi"); 6 * 7' }));
        const { result, parent_job_id: parent, tool_call_id: call, code } = await router.result('j1');
        assert.is((result as { return_value: number }).return_value, 42);
        assert.is(parent, 'chatcmpl-1');
        assert.is(call, 'call_j1');
        assert.is(code, undefined);
        router.send(job('j2', 'no_such_tool', {}));
        const refused = await router.result('j2');
        assert.match(String(refused.error), 'no_such_tool');
        assert.is(refused.code, version === 2 ? 'unknown_tool' : undefined);
        program.kill('SIGTERM');
        assert.is((await within(20_000, program.ended, 'the end')).status, 0, program.output());
        assert.is(router.closes.at(-1), 1001);
        assert.not.match(program.output(), key);
      }),
    ));

test('X2: a wrong key ends it with 1 and a sentence, and the key does not show', () =>
  withRouter(2, router =>
    withTools(['--router-url', router.url], { AUXOT_TOOLS_KEY: 'tls_wrong' }, async program => {
      assert.is((await within(20_000, program.ended, 'the refusal')).status, 1);
      assert.match(program.output(), 'AUXOT_TOOLS_KEY');
      assert.not.match(program.output(), 'tls_wrong');
    }),
  ));

test('a result that the router never acknowledged is said again after a cut, and the call is run once', () =>
  withRouter(2, router =>
    withTools(['--router-url', router.url], { AUXOT_TOOLS_KEY: key }, async () => {
      await waitUntil(
        () => router.frames.length > 0,
        30_000,
        () => 'no hello',
      );
      router.send(job('j1', 'code_executor', { code: 'crypto.randomUUID()' }));
      const first = await router.result('j1');
      router.send(job('j2', 'code_executor', { code: 'await new Promise(r => setTimeout(r, 1500)); 2' }));
      await new Promise(resolve => setTimeout(resolve, 300));
      router.drop();
      const hellos = (): Frame[] => router.frames.filter(({ type }) => type === 'hello');
      await waitUntil(
        () => hellos().length > 1,
        10_000,
        () => 'no redial',
      );
      assert.equal(hellos()[1]?.tool_jobs, ['j1', 'j2']);
      router.send(job('j1', 'code_executor', { code: 'crypto.randomUUID()' }, { sent_to: hellos()[0]?.instance_id }));
      const second = await router.result('j2');
      assert.is((second.result as { return_value: number }).return_value, 2);
      const said = router.frames.filter(({ type, job_id }) => type === 'tool_result' && job_id === 'j1');
      assert.ok(said.length >= 3, `${said.length} times`);
      for (const frame of said) assert.equal(frame, first);
    }),
  ));

test.run();
