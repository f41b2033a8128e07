import fc from 'fast-check';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { bytesIn, gaps, type Span, withSpan } from './spans.ts';

const runs = { numRuns: Number(process.env.FC_RUNS ?? 200), ...seedOf(process.env.FC_SEED) };
function seedOf(seed: string | undefined) {
  return seed === undefined ? {} : { seed: Number(seed) };
}
const bytes = 60;
const span = fc.tuple(fc.nat(bytes), fc.nat(bytes)).map(([a, b]): Span => [Math.min(a, b), Math.max(a, b)]);

/** The same, a byte at a time. */
const covered = (spans: readonly Span[]): boolean[] =>
  Array.from({ length: bytes }, (_, at) => spans.some(([from, to]) => from <= at && at < to));

test('spans joined in any order cover what each covers, sorted and apart from each other', () => {
  fc.assert(
    fc.property(fc.array(span), spans => {
      const joined = spans.reduce<Span[]>((all, one) => withSpan(all, one), []);
      assert.equal(covered(joined), covered(spans));
      assert.is(bytesIn(joined), covered(spans).filter(Boolean).length);
      joined.forEach(([from, to], n) => {
        assert.ok(from < to);
        assert.ok(n === 0 || (joined[n - 1]?.[1] ?? bytes) < from);
      });
    }),
    runs,
  );
});

test('gaps are what is missing, in order, none longer than a piece, and fill the file', () => {
  fc.assert(
    fc.property(fc.array(span), fc.integer({ min: 1, max: 20 }), (spans, piece) => {
      const joined = spans.reduce<Span[]>((all, one) => withSpan(all, one), []);
      const missing = gaps(joined, bytes, piece);
      assert.equal(
        covered(missing),
        covered(joined).map(there => !there),
      );
      for (const [from, to] of missing) assert.ok(from < to && to - from <= piece);
      assert.equal(
        missing.reduce<Span[]>((all, one) => withSpan(all, one), joined),
        [[0, bytes]],
      );
    }),
    runs,
  );
});

test.run();
