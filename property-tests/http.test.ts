/**
 * The HTTP surface, case by case (spec/http-api §10.1–10.3, §10.6; spec/worker-protocol §8.9): a real router process,
 * callers on real sockets, workers that do what a test says. Test names begin with the ids of their cases.
 */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import {
  type Answer,
  bearer,
  call,
  chat,
  chatInit,
  chunksOf,
  converse,
  dataOf,
  health,
  saidIn,
  untilHealth,
  userSays,
} from './callers.ts';
import { apiKey, gpuKey, type RouterProcess, startRouter, waitUntil } from './processes.ts';
import { helloScript, type Job, type Script, type ScriptedWorker, startWorker } from './scripted-worker.ts';

let router: RouterProcess;
/** A second one, with everything optional switched on and every limit small. */
let strict: RouterProcess;

test.before(async () => {
  router = await startRouter({ AUXOT_FSYNC: 'no' });
  strict = await startRouter({
    AUXOT_FSYNC: 'no',
    AUXOT_MAX_QUEUE: '1',
    AUXOT_MAX_BODY: '64KiB',
    AUXOT_JOB_TIMEOUT: '3s',
    AUXOT_STREAM_KEEPALIVE: '1s',
    AUXOT_CORS_ORIGINS: 'https://app.example.com',
    AUXOT_MODEL_ALIASES: 'gpt-4o,big/one',
  });
});
test.after(async () => {
  await router?.stop();
  await strict?.stop();
});

const openai = (path: string, init: RequestInit = {}, at = router): Promise<Answer> =>
  call(`${at.url}/api/openai/${path}`, { headers: bearer, ...init });

const send = (method: string, path: string, body?: string): Promise<Answer> =>
  call(`${router.url}${path}`, { method, headers: bearer, ...(body === undefined ? {} : { body }) });

/** An error of the OpenAI API, whole (RB7, OA36). */
function isError(answer: Answer, status: number, type: string, code: string | null = null): void {
  assert.is(answer.status, status, answer.text);
  assert.is(answer.headers.get('content-type'), 'application/json');
  assert.match(answer.headers.get('x-request-id') ?? '', /^req_[0-9a-f]{24}$/);
  assert.equal(Object.keys(answer.json?.error ?? {}), ['message', 'type', 'param', 'code'], answer.text);
  assert.ok(answer.json.error.message.length > 0);
  assert.is(answer.json.error.type, type, answer.text);
  assert.is(answer.json.error.code, code, answer.text);
}

function isAnthropicError(answer: Answer, status: number, type: string): void {
  assert.is(answer.status, status, answer.text);
  assert.is(answer.headers.get('content-type'), 'application/json');
  assert.is(answer.json?.type, 'error', answer.text);
  assert.is(answer.json.error.type, type);
  assert.ok(answer.json.error.message.length > 0);
  assert.match(answer.json.request_id, /^req_[0-9a-f]{24}$/);
  assert.is(answer.headers.get('request-id'), answer.json.request_id);
}

/** Runs with a worker that leaves afterwards. */
async function withWorker<T>(
  options: Parameters<typeof startWorker>[1],
  run: (worker: ScriptedWorker) => Promise<T>,
  at = router,
): Promise<T> {
  const worker = await startWorker(at.wsUrl, options);
  try {
    await untilHealth(at.url, ({ total_slots }) => total_slots > 0, 'the worker is not offered');
    return await run(worker);
  } finally {
    worker.close();
    await untilHealth(at.url, ({ workers }) => workers === 0, 'the worker is still there');
  }
}

const completion = (job: Job, more: object = {}): object => ({
  type: 'complete',
  job_id: job.job_id,
  full_response: '',
  duration_ms: 1,
  input_tokens: 10,
  output_tokens: 5,
  ...more,
});

// Routing

test('RT1 RT2 RT12: chat and models answer under every base URL, with doubled slashes, without a redirect', async () => {
  await withWorker({}, async () => {
    for (const base of [
      '/api/openai',
      '/api/openai/v1',
      '/api/openai/v1/v1',
      '/api/openai/v1/v1/v1',
      '/v1',
      '//api//openai/',
    ]) {
      const answer = await call(`${router.url}${base}/chat/completions`, chatInit({}));
      assert.is(answer.status, 200, base);
      assert.is(answer.json.choices[0].message.content, 'Hello from the GPU!');
      assert.is((await call(`${router.url}${base}/models`, { headers: bearer })).json.object, 'list', base);
      assert.is((await call(`${router.url}${base}/models/`, { headers: bearer })).json.object, 'list', base);
    }
  });
});

test('RT3 RT4 RT8 RT9: Anthropic paths want a key first, and say then what is not implemented', async () => {
  const paths = [
    'messages',
    'v1/messages',
    'v1/v1/messages',
    'models',
    'v1/models',
    'messages/count_tokens',
    'v1/files',
    'v1/skills',
    'v1/a/b',
    'v1',
    '',
  ];
  for (const path of paths) {
    for (const method of ['GET', 'POST']) {
      const url = `${router.url}/api/anthropic/${path}`;
      isAnthropicError(await call(url, { method }), 401, 'authentication_error');
      const known = await call(url, { method, headers: { 'x-api-key': apiKey } });
      const name = path.replace(/^(v1\/)*/, '');
      if (method === 'GET' && name === 'models') assert.is(known.status, 200);
      else if (method === 'POST' && name.startsWith('messages')) isAnthropicError(known, 400, 'invalid_request_error');
      else {
        isAnthropicError(known, 501, 'not_implemented_error');
        assert.is(known.headers.get('x-should-retry'), 'false');
      }
    }
  }
  isAnthropicError(await call(`${router.url}/v1/messages`, { method: 'POST' }), 401, 'authentication_error');
});

test('RT5 RT10 RT11: what is nowhere is not found, in the OpenAI envelope', async () => {
  for (const path of ['/nope', '/', '/v2/models', '/api', '/health/x', '/ws/', '/ws/gpu'])
    isError(await call(`${router.url}${path}`), 404, 'not_found');
});

