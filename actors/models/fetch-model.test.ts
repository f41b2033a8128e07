/** Downloads from a hub on this machine, with everything going wrong that goes wrong with real ones. */
import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { catalogue } from '../../registry/catalogue.ts';
import type { Entry } from '../../registry/entry.ts';
import { type FetchedModel, type FetchProgress, fetchModel, type ModelSource } from './fetch-model.ts';
import { type FakeHub, fakeHub, madeUp, send, sha256 } from './hub.fake.ts';
import { ModelError } from './model-error.ts';

const [base] = catalogue();
if (base === undefined) throw new Error('the catalogue is empty');
const model = (change: Partial<Entry> = {}): Entry => ({
  ...base,
  name: 'Tiny',
  repository: 'me/Tiny-GGUF',
  quantization: 'Q4_K_S',
  file: 'Tiny-Q4_K_S.gguf',
  projector: null,
  files: null,
  ...change,
});
const path = 'me/Tiny-GGUF/Tiny-Q4_K_S.gguf';
const weights = madeUp(3_000_000);

interface World {
  readonly hub: FakeHub;
  readonly folder: string;
  readonly target: string;
  readonly progress: FetchProgress[];
  readonly trouble: string[];
  fetch(entry?: Entry, source?: Partial<ModelSource>, signal?: AbortSignal): Promise<FetchedModel>;
  refusal(entry?: Entry, source?: Partial<ModelSource>): Promise<ModelError>;
}

async function inWorld(run: (world: World) => Promise<void>, files = { [path]: weights }): Promise<void> {
  const hub = await fakeHub(files);
  const folder = mkdtempSync(join(tmpdir(), 'auxot-models-'));
  const progress: FetchProgress[] = [];
  const trouble: string[] = [];
  const fetch: World['fetch'] = (entry = model(), source = {}, signal = new AbortController().signal) =>
    fetchModel(
      entry,
      {
        folder,
        hub: { endpoint: hub.url, token: null, idleMs: 1000, ...source.hub },
        offline: false,
        connections: 4,
        ...source,
      },
      { signal, onProgress: step => progress.push(step), onTrouble: message => trouble.push(message) },
      { retry: { msMin: 5, msMax: 40, strikesMax: 4 }, pieceBytes: 500_000, random: () => 0.5 },
    );
  try {
    await run({
      hub,
      folder,
      target: join(folder, 'me_Tiny-GGUF', 'Tiny-Q4_K_S.gguf'),
      progress,
      trouble,
      fetch,
      async refusal(entry, source) {
        try {
          await fetch(entry, source);
        } catch (error) {
          if (error instanceof ModelError) return error;
          throw error;
        }
        throw new Error('it was fetched');
      },
    });
  } finally {
    await hub.close();
    rmSync(folder, { recursive: true, force: true });
  }
}

const isWhole = (target: string, bytes = weights): void => {
  assert.is(sha256(readFileSync(target)), sha256(bytes));
  for (const left of ['.part', '.part.json', '.lock']) assert.not.ok(existsSync(target + left), `${left} is left`);
};

test('a file is fetched in pieces, once, verified, and not asked for again', () =>
  inWorld(async ({ hub, target, fetch, progress }) => {
    assert.equal(await fetch(), { modelPath: target, projectorPath: null });
    isWhole(target);
    assert.is(hub.bytesServed, weights.length);
    assert.is(hub.requests.filter(({ range }) => range !== null).length, 6);
    assert.equal(progress.at(-1), { phase: 'downloading', doneBytes: 3_000_000, totalBytes: 3_000_000, files: 1 });
    assert.ok(progress.some(({ phase }) => phase === 'verifying'));
    const asked = hub.requests.length;
    await fetch();
    assert.is(hub.requests.length, asked);
  }));

test('split models and their projector: every file in its place, the first part is the answer', () => {
  const parts = {
    'me/Tiny-GGUF/Q8_0/T-00001-of-00002.gguf': madeUp(700_000, 2),
    'me/Tiny-GGUF/Q8_0/T-00002-of-00002.gguf': madeUp(600_000, 3),
  };
  const all = { ...parts, 'me/Tiny-GGUF/mmproj-F16.gguf': madeUp(50_000, 4) };
  return inWorld(async ({ hub, folder, fetch }) => {
    const got = await fetch(model({ file: 'Q8_0/T-00001-of-00002.gguf', projector: 'mmproj-F16.gguf' }));
    assert.is(got.modelPath, join(folder, 'me_Tiny-GGUF/Q8_0/T-00001-of-00002.gguf'));
    assert.is(got.projectorPath, join(folder, 'me_Tiny-GGUF/mmproj-F16.gguf'));
    for (const [key, bytes] of Object.entries(all)) isWhole(join(folder, key.replace('me/', 'me_')), bytes);
    assert.is(hub.bytesServed, 1_350_000);
  }, all as never);
});

