import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
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
const online = { ...source, offline: false };
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

test('a model that makes images is found with all that it paints with, where the reference has put it', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'auxot-paint-'));
  try {
    const put = (path: string): string => {
      mkdirSync(join(folder, dirname(path)), { recursive: true });
      writeFileSync(join(folder, path), 'x');
      return join(folder, path);
    };
    const wanted = { name: 'FLUX.2-klein-4B', quantization: null, withProjector: false, withImages: true };
    const paint = () => findModel(wanted, openRegistry(null), { ...source, folder }, hooks);
    const [entry] = openRegistry(null).entries.filter(({ name }) => name === wanted.name);
    const modelPath = put(`${entry?.repository.replace('/', '_')}/${entry?.file}`);
    const vae = put('Comfy-Org_flux2-dev/flux2-vae.safetensors');
    await paint().then(
      () => assert.unreachable(),
      (error: Error) => assert.match(error.message, 'Qwen3-4B-Q4_K_S.gguf'),
    );
    const llm = put('unsloth_Qwen3-4B-GGUF/Qwen3-4B-Q4_K_S.gguf');
    const files = { vae, llm, prediction: 'flux2_flow' };
    const found = { modelPath, projectorPath: null, paint: { model: wanted.name, parameters: '4B', files } };
    assert.equal(await paint(), found);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test('before a model is fetched that will hardly fit, the numbers are told; one that fits goes without a word', async () => {
  for (const [gigabytes, count] of [
    [2, 1],
    [64, 0],
  ] as const) {
    const stop = new AbortController();
    const told: string[] = [];
    const asked = findModel(
      { name: 'Qwen3-8B', quantization: 'Q4_K_S', withProjector: false },
      openRegistry(null),
      online,
      {
        signal: stop.signal,
        onProgress: () => undefined,
        onTrouble: message => {
          if (/GB are free/.test(message)) told.push(message);
        },
        freeBytes: async () => {
          setTimeout(() => stop.abort(), 20);
          return gigabytes * 2 ** 30;
        },
      },
    );
    await asked.then(
      () => assert.unreachable(),
      () => undefined,
    );
    assert.is(told.length, count);
    assert.match(
      told.join('') || 'none',
      count === 0 ? 'none' : /^Qwen3-8B \(Q4_K_S\) needs about \d\.\d GB of memory .*2\.0 GB are free/,
    );
  }
});

test('a model that nobody knows is refused with what helps, and so is one that is not here while offline', async () => {
  const unknown = await refusal('Quen3-8B');
  assert.match(unknown, 'Qwen3-8B');
  assert.match(unknown, 'AUXOT_REGISTRY_FILE');
  assert.match(await refusal('Qwen3-8B'), 'AUXOT_OFFLINE');
});

test.run();