test('RT6 OA37: an unknown path of the OpenAI API is not implemented, and not worth trying again', async () => {
  for (const path of ['nope', 'files/x/y', '', 'v1', 'v1/']) {
    const answer = await call(`${router.url}/api/openai/${path}`, { method: 'POST' });
    isError(answer, 501, 'not_implemented');
    assert.is(answer.headers.get('x-should-retry'), 'false');
  }
  isError(await call(`${router.url}/api/openai`), 501, 'not_implemented');
  isError(await call(`${router.url}/api/openai`, { method: 'POST', body: '{}' }), 501, 'not_implemented');
});

test('RT7 SEC14: a wrong method on a known path is not implemented', async () => {
  for (const [method, path] of [
    ['GET', 'completions'],
    ['PUT', 'completions'],
    ['PUT', 'chat/completions'],
    ['PATCH', 'chat/completions'],
    ['PUT', 'embeddings'],
    ['GET', 'embeddings'],
    ['POST', 'models'],
    ['PUT', 'models'],
    ['DELETE', 'models'],
    ['POST', 'models/test-model'],
  ] as const)
    isError(await send(method, `/api/openai/${path}`), 501, 'not_implemented');
  isError(await send('DELETE', '/api/openai/models/test-model'), 404, 'not_found_error');
  isError(await send('POST', '/api/openai/chat/completions/some-id', '{}'), 404, 'not_found_error');
  isError(await send('GET', '/api/openai/chat/completions/some-id/a/b'), 404, 'not_found');
});

test('RT13: HEAD is answered wherever GET is, with the head of its answer', async () => {
  for (const path of [
    '/health',
    '/api/openai/models',
    '/api/openai/models/test-model',
    '/api/openai/chat/completions',
  ]) {
    const [head, get] = [await send('HEAD', path), await send('GET', path)];
    assert.is(head.status, 200, path);
    assert.is(head.text, '');
    assert.is(head.headers.get('content-type'), get.headers.get('content-type'));
    assert.is(head.headers.get('content-length'), get.headers.get('content-length'));
  }
  assert.is((await send('HEAD', '/nope')).status, 404);
  assert.is((await call(`${router.url}/api/openai/models`, { method: 'HEAD' })).status, 401);
});

test('RT14: /ws without an upgrade is a bad request; a WebSocket is nowhere else', async () => {
  const answer = await call(`${router.url}/ws`);
  assert.is(answer.status, 400);
  assert.is(answer.headers.get('sec-websocket-version'), '13');
  const upgrade = (path: string, key = 'sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n'): string =>
    `GET ${path} HTTP/1.1\r\nhost: x\r\nconnection: Upgrade\r\nupgrade: websocket\r\n${key}sec-websocket-version: 13\r\n\r\n`;
  for (const path of ['/ws/gpu', '/ws/', '/', '/health']) {
    const { text } = await converse(router.port, [upgrade(path)]);
    assert.match(text, /^HTTP\/1\.1 404 [\s\S]*x-request-id: req_/, path);
  }
  assert.match((await converse(router.port, [upgrade('/ws', '')])).text, /^HTTP\/1\.1 400 [\s\S]*x-request-id: req_/);
});

test('RT15: a HEAD at the root of the Anthropic API finds somebody there, without a key', async () => {
  for (const path of [
    '/api/anthropic',
    '/api/anthropic/',
    '/api/anthropic/api/hello',
    '/api/anthropic/v1',
    '/',
    '/api/hello',
  ])
    assert.is((await call(`${router.url}${path}`, { method: 'HEAD' })).status, 200, path);
  assert.is((await call(`${router.url}/api/anthropic/messages`, { method: 'HEAD' })).status, 401);
});

test('RT16: browsers of allowed origins may ask, others get no word about it', async () => {
  const preflight = (at: RouterProcess, origin: string): Promise<Answer> =>
    call(`${at.url}/api/openai/chat/completions`, {
      method: 'OPTIONS',
      headers: { origin, 'access-control-request-method': 'POST', 'access-control-request-headers': 'authorization' },
    });
  const allowed = await preflight(strict, 'https://app.example.com');
  assert.is(allowed.status, 204);
  assert.is(allowed.headers.get('access-control-allow-origin'), 'https://app.example.com');
  assert.match(allowed.headers.get('access-control-allow-methods') ?? '', /POST/);
  assert.is(allowed.headers.get('access-control-allow-headers'), 'authorization');
  assert.is(allowed.headers.get('vary'), 'Origin');
  const get = await openai('models', { headers: { ...bearer, origin: 'https://app.example.com' } }, strict);
  assert.is(get.headers.get('access-control-allow-origin'), 'https://app.example.com');
  assert.match(get.headers.get('access-control-expose-headers') ?? '', /x-request-id/);
  for (const [at, origin] of [
    [strict, 'https://evil.example.com'],
    [router, 'https://app.example.com'],
  ] as const) {
    const refused = await preflight(at, origin);
    isError(refused, 501, 'not_implemented');
    assert.is(refused.headers.get('access-control-allow-origin'), null);
  }
});

test('a request that offers another protocol is answered as if it had not', async () => {
  await withWorker({}, async () => {
    const body = JSON.stringify({ messages: userSays('hi') });
    const head = (path: string, more: string): string =>
      `POST ${path} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\nAuthorization: Bearer ${apiKey}\r\n${more}\r\n`;
    const length = `Content-Length: ${body.length}\r\n`;
    const until = (got: string): boolean => got.includes('GPU!');
    const path = '/v1/chat/completions';
    const whole = await converse(router.port, [head(path, length) + body], { until });
    assert.match(whole.text, /^HTTP\/1\.1 200 OK[\s\S]*Hello from the GPU!/);
    // The body after the head, in two pieces; and a second request on the same connection.
    const second = `GET /health HTTP/1.1\r\nHost: x\r\n\r\n`;
    const pieces = [head(path, length), body.slice(0, 20), body.slice(20), second];
    const cut = await converse(router.port, pieces, { until: got => got.includes('"status"') });
    assert.match(cut.text, /^HTTP\/1\.1 200 OK[\s\S]*Hello from the GPU![\s\S]*HTTP\/1\.1 200 OK[\s\S]*"status":"ok"/);
  });
});

