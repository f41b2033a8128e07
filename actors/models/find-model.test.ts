import { tmpdir } from 'node:os';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { demoModel, openRegistry } from '../../registry/load.ts';
import { findModel } from './find-model.ts';
import { ModelError } from './model-error.ts';

const source = {
  folder: tmpdir(),
  hub: { endpoint: 'http://127.0.0.1:9', token: null, idleMs: 1000 },
  offline: true,
  connections: 1,
};
const hooks = { signal: new AbortController().signal, onProgress: () => undefined, onTrouble: () => undefined };
const find = async (name: string): Promise<string> => {
  const wanted = { name, quantization: null, withProjector: false };
  return (await findModel(wanted, openRegistry(null), source, hooks)).modelPath;
};

async function refusal(name: string): Promise<string> {
  try {
    await find(name);
  } catch (error) {
    if (error instanceof ModelError) return error.message;
    throw error;
  }
  throw new Error('it was found');
}

test('the demo model is found beside the program', async () => {
  assert.is(await find('auxot-demo'), demoModel().path);
});

test('a model that makes images is refused in one sentence, and nothing of it is fetched (G21)', async () => {
  assert.is(await refusal('FLUX.1-schnell'), 'FLUX.1-schnell makes images, which this worker cannot do');
});

test('a model that nobody knows is refused with what helps, and so is one that is not here while offline', async () => {
  const unknown = await refusal('Quen3-8B');
  assert.match(unknown, 'Qwen3-8B');
  assert.match(unknown, 'AUXOT_REGISTRY_FILE');
  assert.match(await refusal('Qwen3-8B'), 'AUXOT_OFFLINE');
});

test.run();