test('a file that the reference has put there is taken as it is, and its half file is gone on with', () =>
  inWorld(async ({ hub, target, fetch }) => {
    mkdirSync(dirname(target), { recursive: true });
    writeFileSync(target, 'from an earlier program');
    await fetch();
    assert.is(hub.requests.length, 0);
    rmSync(target);
    writeFileSync(`${target}.download`, weights.subarray(0, 1_000_000));
    await fetch();
    isWhole(target);
    assert.is(hub.bytesServed, 2_000_000);
  }));

test('half a file that holds something else is found out by the checksum and fetched again', () =>
  inWorld(async ({ target, fetch, trouble }) => {
    mkdirSync(dirname(target), { recursive: true });
    writeFileSync(`${target}.download`, madeUp(1_000_000, 99));
    await fetch();
    isWhole(target);
    assert.match(trouble.join(), 'SHA-256');
  }));

test('offline: what is there is used, what is not is named', () =>
  inWorld(async ({ hub, target, fetch, refusal }) => {
    const error = await refusal(undefined, { offline: true });
    assert.is(error.code, 'offline');
    assert.match(error.message, target);
    mkdirSync(dirname(target), { recursive: true });
    writeFileSync(target, 'x');
    assert.is((await fetch(undefined, { offline: true })).modelPath, target);
    assert.is(hub.requests.length, 0);
  }));

test('connections that drop at any place cost only what was not written yet (G7)', () =>
  inWorld(async ({ hub, target, fetch, trouble }) => {
    let drops = 0;
    hub.onGet = (request, response, file) => {
      if (drops >= 8 || file === undefined) return false;
      drops += 1;
      const [, from = '0', to = '0'] = /bytes=(\d+)-(\d+)/.exec(request.headers.range ?? '') ?? [];
      const body = file.bytes.subarray(Number(from), Number(to) + 1);
      response.writeHead(206, {
        etag: `"${sha256(file.bytes)}"`,
        'content-length': String(body.length),
        'content-range': `bytes ${from}-${to}/${file.bytes.length}`,
      });
      const cut = Math.floor((body.length * drops) / 10);
      hub.bytesServed += cut;
      response.write(body.subarray(0, cut), () => setTimeout(() => response.destroy(), 20));
      return true;
    };
    await fetch();
    isWhole(target);
    assert.is(hub.bytesServed, weights.length);
    assert.ok(trouble.length >= 8);
  }));

test('an answer that is silent is broken off and asked for again', () =>
  inWorld(async ({ hub, target, fetch, trouble }) => {
    let silent = 0;
    hub.onGet = (_request, response, file) => {
      if (silent++ > 0 || file === undefined) return false;
      response.writeHead(206, {
        etag: `"${sha256(file.bytes)}"`,
        'content-length': '500000',
        'content-range': 'bytes 0-499999/3000000',
      });
      response.write(file.bytes.subarray(0, 10));
      return true;
    };
    await fetch(undefined, { hub: { endpoint: hub.url, token: null, idleMs: 300 } });
    isWhole(target);
    assert.ok(trouble.length > 0);
  }));

test('corrupt bytes are found, fetched again once, and then given up (G7)', () =>
  inWorld(async ({ hub, target, fetch, refusal, trouble }) => {
    const good = hub.files.get(path);
    if (good === undefined) throw new Error('no file');
    const bad = Buffer.from(weights);
    bad[1_234_567] = (bad[1_234_567] ?? 0) ^ 1;
    let times = 1;
    hub.onGet = (request, response) => {
      const [, from = '0', to = '0'] = /bytes=(\d+)-(\d+)/.exec(request.headers.range ?? '') ?? [];
      if (from !== '1000000' || times-- <= 0) return false;
      const body = bad.subarray(Number(from), Number(to) + 1);
      response.writeHead(206, {
        etag: `"${sha256(weights)}"`,
        'content-length': String(body.length),
        'content-range': `bytes ${from}-${to}/${weights.length}`,
      });
      void send(hub, response, body);
      return true;
    };
    await fetch();
    isWhole(target);
    assert.match(trouble.join(), 'SHA-256');
    rmSync(target);
    times = 99;
    assert.is((await refusal()).code, 'file_corrupt');
    assert.not.ok(existsSync(target));
  }));

