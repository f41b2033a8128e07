import * as fc from 'fast-check';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { Histogram } from './histogram.ts';

const runs = {
  numRuns: Number(process.env.FC_RUNS ?? 200),
  ...(process.env.FC_SEED === undefined ? {} : { seed: Number(process.env.FC_SEED) }),
};

test('a quantile is within 1.6% of the true one, also after a journey as JSON', () => {
  const anyMs = fc.double({ min: 0, max: 60_000, noNaN: true });
  fc.assert(
    fc.property(
      fc.array(anyMs, { minLength: 1, maxLength: 200 }),
      fc.double({ min: 0, max: 1, noNaN: true }),
      (all, q) => {
        const histogram = new Histogram();
        for (const ms of all) histogram.record(ms);
        const sorted = [...all].sort((a, b) => a - b);
        const wanted = sorted[Math.max(Math.ceil(q * all.length), 1) - 1] ?? Number.NaN;
        const copy = Histogram.of(JSON.parse(JSON.stringify(histogram)));
        for (const each of [histogram, copy]) {
          const got = each.quantileMs(q);
          assert.ok(Math.abs(got - wanted) <= wanted * 0.016 + 0.001, `${got} for ${wanted}`);
        }
      },
    ),
    runs,
  );
});

test('nothing counted has no quantile', () => {
  assert.ok(Number.isNaN(new Histogram().quantileMs(0.5)));
});

test('many at once count like one by one', () => {
  const histogram = new Histogram();
  histogram.record(0, 99);
  histogram.record(7);
  assert.is(histogram.total, 100);
  assert.is(histogram.quantileMs(0.99), 0);
  assert.ok(Math.abs(histogram.quantileMs(1) - 7) < 0.1);
});

test.run();
