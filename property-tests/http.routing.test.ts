/** HTTP: which path and method leads where, and what every answer has in common. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type Answer, bearer, call, chat, chatInit, converse, userSays } from './callers.ts';
import { isAnthropicError, isError, openai, router, runWithRouters, send, strict, withWorker } from './http-routers.ts';
import { apiKey, type RouterProcess } from './processes.ts';

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

runWithRouters();