test('a server that ignores ranges is read from the beginning, over one connection', () =>
  inWorld(async ({ hub, target, fetch }) => {
    hub.ignoreRange = true;
    await fetch();
    isWhole(target);
  }));

test('a file that changes on the hub in between is fetched anew, never joined, whatever the server heeds', () =>
  inWorld(async ({ hub, target, fetch, trouble }) => {
    for (const linked of [true, false])
      for (const [ignoreIfRange, newer] of [
        [false, madeUp(2_800_000, 7)],
        [true, madeUp(2_800_000, 7)],
        [true, madeUp(3_000_000, 8)],
      ] as const) {
        rmSync(target, { force: true });
        hub.files.set(path, { bytes: weights, linked });
        hub.ignoreIfRange = ignoreIfRange;
        let asked = 0;
        hub.onGet = () => {
          if (asked++ === 3) hub.files.set(path, { bytes: newer, linked });
          return false;
        };
        trouble.length = 0;
        await fetch();
        isWhole(target, newer);
        assert.match(trouble.join(), 'has changed');
      }
  }));

for (const linked of [true, false])
  test(`a change between two runs is seen as well, ${linked ? 'with' : 'without'} a checksum`, () =>
    inWorld(async ({ hub, target, fetch, trouble }) => {
      hub.files.set(path, { bytes: weights, linked });
      const stop = new AbortController();
      hub.bytesPerSecond = 1_000_000;
      const running = fetch(undefined, {}, stop.signal).catch(error => error);
      await until(() => hub.bytesServed > 800_000);
      stop.abort();
      assert.is((await running).code, 'stopped');
      assert.ok(existsSync(`${target}.part.json`));
      const newer = madeUp(3_000_000, 8);
      hub.files.set(path, { bytes: newer, linked });
      hub.bytesPerSecond = 0;
      await fetch();
      isWhole(target, newer);
      assert.equal(trouble, [], 'it is known before anything is asked for');
    }));

test('a stopped download goes on where it was', () =>
  inWorld(async ({ hub, target, fetch }) => {
    const stop = new AbortController();
    hub.bytesPerSecond = 2_000_000;
    const running = fetch(undefined, {}, stop.signal).catch(error => error);
    await until(() => hub.bytesServed > 1_500_000);
    stop.abort();
    assert.is((await running).code, 'stopped');
    assert.not.ok(existsSync(target));
    assert.not.ok(existsSync(`${target}.lock`));
    hub.bytesPerSecond = 0;
    await fetch();
    isWhole(target);
    assert.ok(hub.bytesServed < weights.length * 1.2, `${hub.bytesServed} bytes were served`);
  }));

test('the token goes to the hub and to nobody it redirects to, and pieces are fetched from there', async () => {
  const elsewhere = await fakeHub({ [path]: weights });
  try {
    await inWorld(async ({ hub, target, fetch, trouble }) => {
      hub.cdn = elsewhere.url;
      await fetch(undefined, { hub: { endpoint: hub.url, token: 'hf_secret', idleMs: 1000 } });
      isWhole(target);
      assert.ok(hub.requests.every(({ authorization }) => authorization === 'Bearer hf_secret'));
      assert.ok(
        elsewhere.requests.length > 0 && elsewhere.requests.every(({ authorization }) => authorization === null),
      );
      assert.is(elsewhere.bytesServed, weights.length);
      assert.not.match(trouble.join() + readFileSync(`${target}.fetched.json`, 'utf8'), 'hf_secret');
    });
  } finally {
    await elsewhere.close();
  }
});

test('refusals say what to do, and are not tried again', () =>
  inWorld(async ({ hub, refusal }) => {
    for (const [status, code, word] of [
      [401, 'hub_denied', 'HF_TOKEN'],
      [403, 'hub_denied', 'HF_TOKEN'],
      [404, 'hub_not_found', 'Tiny-Q4_K_S.gguf'],
    ] as const) {
      hub.requests.length = 0;
      hub.onHead = (_request, response) => {
        response.writeHead(status).end();
        return true;
      };
      const error = await refusal(undefined, { hub: { endpoint: hub.url, token: 'hf_secret', idleMs: 1000 } });
      assert.equal([error.code, error.retryable], [code, false]);
      assert.match(error.message, word);
      assert.not.match(error.message, 'hf_secret');
      assert.is(hub.requests.length, 1);
    }
  }));

