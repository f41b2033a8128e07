import fc from 'fast-check';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { catalogue } from './catalogue.ts';
import { explain } from './explain.ts';
import { editDistance, nearest, plain } from './nearest.ts';
import { models, preferred, resolve } from './resolve.ts';

const runs = { numRuns: Number(process.env.FC_RUNS ?? 200), ...seedOf(process.env.FC_SEED) };
function seedOf(seed: string | undefined) {
  return seed === undefined ? {} : { seed: Number(seed) };
}

const entries = catalogue();
const found = (asked: string, quantization: string | null = null): string => {
  const resolution = resolve(entries, asked, quantization);
  return resolution.ok ? resolution.entry.id : `no ${resolution.unknown}`;
};

test('every entry resolves by its id and by the reference’s', () => {
  for (const { id, labelId } of entries) {
    assert.is(found(id), id);
    assert.is(found(labelId), id);
    assert.is(found(id.toUpperCase()), id, 'ids are found in any case when nothing else has that name');
  }
});

test('every entry resolves by name and quantization, by the true word and the reference’s, in any case', () => {
  for (const { id, name, quantization, label } of entries)
    for (const word of [quantization, label, quantization.toLowerCase(), label.toLowerCase()])
      for (const asked of [name, name.toUpperCase(), name.toLowerCase()]) assert.is(found(asked, word), id, word);
});

test('every model resolves by its name alone, to the first of the preferred quantizations that it has', () => {
  for (const variants of models(entries)) {
    const [first] = variants;
    if (first === undefined) throw new Error('a model without variants');
    const best =
      preferred.map(label => variants.find(variant => variant.label === label)).find(Boolean) ??
      variants.find(({ label }) => label !== 'F16') ??
      first;
    assert.is(found(first.name), best.id);
    for (const spelling of [first.repository, first.repository.replace('-GGUF', ''), first.name.replaceAll('-', '_')])
      assert.ok(
        variants.some(({ id }) => id === found(spelling)),
        spelling,
      );
  }
  assert.is(found('qwen3.5-35b-a3b'), 'qwen3-5-35b-a3b-q4-k-s');
  assert.is(found('DeepSeek-R1'), 'deepseek-r1-q6-k');
  assert.is(found('DeepSeek-R1-Zero'), 'deepseek-r1-zero-q8-0');
});

test('names that the reference does not find', () => {
  assert.is(found('Llama-3.3-70B-Instruct'), 'llama-3-3-70b-q4-k-s');
  assert.is(found('Qwen3-Coder-30B-A3B-Instruct'), 'qwen3-coder-30b-a3b-q4-k-s');
  assert.is(found('qwen3 8b'), 'qwen3-8b-q4-k-s');
  assert.is(found('Qwen3-8B:Q6_K'), 'qwen3-8b-q6-k');
  assert.is(found('unsloth/Qwen3-8B-GGUF:q4ks'), 'qwen3-8b-q4-k-s');
});

test('an exact id beats a quantization asked for besides, and says so', () => {
  const resolution = resolve(entries, 'qwen3-8b-q6-k', 'Q4_K_S');
  assert.ok(resolution.ok && resolution.entry.id === 'qwen3-8b-q6-k');
  assert.match(resolution.ok ? String(resolution.note) : '', 'Q4_K_S is ignored');
  const agreeing = resolve(entries, 'qwen3-8b-q6-k', 'q6_k');
  assert.is(agreeing.ok && agreeing.note, null);
});

test('a quantization that is not there lists those that are, and the nearest', () => {
  const miss = resolve(entries, 'DeepSeek-R1', 'Q5_K_M');
  if (miss.ok || miss.unknown !== 'quantization') throw new Error('found');
  const { fix, problem } = explain(miss, { contextSize: 8192, slots: 1 });
  assert.match(problem, 'DeepSeek-R1');
  for (const word of ['BF16', 'Q6_K', 'Q8_0'])
    assert.match(fix, new RegExp(`AUXOT_QUANTIZATION=${word} +\\(\\d+\\.\\d GB`));
  assert.match(fix, 'The nearest is Q6_K');
});

