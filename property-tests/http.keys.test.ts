/** HTTP: API keys: what is let in, what is refused, and what a check costs. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { bearer, call, chatInit } from './callers.ts';
import { isAnthropicError, isError, openai, router, runWithRouters } from './http-routers.ts';
import { apiKey, gpuKey, startRouter } from './processes.ts';

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

runWithRouters();