// Keys

const keyedRoutes = [
  ['POST', '/api/openai/chat/completions'],
  ['GET', '/api/openai/chat/completions'],
  ['GET', '/api/openai/chat/completions/some-id'],
  ['DELETE', '/api/openai/chat/completions/some-id'],
  ['GET', '/api/openai/chat/completions/some-id/messages'],
  ['POST', '/api/openai/completions'],
  ['POST', '/api/openai/embeddings'],
  ['GET', '/api/openai/models'],
  ['GET', '/api/openai/models/test-model'],
  ['POST', '/api/anthropic/v1/messages'],
  ['POST', '/api/anthropic/v1/messages/count_tokens'],
] as const;

test('AU1 AU3 AU6 AU12 SEC3: every route that wants a key says 401 without one', async () => {
  for (const [method, path] of keyedRoutes) {
    const answer = await call(`${router.url}${path}`, { method, ...(method === 'POST' ? { body: '{}' } : {}) });
    if (path.startsWith('/api/anthropic')) isAnthropicError(answer, 401, 'authentication_error');
    else isError(answer, 401, 'authentication_error', 'invalid_api_key');
  }
});

test('AU2 AU4 AU5 AU7 AU8 SEC1 SEC2 SEC4 SEC5: a wrong, empty, oddly written, long or foreign key is no key', async () => {
  for (const authorization of [
    `Bearer rtr_${'x'.repeat(43)}`,
    'Bearer ',
    'Bearer',
    `bearer ${apiKey}`,
    `Basic ${apiKey}`,
    apiKey,
    `Bearer ${'k'.repeat(10 * 1024)}`,
    `Bearer ${gpuKey}`,
    `Bearer ${apiKey.slice(0, -1)}`,
    `Bearer ${apiKey}x`,
  ]) {
    const answer = await call(
      `${router.url}/api/openai/chat/completions`,
      chatInit({}, { headers: { authorization } }),
    );
    isError(answer, 401, 'authentication_error', 'invalid_api_key');
    assert.is(answer.headers.get('www-authenticate'), 'Bearer');
  }
  assert.is((await call(`${router.url}/v1/models`, { headers: { authorization: `Bearer   ${apiKey}` } })).status, 200);
});

test('AU11 AU13: the Anthropic API takes the key in either header, and any right one opens', async () => {
  const url = `${router.url}/api/anthropic/v1/messages`;
  for (const [headers, status] of [
    [{ 'x-api-key': apiKey }, 400],
    [bearer, 400],
    [{ 'x-api-key': 'wrong', ...bearer }, 400],
    [{ 'x-api-key': apiKey, authorization: 'Bearer wrong' }, 400],
    [{ 'x-api-key': 'wrong', authorization: 'Bearer wrong' }, 401],
    [{ authorization: `bearer ${apiKey}` }, 401],
  ] as const)
    assert.is((await call(url, { method: 'POST', headers })).status, status, JSON.stringify(headers));
  assert.is((await call(`${router.url}/v1/models`, { headers: { 'x-api-key': apiKey } })).status, 401);
});

test('AU18: 200 wrong keys at once are all refused, at no cost once the right one is known', async () => {
  const answers = await Promise.all(
    Array.from({ length: 200 }, (_, n) =>
      openai('models', { headers: { authorization: `Bearer rtr_${String(n).padStart(43, 'w')}` } }),
    ),
  );
  for (const answer of answers) assert.is(answer.status, 401);
});

test('AU19: 50 first requests with the right key at once cost one check', async () => {
  const fresh = await startRouter({ AUXOT_FSYNC: 'no' });
  try {
    const startedMs = performance.now();
    const one = await openai('models', {}, fresh);
    const oneMs = performance.now() - startedMs;
    assert.is(one.status, 200);
    await fresh.stop(true);
    const again = await startRouter({ AUXOT_FSYNC: 'no' }, fresh.dataDir);
    const startedAll = performance.now();
    const answers = await Promise.all(Array.from({ length: 50 }, () => openai('models', {}, again)));
    const allMs = performance.now() - startedAll;
    for (const { status } of answers) assert.is(status, 200);
    // Fifty runs of Argon2 take seconds on any machine; one run and fifty answers do not.
    assert.ok(allMs < 5 * oneMs + 500, `one took ${oneMs} ms, fifty ${allMs} ms`);
    await again.stop();
  } catch (error) {
    fresh.kill('SIGKILL');
    throw error;
  }
});

// Bodies

test('RB1 RB3 RB5 SEC9 SEC11 SEC13: a body that is no chat request is refused', async () => {
  const nested = `{"messages":${'{"a":'.repeat(100)}1${'}'.repeat(100)}}`;
  for (const body of [
    'hello there',
    '{"messages":[{"role":"user","content":',
    '<?xml version="1.0"?><a/>',
    '42',
    '"text"',
    'true',
    'null',
    '{}',
    '[]',
    JSON.stringify(JSON.stringify({ messages: userSays('hi') })),
    '{"messages":[{"role":"user","content":"a"}]} {"second":1}',
    '',
    nested,
  ])
    isError(await chat(router.url, body), 400, 'invalid_request_error');
  assert.is((await send('POST', '/api/openai/completions', '')).status, 400);
  for (const path of ['/api/anthropic/v1/messages', '/api/anthropic/v1/messages/count_tokens'])
    isAnthropicError(await send('POST', path, ''), 400, 'invalid_request_error');
});

