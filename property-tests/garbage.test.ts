/**
 * Garbage in, at every place where the router takes something in: bodies, headers, paths, bare sockets, WebSocket
 * frames, settings and files. It answers with a refusal that says why, stays up, and serves the next caller.
 *
 * FC_RUNS and FC_SEED choose how much and which.
 */
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as fc from 'fast-check';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { openStore } from '../actors/log/redis.ts';
import { type Answer, bearer, call, chat, converse, health, untilHealth, userSays } from './callers.ts';
import { apiKey, gpuKey, type RouterProcess, runProgram, startRouter, waitUntil, within } from './processes.ts';
import { openRaw, type RawSocket } from './raw-socket.ts';
import { type ScriptedWorker, startWorker } from './scripted-worker.ts';

const runs = (share: number): fc.Parameters<unknown> => ({
  numRuns: Math.max(1, Math.round(Number(process.env.FC_RUNS ?? 100) * share)),
  ...(process.env.FC_SEED === undefined ? {} : { seed: Number(process.env.FC_SEED) }),
});

let router: RouterProcess;
let rssBytes = 0;
/** A request whose head never ends; it is looked at when its time is over. */
let slowHead: ReturnType<typeof converse>;
const folder = mkdtempSync(join(tmpdir(), 'auxot-garbage-'));

test.before(async () => {
  router = await startRouter({
    AUXOT_FSYNC: 'no',
    AUXOT_JOB_TIMEOUT: '20s',
    AUXOT_MAX_BODY: '1MiB',
    AUXOT_REDIAL_GRACE: '300ms',
  });
  await health(router.url);
  rssBytes = residentBytes();
  slowHead = converse(router.port, ['GET /health HTTP/1.1\r\n'], { ms: 30_000 });
});
test.after(async () => {
  await router?.stop();
  rmSync(folder, { recursive: true, force: true });
});

/** Of the router's process; 0 where the system does not tell. */
function residentBytes(): number {
  try {
    const status = readFileSync(`/proc/${router.pid}/status`, 'utf8');
    return Number(/^VmRSS:\s*(\d+) kB/m.exec(status)?.[1] ?? 0) * 1024;
  } catch {
    // Not Linux: memory is not looked at.
    return 0;
  }
}

/** The router is well, holds nothing, has lost no shard, and a normal chat works. */
async function isWell(): Promise<void> {
  await untilHealth(
    router.url,
    now => now.active_jobs === 0 && now.queued_jobs === 0 && now.workers === 0 && now.status === 'ok',
    'something is held',
  );
  const worker = await startWorker(router.wsUrl);
  assert.is((await chat(router.url)).json?.choices[0].message.content, 'Hello from the GPU!');
  worker.close();
  await untilHealth(router.url, ({ workers }) => workers === 0, 'the worker is still there');
  const complaint = /.*(a shard died|could not be handled|killed its shard|at .*\.[jt]s:\d+).*/.exec(router.output());
  assert.is(complaint?.[0] ?? '', '');
}

// Bodies

const valid = {
  model: 'test-model',
  messages: [
    { role: 'system', content: 'be brief' },
    { role: 'user', content: [{ type: 'text', text: 'hi' }] },
    {
      role: 'assistant',
      content: null,
      tool_calls: [{ id: 'c', type: 'function', function: { name: 'f', arguments: '{}' } }],
    },
    { role: 'tool', tool_call_id: 'c', content: 'result' },
  ],
  stream: true,
  stream_options: { include_usage: true },
  temperature: 0.5,
  top_p: 1,
  max_tokens: 10,
  max_completion_tokens: 10,
  seed: 1,
  stop: ['a'],
  n: 1,
  tools: [{ type: 'function', function: { name: 'f', parameters: { type: 'object' } } }],
  tool_choice: 'auto',
  response_format: { type: 'text' },
  logit_bias: { 7: 1 },
  chat_template_kwargs: { enable_thinking: true },
  reasoning_effort: 'low',
  user: 'u',
  metadata: {},
};

