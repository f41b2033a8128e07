import fc from 'fast-check';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { comparePositions, formatPosition, origin, parseCursor, parsePosition } from './position.ts';

const anyPosition = fc.record({ epoch: fc.nat(1e6), number: fc.nat(1e9) }, { noNullPrototype: true });

test('a position is read as it was written', () => {
  fc.assert(fc.property(anyPosition, at => assert.equal(parsePosition(formatPosition(at)), at)));
});

test('an index counts on from its sequence, so that joined batches leave positions as they were', () => {
  fc.assert(
    fc.property(fc.nat(1e6), fc.nat(1e6), fc.nat(1e6), (epoch, sequence, index) => {
      assert.equal(parsePosition(`${epoch}-${sequence}.${index}`), { epoch, number: sequence + index });
    }),
  );
});

test('positions stand in the order of their epochs, then of their numbers', () => {
  fc.assert(
    fc.property(anyPosition, anyPosition, (a, b) => {
      const byHand = a.epoch === b.epoch ? a.number - b.number : a.epoch - b.epoch;
      assert.is(Math.sign(comparePositions(a, b)), Math.sign(byHand));
      assert.is(Math.sign(comparePositions(b, a)), -Math.sign(byHand) || 0);
      assert.ok(comparePositions(origin, a) <= 0);
    }),
  );
});

test('a cursor says how many frames of its event there were', () => {
  const position = { epoch: 2, number: 7 };
  assert.equal(parseCursor(' 2-7.0 '), { position, frames: null });
  assert.equal(parseCursor('2-3.4/12'), { position, frames: 12 });
});

test('what is no position is none', () => {
  for (const text of ['', '1', '1-2', '1-2.', '-1-2.0', '1-2.0.0', '1-2.0x', '1e3-2.0', `1-${'9'.repeat(16)}.0`])
    assert.is(parsePosition(text), null, text);
  for (const text of ['0-1.0', '1-2.0/', '1-2.0/x', '1-2.0/1/2', '1-2.0/1234567890'])
    assert.is(parseCursor(text), null, text);
});

test.run();