test('RB2 SEC10: a kilobyte of binary is refused', async () => {
  const bytes = Uint8Array.from({ length: 1024 }, (_, n) => (n * 167 + 13) % 256);
  isError(await chat(router.url, '', { body: bytes }), 400, 'invalid_request_error');
});

test('RB4 SEC12: a megabyte of text is taken', async () => {
  await withWorker({}, async worker => {
    const text = 'word '.repeat(200_000);
    assert.is((await chat(router.url, { messages: userSays(text) })).status, 200);
    assert.is(worker.jobs[0]?.messages[0]?.content, text);
  });
});

test('RB6 RB8 SEC15 SEC16 SEC23: hostile ids are unknown ids, and never HTML', async () => {
  const ids = [
    '../../etc/passwd',
    '..%2F..%2Fetc%2Fpasswd',
    '%2e%2e%2f%2e%2e%2f',
    'a%00b',
    '<script>alert(1)</script>',
    '%3Cscript%3Ealert(1)%3C/script%3E',
    "' OR 1=1 --",
    '{{7*7}}',
    '%zz',
    'x'.repeat(5000),
  ];
  for (const id of ids) {
    for (const [method, path] of [
      ['GET', 'models'],
      ['GET', 'chat/completions'],
      ['DELETE', 'chat/completions'],
    ] as const) {
      const answer = await converseFor(method, `/api/openai/${path}/${id}`);
      assert.ok(answer.status >= 400 && answer.status < 500, `${id}: ${answer.text.slice(0, 300)}`);
      assert.match(answer.text, /content-type: application\/json/);
    }
  }
  isError(await openai('models/%3Cscript%3E'), 404, 'not_found_error', 'model_not_found');

  /** As it stands: fetch would clean the path. */
  async function converseFor(method: string, path: string): Promise<{ status: number; text: string }> {
    const request = `${method} ${path.replaceAll(' ', '%20')} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${apiKey}\r\nconnection: close\r\n\r\n`;
    const { text } = await converse(router.port, [request]);
    return { status: Number(text.slice(9, 12)), text };
  }
});

test('RB9: a body over the limit is refused before it has come, told of or not', async () => {
  const big = JSON.stringify({ messages: userSays('x'.repeat(100_000)) });
  isError(await chat(strict.url, big), 413, 'invalid_request_error', 'request_too_large');
  const stream = new ReadableStream({
    start(controller) {
      controller.enqueue(new TextEncoder().encode(big));
      controller.close();
    },
  });
  const init = { ...chatInit('', {}), body: stream, duplex: 'half' } as RequestInit;
  isError(await call(`${strict.url}/v1/chat/completions`, init), 413, 'invalid_request_error', 'request_too_large');
  const expecting = `POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${apiKey}\r\nexpect: 100-continue\r\ncontent-length: 100000\r\n\r\n`;
  const { text } = await converse(strict.port, [expecting], { until: got => got.includes('}}') });
  assert.match(text, /^HTTP\/1\.1 413 /);
});

test('a caller that asks whether to send its body is told yes only when its key is right', async () => {
  await withWorker({}, async () => {
    const body = JSON.stringify({ messages: userSays('hi') });
    const head = (key: string): string =>
      `POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${key}\r\nexpect: 100-continue\r\ncontent-length: ${body.length}\r\n\r\n`;
    const yes = await converse(router.port, [head(apiKey), body], { until: got => got.includes('GPU!') });
    assert.match(yes.text, /^HTTP\/1\.1 100 Continue\r\n\r\nHTTP\/1\.1 200 OK/);
    const no = await converse(router.port, [head('wrong')], { until: got => got.includes('}}') });
    assert.match(no.text, /^HTTP\/1\.1 401 /);
  });
});

test('RB10: every answer has an id of its own, also to what is no request at all', async () => {
  const ids = new Set<string>();
  for (const path of ['/health', '/nope', '/v1/models', '/ws', '/api/anthropic/x']) {
    const { headers } = await call(`${router.url}${path}`);
    ids.add(headers.get('x-request-id') ?? '');
  }
  for (const bytes of [
    'garbage\r\n\r\n',
    'GET / HTTP/1.1\r\n\r\n',
    'CONNECT a:1 HTTP/1.1\r\nhost: a\r\n\r\n',
    `GET / HTTP/1.1\r\nhost: x\r\nx: ${'y'.repeat(70_000)}\r\n\r\n`,
  ]) {
    const { text } = await converse(router.port, [bytes], { until: got => got.includes('}}') });
    assert.match(text, /^HTTP\/1\.1 4\d\d [\s\S]*content-type: application\/json[\s\S]*"message"/, bytes.slice(0, 40));
    ids.add(/x-request-id: (req_[0-9a-f]{24})/.exec(text)?.[1] ?? '');
  }
  assert.is(ids.size, 9);
  assert.not(ids.has(''));
});

test('OA47: a compressed body is refused by name', async () => {
  const answer = await chat(router.url, {}, { headers: { 'content-encoding': 'gzip' } });
  isError(answer, 415, 'invalid_request_error', 'unsupported_media_type');
});

// Chat

test('OA1 OA13 OA14 OA16: a whole answer', async () => {
  await withWorker({}, async worker => {
    const { json, headers } = await chat(router.url, { model: 'mine' });
    assert.is(json.object, 'chat.completion');
    assert.match(json.id, /^chatcmpl-.{24}$/);
    assert.is(json.id, worker.jobs[0]?.job_id);
    assert.is(json.model, 'mine');
    assert.is(json.choices.length, 1);
    assert.is(json.choices[0].message.role, 'assistant');
    assert.is(json.choices[0].message.content, 'Hello from the GPU!');
    assert.is(json.choices[0].finish_reason, 'stop');
    assert.is(json.usage.prompt_tokens, 10);
    assert.is(json.usage.completion_tokens, 5);
    assert.is(json.usage.total_tokens, 15);
    assert.is(headers.get('content-type'), 'application/json');
    assert.ok(headers.has('content-length'));
    const second = await chat(router.url);
    assert.is(second.json.model, 'test-model');
    assert.is.not(second.json.id, json.id);
  });
});

