import fc from 'fast-check';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { PersistentMap } from './persistent-map.ts';

const runs = Number(process.env.FC_RUNS ?? 300);
const seeded = process.env.FC_SEED === undefined ? {} : { seed: Number(process.env.FC_SEED) };

test('it holds what a Map holds, and every old version stays as it was', () => {
  const key = fc.oneof(fc.string({ maxLength: 3 }), fc.constantFrom('a', 'b', '__proto__'));
  const change = fc.tuple(key, fc.option(fc.oneof(fc.nat(9), fc.constant(0))));
  fc.assert(
    fc.property(fc.array(change, { maxLength: 80 }), changes => {
      let map = PersistentMap.empty<number>();
      const plain = new Map<string, number>();
      const versions: [PersistentMap<number>, string][] = [];
      const text = (entries: Iterable<readonly [string, number]>): string => JSON.stringify([...entries].sort());
      for (const [key, value] of changes) {
        versions.push([map, text(plain)]);
        map = value === null ? map.without(key) : map.with(key, value);
        if (value === null) plain.delete(key);
        else plain.set(key, value);
        assert.is(map.size, plain.size);
        assert.is(map.get(key), plain.get(key));
      }
      for (const [version, was] of [...versions, [map, text(plain)] as const]) assert.is(text(version.entries()), was);
    }),
    { numRuns: runs, ...seeded },
  );
});

test('null is a value, and leaving out what is not there changes nothing', () => {
  const map = PersistentMap.empty<null>().with('a', null);
  assert.ok(map.has('a'));
  assert.is(map.without('b'), map);
});

test('ids of one form spread over the buckets', () => {
  let map = PersistentMap.empty<number>();
  for (let n = 0; n < 20_000; n += 1) map = map.with(`chatcmpl-${n.toString(16).padStart(32, '0')}`, n);
  const began = performance.now();
  for (let n = 0; n < 20_000; n += 1) assert.is(map.get(`chatcmpl-${n.toString(16).padStart(32, '0')}`), n);
  assert.ok(performance.now() - began < 500, 'a lookup does not walk the whole');
});

test.run();
