/** `auxot-router models refresh` against a hub on this machine. */
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type FakeHub, fakeHub } from '../actors/models/hub.fake.ts';
import { quantizationOf } from '../actors/models/refresh.ts';
import { catalogue } from '../registry/catalogue.ts';
import { openRegistry } from '../registry/load.ts';
import { resolve } from '../registry/resolve.ts';
import { refreshModels } from './models-refresh.ts';

const commit = 'c0ffee0123456789c0ffee0123456789c0ffee01';
const sum = (salt: number): string => salt.toString(16).padStart(64, '0');

/** The repositories of the catalogue, as a hub would list them. */
function listings(names: readonly string[]) {
  const trees = new Map<string, { path: string; bytes: number }[]>();
  for (const { name, repository, file } of catalogue()) {
    if (!names.includes(name)) continue;
    trees.set(repository, [...(trees.get(repository) ?? []), { path: file, bytes: 1000 + file.length }]);
  }
  return trees;
}

interface World {
  readonly hub: FakeHub;
  readonly trees: ReturnType<typeof listings>;
  readonly file: string;
  /** Answers instead, when it returns true. */
  lever: (path: string, response: ServerResponse) => boolean;
  run(...args: string[]): Promise<{ code: number; out: string; err: string }>;
}

async function inWorld(names: readonly string[], run: (world: World) => Promise<void>): Promise<void> {
  const hub = await fakeHub();
  const folder = mkdtempSync(join(tmpdir(), 'auxot-refresh-'));
  const file = join(folder, 'registry.json');
  const world: World = {
    hub,
    trees: listings(names),
    file,
    lever: () => false,
    async run(...args) {
      let out = '';
      let err = '';
      const streams = {
        out: { write: (text: string) => (out += text) },
        err: { write: (text: string) => (err += text) },
      };
      const env = { HF_ENDPOINT: hub.url, AUXOT_REGISTRY_FILE: file, HF_TOKEN: 'hf_secret' };
      const retry = { msMin: 2, msMax: 10, strikesMax: 3 };
      const code = await refreshModels(args, env, streams, { signal: new AbortController().signal, retry });
      return { code, out, err };
    },
  };
  hub.onGet = (request: IncomingMessage, response: ServerResponse) => {
    const path = decodeURIComponent(request.url ?? '').replace('/api/models/', '');
    if (world.lever(path, response)) return true;
    const [repository = '', rest] = path.split('/tree/');
    const tree = world.trees.get(repository);
    if (tree === undefined) response.writeHead(404).end('{}');
    else if (rest === undefined)
      response.end(JSON.stringify({ sha: commit, cardData: { license: 'some-licence' }, other: 1 }));
    else {
      assert.match(rest, commit);
      const second = rest.includes('cursor=2');
      const half = Math.ceil(tree.length / 2);
      if (!second)
        response.setHeader('link', `<${hub.url}/api/models/${repository}/tree/${commit}?cursor=2>; rel="next"`);
      const page = second ? tree.slice(half) : tree.slice(0, half);
      const items = page.map(({ path: name, bytes }, n) => ({
        type: 'file',
        path: name,
        size: 130,
        lfs: { oid: sum(n + bytes), size: bytes },
      }));
      response.end(JSON.stringify([{ type: 'directory', path: 'Q8_0' }, ...items]));
    }
    return true;
  };
  try {
    await run(world);
  } finally {
    await hub.close();
    rmSync(folder, { recursive: true, force: true });
  }
}

test('sizes, checksums and the commit are written, with what is new and what is gone; the rest stays', () =>
  inWorld(['Qwen3-8B', 'gemma-3-4b-it'], async ({ trees, file, run }) => {
    trees
      .get('unsloth/Qwen3-8B-GGUF')
      ?.push(
        { path: 'Qwen3-8B-Q4_K_M.gguf', bytes: 5000 },
        { path: 'UD/Qwen3-8B-UD-Q2_K_XL-00001-of-00002.gguf', bytes: 1 },
        { path: 'imatrix_unsloth.gguf', bytes: 7 },
        { path: '../../evil-Q8_0.gguf', bytes: 7 },
        { path: 'README.md', bytes: 7 },
      );
    const gemma = trees.get('unsloth/gemma-3-4b-it-GGUF');
    gemma?.push({ path: 'mmproj-F16.gguf', bytes: 850 }, { path: 'mmproj-BF16.gguf', bytes: 851 });
    gemma?.splice(
      gemma.findIndex(({ path }) => path.includes('Q6_K')),
      1,
    );
    const { code, out, err } = await run('Qwen3-8B', 'gemma 3 4b it');
    assert.is(code, 0, err);
    assert.match(out, 'new: qwen3-8b-q4-k-m');
    assert.match(out, 'NOT ON THE HUB: gemma-3-4b-it-q6-k');
    assert.not.match(out, 'q2-k-xl');
    assert.not.match(readFileSync(file, 'utf8'), 'evil');

    const { entries } = openRegistry(file);
    assert.is(entries.length, catalogue().length + 1);
    const entry = (asked: string) => {
      const found = resolve(entries, asked, null);
      if (!found.ok) throw new Error(`no ${asked}`);
      return found.entry;
    };
    const qwen = entry('qwen3-8b-q6-k');
    assert.is(qwen.revision, commit);
    assert.is(qwen.license, 'apache-2.0');
    assert.equal(
      qwen.files?.map(({ path, bytes }) => [path, bytes]),
      [['Qwen3-8B-Q6_K.gguf', 1018]],
    );
    assert.match(qwen.files?.[0]?.sha256 ?? '', /^[0-9a-f]{64}$/);
    assert.is(entry('Qwen3-8B:Q4_K_M').file, 'Qwen3-8B-Q4_K_M.gguf');
    assert.is(entry('Qwen3-8B').quantization, 'Q4_K_S');
    assert.equal(
      entry('gemma-3-4b-it:Q8_0').files?.map(({ path }) => path),
      ['gemma-3-4b-it-Q8_0.gguf', 'mmproj-F16.gguf'],
    );
    assert.is(entry('gemma-3-4b-it:Q6_K').files, null);
    assert.is(entry('Qwen3-14B').files, null);
  }));