test('OA2 OA13 OA17 OA19: a streamed answer', async () => {
  await withWorker({}, async () => {
    const { text, headers } = await chat(router.url, { stream: true });
    assert.is(headers.get('content-type'), 'text/event-stream');
    assert.is(headers.get('cache-control'), 'no-cache');
    assert.is(headers.get('x-accel-buffering'), 'no');
    assert.is(dataOf(text).at(-1), '[DONE]');
    const chunks = chunksOf(text);
    assert.ok(chunks.length >= 3);
    assert.is(chunks[0].choices[0].delta.role, 'assistant');
    for (const chunk of chunks) {
      assert.is(chunk.object, 'chat.completion.chunk');
      assert.is(chunk.id, chunks[0].id);
      assert.is(chunk.created, chunks[0].created);
    }
    for (const chunk of chunks.slice(1)) assert.not('role' in chunk.choices[0].delta);
    assert.is(saidIn(text), 'Hello from the GPU!');
    const last = chunks.at(-1);
    assert.equal(last.choices[0].delta, {});
    assert.is(last.choices[0].finish_reason, 'stop');
    assert.is(last.usage.total_tokens, 15);
    for (const chunk of chunks.slice(0, -1)) assert.is(chunk.choices[0].finish_reason, null);
  });
});

test('OA18: with include_usage, the counts come in a chunk of their own', async () => {
  await withWorker({}, async () => {
    const { text } = await chat(router.url, { stream: true, stream_options: { include_usage: true } });
    const chunks = chunksOf(text);
    for (const chunk of chunks.slice(0, -1)) assert.is(chunk.usage, null);
    assert.equal(chunks.at(-1).choices, []);
    assert.is(chunks.at(-1).usage.total_tokens, 15);
    assert.is(dataOf(text).at(-1), '[DONE]');
  });
});

test('OA3 OA36: a refusal names the place', async () => {
  for (const [body, param] of [
    [{ messages: [] }, 'messages'],
    [{ messages: [{ role: 'user', content: 7 }] }, 'messages[0].content'],
    [{ model: 'x'.repeat(2000) }, 'model'],
    [{ temperature: 99 }, 'temperature'],
    [{ max_tokens: -5 }, 'max_tokens'],
    [{ stream: 'yes' }, 'stream'],
    [{ tools: {} }, 'tools'],
  ] as const) {
    const answer = await chat(router.url, body);
    isErrorAt(answer, param);
  }

  function isErrorAt(answer: Answer, param: string): void {
    assert.is(answer.status, 400, answer.text);
    assert.is(answer.json.error.param, param, answer.text);
  }
});

test('OA7: the models are those configured, their aliases, and those of the workers', async () => {
  const ids = async (at: RouterProcess): Promise<string[]> =>
    (await openai('models', {}, at)).json.data.map(({ id }: { id: string }) => id);
  assert.equal(await ids(router), ['test-model']);
  assert.equal(await ids(strict), ['test-model', 'gpt-4o', 'big/one']);
  await withWorker({}, async () => assert.equal(await ids(router), ['test-model', 'mock-model']));
  const { json } = await openai('models');
  assert.is(json.object, 'list');
  assert.is(json.data[0].object, 'model');
  assert.is(json.data[0].owned_by, 'auxot');
  assert.is((await openai('models')).json.data[0].created, json.data[0].created);
});

test('OA8: one model by its id, slashes and all; an unknown one is not found', async () => {
  assert.is((await openai('models/test-model')).json.id, 'test-model');
  assert.is((await openai('models/big%2Fone', {}, strict)).json.id, 'big/one');
  assert.is((await openai('models/big/one', {}, strict)).json.id, 'big/one');
  isError(await openai('models/none'), 404, 'not_found_error', 'model_not_found');
  isError(await openai('models/TEST-MODEL'), 404, 'not_found_error', 'model_not_found');
});

test('OA9 OA10: no completions are stored', async () => {
  const list = await openai('chat/completions?limit=3');
  assert.equal(list.json, { object: 'list', data: [], has_more: false, first_id: null, last_id: null });
  isError(await openai('chat/completions/some-id'), 404, 'not_found_error');
  isError(await openai('chat/completions/some-id/messages'), 404, 'not_found_error');
  isError(await openai('chat/completions/some-id', { method: 'DELETE' }), 400, 'invalid_request_error');
});

test('OA11: embeddings are not implemented', async () => {
  const answer = await openai('embeddings', { method: 'POST', body: '{"input":"x"}' });
  isError(answer, 501, 'not_implemented');
  assert.is(answer.headers.get('x-should-retry'), 'false');
});

test('OA4 OA5 OA6: a completion of the older API, from a text or a list of one', async () => {
  const complete = (body: object): Promise<Answer> =>
    openai('completions', { method: 'POST', body: JSON.stringify(body) });
  await withWorker({}, async worker => {
    for (const prompt of ['Say hello', ['Say hello']]) {
      const { json, status } = await complete({ prompt, max_tokens: 7 });
      assert.is(status, 200, JSON.stringify(json));
      assert.is(json.object, 'text_completion');
      assert.match(json.id, /^cmpl-[0-9a-zA-Z]{24}$/);
      assert.equal(json.choices, [{ text: 'Hello from the GPU!', index: 0, logprobs: null, finish_reason: 'stop' }]);
      assert.is(json.usage.prompt_tokens, 10);
      assert.equal(worker.jobs.at(-1)?.messages, userSays('Say hello'));
      assert.is(worker.jobs.at(-1)?.max_tokens, 7);
    }
    const echoed = await complete({ prompt: 'Say hello: ', echo: true });
    assert.is(echoed.json.choices[0].text, 'Say hello: Hello from the GPU!');
  });
  for (const [body, param] of [
    [{ prompt: '' }, 'prompt'],
    [{}, 'prompt'],
    [{ prompt: [1, 2] }, 'prompt'],
    [{ prompt: ['a', 'b'] }, 'prompt'],
    [{ prompt: 'a', suffix: 'b' }, 'suffix'],
    [{ prompt: 'a', best_of: 2 }, 'best_of'],
  ] as const) {
    const refused = await complete(body);
    assert.equal([refused.status, refused.json.error.param], [400, param], refused.text);
  }
});

