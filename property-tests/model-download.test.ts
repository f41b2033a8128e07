/** A router that names a model, a worker that has no file, and a hub: the caller gets an answer of that model. */
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type FakeHub, fakeHub } from '../actors/models/hub.fake.ts';
import { demoModel } from '../registry/load.ts';
import { apiKey, gpuKey, runProgram, startRouter, waitUntil, within } from './processes.ts';

const weights = readFileSync(demoModel().path);
const registry = {
  version: '1.0.0',
  models: [
    {
      id: 'small-talker-f32',
      model_name: 'Small-Talker',
      huggingface_id: 'me/Small-Talker-GGUF',
      quantization: 'F32',
      family: 'Dense',
      parameters: '1M',
      default_context_size: 2048,
      max_context_size: 2048,
      capabilities: ['chat', 'tools'],
      file_name: 'small-talker-00001-of-00001.gguf',
    },
  ],
};
const path = 'me/Small-Talker-GGUF/small-talker-00001-of-00001.gguf';

async function inWorld(run: (hub: FakeHub, folder: string, registryFile: string) => Promise<void>): Promise<void> {
  const hub = await fakeHub({ [path]: weights });
  const folder = mkdtempSync(join(tmpdir(), 'auxot-download-'));
  const registryFile = join(folder, 'registry.json');
  writeFileSync(registryFile, JSON.stringify(registry));
  try {
    await run(hub, folder, registryFile);
  } finally {
    await hub.close();
    rmSync(folder, { recursive: true, force: true });
  }
}

test('a model of an own registry, on router and worker: stopped in the middle of its download, the next worker goes on (G25)', () =>
  inWorld(async (hub, folder, AUXOT_REGISTRY_FILE) => {
    const router = await startRouter({ AUXOT_MODEL: 'small talker', AUXOT_REGISTRY_FILE });
    const env = {
      AUXOT_GPU_KEY: gpuKey,
      AUXOT_ROUTER_URL: router.wsUrl,
      AUXOT_REGISTRY_FILE,
      AUXOT_MODELS_DIR: join(folder, 'models'),
      HF_ENDPOINT: hub.url,
      HF_TOKEN: 'hf_secret',
    };
    const asks = (route: string, body?: object): Promise<Response> =>
      fetch(`${router.url}/v1/${route}`, {
        headers: { authorization: `Bearer ${apiKey}`, 'content-type': 'application/json' },
        ...(body === undefined ? {} : { method: 'POST', body: JSON.stringify(body) }),
      });
    try {
      hub.bytesPerSecond = 400_000;
      const first = runProgram('worker', [], env, folder);
      await waitUntil(() => hub.bytesServed > 500_000, 30_000, first.output);
      first.kill('SIGINT');
      const { status } = await within(15_000, first.ended, 'the worker did not stop');
      assert.is(status, 0, first.output());
      const left = readdirSync(join(folder, 'models', 'me_Small-Talker-GGUF'));
      assert.ok(left.some(name => name.endsWith('.part')) && !left.some(name => name.endsWith('.lock')), left.join());

      const before = hub.bytesServed;
      hub.bytesPerSecond = 0;
      const second = runProgram('worker', [], env, folder);
      await waitUntil(() => /engine is ready/.test(second.output()), 60_000, second.output);
      const answer = await asks('chat/completions', {
        model: 'Small-Talker',
        temperature: 0,
        messages: [{ role: 'user', content: 'hello!' }],
      });
      const { choices } = (await answer.json()) as { choices: { message: { content: string } }[] };
      assert.is(choices[0]?.message.content, "Hello! I am Auxot's tiny demo model. How can I help?", second.output());
      assert.ok(hub.bytesServed - before < weights.length - 300_000, `${hub.bytesServed - before} bytes came again`);
      assert.ok(existsSync(join(folder, 'models', 'me_Small-Talker-GGUF', 'small-talker-00001-of-00001.gguf')));
      assert.not.match(first.output() + second.output() + router.output(), 'hf_secret');

      const { data } = (await (await asks('models')).json()) as { data: Record<string, unknown>[] };
      const [listed] = data;
      assert.equal(
        [listed?.id, listed?.max_context_length, listed?.capabilities],
        ['Small-Talker', 2048, ['chat', 'tools']],
      );
      second.kill('SIGTERM');
      await within(15_000, second.ended, 'the worker did not stop');
    } finally {
      await router.stop();
    }
  }));

test('a worker that cannot get the model ends with 1 and says why', () =>
  inWorld(async (hub, folder, AUXOT_REGISTRY_FILE) => {
    const router = await startRouter({ AUXOT_MODEL: 'Small-Talker', AUXOT_REGISTRY_FILE });
    const env = {
      AUXOT_GPU_KEY: gpuKey,
      AUXOT_ROUTER_URL: router.wsUrl,
      AUXOT_MODELS_DIR: join(folder, 'models'),
      HF_ENDPOINT: hub.url,
    };
    try {
      for (const [more, word] of [
        [{}, 'AUXOT_REGISTRY_FILE'],
        [{ AUXOT_REGISTRY_FILE, AUXOT_OFFLINE: 'true' }, 'AUXOT_OFFLINE'],
      ] as const) {
        const worker = runProgram('worker', [], { ...env, ...more }, folder);
        assert.is((await within(30_000, worker.ended, 'the worker did not end')).status, 1);
        assert.match(worker.output(), word);
      }
      assert.is(hub.requests.length, 0);
    } finally {
      await router.stop();
    }
  }));

test.run();