const oddNumbers = ['1e999', '-1e999', '1e-999', '9007199254740993', '-0', '0.1e1', '123456789012345678901234567890'];
const oddTexts = [
  '"\\ud800"',
  '"\\udc00\\ud800"',
  '"\\u0000"',
  '"__proto__"',
  `"${'x'.repeat(5000)}"`,
  '"\u2028\u2029"',
];
const deep = (levels: number, open = '[', close = ']'): string => open.repeat(levels) + close.repeat(levels);
const oddValue = fc.oneof(
  fc.constantFrom(
    ...oddNumbers,
    ...oddTexts,
    'null',
    'true',
    '{}',
    '[]',
    deep(50),
    deep(199),
    deep(201),
    deep(5000),
    deep(300, '{"a":', '}'),
  ),
  fc.json({ maxDepth: 3 }),
);

/** Every place in `value`, by its path. */
function placesIn(value: unknown, path: readonly (string | number)[] = []): (readonly (string | number)[])[] {
  if (typeof value !== 'object' || value === null) return [path];
  return [path, ...Object.entries(value).flatMap(([key, inner]) => placesIn(inner, [...path, key]))];
}

/** JSON text of `value` with `text` in the place of what is at `path`. */
function replaced(value: unknown, path: readonly (string | number)[], text: string): string {
  const [first, ...rest] = path;
  if (first === undefined) return text;
  if (typeof value !== 'object' || value === null) return text;
  const fields = Object.entries(value).map(([key, inner]): [string, string] => [
    key,
    key === String(first) ? replaced(inner, rest, text) : JSON.stringify(inner),
  ]);
  return Array.isArray(value)
    ? `[${fields.map(([, inner]) => inner).join()}]`
    : `{${fields.map(([key, inner]) => `${JSON.stringify(key)}:${inner}`).join()}}`;
}

const mutated = fc
  .record({ path: fc.constantFrom(...placesIn(valid)), text: oddValue })
  .map(({ path, text }) => Buffer.from(replaced(valid, path, text)));

const cutOrPatched = fc
  .record({
    from: fc.double({ min: 0, max: 1, noNaN: true }),
    length: fc.nat(20),
    bytes: fc.uint8Array({ maxLength: 12 }),
  })
  .map(({ from, length, bytes }) => {
    const whole = Buffer.from(JSON.stringify(valid));
    const at = Math.floor(from * whole.length);
    return Buffer.concat([whole.subarray(0, at), bytes, whole.subarray(at + length)]);
  });

const body = fc.oneof(
  { weight: 6, arbitrary: mutated },
  { weight: 3, arbitrary: cutOrPatched },
  { weight: 1, arbitrary: fc.uint8Array({ maxLength: 2000 }).map(bytes => Buffer.from(bytes)) },
  {
    weight: 1,
    arbitrary: fc
      .constantFrom(deep(100_000), '{"messages":'.repeat(1000), `{"messages":${deep(100_000)}}`, '\u{feff}{}')
      .map(text => Buffer.from(text)),
  },
);

function isRefusalOrAnswer({ status, json, text, headers }: Answer): void {
  if (status === 200) return;
  assert.ok(status >= 400 && status < 500, `${status}: ${text.slice(0, 300)}`);
  assert.is(headers.get('content-type'), 'application/json');
  assert.equal(Object.keys(json?.error ?? {}), ['message', 'type', 'param', 'code'], text.slice(0, 300));
  assert.ok(json.error.message.length < 5000, 'an endless message');
  assert.match(headers.get('x-request-id') ?? '', /^req_/);
}

test('bodies: an answer, or a refusal in the envelope', async () => {
  const worker = await startWorker(router.wsUrl, { slots: 4 });
  await fc.assert(
    fc.asyncProperty(body, async bytes =>
      isRefusalOrAnswer(await chat(router.url, '', { body: new Uint8Array(bytes) })),
    ),
    runs(3),
  );
  worker.close();
  await isWell();
});

// Heads

