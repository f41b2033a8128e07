import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { nameTrouble } from './model-name.ts';

const same: readonly (readonly [string, string])[] = [
  ['Qwen3-8B', 'Qwen3 8B Instruct'],
  ['Qwen3-8B', 'qwen3-8b-q4_k_m.gguf'],
  ['Meta-Llama-3.1-8B-Instruct', 'Llama 3.1 8B Instruct'],
  ['gpt-oss-20b', 'openai_gpt-oss-20b-MXFP4.gguf'],
  ['unsloth/Qwen3.5-35B-A3B-GGUF', '/models/Qwen3.5-35B-A3B-UD-Q4_K_XL-00001-of-00002.gguf'],
  ['auxot-demo', 'auxot-demo'],
];
const others: readonly (readonly [string, string])[] = [
  ['Qwen3-8B', 'Qwen3-4B'],
  ['Qwen3.5-35B-A3B', 'Meta Llama 3.1 8B Instruct'],
  ['Qwen3-8B', 'Qwen3.5-8B'],
  ['Q4_K_M', 'Qwen3-8B'],
];

test('one model by two names fits, and another model does not', () => {
  for (const [promised, served] of same) assert.is(nameTrouble(promised, served, ''), null, `${promised} = ${served}`);
  for (const [promised, served] of others) {
    const trouble = nameTrouble(promised, served, '') ?? '';
    assert.match(trouble, promised);
    assert.match(trouble, served);
    assert.match(trouble, 'AUXOT_MODEL');
  }
});

test('the name of the file counts as well, and no name is no trouble', () => {
  assert.is(nameTrouble('Qwen3-8B', 'checkpoint 12', '/models/Qwen3-8B-Q8_0.gguf'), null);
  assert.is(nameTrouble('', 'Qwen3-8B', ''), null);
  assert.is(nameTrouble('Qwen3-8B', '', ''), null);
});

test.run();
