import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { checkLocalModel } from './local-model.ts';

test('a split model is whole only with all of its parts; what is missing is counted and named', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'auxot-local-'));
  try {
    const parts = [1, 2, 3].map(n => join(folder, `m-0000${n}-of-00003.gguf`));
    const [first = '', second = ''] = parts;
    for (const part of parts) writeFileSync(part, 'GGUF');
    await checkLocalModel(first);
    await checkLocalModel(join(folder, 'plain.gguf'));
    rmSync(second);
    try {
      await checkLocalModel(first);
      assert.unreachable();
    } catch (error) {
      const message = error instanceof Error ? error.message : '';
      assert.match(message, '1 of 3 parts');
      assert.match(message, 'm-00002-of-00003.gguf');
      assert.match(message, folder);
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

test.run();