const token = fc.stringMatching(/^[A-Za-z-]{1,12}$/);
const anyText = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 40 }),
  fc.string({ maxLength: 200 }),
  fc.constantFrom('x'.repeat(9000), '%', '%00', '..', '//', '?', '#'),
);
const path = fc.oneof(
  fc
    .array(
      fc.oneof(
        fc.constantFrom(
          'api',
          'openai',
          'anthropic',
          'v1',
          'models',
          'chat',
          'completions',
          'health',
          'ws',
          '..',
          '.',
          '',
          '%2F',
          '%2e%2e',
          '%ff',
          '%zz',
        ),
        token,
      ),
      { maxLength: 7 },
    )
    .map(parts => `/${parts.join('/')}`),
  anyText.map(text => `/${text}`),
  fc.constantFrom('*', 'http://x/health', 'x', ''),
);
const header = fc.record({
  name: fc.oneof(
    token,
    fc.constantFrom(
      'authorization',
      'content-length',
      'transfer-encoding',
      'expect',
      'upgrade',
      'connection',
      'host',
      'content-encoding',
      'origin',
      'x-api-key',
    ),
  ),
  value: fc.oneof(
    anyText,
    fc.constantFrom(
      `Bearer ${apiKey}`,
      '0',
      '-1',
      '1e3',
      '18446744073709551616',
      'chunked',
      'gzip, chunked',
      '100-continue',
      'websocket',
      'h2c',
      'close',
      'upgrade',
    ),
  ),
});
const head = fc.record({
  method: fc.oneof(fc.constantFrom('GET', 'POST', 'HEAD', 'PUT', 'OPTIONS', 'CONNECT', 'TRACE', 'PRI', 'get'), token),
  path,
  version: fc.constantFrom('1.1', '1.0', '0.9', '2.0', '1.1 ', ''),
  headers: fc.array(header, { maxLength: 5 }),
});

test('heads and paths: an answer with a status, or a closed connection, and never a wait', async () => {
  await fc.assert(
    fc.asyncProperty(head, async ({ method, path: at, version, headers }) => {
      const lines = [
        `${method} ${at} HTTP/${version}`,
        'host: x',
        'connection: close',
        ...headers.map(({ name, value }) => `${name}: ${value}`),
      ];
      // The end of the caller's side ends whatever the head said would follow.
      const { text } = await converse(router.port, [Buffer.from(`${lines.join('\r\n')}\r\n\r\n`, 'latin1')], {
        ms: 3000,
        ends: true,
      });
      const status = Number(/^HTTP\/1\.1 (\d{3}) /.exec(text)?.[1] ?? 0);
      assert.ok(
        text === '' || [100, 101, 200, 204, 501].includes(status) || (status >= 400 && status < 500),
        text.slice(0, 300),
      );
    }),
    runs(2),
  );
  await isWell();
});

test('bare sockets: bytes, half requests and requests in one go', async () => {
  const post = `POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${apiKey}\r\ncontent-length: 100\r\n\r\n{"mess`;
  const get = 'GET /health HTTP/1.1\r\nhost: x\r\n\r\n';
  const piece = fc.oneof(
    fc.uint8Array({ maxLength: 300 }).map(bytes => Buffer.from(bytes)),
    fc
      .constantFrom(
        get,
        get.repeat(50),
        get.slice(0, 20),
        post,
        'GET /nope HTTP/1.1\r\n',
        '\r\n\r\n\r\n',
        '\u0016\u0003\u0001\u0002\u0000\u0001',
      )
      .map(text => Buffer.from(text)),
  );
  await fc.assert(
    fc.asyncProperty(fc.array(piece, { minLength: 1, maxLength: 4 }), async pieces => {
      const { closed } = await converse(router.port, pieces, { ms: 3000, ends: true });
      assert.ok(closed, 'the connection is still open');
    }),
    runs(1),
  );
  await isWell();
});

test('a head that comes too slowly is cut off with 408', async () => {
  const { text, closed } = await slowHead;
  assert.ok(closed);
  assert.match(text, /^HTTP\/1\.1 408 [\s\S]*x-request-id/);
});

