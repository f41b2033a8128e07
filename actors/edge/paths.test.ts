import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { routeOf } from './paths.ts';

const at = (url: string): string => {
  const route = routeOf(url);
  return route === null ? 'nothing' : `${route.family} ${route.path}`;
};

test('any number of v1 after an API root says nothing (RT1, RT2, RT3, RT4, RT12)', () => {
  for (const v1 of ['', '/v1', '/v1/v1', '/v1/v1/v1']) {
    assert.is(at(`/api/openai${v1}/chat/completions`), 'openai chat/completions');
    assert.is(at(`/api/openai${v1}/models`), 'openai models');
    assert.is(at(`/api/openai${v1}/models/a%2Fb`), 'openai models/a/b');
    assert.is(at(`/api/anthropic${v1}/messages`), 'anthropic messages');
    assert.is(at(`/api/anthropic${v1}/messages/count_tokens`), 'anthropic messages/count_tokens');
    assert.is(at(`/api/anthropic${v1}/models`), 'anthropic models');
    assert.is(at(`/api/openai${v1}`), 'openai ');
    assert.is(at(`/api/openai${v1}/`), 'openai ');
    assert.is(at(`/api/anthropic${v1}`), 'anthropic ');
  }
  assert.is(at('/api/openai/models/v1'), 'openai models/v1');
});

test('a plain /v1 works as a base URL of both APIs', () => {
  assert.is(at('/v1/chat/completions'), 'openai chat/completions');
  assert.is(at('/v1/messages?beta=true'), 'anthropic messages');
  assert.is(at('/v1/messages/count_tokens'), 'anthropic messages/count_tokens');
});

test('the bare models belong to the API whose client asks', () => {
  const family = (url: string, speaksAnthropic: boolean) => routeOf(url, speaksAnthropic)?.family;
  assert.equal([family('/v1/models', true), family('/v1/models/m', true)], ['anthropic', 'anthropic']);
  assert.equal([family('/v1/models', false), family('/v1/chat/completions', true)], ['openai', 'openai']);
  assert.equal([family('/api/openai/v1/models', true), family('/health', true)], ['openai', 'other']);
  assert.is(at('/v1/v1/messages'), 'anthropic messages');
});

test('other places are what they are called (RT5)', () => {
  assert.is(at('/health'), 'other health');
  assert.is(at('/ws'), 'other ws');
  assert.is(at('/ws/'), 'other ws/');
  assert.is(at('/ws?x=1'), 'other ws');
  assert.is(at('/'), 'other ');
  assert.is(at('/api/tools/v1/tools'), 'other api/tools/v1/tools');
  assert.is(at('/api/openaix/models'), 'other api/openaix/models');
});

test('slashes are collapsed, and a whole URL is cut to its path (RT12)', () => {
  assert.is(at('/api/openai//chat/completions/'), 'openai chat/completions');
  assert.is(at('//api//openai/./models'), 'openai models');
  assert.is(at('http://router.example:8080/api/openai/models?x'), 'openai models');
});

test('nothing is above the root, behind a NUL or in broken encoding', () => {
  for (const url of ['/api/openai/models/../x', '/api/openai/models/..%2F..%2Fx', '/models/%00', '/%zz', '/%ff'])
    assert.is(at(url), 'nothing', url);
});

test.run();