test('all parts of a split model are sized', () =>
  inWorld(['Llama-3.3-70B'], async ({ trees, file, run }) => {
    const tree = trees.get('unsloth/Llama-3.3-70B-Instruct-GGUF') ?? [];
    for (const { path } of [...tree])
      if (path.includes('-00001-of-00002')) tree.push({ path: path.replace('-00001-', '-00002-'), bytes: 77 });
    assert.is((await run('Llama-3.3-70B')).code, 0);
    const found = resolve(openRegistry(file).entries, 'Llama-3.3-70B', 'Q8_0');
    assert.is(found.ok && found.entry.files?.length, 2);
  }));

test('a hub that fails in the middle: what is known is kept, and the same command goes on', () =>
  inWorld(['Qwen3-8B', 'Qwen3-4B', 'Qwen3-14B'], async world => {
    const { hub, file, run } = world;
    const names = ['Qwen3-8B', 'Qwen3-4B', 'Qwen3-14B', '--at-once=1'];
    world.lever = (path, response) => {
      if (!path.startsWith('unsloth/Qwen3-8B-')) return false;
      response.writeHead(503).end();
      return true;
    };
    const first = await run(...names);
    assert.is(first.code, 1);
    assert.match(first.err, 'goes on where this one was');
    assert.not.ok(existsSync(file));
    world.lever = () => false;
    hub.requests.length = 0;
    const second = await run(...names);
    assert.is(second.code, 0, second.err);
    assert.not.ok(
      hub.requests.some(({ path }) => path.includes('Qwen3-14B')),
      'asked for twice',
    );
    assert.is(openRegistry(file).entries.filter(({ revision }) => revision === commit).length, 21);
    assert.not.ok(existsSync(`${file}.part`));
    // Again, over what is there: the same.
    const before = openRegistry(file).entries;
    assert.is((await run('Qwen3-8B')).code, 0);
    assert.equal(openRegistry(file).entries, before);
  }));

test('a repository that is refused is named, the others are written, and the status says that it is not all', () =>
  inWorld(['Qwen3-8B'], async world => {
    const { file, run } = world;
    let busy = 2;
    world.lever = (_path, response) => {
      if (busy-- <= 0) return false;
      response.writeHead(429, { 'retry-after': '0' }).end();
      return true;
    };
    const { code, err } = await run('Qwen3-8B', 'Qwen3-4B');
    assert.is(code, 1);
    assert.match(err, 'unsloth/Qwen3-4B-GGUF');
    assert.not.match(err, 'hf_secret');
    assert.is(openRegistry(file).entries.filter(({ revision }) => revision === commit).length, 7);
  }));

test('nonsense from a hub is refused', () =>
  inWorld(['Qwen3-8B'], async world => {
    for (const text of ['<html>', '{"sha":"../.."}', '[]']) {
      world.lever = (_path, response) => {
        response.end(text);
        return true;
      };
      const { code, err } = await world.run('Qwen3-8B');
      assert.is(code, 1);
      assert.match(err, 'unsloth/Qwen3-8B-GGUF');
      assert.not.ok(existsSync(world.file));
    }
  }));

test('quantizations are read from names', () => {
  const cases = {
    'a/Model-8B-Q4_K_M.gguf': 'Q4_K_M',
    'Model-UD-IQ2_XXS.gguf': 'UD-IQ2_XXS',
    'Model-BF16-00001-of-00003.gguf': 'BF16',
    'DeepSeek-R1.Q8_0-00001-of-00015.gguf': 'Q8_0',
    'model-q8_0.gguf': 'Q8_0',
    'gpt-oss-20b-MXFP4.gguf': 'MXFP4',
    'Model-BF16-00002-of-00003.gguf': null,
    'mmproj-F16.gguf': null,
    'Model-8B.gguf': null,
    'Q8_0.txt': null,
  };
  for (const [path, quantization] of Object.entries(cases)) assert.is(quantizationOf(path), quantization, path);
});

test.run();