test('OA40: a streamed completion: pieces without a reason, then the reason, the counts, and an error as a line', async () => {
  const ask = (body: object): Promise<Answer> =>
    openai('completions', { method: 'POST', body: JSON.stringify({ prompt: 'Once', stream: true, ...body }) });
  await withWorker({}, async () => {
    const { text, headers } = await ask({});
    assert.is(headers.get('content-type'), 'text/event-stream');
    const chunks = chunksOf(text);
    const reasons = chunks.map(({ choices }) => choices[0].finish_reason);
    assert.equal([reasons.at(-1), reasons.slice(0, -1).every(reason => reason === null)], ['stop', true]);
    assert.is(chunks.map(({ choices }) => choices[0].text).join(''), 'Hello from the GPU!');
    assert.is(chunks.at(-1).usage.completion_tokens, 5);
    assert.is(dataOf(text).at(-1), '[DONE]');
    const counted = chunksOf((await ask({ stream_options: { include_usage: true }, echo: true })).text);
    assert.is(counted[0].choices[0].text, 'Once');
    assert.equal([counted[0].usage, counted.at(-1).choices, counted.at(-1).usage.prompt_tokens], [null, [], 10]);
  });
  const failing: Script = ({ job_id }, worker) => {
    worker.say({ type: 'token', job_id, token: 'a' });
    worker.say({ type: 'error', job_id, error: 'broken' });
  };
  await withWorker({ script: failing }, async () => {
    const lines = chunksOf((await ask({})).text);
    assert.is(lines.at(-1).error.message, 'broken');
  });
});

test('a worker of version 2 is told to go on with the text as it is; of one choice or several', async () => {
  const script: Script = ({ job_id, attempt }, worker) => {
    const token = (seq: number, more: object): void =>
      worker.say({ type: 'token', job_id, attempt, seq, ids: [seq], ...more });
    const logprobs = [{ token: 'b', logprob: -1, bytes: [98], top_logprobs: [{ token: 'c', logprob: -2 }] }];
    token(1, { token: 'a' });
    token(2, { token: '', end: { finish_reason: 'length' } });
    token(3, { token: 'b', choice: 1, logprobs });
    token(4, { token: '', choice: 1, end: { finish_reason: 'stop' } });
    worker.say({ type: 'complete', job_id, attempt, seq: 4, full_response: 'a', input_tokens: 1, output_tokens: 2 });
  };
  const hello = { protocol_version: 2, instance_id: 'legacy', features: ['n', 'logprobs'] };
  await withWorker({ script, hello }, async worker => {
    const body = { prompt: 'Once', n: 2, logprobs: 1 };
    const { json } = await openai('completions', { method: 'POST', body: JSON.stringify(body) });
    assert.equal([worker.jobs[0]?.prompt, worker.jobs[0]?.n, worker.jobs[0]?.top_logprobs], ['Once', 2, 1]);
    assert.equal(
      json.choices.map(({ text, finish_reason: why }: { text: string; finish_reason: string }) => [text, why]),
      [
        ['a', 'length'],
        ['b', 'stop'],
      ],
    );
    assert.equal(json.choices[1].logprobs, {
      tokens: ['b'],
      token_logprobs: [-1],
      top_logprobs: [{ c: -2 }],
      text_offset: [0],
    });
    const streamed = await openai('completions', { method: 'POST', body: JSON.stringify({ ...body, stream: true }) });
    const chunks = chunksOf(streamed.text).flatMap(({ choices }) => choices);
    assert.equal(
      chunks.map(({ index, text }) => [index, text]),
      [
        [0, 'a'],
        [0, ''],
        [1, 'b'],
        [1, ''],
      ],
    );
  });
});

const weather = {
  type: 'function',
  function: { name: 'weather', description: 'd', parameters: { type: 'object', properties: {} } },
};