test('a flood of requests in one go on one connection is bounded', async () => {
  const flood = 'GET /health HTTP/1.1\r\nhost: x\r\n\r\n'.repeat(20_000);
  await converse(router.port, [flood], { ms: 3000, ends: true });
  const ask = `POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${apiKey}\r\ncontent-length: 47\r\n\r\n{"messages":[{"role":"user","content":"hallo"}]}`;
  await converse(router.port, [ask, ask.repeat(2000)], { ms: 1000 });
  await isWell();
});

// Frames

const hello = {
  type: 'hello',
  gpu_key: gpuKey,
  capabilities: { backend: 'mock', model: 'mock-model', ctx_size: 4096, total_slots: 1 },
};
const held = 'THE_JOB';
const framesOfWorkers: object[] = [
  hello,
  { ...hello, protocol_version: 2, instance_id: 'i', ready: true },
  { type: 'config', capabilities: hello.capabilities },
  { type: 'heartbeat' },
  { type: 'status', state: 'loading', progress: 0.5, message: 'm' },
  { type: 'token', job_id: held, token: 'x', attempt: 1, seq: 1, ids: [1], reasoning: true },
  { type: 'tool_generating', job_id: held },
  { type: 'prompt_progress', job_id: held, processed: 1, total: 2 },
  { type: 'builtin_tool', job_id: held, name: 'n' },
  {
    type: 'complete',
    job_id: held,
    full_response: 'x',
    duration_ms: 1,
    input_tokens: 1,
    output_tokens: 1,
    cache_tokens: 0,
    finish_reason: 'stop',
    attempt: 1,
    seq: 1,
    tool_calls: [{ id: 'c', type: 'function', function: { name: 'f', arguments: '{}' } }],
  },
  { type: 'error', job_id: held, error: 'e', details: 'd' },
  { type: 'cancelled', job_id: held, attempt: 1 },
  { type: 'job.overload', job_id: held },
  { type: 'job.tool.call.request', job_id: held, call_id: 'c', tool: 't', arguments: {} },
  { type: 'tool_result', job_id: held, result: {} },
  { type: 'policy_reloaded' },
  { type: 'resume', jobs: [{ job_id: held, attempt: 1, seq: 1 }] },
  { type: 'no_such_type', job_id: held },
];
const wholeFrame = fc.constantFrom(...framesOfWorkers).chain(frame =>
  fc
    .record({
      path: fc.constantFrom(...placesIn(frame)),
      text: oddValue,
      as: fc.constantFrom('mutated', 'mutated', 'plain'),
    })
    .map(({ path: at, text, as }) => (as === 'plain' ? JSON.stringify(frame) : replaced(frame, at, text))),
);
interface Sent {
  readonly opcode: number;
  readonly payload: string | Uint8Array;
  readonly fin: boolean;
  readonly masked: boolean;
}
const sent = (opcode: number, payload: string | Uint8Array, fin = true, masked = true): Sent => ({
  opcode,
  payload,
  fin,
  masked,
});
const frame: fc.Arbitrary<Sent> = fc.oneof(
  { weight: 8, arbitrary: wholeFrame.map(text => sent(1, text)) },
  { weight: 1, arbitrary: wholeFrame.map(text => sent(2, text)) },
  { weight: 1, arbitrary: fc.uint8Array({ maxLength: 200 }).map(bytes => sent(2, bytes)) },
  { weight: 1, arbitrary: fc.uint8Array({ maxLength: 200 }).map(bytes => sent(1, bytes)) },
  {
    weight: 1,
    arbitrary: fc.constantFrom('', 'null', '[]', '1', '{}', '{"type":', 'x'.repeat(20_000)).map(text => sent(1, text)),
  },
  {
    weight: 1,
    arbitrary: fc
      .record({ opcode: fc.nat(15), bytes: fc.uint8Array({ maxLength: 130 }), fin: fc.boolean(), masked: fc.boolean() })
      .map(({ opcode, bytes, fin, masked }) => sent(opcode, bytes, fin, masked)),
  },
);

/** Close codes that a rude peer may see: of the WebSocket protocol, ours, or none at all. */
const expectedCode = (code: number): boolean =>
  [1000, 1001, 1002, 1003, 1005, 1006, 1007, 1009].includes(code) || (code >= 4400 && code <= 4509);

