/** `auxot-worker doctor` as people run it, against a router that is a process of its own. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { Check } from '../actors/worker/doctor.ts';
import { freePort, gpuKey, type RouterProcess, runProgram, startRouter, within } from './processes.ts';

const folder = mkdtempSync(join(tmpdir(), 'auxot-doctor-'));
let router: RouterProcess;

test.before(async () => {
  router = await startRouter({ AUXOT_CTX_SIZE: '2048', AUXOT_MAX_PARALLEL: '2' });
});
test.after(async () => {
  await router.stop();
  rmSync(folder, { recursive: true, force: true });
});

interface Examined {
  readonly status: number | null;
  readonly ok: boolean;
  readonly of: Readonly<Record<string, Check | undefined>>;
  readonly text: string;
}

async function doctor(
  url: string,
  key: string,
  args: readonly string[],
  more: NodeJS.ProcessEnv = {},
): Promise<Examined> {
  const env = { AUXOT_GPU_KEY: key, AUXOT_ROUTER_URL: url, AUXOT_MODELS_DIR: join(folder, 'not', 'there'), ...more };
  const program = runProgram('worker', ['doctor', ...args], env, folder);
  const { status } = await within(60_000, program.ended, 'the doctor does not end');
  const text = program.output();
  if (!args.includes('--json')) return { status, ok: status === 0, of: {}, text };
  const { ok, checks } = JSON.parse(text) as { ok: boolean; checks: Check[] };
  return { status, ok, of: Object.fromEntries(checks.map(check => [check.name, check])), text };
}

test('with the demo model all that matters is well, and the exit status says so', async () => {
  const { status, ok, of } = await doctor(router.wsUrl, gpuKey, ['--model-path', 'demo', '--json']);
  assert.is(status, 0);
  assert.ok(ok);
  for (const name of ['router', 'key', 'clock', 'memory', 'model', 'disk']) assert.is(of[name]?.state, 'ok', name);
  assert.match(of.router?.message ?? '', 'worker protocol 2');
  assert.match(of.model?.message ?? '', '2 slots of 2048 tokens');
  const table = await doctor(router.wsUrl, gpuKey, ['--model-path', 'demo']);
  assert.is(table.status, 0);
  assert.match(table.text, /^ok +router +http:/m);
  assert.not.match(table.text, gpuKey);
  const { available, workers } = (await (await fetch(`${router.url}/health`)).json()) as Record<string, number>;
  assert.equal([available, workers], [0, 0]);
});

test('a wrong key is broken, and is not shown', async () => {
  const wrong = `adm_${'W'.repeat(43)}`;
  const { status, ok, of, text } = await doctor(router.wsUrl, wrong, ['--model-path=demo', '--json']);
  assert.equal([status, ok], [1, false]);
  assert.equal([of.router?.state, of.key?.state], ['ok', 'broken']);
  assert.match(of.key?.fix ?? '', 'AUXOT_GPU_KEY');
  assert.not.match(text, wrong);
});

test('without a key all that needs none is looked at, and the key is what is broken', async () => {
  const { status, of } = await doctor(router.wsUrl, '', ['--model-path', 'demo', '--json']);
  assert.is(status, 1);
  for (const name of ['router', 'clock', 'memory', 'model', 'disk']) assert.is(of[name]?.state, 'ok', name);
  assert.is(of.key?.state, 'broken');
  assert.match(of.key?.fix ?? '', 'AUXOT_GPU_KEY');
});

test('an engine that is not there is broken, and no password in an address is shown', async () => {
  const away = `127.0.0.1:${await freePort()}`;
  const secret = router.wsUrl.replace('://', '://me:hunter2@');
  const program = await doctor(secret, gpuKey, [
    '--json',
    '--model-path=demo',
    '--llama-server-path=/nope/llama-server',
  ]);
  assert.equal([program.of.router?.state, program.of.model?.state], ['ok', 'broken']);
  assert.match(program.of.model?.message ?? '', '/nope/llama-server');
  const running = await doctor(secret, gpuKey, ['--json'], { AUXOT_LLAMA_URL: `http://me:hunter2@${away}` });
  assert.is(running.of.model?.state, 'broken');
  assert.match(running.of.model?.message ?? '', /no llama-server answers at http:\/\/…@127/);
  assert.not.match(program.text + running.text, 'hunter2');
});

test('a router that is not there, and a model that nobody has heard of', async () => {
  const away = await doctor(`ws://127.0.0.1:${await freePort()}`, gpuKey, ['--json']);
  assert.is(away.status, 1);
  assert.equal([away.of.router?.state, away.of.model?.state], ['broken', 'skipped']);
  assert.match(away.of.router?.message ?? '', 'ECONNREFUSED');
  const strange = await doctor(router.wsUrl, gpuKey, ['--json']);
  assert.is(strange.status, 1);
  assert.is(strange.of.model?.state, 'broken');
  assert.match(strange.of.model?.message ?? '', 'test-model');
});

test.run();
