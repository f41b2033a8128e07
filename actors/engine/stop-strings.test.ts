import fc from 'fast-check';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { stopStrings } from './stop-strings.ts';

const runs = {
  numRuns: Number(process.env.FC_RUNS ?? 2000),
  ...(process.env.FC_SEED ? { seed: Number(process.env.FC_SEED) } : {}),
};

function feed(stops: readonly string[], chunks: readonly string[]): { text: string; stopped: string | null } {
  const matcher = stopStrings(stops);
  let text = '';
  for (const chunk of chunks) {
    const certain = matcher.push(chunk);
    text += certain.text;
    if (certain.stopped !== null) return { text, stopped: certain.stopped };
  }
  const rest = matcher.flush();
  return { text: text + rest.text, stopped: rest.stopped };
}

const anyText = fc.string({ unit: fc.constantFrom('a', 'b', 'c'), maxLength: 20 });
const anyStops = fc.array(fc.string({ unit: fc.constantFrom('a', 'b', 'c'), minLength: 1, maxLength: 4 }), {
  maxLength: 3,
});

test('the text ends where the first stop string begins, and no part of one is given out', () => {
  fc.assert(
    fc.property(anyText, anyStops, (text, stops) => {
      const ends = stops.map(stop => text.indexOf(stop)).filter(at => at !== -1);
      const { text: given, stopped } = feed(stops, [...text]);
      assert.is(given, ends.length === 0 ? text : text.slice(0, Math.min(...ends)));
      assert.is(stopped === null, ends.length === 0);
    }),
    runs,
  );
});

test('how the text is cut makes no difference', () => {
  fc.assert(
    fc.property(anyText, anyStops, fc.nat({ max: 20 }), (text, stops, at) => {
      const whole = feed(stops, [text]);
      assert.equal(feed(stops, [...text]), whole);
      assert.equal(feed(stops, [text.slice(0, at), text.slice(at)]), whole);
    }),
    runs,
  );
});

test('text that could still become a stop string is held back, and no other', () => {
  const matcher = stopStrings(['END']);
  assert.equal(matcher.push('the EN'), { text: 'the ', stopped: null });
  assert.equal(matcher.push('V'), { text: 'ENV', stopped: null });
  assert.equal(matcher.push('END of'), { text: '', stopped: 'END' });
});

test.run();