test('an unknown name lists at most 15 that contain it, and counts the rest', () => {
  const miss = resolve(entries, 'qwen', null);
  if (miss.ok || miss.unknown !== 'model') throw new Error('found');
  const { fix } = explain(miss, { contextSize: 8192, slots: 1 });
  assert.is(fix.match(/^ {2}AUXOT_MODEL=/gm)?.length, 15);
  assert.match(fix, `… and ${miss.containing.length - 15} more`);
  assert.equal(miss.containing, [...miss.containing].sort());
  assert.match(fix, 'auxot-router models');
});

const typo = fc
  .record({
    entry: fc.constantFrom(...entries),
    edits: fc.array(fc.tuple(fc.nat(), fc.constantFrom('drop', 'double', 'swap', 'replace')), {
      minLength: 1,
      maxLength: 2,
    }),
  })
  .map(({ entry, edits }) => {
    let asked: string = entry.name;
    for (const [at, deed] of edits) {
      const n = at % asked.length;
      const [head, here, tail] = [asked.slice(0, n), asked[n] ?? '', asked.slice(n + 1)];
      if (deed === 'drop') asked = head + tail;
      else if (deed === 'double') asked = head + here + here + tail;
      else if (deed === 'swap') asked = head + tail.slice(0, 1) + here + tail.slice(1);
      else asked = `${head}x${tail}`;
    }
    return { asked, meant: entry.name, edits: edits.length };
  });

test('every miss suggests the nearest: no name takes fewer edits than the one suggested', () => {
  const names = models(entries).map(([first]) => first?.name ?? '');
  fc.assert(
    fc.property(typo, ({ asked, edits }) => {
      const miss = resolve(entries, asked, null);
      if (miss.ok) return; // a mistake in a sign between letters, or one that made another model's name
      assert.is(miss.unknown, 'model');
      if (miss.unknown !== 'model') return;
      const least = Math.min(...names.map(name => editDistance(plain(asked), plain(name))));
      assert.is(editDistance(plain(asked), plain(miss.nearest)), least);
      // A letter that was swapped and then changed again is counted as two edits.
      assert.ok(least <= 2 * edits);
      assert.match(explain(miss, { contextSize: 1, slots: 1 }).fix, miss.nearest);
    }),
    runs,
  );
});

test('every missed quantization suggests the nearest that the model has', () => {
  const mistyped = fc
    .tuple(fc.constantFrom(...entries), fc.constantFrom('', 'x', 'M', '9', '_'), fc.nat())
    .map(([entry, more, at]) => {
      const place = at % (entry.quantization.length + 1);
      return { entry, asked: entry.quantization.slice(0, place) + more + entry.quantization.slice(place + 1) };
    });
  fc.assert(
    fc.property(mistyped, ({ entry: { name }, asked }) => {
      const miss = resolve(entries, name, asked);
      if (miss.ok) return; // nothing, or what another spelling of one says
      if (miss.unknown !== 'quantization') throw new Error(`${name} is not found`);
      const variants = entries.filter(entry => entry.name === name);
      assert.equal(miss.variants, variants);
      const words = variants.flatMap(({ quantization, label }) => [quantization, label]);
      const least = Math.min(...words.map(word => editDistance(plain(asked), plain(word))));
      assert.is(editDistance(plain(asked), plain(miss.nearest)), least, asked);
      assert.match(explain(miss, { contextSize: 8192, slots: 1 }).fix, miss.nearest);
    }),
    runs,
  );
});

test('any text at all is found or explained', () => {
  fc.assert(
    fc.property(fc.string(), fc.option(fc.string(), { nil: null }), (asked, quantization) => {
      const resolution = resolve(entries, asked, quantization);
      if (!resolution.ok) assert.ok(explain(resolution, { contextSize: 1, slots: 1 }).fix.length > 0);
    }),
    runs,
  );
});

test('the distance is the same both ways, nothing for equal words, and one for swapped neighbours', () => {
  assert.is(editDistance('', 'abc'), 3);
  assert.is(editDistance('ab', 'ba'), 1);
  assert.is(editDistance('kitten', 'sitting'), 3);
  fc.assert(
    fc.property(fc.string(), fc.string(), (a, b) => {
      assert.is(editDistance(a, b), editDistance(b, a));
      assert.is(editDistance(a, b) === 0, a === b);
    }),
    runs,
  );
  assert.is(nearest('gema-3-4b-it', ['Qwen3-4B', 'gemma-3-4b-it'])[0]?.word, 'gemma-3-4b-it');
});

test.run();
