import { createHash } from 'node:crypto';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { catalogue, expandRow } from './catalogue.ts';
import { labelOf } from './entry.ts';
import { models } from './resolve.ts';

const digest = (lines: readonly string[]): string =>
  createHash('sha256')
    .update(`${lines.join('\n')}\n`)
    .digest('hex');

test('the table holds every entry of the reference, by its own ids, labels and files', () => {
  const lines = catalogue().map(entry =>
    [
      entry.labelId,
      entry.name,
      entry.repository,
      entry.label,
      entry.file,
      entry.projector ?? '',
      entry.contextDefault,
      entry.contextMax,
      entry.parameters,
    ].join('\t'),
  );
  assert.is(lines.length, 687);
  assert.is(models(catalogue()).length, 106);
  // Of the 687 rows that spec/model-registry's own table decodes to, written in the same way.
  assert.is(digest(lines), '556d5754662d43027b0fc93e521ea77c2ac4e53368a2ecaf11f085c20f122907');
});

test('the expansion is stable: whoever changes the table changes this digest and the version', () => {
  assert.is(
    digest(catalogue().map(entry => JSON.stringify(entry))),
    '94343361ef8e7fcaffabe3965d640eaca58a83d1642ecdd16b8f9ffab122fcda',
  );
});

test('labels are true: what the file is named after is what the entry says', () => {
  for (const { id, quantization, label, file, name } of catalogue()) {
    assert.ok(file.toLowerCase().includes(quantization.toLowerCase()), `${id}: ${file} is no ${quantization}`);
    if (quantization === 'BF16') assert.is(label, 'F16');
    if (quantization === 'F16') assert.not.match(file, 'BF16', name);
    assert.is(label, labelOf(quantization));
  }
});

test('every entry has what a worker and a listing need', () => {
  for (const entry of catalogue()) {
    assert.match(entry.repository, /^unsloth\/.+-GGUF$/);
    assert.match(entry.file, /\.gguf$/);
    assert.ok(entry.contextDefault > 0 && entry.contextMax >= entry.contextDefault, entry.id);
    assert.ok(entry.capabilities.length > 0, entry.id);
    assert.is(entry.capabilities.includes('tools'), entry.toolFormat !== null, entry.id);
    assert.is(entry.capabilities.includes('reasoning'), entry.reasoningFormat !== null, entry.id);
    assert.is(entry.capabilities.includes('vision'), entry.projector !== null, entry.id);
    assert.is(entry.family === 'MoE', entry.parametersActive !== null, entry.id);
    for (const { layers, heads, keyDim, valueDim } of entry.kv ?? [])
      for (const figure of [layers, heads, keyDim, valueDim]) assert.ok(figure > 0, entry.id);
  }
});

test('ids are unique, and no id of ours is the reference’s name for something else', () => {
  const meant = new Map<string, string>();
  for (const { id, labelId, repository, file } of catalogue())
    for (const word of new Set([id, labelId])) {
      const before = meant.get(word);
      assert.ok(before === undefined || before === `${repository}/${file}`, `${word} means two files`);
      meant.set(word, `${repository}/${file}`);
    }
});

test('a row that is too short is an error', () => {
  assert.throws(() => expandRow('Qwen3-8B = 8B'), 'too short');
});

test.run();
