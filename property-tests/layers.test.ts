/**
 * Who may import whom. The folders are layers, and each keeps a promise only while its imports stay within the table
 * below: protocol/ can be taken alone, machines/ run anywhere, implementations behind a port trade places.
 *
 * Changing the table is a design decision. Test files may use the test libraries and Node besides.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, normalize, relative, sep } from 'node:path';
import { fileURLToPath } from 'node:url';
import { test } from 'uvu';
import * as assert from 'uvu/assert';

interface Layer {
  /** Other folders, besides its own. */
  readonly folders: readonly string[];
  /** Packages; `runtime` stands for everything that a production install has. */
  readonly packages: readonly string[] | 'runtime' | 'all';
  /** Whether Node's own modules may be used, or in which file only. */
  readonly node: boolean | string;
}

const layers: Readonly<Record<string, Layer>> = {
  protocol: { folders: [], packages: ['typebox'], node: false },
  machines: { folders: ['protocol'], packages: ['xstate'], node: false },
  registry: { folders: ['protocol'], packages: [], node: 'registry/load.ts' },
  actors: { folders: ['protocol', 'machines', 'registry'], packages: 'runtime', node: true },
  bin: { folders: ['actors', 'protocol', 'registry'], packages: [], node: true },
  'property-tests': {
    folders: ['protocol', 'machines', 'registry', 'actors', 'bench'],
    packages: 'all',
    node: true,
  },
  bench: { folders: ['protocol', 'machines', 'registry', 'actors'], packages: 'all', node: true },
};

/**
 * What a folder under actors/ shows to its siblings: types, and functions that have no second implementation. All else
 * in it is chosen by bin/, and handed in.
 */
const ports: Readonly<Record<string, readonly string[]>> = {
  config: ['diagnostics.ts', 'duration.ts', 'env.ts', 'flags.ts', 'router-config.ts', 'tools-config.ts'],
  keys: ['keys.ts', 'phc.ts', 'verifier.ts'],
  log: ['inbox.ts', 'job-log.ts', 'log-keys.ts', 'store.ts'],
  shard: ['pool.ts'],
  router: ['front.ts', 'ids.ts', 'ports.ts'],
  cli: [],
  engine: ['engine.ts', 'stop-strings.ts'],
  models: ['fetch-model.ts', 'model-error.ts'],
  edge: [],
  worker: ['backoff.ts', 'clock.ts', 'group-watchdog.ts', 'socket.ts', 'worker-link.ts'],
  tools: ['tool.ts'],
  replay: [],
  service: [],
};

const root = dirname(dirname(fileURLToPath(import.meta.url)));

