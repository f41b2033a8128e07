import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { catalogue } from './catalogue.ts';
import type { Entry } from './entry.ts';
import { estimate, GiB, totalGb } from './estimate.ts';
import { partCount, partFiles } from './parts.ts';
import { query, toolFormatOf } from './query.ts';
import { resolve } from './resolve.ts';

const entries = catalogue();
const use = { contextSize: 8192, slots: 1 };
const entry = (asked: string): Entry => {
  const resolution = resolve(entries, asked, null);
  if (!resolution.ok) throw new Error(`no ${asked}`);
  return resolution.entry;
};

test('by memory: none exceeds it, with nothing there is none, with plenty there are all', () => {
  const fitting = query(entries, { fitsGb: 24, use });
  assert.ok(fitting.length > 100 && fitting.length < entries.length);
  for (const each of fitting) assert.ok(totalGb(each, use) <= 24);
  assert.is(query(entries, { fitsGb: 0, use }).length, 0);
  assert.is(query(entries, { fitsGb: 1e6, use }).length, entries.length);
});

test('by capability, in any case, all of those asked for', () => {
  const chat = query(entries, { capabilities: ['CHAT'], use });
  assert.is(chat.length, 684);
  const both = query(entries, { capabilities: ['vision', 'reasoning'], use });
  assert.ok(both.length > 0 && both.every(({ capabilities }) => capabilities.includes('vision')));
  assert.is(query(entries, { capabilities: ['telepathy'], use }).length, 0);
});

test('by family and by words', () => {
  assert.ok(query(entries, { family: 'moe', use }).every(({ family }) => family === 'MoE'));
  assert.ok(query(entries, { family: 'moe', use }).some(({ name }) => name === 'gpt-oss-120b'));
  assert.ok(query(entries, { family: 'gemma 3', use }).every(({ name }) => name.startsWith('gemma-3')));
  assert.equal(
    query(entries, { text: 'coder next q6', use }).map(({ id }) => id),
    ['qwen3-coder-next-q6-k'],
  );
});

test('the cache is layers × heads × both dimensions × 2 bytes × tokens × slots', () => {
  const qwen = estimate(entry('Qwen3-8B'), { contextSize: 32_768, slots: 2 });
  assert.is(qwen.cacheBytes, 2 * 36 * 8 * 256 * 2 * 32_768);
  assert.ok(qwen.cacheKnown && !qwen.weightsKnown);
  // Six of seven layers of this one remember no more than their window and a batch.
  const gemma = estimate(entry('gemma-3-12b-it'), { contextSize: 131_072, slots: 1 });
  assert.is(gemma.cacheBytes, 8 * 512 * 2 * (8 * 131_072 + 40 * 1536));
  assert.is(
    estimate(entry('gemma-3-12b-it'), { contextSize: 10_000_000, slots: 1 }).cacheBytes,
    gemma.cacheBytes,
    'the context is capped by the model',
  );
});

test('known sizes take the place of estimates, and more of anything never needs less', () => {
  const base = entry('Qwen3-8B');
  const sized = { ...base, files: [{ path: base.file, bytes: 4_800_000_000, sha256: null }] };
  const known = estimate(sized, use);
  assert.is(known.weightBytes, 4_800_000_000);
  assert.ok(known.weightsKnown);
  assert.ok(Math.abs(estimate(base, use).weightBytes - 4_800_000_000) < 300_000_000, 'the estimate is near');
  for (const each of entries) {
    assert.ok(totalGb(each, { contextSize: 8192, slots: 2 }) >= totalGb(each, use), each.id);
    assert.ok(totalGb(each, { contextSize: 16_384, slots: 1 }) >= totalGb(each, use), each.id);
    assert.ok(totalGb(each, use) * GiB > 0);
  }
});

test('parts: a plain file is itself, split files are counted and named in their folder', () => {
  assert.equal(partFiles('a.gguf'), ['a.gguf']);
  assert.equal(partFiles('Q8/a-00001-of-00003.gguf'), [
    'Q8/a-00001-of-00003.gguf',
    'Q8/a-00002-of-00003.gguf',
    'Q8/a-00003-of-00003.gguf',
  ]);
  assert.equal(['a.gguf', 'x/a-00001-of-00006.gguf', 'a-00002-of-00021.gguf'].map(partCount), [1, 6, 21]);
  for (const { file, id } of entries) assert.is(partFiles(file).length, partCount(file), id);
  assert.is(entries.filter(({ file }) => partCount(file) > 1).length, 193);
});

test('a file of the registry tells how its model writes tool calls, wherever it lies', () => {
  assert.is(toolFormatOf(catalogue(), '/cache/unsloth_x/UD/Qwen3-8B-Q4_K_S.gguf'), 'hermes');
  assert.is(toolFormatOf(catalogue(), 'C:\\models\\gpt-oss-20b-Q6_K.gguf'), 'harmony');
  assert.is(toolFormatOf(catalogue(), '/models/mine.gguf'), null);
});

test.run();