test('an overloaded hub is waited for, as long as it says, and given up in the end', () =>
  inWorld(async ({ hub, target, fetch, refusal, trouble }) => {
    let times = 2;
    hub.onGet = (_request, response) => {
      if (times-- <= 0) return false;
      response.writeHead(times === 1 ? 429 : 503, { 'retry-after': '0' }).end('later');
      return true;
    };
    await fetch();
    isWhole(target);
    rmSync(target);
    times = 999;
    const error = await refusal();
    assert.is(error.code, 'hub_trouble');
    assert.match(error.message, 'given up after 4 tries');
    assert.match(trouble.join(), '429');
  }));

test('a hub that knows no HEAD is asked for a byte', () =>
  inWorld(async ({ hub, target, fetch }) => {
    hub.onHead = (_request, response) => {
      response.writeHead(405).end();
      return true;
    };
    await fetch();
    isWhole(target);
  }));

test('what the registry knows is held against what the hub has', () =>
  inWorld(async ({ refusal, fetch, target }) => {
    const file = { path: 'Tiny-Q4_K_S.gguf', bytes: weights.length, sha256: sha256(weights) };
    await fetch(model({ files: [file] }));
    isWhole(target);
    writeFileSync(target, weights.subarray(0, 1000)); // cut short by somebody: the size tells
    await fetch(model({ files: [file] }));
    isWhole(target);
    rmSync(target);
    const error = await refusal(model({ files: [{ ...file, sha256: 'a'.repeat(64) }] }));
    assert.is(error.code, 'registry_mismatch');
    assert.match(error.message, 'models refresh');
  }));

test('a disk that is too small is noticed before anything is fetched', () =>
  inWorld(async ({ hub, refusal }) => {
    hub.onHead = (_request, response) => {
      response.writeHead(200, { 'content-length': String(2 ** 50), etag: '"x"' }).end();
      return true;
    };
    const error = await refusal();
    assert.is(error.code, 'disk_full');
    assert.match(error.message, 'AUXOT_MODELS_DIR');
    assert.ok(hub.requests.every(({ method }) => method === 'HEAD'));
  }));

test('two at once: one fetches, the other waits and uses what came', () =>
  inWorld(async ({ hub, target, fetch, trouble }) => {
    hub.bytesPerSecond = 3_000_000;
    await Promise.all([fetch(), fetch()]);
    isWhole(target);
    assert.is(hub.bytesServed, weights.length);
    assert.match(trouble.join(), 'waiting for it');
  }));

const child = fileURLToPath(new URL('./fetch-model.child.ts', import.meta.url));

function inProcess(hub: FakeHub, folder: string) {
  const process_ = spawn(process.execPath, ['--import', import.meta.resolve('tsx'), child, hub.url, folder], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const ended = new Promise<number | null>(resolve => process_.once('exit', code => resolve(code)));
  return { kill: () => process_.kill('SIGKILL'), ended };
}

test('killed with -9 in the middle: the next process takes the lock over and fetches what is missing', () =>
  inWorld(async ({ hub, folder, target }) => {
    hub.bytesPerSecond = 250_000;
    const first = inProcess(hub, folder);
    await until(() => hub.bytesServed > 1_500_000);
    first.kill();
    await first.ended;
    assert.ok(existsSync(`${target}.lock`), 'the dead process left its lock');
    const before = hub.bytesServed;
    hub.bytesPerSecond = 0;
    assert.is(await inProcess(hub, folder).ended, 0);
    isWhole(target);
    assert.ok(hub.bytesServed - before < weights.length - 600_000, `${hub.bytesServed - before} bytes came again`);
    assert.ok(hub.bytesServed < weights.length * 1.5);
    assert.is(statSync(target).size, weights.length);
  }));

test('two processes at once fetch every byte once', () =>
  inWorld(async ({ hub, folder, target }) => {
    hub.bytesPerSecond = 1_000_000;
    const codes = await Promise.all([inProcess(hub, folder).ended, inProcess(hub, folder).ended]);
    assert.equal(codes, [0, 0]);
    isWhole(target);
    assert.is(hub.bytesServed, weights.length);
  }));

async function until(isSo: () => boolean): Promise<void> {
  const end = Date.now() + 15_000;
  while (!isSo()) {
    if (Date.now() > end) throw new Error('it did not come to that within 15 s');
    await new Promise(resolve => setTimeout(resolve, 5));
  }
}

test.run();
