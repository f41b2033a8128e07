/** HTTP: bodies of requests: what is refused, where it is measured, and what comes back. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { call, chat, chatInit, converse, userSays } from './callers.ts';
import { isAnthropicError, isError, openai, router, runWithRouters, send, strict, withWorker } from './http-routers.ts';
import { apiKey } from './processes.ts';

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

runWithRouters();
