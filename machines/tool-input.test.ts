import fc from 'fast-check';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { inputOf } from './tool-input.ts';

const runs = { numRuns: Number(process.env.FC_RUNS ?? 300) };
const seeded = process.env.FC_SEED === undefined ? runs : { ...runs, seed: Number(process.env.FC_SEED) };

test('an object is what it is, however it was written', () => {
  fc.assert(
    fc.property(fc.dictionary(fc.string(), fc.jsonValue()), object => {
      const json = JSON.stringify(object);
      const expected: unknown = JSON.parse(json);
      assert.equal(inputOf(json), expected);
      assert.equal(inputOf(JSON.stringify(json)), expected, 'as JSON inside a string');
      assert.equal(inputOf(`${json}\n`), expected);
    }),
    seeded,
  );
});

test('an object that lacks only its closing brackets is read', () => {
  assert.equal(inputOf('{"a":{"b":[1,{"c":"x'), { a: { b: [1, { c: 'x' }] } });
  assert.equal(inputOf('{"a":"}]\\"'), { a: '}]"' });
});

test('nothing is an empty object, and what is no object is none', () => {
  for (const json of ['', ' \n']) assert.equal(inputOf(json), {});
  for (const json of ['null', '1', '[]', '"x"', '"[1]"', 'x', '{"a":', '{]', '}{', '{"a":1}{'])
    assert.is(inputOf(json), null, json);
});

test('what is nested without end is no object: nothing could write it out again', () => {
  const deep = `{"a":${'['.repeat(20_000)}${']'.repeat(20_000)}}`;
  for (const json of [deep, JSON.stringify(deep), `{"a":${'['.repeat(20_000)}`]) assert.is(inputOf(json), null);
});

test('no text makes it throw', () => {
  fc.assert(
    fc.property(fc.string({ unit: fc.constantFrom('{', '}', '[', ']', '"', '\\', ':', ',', '1', 'a') }), text => {
      const input = inputOf(text);
      assert.ok(input === null || (typeof input === 'object' && !Array.isArray(input)));
    }),
    seeded,
  );
});

test.run();
