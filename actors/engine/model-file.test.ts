import { mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { demoModel } from '../../registry/load.ts';
import { EngineError } from './engine.ts';
import { readModelFile } from './model-file.ts';

const test = suite('model-file');
let folder = '';
test.before(() => {
  folder = mkdtempSync(join(tmpdir(), 'auxot-model-file-'));
});
test.after(() => rmSync(folder, { recursive: true }));

async function refusal(path: string): Promise<string> {
  try {
    await readModelFile(path);
  } catch (error) {
    if (!(error instanceof EngineError)) throw error;
    assert.is(error.code, 'model_load_failed');
    return error.message;
  }
  throw new Error('the file was not refused');
}

test('the demo model is where the registry says, as long as it says', async () => {
  const { path, modelBytes } = demoModel();
  const { bytes, digest } = await readModelFile(path);
  assert.is(bytes, modelBytes);
  assert.is(digest, 'sha256:56b23bd6073f927f5c73bea81767b1fdc1976d6d5c1590ee7302af06ef066996');
});

test('a missing file, a folder, and a file of another kind are refused', async () => {
  assert.match(await refusal(join(folder, 'nothing.gguf')), 'cannot be read');
  assert.match(await refusal(folder), 'cannot be read');
  const other = join(folder, 'notes.gguf');
  writeFileSync(other, 'GG');
  assert.match(await refusal(other), 'not a GGUF file');
});

test('of a large file parts are digested, and its length and places count', async () => {
  const path = join(folder, 'large.gguf');
  writeFileSync(path, 'GGUF');
  truncateSync(path, 300 * 2 ** 20); // sparse: takes no room on disk
  const { digest } = await readModelFile(path);
  assert.match(digest, /^sampled-sha256:[0-9a-f]{64}$/);
  truncateSync(path, 300 * 2 ** 20 + 1);
  assert.is.not((await readModelFile(path)).digest, digest);
});

test.run();
