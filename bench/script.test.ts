import * as fc from 'fast-check';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { expectedOf, promptOf, readPrompt, type Script, textOf, tokenJsonOf } from './script.ts';

const runs = {
  numRuns: Number(process.env.FC_RUNS ?? 200),
  ...(process.env.FC_SEED === undefined ? {} : { seed: Number(process.env.FC_SEED) }),
};
const anyScript: fc.Arbitrary<Script> = fc.record(
  {
    tokens: fc.integer({ min: 1, max: 150 }),
    everyMs: fc.nat(1_000),
    seed: fc.nat(1_000_000),
    holdAfter: fc.nat(10),
  },
  { noNullPrototype: true },
);

const tokensOf = ({ tokens, seed }: Script): string[] =>
  Array.from({ length: tokens }, (_, index) => JSON.parse(textOf(tokenJsonOf(seed, index))));

test('the worker reads the script that the caller wrote', () => {
  fc.assert(
    fc.property(anyScript, script => assert.equal(readPrompt(promptOf(script)), script)),
    runs,
  );
  assert.is(readPrompt('say something'), undefined);
  assert.is(readPrompt(undefined), undefined);
});

test('the tokens joined are the text that is expected', () => {
  fc.assert(
    fc.property(anyScript, script => assert.is(tokensOf(script).join(''), textOf(expectedOf(script).bytes))),
    runs,
  );
});

test('tokens are counted as their last byte arrives', () => {
  fc.assert(
    fc.property(anyScript, fc.nat(), (script, cut) => {
      const { bytes, tokensIn } = expectedOf(script);
      const length = cut % (bytes.length + 1);
      let whole = 0;
      let end = 0;
      for (const token of tokensOf(script)) {
        end += Buffer.byteLength(token);
        if (end <= length) whole += 1;
      }
      assert.is(tokensIn(length, 0), whole);
      assert.is(tokensIn(bytes.length, whole), script.tokens);
    }),
    runs,
  );
});

test('two seeds never say the same', () => {
  const texts = new Set(
    Array.from({ length: 500 }, (_, seed) => expectedOf({ tokens: 3, everyMs: 0, seed, holdAfter: 0 }).bytes),
  );
  assert.is(texts.size, 500);
});

test.run();
