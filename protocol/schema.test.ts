import Type from 'typebox';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { Base64, check, Int, levelsMax, NumberMap, OpenMap, Raw, StringMap } from './schema.ts';

const failure = (schema: Parameters<typeof check>[0], value: unknown): string => {
  const parsed = check(schema)(value);
  return parsed.ok ? 'ok' : `${parsed.path} ${parsed.message}`;
};

const Message = Type.Object({ content: Type.Union([Type.String(), Type.Null()]) });
const Request = Type.Object({
  messages: Type.Array(Message),
  stop: Type.Optional(Type.Union([Type.String(), Type.Array(Type.String())])),
  state: Type.Optional(Type.Union([Type.Literal('on'), Type.Literal('off')])),
});

test('a value that fits comes back as it is', () => {
  const value = { messages: [{ content: 'x' }], unknown: 1 };
  const parsed = check(Request)(value);
  assert.ok(parsed.ok);
  assert.is(parsed.ok && parsed.value, value);
});
test('the first failure is named by its path', () => {
  assert.is(
    failure(Request, { messages: [{ content: 'a' }, { content: 'b' }, { content: 5 }] }),
    '$.messages[2].content must be string or null',
  );
  assert.is(failure(Request, { messages: [{}] }), '$.messages[0].content is required');
  assert.is(failure(Request, {}), '$.messages is required');
  assert.is(failure(Request, []), '$ must be object');
  assert.is(failure(StringMap, { 'a b/c~': 1 }), '$["a b/c~"] must be string');
});
test('of alternatives, the one that failed deepest is named, else all are', () => {
  assert.is(failure(Request, { messages: [], stop: ['a', 1] }), '$.stop[1] must be string');
  assert.is(failure(Request, { messages: [], stop: 1 }), '$.stop must be string or array');
  assert.is(failure(Request, { messages: [], state: 'x' }), '$.state must be "on" or "off"');
});
test('a failure beside a union with a similar name is not taken for one of its alternatives', () => {
  const schema = Type.Object({ stopper: Type.Integer(), stop: Type.Union([Type.String(), Type.Null()]) });
  assert.is(failure(schema, { stopper: 'x', stop: 1 }), '$.stopper must be integer');
});
test('integers are whole and exact', () => {
  for (const good of [0, -1, 12.0, Number.MAX_SAFE_INTEGER]) assert.is(failure(Int, good), 'ok');
  for (const bad of [0.5, 1e300, 2 ** 53, Number.NaN, Number.POSITIVE_INFINITY, '1', null])
    assert.not(failure(Int, bad) === 'ok');
});
test('maps hold what they say under any key, and are no lists', () => {
  assert.is(failure(NumberMap, { a: 1, 'b\nc': 2.5 }), 'ok');
  assert.is(failure(NumberMap, { 'b\nc': 'x' }), '$["b\\nc"] must be number');
  assert.is(failure(OpenMap, { a: null }), 'ok');
  assert.is(failure(OpenMap, []), '$ must be object');
});
test('any JSON is taken, but not deeper than it can be written again', () => {
  const nested = (levels: number): unknown => (levels === 0 ? 1 : [nested(levels - 1)]);
  for (const value of [null, 0, 'x', [null], nested(levelsMax)]) assert.is(failure(Raw, value), 'ok');
  assert.match(failure(Raw, nested(levelsMax + 1)), 'nested deeper');
});
test('base64 needs the standard alphabet and padding', () => {
  for (const good of ['', 'aGk=', 'aGkh', 'aA==']) assert.is(failure(Base64, good), 'ok');
  for (const bad of ['aGk', '-_-_', 'a=k=', '====']) assert.not(failure(Base64, bad) === 'ok', bad);
});
test('a value with very many failures is refused without listing them all', () => {
  const start = performance.now();
  assert.is(
    failure(Request, { messages: Array(200_000).fill({ content: 1 }) }),
    '$.messages[0].content must be string or null',
  );
  assert.ok(performance.now() - start < 2_000);
});

test.run();
