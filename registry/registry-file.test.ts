import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { catalogue } from './catalogue.ts';
import { merge, openRegistry } from './load.ts';
import { parseRegistryFile, writeRegistryFile } from './registry-file.ts';
import { resolve } from './resolve.ts';

const about = { version: '9.9.9', madeAt: '2026-01-01T00:00:00Z', extendsBuiltin: false };
const oneOfTheirs = {
  version: '0.1.0',
  generated_at: '2026-04-20T00:00:00Z',
  models: [
    {
      id: 'my-model-f16',
      model_name: 'My-Model',
      huggingface_id: 'me/My-Model-GGUF',
      quantization: 'F16',
      family: 'Dense',
      parameters: '8B',
      default_context_size: 8192,
      max_context_size: 32768,
      vram_requirements_gb: 16,
      capabilities: ['chat', 'newly-invented'],
      file_name: 'BF16/My-Model-BF16-00001-of-00002.gguf',
      formats: [{ type: 'gguf', huggingface_id: 'me/My-Model-GGUF' }],
      unknown_field: true,
    },
  ],
};

function problem(json: unknown): string {
  try {
    parseRegistryFile(typeof json === 'string' ? json : JSON.stringify(json), 'r.json');
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
  return '';
}

const changed = (change: object): object => ({ ...oneOfTheirs, models: [{ ...oneOfTheirs.models[0], ...change }] });

test('the whole catalogue written and read again is the same', () => {
  const read = parseRegistryFile(writeRegistryFile(catalogue(), about), 'r.json');
  assert.is(read.version, '9.9.9');
  const [written, again] = [catalogue(), read.entries].map(list =>
    // What was only a guess is a figure of the file's own afterwards, and the reference has ids of its own.
    list.map(entry => ({ ...entry, vramGb: null, labelId: '' })),
  );
  assert.equal(again, written);
});

test('a file of the reference is read, with what it has too much ignored', () => {
  const { entries } = parseRegistryFile(JSON.stringify(oneOfTheirs), 'r.json');
  assert.equal([entries[0]?.id, entries[0]?.vramGb, entries[0]?.capabilities], ['my-model-f16', 16, ['chat']]);
  assert.ok(resolve(entries, 'my-model', 'f16').ok);
});

test('what is wrong is named by its place', () => {
  assert.match(problem('{'), 'r.json is no JSON');
  assert.match(problem({ ...oneOfTheirs, models: [] }), '$.models');
  assert.match(problem(changed({ model_name: undefined })), '$.models[0].model_name is required');
  assert.match(
    problem({ ...oneOfTheirs, models: [oneOfTheirs.models[0], oneOfTheirs.models[0]] }),
    'two models with the id',
  );
  const half = [{ path: 'BF16/My-Model-BF16-00001-of-00002.gguf', size: 5 }];
  assert.match(problem(changed({ files: half })), 'do not name BF16/My-Model-BF16-00002-of-00002.gguf');
  for (const file_name of ['../../etc/passwd', '/etc/passwd', 'a/../../b', 'C:\\x', 'a\\b'])
    assert.match(problem(changed({ file_name })), '$.models[0].file_name', file_name);
  for (const huggingface_id of ['x', '../..', 'a/b/c', 'a/..'])
    assert.match(problem(changed({ huggingface_id })), '$.models[0].huggingface_id', huggingface_id);
});

test('a file replaces the built-in registry, or adds to it', () => {
  const folder = mkdtempSync(join(tmpdir(), 'auxot-registry-'));
  try {
    const path = join(folder, 'r.json');
    writeFileSync(path, JSON.stringify(oneOfTheirs));
    assert.is(openRegistry(path).entries.length, 1);
    writeFileSync(path, JSON.stringify({ ...oneOfTheirs, extends: 'builtin' }));
    const { entries } = openRegistry(path);
    assert.is(entries.length, catalogue().length + 1);
    assert.ok(resolve(entries, 'My-Model', null).ok && resolve(entries, 'Qwen3-8B', null).ok);
    assert.throws(() => openRegistry(join(folder, 'none.json')), 'cannot be read');
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

test('merging replaces by id in place and puts new variants behind those of their model', () => {
  const [a, b, c] = catalogue().filter(({ name }) => name === 'Qwen3-8B');
  if (a === undefined || b === undefined || c === undefined) throw new Error('no Qwen3-8B');
  const newer = { ...b, revision: 'abc' };
  const added = { ...b, id: 'qwen3-8b-q4-k-m', labelId: 'qwen3-8b-q4-k-m', quantization: 'Q4_K_M', label: 'Q4_K_M' };
  const elsewhere = { ...added, id: 'other', name: 'Other' };
  const [first] = catalogue();
  if (first === undefined) throw new Error('empty');
  const merged = merge([first, a, b, c, { ...first, id: 'last', name: 'Last' }], [newer, added, elsewhere]);
  assert.equal(
    merged.map(({ id }) => id),
    [first.id, a.id, b.id, c.id, 'qwen3-8b-q4-k-m', 'last', 'other'],
  );
  assert.is(merged[2]?.revision, 'abc');
});

test.run();
