import fc from 'fast-check';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { formatDuration, parseDuration } from './duration.ts';

const runs = {
  numRuns: Number(process.env.FC_RUNS ?? 1000),
  ...(process.env.FC_SEED ? { seed: Number(process.env.FC_SEED) } : {}),
};

test('durations in Go syntax', () => {
  for (const [text, ms] of [
    ['90s', 90_000],
    ['1h30m', 5_400_000],
    ['1.5m', 90_000],
    ['-5s', -5000],
    ['+5s', 5000],
    ['0', 0],
    ['-0', 0],
    ['0s', 0],
    ['.5s', 500],
    ['1.s', 1000],
    ['250ms', 250],
    ['1500us', 1.5],
    ['1500µs', 1.5],
    ['1500μs', 1.5],
    ['2000000ns', 2],
    ['1m1m', 120_000],
  ] as const)
    assert.is(parseDuration(text), ms, text);
});

test('everything else is no duration', () => {
  for (const text of [
    '',
    ' ',
    '5',
    '1.5',
    's',
    '.s',
    '5 s',
    ' 5s',
    '5s ',
    '5S',
    '5d',
    '--5s',
    '1h-5m',
    '1e3s',
    'NaN',
    '∞',
    '9999999h',
    '5s\n',
  ])
    assert.is(parseDuration(text), null, JSON.stringify(text));
});

test('what is formatted reads back the same', () => {
  fc.assert(
    fc.property(fc.integer({ min: -(2 ** 40), max: 2 ** 40 }), ms => {
      assert.is(parseDuration(formatDuration(ms)), ms);
    }),
    runs,
  );
});

test.run();
