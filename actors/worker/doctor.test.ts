import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { Policy } from '../../protocol/worker-frames.parts.ts';
import type { MachineFacts } from '../engine/engine.ts';
import { type Check, type DoctorOptions, examine, isBroken, table } from './doctor.ts';

const GiB = 2 ** 30;
const policy: Policy = {
  model_name: 'm',
  quantization: 'Q4',
  context_size: 4096,
  max_parallelism: 2,
  capabilities: [],
};
const facts: MachineFacts = {
  release: 'b1',
  gpu: 'cuda',
  gpuNames: ['RTX'],
  vram: { totalBytes: 24 * GiB, freeBytes: 20 * GiB },
  ram: { totalBytes: 32 * GiB, freeBytes: 16 * GiB },
  limit: null,
  fit: { ok: true, message: 'all of it' },
};
const well: DoctorOptions = {
  routerUrl: 'ws://r:1/ws',
  askHealth: async () => ({ status: 200, ms: 3, dates: { theirs: 1000, ours: 1700 } }),
  greet: async () => ({ kind: 'taken', version: 2, policy }),
  probe: async () => facts,
  findModel: async () => ({ kind: 'here', path: '/m.gguf' }),
  modelsFolder: '/models',
  freeBytes: async () => 50 * GiB,
  findProgram: async () => 'claude 2',
};

const found = async (more: Partial<DoctorOptions>): Promise<Readonly<Record<string, Check | undefined>>> => {
  const checks = await examine({ ...well, ...more });
  return Object.fromEntries(checks.map(check => [check.name, check]));
};

test('all is well: every check is ok, and each has its line', async () => {
  const checks = await examine(well);
  assert.equal(
    checks.map(({ name, state }) => `${name} ${state}`),
    ['router ok', 'key ok', 'clock ok', 'gpu ok', 'memory ok', 'model ok', 'disk ok'],
  );
  assert.not.ok(isBroken(checks));
  assert.is(table(checks).split('\n').length, checks.length + 1);
});

test('a missing key is one finding among the others, whether the router answers or not', async () => {
  const of = await found({ greet: null });
  assert.equal([of.router?.state, of.key?.state, of.clock?.state, of.gpu?.state], ['ok', 'broken', 'ok', 'ok']);
  const away = await found({ greet: null, askHealth: async () => Promise.reject(new Error('ECONNREFUSED')) });
  assert.equal([away.router?.state, away.key?.state, away.memory?.state], ['broken', 'broken', 'ok']);
});

test('a clock that is off is a warning, far off is broken, and the direction is said', async () => {
  const at = async (ours: number) =>
    (await found({ askHealth: async () => ({ status: 200, ms: 1, dates: { theirs: 1_000_000, ours } }) })).clock;
  assert.is((await at(1_000_500))?.state, 'ok');
  assert.is((await at(1_002_500))?.state, 'ok');
  const ahead = await at(1_010_500);
  assert.equal([ahead?.state, ahead?.message], ['warning', '10.0 s ahead of the router’s']);
  const behind = await at(870_500);
  assert.equal([behind?.state, behind?.message], ['broken', '130.0 s behind the router’s']);
  const none = await found({ askHealth: async () => ({ status: 200, ms: 1, dates: null }) });
  assert.is(none.clock?.state, 'skipped');
});

test('a router that is away, refuses the key, or takes no worker', async () => {
  const away = await found({
    askHealth: async () => Promise.reject(new TypeError('fetch failed', { cause: new Error('connect ECONNREFUSED') })),
    findModel: async () => ({ kind: 'unknown', reason: 'not asked' }),
  });
  assert.equal([away.router?.state, away.key?.state, away.model?.state], ['broken', 'skipped', 'skipped']);
  assert.match(away.router?.message ?? '', 'ECONNREFUSED');
  const refused = await found({ greet: async () => ({ kind: 'refused', reason: 'invalid GPU key' }) });
  assert.equal([refused.router?.state, refused.key?.state], ['ok', 'broken']);
  const closed = await found({ greet: async () => ({ kind: 'failed', reason: 'closed with 1006' }) });
  assert.equal([closed.router?.state, closed.key?.state], ['broken', 'skipped']);
  const ill = await found({ askHealth: async () => ({ status: 503, ms: 1, dates: null }) });
  assert.is(ill.router?.state, 'warning');
});

test('each of several routers is asked', async () => {
  const asked: string[] = [];
  const checks = await examine({
    ...well,
    routerUrl: 'ws://a:1/ws,wss://b/ws',
    greet: async url => {
      asked.push(url);
      return { kind: 'taken', version: 2, policy };
    },
  });
  assert.equal(asked, ['ws://a:1/ws', 'wss://b/ws']);
  assert.is(checks.filter(({ name }) => name === 'key').length, 2);
});

test('a model that does not fit, is broken, or is not there yet', async () => {
  const large = await found({ probe: async () => ({ ...facts, fit: { ok: false, message: 'does not fit' } }) });
  assert.equal([large.model?.state, large.gpu?.state], ['broken', 'ok']);
  const garbage = await found({
    probe: async path => (path === null ? { ...facts, fit: null } : Promise.reject(new Error('not a GGUF file'))),
  });
  assert.equal([garbage.model?.state, garbage.gpu?.state, garbage.memory?.state], ['broken', 'ok', 'ok']);
  assert.match(garbage.model?.message ?? '', 'not a GGUF file');
  const away = { kind: 'to fetch', name: 'Big', fileBytes: 40 * GiB, memoryBytes: 45 * GiB } as const;
  const fetched = await found({ findModel: async () => away });
  assert.equal([fetched.model?.state, fetched.disk?.state], ['warning', 'ok']);
  assert.match(fetched.model?.message ?? '', 'needs about 45.0 GB of memory, and 36.0 GB are free');
  const full = await found({ findModel: async () => away, freeBytes: async () => 40 * GiB });
  assert.is(full.disk?.state, 'broken');
});

test('an engine that cannot start breaks its check and nothing else', async () => {
  const checks = await found({ probe: async () => Promise.reject(new Error('SIGILL')) });
  assert.equal(
    [checks.gpu?.state, checks.memory?.state, checks.model?.state, checks.disk?.state],
    ['broken', 'skipped', 'skipped', 'ok'],
  );
});

test('the limit of a container is what counts', async () => {
  const limit = { totalBytes: 4 * GiB, freeBytes: 3 * GiB };
  const { memory } = await found({ probe: async () => ({ ...facts, limit }) });
  assert.match(memory?.message ?? '', /^3\.0 of 4\.0 GB that this process may use/);
});

test('for an agent program, the program is looked at and no model', async () => {
  const greet = async () => ({ kind: 'taken', version: 2, policy: { ...policy, worker_type: 'cli' } }) as const;
  const ok = await found({ greet });
  assert.equal([ok.program?.state, ok.model], ['ok', undefined]);
  const missing = await found({ greet, findProgram: async () => Promise.reject(new Error('no claude')) });
  assert.equal([missing.program?.state, missing.program?.message], ['broken', 'no claude']);
});

test.run();