function send(raw: RawSocket, { opcode, payload, fin, masked }: Sent, jobId: string): void {
  raw.frame(opcode, typeof payload === 'string' ? payload.replaceAll(held, jobId) : payload, { fin, masked });
}

test('frames of strangers: nothing but a refusal comes back', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(frame, { minLength: 1, maxLength: 3 }), async frames => {
      const raw = await openRaw(router.port);
      for (const one of frames) send(raw, one, 'chatcmpl-nobody');
      // A ping behind it: the answer, or the end, shows that all has been read.
      raw.frame(9, 'read');
      await Promise.race([raw.ended, new Promise(resolve => setTimeout(resolve, 30))]);
      const code = raw.closed();
      assert.ok(code === null || expectedCode(code), `closed with ${code}`);
      for (const said of raw.heard)
        assert.ok(['hello_ack', 'error', 'config_ack', 'heartbeat_ack', 'drain'].includes(said.type), said.type);
      raw.close();
      await raw.ended;
    }),
    runs(1),
  );
  await isWell();
});

test('frames of workers that hold a job: the job ends, the router goes on', async () => {
  await fc.assert(
    fc.asyncProperty(fc.boolean(), fc.array(frame, { minLength: 1, maxLength: 4 }), async (two, frames) => {
      const raw = await openRaw(router.port);
      raw.say(two ? { ...hello, protocol_version: 2, instance_id: 'i', ready: true } : hello);
      const asked = chat(router.url, { stream: true });
      await waitUntil(
        () => raw.heard.some(({ type }) => type === 'job'),
        5000,
        () => 'no job came',
      );
      const jobId: string = raw.heard.find(({ type }) => type === 'job').job_id;
      for (const one of frames) send(raw, one, jobId);
      await Promise.race([raw.ended, asked, new Promise(resolve => setTimeout(resolve, 10))]);
      raw.close();
      assert.ok(expectedCode(await raw.ended));
      // A job that was not begun is given to another; one that was is over.
      const rescue = await startWorker(router.wsUrl);
      const { status, text } = await within(5000, asked, `no answer after ${JSON.stringify(frames)}`);
      assert.ok(status === 200 || (status >= 400 && text.includes('"error"')), `${status}: ${text.slice(0, 300)}`);
      rescue.close();
      await untilHealth(router.url, ({ workers }) => workers === 0, 'a worker is still there');
    }),
    runs(0.6),
  );
  await isWell();
});

test('a worker that floods with pings, unknown jobs and empty frames is kept, and others are served meanwhile', async () => {
  const raw = await openRaw(router.port);
  raw.say({ ...hello, capabilities: { backend: 'pending', model: 'pending', ctx_size: 0 } });
  await waitUntil(
    () => raw.heard.length > 0,
    5000,
    () => 'no greeting came',
  );
  for (let n = 0; n < 3000; n += 1) {
    raw.frame(9, 'ping');
    raw.say({ type: 'token', job_id: `chatcmpl-${n}`, token: 'x' });
    raw.say('');
  }
  const worker: ScriptedWorker = await startWorker(router.wsUrl);
  assert.is((await within(5000, chat(router.url), 'no answer')).status, 200);
  worker.close();
  raw.close();
  await isWell();
});

// Settings and files

/** Starts a program that is expected not to start. */
async function refusalOf(name: string, args: readonly string[], env: Record<string, string>): Promise<string> {
  const program = runProgram(name, args, env, folder);
  try {
    const { status } = await within(15_000, program.ended, `it started: ${program.output()}`);
    assert.is.not(status, 0);
    assert.not.match(program.output(), /\n\s+at .*\.[jt]s:\d+/, 'a stack is no error message');
    return program.output();
  } finally {
    program.kill('SIGKILL');
  }
}