/** Static, type-only, re-exporting and dynamic imports, and files named to a thread or a process by their address. */
function importsOf(source: string): string[] {
  const code = source.replace(/^\s*(?:\/\/.*|\/\*[\s\S]*?\*\/)/gm, '');
  return [
    ...code.matchAll(/^\s*(?:import|export)\b[^'"`;]*?\bfrom\s*(['"])([^'"\n]+)\1/gm),
    ...code.matchAll(/^\s*import\s*(['"])([^'"\n]+)\1/gm),
    ...code.matchAll(/\b(?:import|require)\(\s*(['"`])([^'"`\n]+)\1/g),
    ...code.matchAll(/\bnew URL\(\s*(['"`])(\.[^'"`\n]+\.ts)\1\s*,\s*import\.meta\.url/g),
  ].map(found => found[2] ?? '');
}

/** What is wrong with one import, or null. `path` and the answer use forward slashes. */
function problemOf(path: string, imported: string, runtime: ReadonlySet<string>): string | null {
  const folder = path.split('/')[0] ?? '';
  const layer = layers[folder];
  if (layer === undefined) return `${folder}/ is not in the table`;
  const isTest = /\.(?:test|contract)\.ts$/.test(path);

  if (imported.startsWith('node:'))
    return isTest || layer.node === true || layer.node === path ? null : `${folder}/ may not use ${imported} here`;
  if (!imported.startsWith('.')) {
    const name = imported.split('/', imported.startsWith('@') ? 2 : 1).join('/');
    if (isTest && ['uvu', 'fast-check'].includes(name)) return null;
    if (layer.packages === 'all') return null;
    if (layer.packages === 'runtime') return runtime.has(name) ? null : `${name} is no runtime dependency`;
    return layer.packages.includes(name) ? null : `${folder}/ may not use the package ${name}`;
  }
  const target = normalize(join(dirname(path), imported))
    .split(sep)
    .join('/');
  const [into = '', concern = '', ...file] = target.split('/');
  if (into !== folder) return layer.folders.includes(into) ? null : `${folder}/ may not import ${target}`;
  if (folder !== 'actors' || isTest || concern === path.split('/')[1]) return null;
  return ports[concern]?.includes(file.join('/')) ? null : `${target} is no port file of actors/${concern}`;
}

const packageJson = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { dependencies: object };
const runtimePackages = new Set(Object.keys(packageJson.dependencies));

/** Every file but this one, whose samples would count as imports. */
const sources = Object.keys(layers)
  .filter(folder => existsSync(join(root, folder)))
  .flatMap(folder =>
    readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
      .filter(name => name.endsWith('.ts'))
      .map(name =>
        relative(root, join(root, folder, name))
          .split(sep)
          .join('/'),
      )
      .filter(path => path !== 'property-tests/layers.test.ts'),
  );

test('every import keeps to the layers', () => {
  const problems: string[] = [];
  let imports = 0;
  for (const path of sources)
    for (const imported of importsOf(readFileSync(join(root, path), 'utf8'))) {
      imports++;
      const problem = problemOf(path, imported, runtimePackages);
      if (problem !== null) problems.push(`${path}: ${problem}`);
    }
  assert.ok(imports > sources.length / 2, `only ${imports} imports were found in ${sources.length} files`);
  assert.is(problems.join('\n'), '');
});

test('every import of an own file names a file that is there, with its extension', () => {
  const problems: string[] = [];
  for (const path of sources)
    for (const imported of importsOf(readFileSync(join(root, path), 'utf8')))
      if (imported.startsWith('.') && !existsSync(join(root, dirname(path), imported)))
        problems.push(`${path}: there is no ${imported}`);
  assert.is(problems.join('\n'), '');
});

test('every folder under actors/ is in the list of ports, and every port file exists', () => {
  const folders = readdirSync(join(root, 'actors'), { withFileTypes: true }).filter(entry => entry.isDirectory());
  for (const { name } of folders) assert.ok(Object.hasOwn(ports, name), `actors/${name} is not in the list of ports`);
  for (const [folder, files] of Object.entries(ports))
    for (const file of files) assert.ok(existsSync(join(root, 'actors', folder, file)), `no actors/${folder}/${file}`);
});

test('the reader of imports sees every way to import, and no comment', () => {
  const source = `/** import x from 'no1'; */
// import x from 'no2';
import a from 'p1';
import type { B } from "p2";
import {
  c,
  type D,
} from './p3.ts';
import 'p4';
export { e } from './p5.ts';
export * from './p6.ts';
const f = await import('./p7.ts');
const g = new URL('./p8.ts', import.meta.url);
const from = 'no3';
export const h = { from: 'no4' };
`;
  assert.equal(importsOf(source).sort(), ['./p3.ts', './p5.ts', './p6.ts', './p7.ts', './p8.ts', 'p1', 'p2', 'p4']);
});

test('the table refuses what it must', () => {
  const runtime = new Set(['ws', '@scope/lib']);
  for (const [path, imported] of [
    ['protocol/a.ts', 'node:fs'],
    ['protocol/a.ts', 'xstate'],
    ['protocol/a.ts', '../machines/job.ts'],
    ['machines/job.ts', 'node:crypto'],
    ['machines/job.ts', '../actors/log/job-log.ts'],
    ['registry/query.ts', 'node:fs'],
    ['registry/load.ts', '../machines/job.ts'],
    ['actors/edge/http.ts', 'uvu'],
    ['actors/edge/http.ts', '../log/embedded-redis.ts'],
    ['actors/edge/http.ts', '../log/deep/job-log.ts'],
    ['actors/edge/http.ts', '../../bin/router.ts'],
    ['bin/router.ts', '../machines/job.ts'],
    ['bin/router.ts', 'pino'],
    ['property-tests/a.test.ts', '../bin/router.ts'],
    ['bench/run.ts', '../bin/router.ts'],
    ['elsewhere/a.ts', 'node:fs'],
  ] as const)
    assert.ok(problemOf(path, imported, runtime), `${path} may import ${imported}`);
  for (const [path, imported] of [
    ['protocol/a.ts', 'typebox/compile'],
    ['protocol/a.test.ts', 'fast-check'],
    ['machines/job.ts', '../protocol/codes.ts'],
    ['machines/job.test.ts', 'xstate/graph'],
    ['registry/load.ts', 'node:fs'],
    ['actors/edge/http.ts', '@scope/lib/part'],
    ['actors/edge/http.ts', '../log/job-log.ts'],
    ['actors/edge/http.ts', './sse.ts'],
    ['bin/router.ts', '../actors/log/embedded-redis.ts'],
    ['property-tests/a.test.ts', '../actors/log/embedded-redis.ts'],
  ] as const)
    assert.is(problemOf(path, imported, runtime), null, `${path} may not import ${imported}`);
});

test.run();