test('OA12 OA20 OA23 OA26 OA29 OA30: what a request says reaches the worker', async () => {
  await withWorker({ hello: { protocol_version: 2, instance_id: 'i1' } }, async worker => {
    await chat(router.url, {
      messages: [
        { role: 'developer', content: 'be brief' },
        { role: 'user', content: 'hi', unknown: 1 },
        { role: 'assistant', content: 'hm', reasoning_content: 'they greet' },
        { role: 'user', content: 'go on' },
      ],
      temperature: 0.7,
      max_completion_tokens: 77,
      max_tokens: 2048,
      stop: ['END'],
      seed: 42,
      top_p: 0.5,
      presence_penalty: 0.25,
      frequency_penalty: -0.5,
      tools: [weather],
      unknown_field: { a: 1 },
      chat_template_kwargs: { enable_thinking: false },
    });
    const job = worker.jobs[0];
    assert.equal(
      job?.messages.map(({ role }) => role),
      ['system', 'user', 'assistant', 'user'],
    );
    assert.match(JSON.stringify(job?.messages[2]), /they greet/);
    assert.is(job?.temperature, 0.7);
    assert.is(job?.max_tokens, 77);
    assert.match(JSON.stringify(job), /"END"/);
    assert.match(JSON.stringify(job), /"seed":42/);
    assert.match(JSON.stringify(job), /"top_p":0.5/);
    assert.match(JSON.stringify(job), /"presence_penalty":0.25/);
    assert.match(JSON.stringify(job), /"frequency_penalty":-0.5/);
    assert.match(JSON.stringify(job), /"enable_thinking":false/);
    assert.match(JSON.stringify(job?.tools), /^\[\{[^[]*"weather"/);
    await chat(router.url, { tools: [weather], tool_choice: 'none' });
    assert.equal(worker.jobs[1]?.tools ?? [], []);
    await chat(router.url, { messages: userSays('only messages') });
    assert.is(worker.jobs[2]?.messages[0]?.content, 'only messages');
  });
});

test('OA21: a limit reached at the worker is told as length, in both modes', async () => {
  const script: Script = (job, worker) =>
    worker.say(completion(job, { full_response: 'cut', finish_reason: 'length' }));
  await withWorker({ script, hello: { protocol_version: 2, instance_id: 'i1' } }, async () => {
    assert.is((await chat(router.url)).json.choices[0].finish_reason, 'length');
    assert.is(chunksOf((await chat(router.url, { stream: true })).text).at(-1).choices[0].finish_reason, 'length');
  });
});

test('OA22 OA43: text, reasoning and calls stand beside each other, and all tokens are counted', async () => {
  const script: Script = (job, worker) =>
    worker.say(
      completion(job, {
        full_response: 'Let me look.',
        reasoning_content: 'I need the weather',
        cache_tokens: 3,
        reasoning_tokens: 2,
        tool_calls: [{ id: 'call_1', type: 'function', function: { name: 'weather', arguments: '{"city":"Oslo"}' } }],
      }),
    );
  await withWorker({ script }, async () => {
    const { json } = await chat(router.url, { tools: [weather] });
    const [choice] = json.choices;
    assert.is(choice.finish_reason, 'tool_calls');
    assert.is(choice.message.content, 'Let me look.');
    assert.is(choice.message.reasoning_content, 'I need the weather');
    assert.equal(choice.message.tool_calls, [
      { id: 'call_1', type: 'function', function: { name: 'weather', arguments: '{"city":"Oslo"}' } },
    ]);
    assert.is(json.usage.prompt_tokens_details.cached_tokens, 3);
    assert.is(json.usage.completion_tokens_details.reasoning_tokens, 2);
    assert.is(json.usage.cache_tokens, 3);
    const chunks = chunksOf((await chat(router.url, { tools: [weather], stream: true })).text);
    const calls = chunks.flatMap(chunk => chunk.choices[0]?.delta.tool_calls ?? []);
    assert.is(calls.length, 1);
    assert.is(calls[0].index, 0);
    assert.is(calls[0].function.arguments, '{"city":"Oslo"}');
    assert.is(chunks.at(-1).choices[0].finish_reason, 'tool_calls');
  });
});

test('OA31 N9 N19: a deadline is an error in both modes, never a stop, and frees the slot', async () => {
  const script: Script = (job, worker) => worker.say({ type: 'token', job_id: job.job_id, token: 'begun' });
  await withWorker(
    { script },
    async worker => {
      const streamed = await chat(strict.url, { stream: true });
      assert.is(streamed.status, 200);
      assert.is(saidIn(streamed.text), 'begun');
      assert.is(chunksOf(streamed.text).at(-1).error.code, 'timeout');
      assert.not.match(streamed.text, /"finish_reason":"stop"/);
      const whole = await chat(strict.url);
      isError(whole, 504, 'server_error', 'timeout');
      await waitUntil(
        () => worker.cancelled.length === 2,
        1000,
        () => 'the worker was not told',
      );
      await untilHealth(strict.url, ({ active_jobs }) => active_jobs === 0, 'a slot is held');
    },
    strict,
  );
});

test('OA33: silence is filled with comments that clients ignore', async () => {
  const script: Script = async (job, worker) => {
    worker.say({ type: 'token', job_id: job.job_id, token: 'a' });
    await new Promise(resolve => setTimeout(resolve, 2200));
    worker.say({ type: 'token', job_id: job.job_id, token: 'b' });
    worker.say(completion(job, { full_response: 'ab' }));
  };
  await withWorker(
    { script },
    async () => {
      const { text } = await chat(strict.url, { stream: true });
      assert.match(text, /\n\n: keep-alive\n\n/);
      assert.is(saidIn(text), 'ab');
    },
    strict,
  );
});

test('OA34 OA36: an error before the first token has a status of its own, also in a stream', async () => {
  const script: Script = (job, worker) => worker.say({ type: 'error', job_id: job.job_id, error: 'out of memory' });
  await withWorker({ script }, async () => {
    for (const stream of [true, false]) {
      const answer = await chat(router.url, { stream });
      isError(answer, 500, 'server_error', 'worker_error');
      assert.match(answer.json.error.message, /out of memory/);
    }
  });
});

test('an error after the first token is a line of the stream, and [DONE] follows', async () => {
  const script: Script = (job, worker) => {
    worker.say({ type: 'token', job_id: job.job_id, token: 'half' });
    setTimeout(() => worker.say({ type: 'error', job_id: job.job_id, error: 'broke' }), 50);
  };
  await withWorker({ script }, async () => {
    const { text, status } = await chat(router.url, { stream: true });
    assert.is(status, 200);
    assert.is(saidIn(text), 'half');
    assert.match(chunksOf(text).at(-1).error.message, /broke/);
    assert.is(dataOf(text).at(-1), '[DONE]');
  });
});

test('OA35 N7: a caller that leaves has its running job cancelled and its waiting job removed', async () => {
  await withWorker({ script: () => undefined }, async worker => {
    const running = new AbortController();
    const waiting = new AbortController();
    const first = chat(router.url, {}, { signal: running.signal }).catch(() => 'left');
    await waitUntil(
      () => worker.jobs.length === 1,
      5000,
      () => 'no job came',
    );
    const second = chat(router.url, { stream: true }, { signal: waiting.signal }).catch(() => 'left');
    await untilHealth(router.url, ({ queued_jobs }) => queued_jobs === 1, 'the second job is not queued');
    waiting.abort();
    await untilHealth(router.url, ({ queued_jobs }) => queued_jobs === 0, 'the second job is still queued', 1000);
    running.abort();
    const leftAt = performance.now();
    await waitUntil(
      () => worker.cancelled.length === 1,
      1000,
      () => 'no cancel came',
    );
    assert.ok((worker.cancelled[0]?.at ?? 0) - leftAt < 1000);
    assert.is(worker.cancelled[0]?.jobId, worker.jobs[0]?.job_id);
    await untilHealth(router.url, ({ active_jobs }) => active_jobs === 0, 'the slot is not free', 1000);
    assert.equal([await first, await second], ['left', 'left']);
  });
});

test('OA38: a full queue turns callers away, and says when to come again', async () => {
  const waiting = chat(strict.url, {});
  await untilHealth(strict.url, ({ queued_jobs }) => queued_jobs === 1, 'nothing is queued');
  const answer = await chat(strict.url, {});
  isError(answer, 429, 'rate_limit_error', 'queue_full');
  assert.is(answer.headers.get('retry-after'), '1');
  await withWorker({}, async () => assert.is((await waiting).status, 200), strict);
});

test('OA44: three callers at one slot are all served', async () => {
  const script: Script = (job, worker) => void setTimeout(() => helloScript(job, worker), 200);
  await withWorker({ script }, async () => {
    const answers = await Promise.all([chat(router.url), chat(router.url), chat(router.url)]);
    for (const { json } of answers) assert.is(json.choices[0].message.content, 'Hello from the GPU!');
  });
});

test('OA45: a request without a worker waits for one', async () => {
  const asked = chat(router.url);
  await untilHealth(router.url, ({ queued_jobs }) => queued_jobs === 1, 'nothing is queued');
  await withWorker({}, async () => assert.is((await asked).json.choices[0].message.content, 'Hello from the GPU!'));
});

test('OA46: a shutdown ends open streams with an error that says so, and the program with status 0', async () => {
  const own = await startRouter({ AUXOT_FSYNC: 'no' });
  const script: Script = (job, worker) => worker.say({ type: 'token', job_id: job.job_id, token: 'begun' });
  const worker = await startWorker(own.wsUrl, { script });
  const asked = chat(own.url, { stream: true });
  await waitUntil(
    () => worker.jobs.length === 1,
    5000,
    () => 'no job came',
  );
  own.kill('SIGTERM');
  const { text } = await asked;
  assert.is(saidIn(text), 'begun');
  assert.is(chunksOf(text).at(-1).error.code, 'shutting_down');
  assert.is((await own.ended).status, 0);
  worker.close();
  await own.stop();
});

test('OA48 HL2: two slots run two jobs at once, and health tells', async () => {
  const script: Script = (job, worker) => void setTimeout(() => helloScript(job, worker), 500);
  await withWorker({ script, slots: 2 }, async () => {
    const now = await health(router.url);
    assert.equal([now.workers, now.total_slots, now.available, now.active_jobs], [1, 2, 2, 0]);
    const startedMs = performance.now();
    const both = Promise.all([chat(router.url), chat(router.url)]);
    await untilHealth(router.url, ({ active_jobs, available }) => active_jobs === 2 && available === 0, 'not both run');
    await both;
    assert.ok(performance.now() - startedMs < 900, 'they ran one after the other');
    assert.is((await health(router.url)).active_jobs, 0);
  });
});

test('OA49: ten jobs one after the other leave no gap to speak of', async () => {
  const dones: number[] = [];
  const script: Script = (job, worker) => {
    helloScript(job, worker);
    dones.push(performance.now());
  };
  await withWorker({ script }, async worker => {
    await Promise.all(Array.from({ length: 10 }, () => chat(router.url)));
    const gaps = worker.arrivals.slice(1).map((at, n) => at - (dones[n] ?? 0));
    assert.is(gaps.length, 9);
    assert.ok(Math.max(...gaps) < 50, `gaps: ${gaps.map(gap => gap.toFixed(1)).join(' ')}`);
  });
});

// Health

test('HL1 SEC21 SEC22: health needs no key, and tells nobody anything secret', async () => {
  const answer = await call(`${router.url}/health`);
  assert.is(answer.status, 200);
  assert.is(answer.json.status, 'ok');
  assert.is(answer.json.workers, 0);
  assert.equal(Object.keys(answer.json), Object.keys(answer.json).sort());
  assert.not.match(answer.text, /password|secret|redis:\/\/|rtr_|adm_|argon2/);
});

test('SEC17 RB7: errors are JSON with a message and a type', async () => {
  isError(await call(`${router.url}/v1/models`), 401, 'authentication_error', 'invalid_api_key');
  isError(await chat(router.url, '{'), 400, 'invalid_request_error');
  isError(await chat(router.url, { messages: [] }), 400, 'invalid_request_error');
  isError(await openai('unknown'), 501, 'not_implemented');
  isError(await openai('models/unknown'), 404, 'not_found_error', 'model_not_found');
});

test('requests sent in one go on one connection are answered in their order', async () => {
  await withWorker({}, async () => {
    const body = JSON.stringify({ messages: userSays('hi') });
    const post = `POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${apiKey}\r\ncontent-length: ${body.length}\r\n\r\n${body}`;
    const get = 'GET /nope HTTP/1.1\r\nhost: x\r\n\r\n';
    const last = 'GET /health HTTP/1.1\r\nhost: x\r\n\r\n';
    const { text } = await converse(router.port, [post + get + post + last], {
      until: got => got.includes('"status"'),
    });
    assert.equal(
      [...text.matchAll(/HTTP\/1\.1 (\d+)/g)].map(found => found[1]),
      ['200', '404', '200', '200'],
    );
  });
});

test('after all this, nothing is held', async () => {
  for (const { url } of [router, strict]) {
    const now = await health(url);
    assert.equal([now.active_jobs, now.queued_jobs, now.workers], [0, 0, 0]);
  }
});

test.run();