test('settings: the router does not start, and names the variable', async () => {
  const hash = `$argon2id$v=19$m=65536,t=3,p=4$${'A'.repeat(22)}$${'A'.repeat(43)}`;
  const hashes = { AUXOT_ADMIN_KEY_HASH: hash, AUXOT_API_KEY_HASH: hash, AUXOT_DATA_DIR: ':memory:', AUXOT_PORT: '0' };
  for (const [variable, value] of [
    ['AUXOT_PORT', '70000'],
    ['AUXOT_JOB_TIMEOUT', '5 minutes'],
    ['AUXOT_API_KEY_HASH', 'rtr_plain'],
    ['AUXOT_MAX_BODY', '-1'],
  ] as const)
    assert.match(await refusalOf('router', [], { ...hashes, [variable]: value }), new RegExp(variable), variable);
});

test('keys.json that holds something else: the file is named, and what is in it is not shown', async () => {
  for (const text of ['', '{"gpuKey":"adm_secret",', '[]', '{"gpuKey":"adm_secret"}']) {
    writeFileSync(join(folder, 'keys.json'), text);
    const output = await refusalOf('router', ['up', '--no-worker', '--port', '0'], { AUXOT_DATA_DIR: folder });
    assert.match(output, /keys\.json/);
    assert.not.match(output, /adm_secret/);
  }
});

test('an append file with garbage in it: the file and the place are named; with a torn tail it is read', async () => {
  const source = await startRouter({ AUXOT_FSYNC: 'always' });
  const worker = await startWorker(source.wsUrl);
  for (let n = 0; n < 3; n += 1)
    assert.is((await chat(source.url, { messages: userSays('x'.repeat(200)) })).status, 200);
  worker.close();
  await source.stop(true);
  const name = readdirSync(source.dataDir).find(file => file.endsWith('.aof')) ?? '';
  const whole = readFileSync(join(source.dataDir, name));
  assert.ok(whole.length > 1000);

  /** What opening a store says, with these bytes as its append file. */
  const opened = async (bytes: Buffer): Promise<string> => {
    const directory = mkdtempSync(join(folder, 'store-'));
    writeFileSync(join(directory, name), bytes);
    try {
      const store = await openStore({ redisUrl: null, dataDir: directory, say: () => undefined });
      await store.quit();
      store.disconnect();
      return 'opened';
    } catch (error) {
      return error instanceof Error ? error.message : String(error);
    } finally {
      rmSync(directory, { recursive: true, force: true });
    }
  };
  assert.is(await opened(whole), 'opened');
  await fc.assert(
    fc.asyncProperty(fc.nat(whole.length), async cut =>
      assert.is(await opened(whole.subarray(0, cut)), 'opened', `cut at ${cut}`),
    ),
    runs(0.5),
  );
  await fc.assert(
    fc.asyncProperty(fc.nat(whole.length - 1), fc.uint8Array({ minLength: 1, maxLength: 8 }), async (at, bytes) => {
      const said = await opened(Buffer.concat([whole.subarray(0, at), bytes, whole.subarray(at)]));
      // Bytes within a text, or at the end, may make another good file; anything else is named.
      if (said !== 'opened') assert.match(said, new RegExp(`${name.replace('.', '\\.')}.*\\d+`), said);
    }),
    runs(1),
  );

  const directory = mkdtempSync(join(folder, 'broken-'));
  cpSync(source.dataDir, directory, { recursive: true });
  writeFileSync(join(directory, name), Buffer.concat([Buffer.from('garbage'), whole]));
  const hash = `$argon2id$v=19$m=65536,t=3,p=4$${'A'.repeat(22)}$${'A'.repeat(43)}`;
  const output = await refusalOf('router', [], {
    AUXOT_ADMIN_KEY_HASH: hash,
    AUXOT_API_KEY_HASH: hash,
    AUXOT_DATA_DIR: directory,
    AUXOT_PORT: '0',
  });
  assert.match(output, /\.aof is damaged at byte 0/);
  rmSync(source.dataDir, { recursive: true, force: true });
});

test('after all this the router is the one that was started, and has not grown', async () => {
  await isWell();
  const grownBytes = residentBytes() - rssBytes;
  assert.ok(grownBytes < 250 * 2 ** 20, `grown by ${Math.round(grownBytes / 2 ** 20)} MiB`);
  assert.is((await call(`${router.url}/v1/models`, { headers: bearer })).status, 200);
});

test.run();
