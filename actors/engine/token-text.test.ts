import fc from 'fast-check';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { tokenText } from './token-text.ts';

const runs = {
  numRuns: Number(process.env.FC_RUNS ?? 1000),
  ...(process.env.FC_SEED ? { seed: Number(process.env.FC_SEED) } : {}),
};

/** A vocabulary in which token n is the byte n. */
const bytes = (tokens: number[]): string => Buffer.from(tokens).toString('utf8');

function give(tokens: readonly number[]): string[] {
  const characters = tokenText(bytes);
  return [...tokens.map(token => characters.push(token)), characters.flush()];
}

test('text in tokens of one byte comes out whole, character by character', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary', maxLength: 20 }), text => {
      const pieces = give([...Buffer.from(text, 'utf8')]);
      assert.is(pieces.join(''), text);
      if (!text.includes('\uFFFD')) assert.not(pieces.some(piece => piece.includes('\uFFFD')));
    }),
    runs,
  );
});

test('bytes that are no text come out as replacement characters, and nothing is held for long', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 30 }), data => {
      const pieces = give([...data]);
      assert.is(pieces.join(''), bytes([...data]));
    }),
    runs,
  );
  const pieces = give(Array.from({ length: 20 }, () => 0xff));
  assert.ok(pieces.slice(0, 5).join('').length >= 1);
});

test.run();
