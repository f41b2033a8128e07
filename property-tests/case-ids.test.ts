/**
 * Every case of the lists that the HTTP interface and the tool loop were built from is named by a test, or by
 * docs/departures.md: RT1 to RT16, AU1 to AU19, and so on (`case-ids.json` says how many of each there are).
 */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { test } from 'uvu';
import * as assert from 'uvu/assert';

const root = fileURLToPath(new URL('..', import.meta.url));
const counts: Record<string, number> = JSON.parse(readFileSync(new URL('./case-ids.json', import.meta.url), 'utf8'));

/** The first text behind each `test(`, and what the conformance cases say they are of. */
function namesIn(path: string): string[] {
  const text = readFileSync(path, 'utf8');
  const name = path.endsWith('.test.ts') ? /\btest\(\s*(['"`])(.*?)\1,/gs : /^\s*of: (['"])(.*?)\1,$/gm;
  return [...text.matchAll(name)].map(([, , said = '']) => said);
}

const files = ['protocol', 'machines', 'registry', 'actors', 'bin', 'property-tests'].flatMap(folder =>
  readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
    .filter(path => path.endsWith('.test.ts') || /conformance.cases\..*\.ts$/.test(path))
    .map(path => join(root, folder, path)),
);

/** Weaknesses of the reference's workers that several of them share, each avoided here. Its cases are named alike. */
const weaknesses = Array.from({ length: 10 }, (_, n) => `weakness X${n + 1}`);

const idsIn = (text: string): string[] =>
  text.replace(/weakness X\d+/g, '').match(/\b(?:RT|AU|RB|OA|RS|AN|TL|MC|X)\d+\b/g) ?? [];

/** Cases of the tool loop whose letters mean something else elsewhere: looked for where tools are tested. */
const loopCases = ['T1', 'T2', 'T3', 'T4', 'T5', 'N10', 'N11', 'N12', 'N13', 'N14', 'N15'];
const loopFiles = [
  'machines/tool-choice.test.ts',
  'property-tests/tool-loop.test.ts',
  'property-tests/tools-api.test.ts',
];

/** Weaknesses of the reference's GPU worker, each avoided here: looked for where the worker is tested. */
const workerCases = Array.from({ length: 28 }, (_, n) => `G${n + 1}`);
const workerFolders = /(?:^|\/)(?:actors\/(?:worker|engine|models|service)|bin|property-tests)\//;

const wanted = Object.entries(counts).flatMap(([list, count]) =>
  Array.from({ length: count }, (_, n) => `${list}${n + 1}`),
);
const named = new Set(files.flatMap(namesIn).flatMap(idsIn));

test('every case has a test that is named by it, or stands among the departures', () => {
  const departures = new Set(idsIn(readFileSync(join(root, 'docs/departures.md'), 'utf8')));
  assert.equal(
    wanted.filter(id => !named.has(id) && !departures.has(id)),
    [],
  );
});

test('every case of the tool loop has a test that is named by it', () => {
  const names = loopFiles.flatMap(path => namesIn(join(root, path))).join(' ');
  const said = new Set(names.match(/\b[TN]\d+\b/g));
  assert.equal(
    loopCases.filter(id => !said.has(id)),
    [],
  );
});

test('every weakness that the workers of the reference share has a test that is named by it', () => {
  const said = new Set(
    files
      .flatMap(namesIn)
      .join(' ')
      .match(/weakness X\d+/g),
  );
  assert.equal(
    weaknesses.filter(id => !said.has(id)),
    [],
  );
});

test('every weakness of the GPU worker has a test that is named by it, or stands among the departures', () => {
  const names = files.filter(path => workerFolders.test(path.slice(root.length))).flatMap(namesIn);
  const said = new Set([...names, readFileSync(join(root, 'docs/departures.md'), 'utf8')].join(' ').match(/\bG\d+\b/g));
  assert.equal(
    workerCases.filter(id => !said.has(id)),
    [],
  );
});

test('no test is named by a case that there is not', () => {
  assert.equal(
    [...named].filter(id => !wanted.includes(id)),
    [],
  );
});

test.run();
