/** The seeded bugs of mutations/ still fit the code. Whether they are found is asked by `npm run mutations`. */
import fs from 'node:fs';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { mutations } from './mutations/list.ts';
import { PatchMisfit, patched } from './mutations/mutation.ts';

const root = dirname(dirname(fileURLToPath(import.meta.url)));

test('there are at least 40 seeded bugs, each with an id and a patch of its own', () => {
  assert.ok(mutations.length >= 40, `there are ${mutations.length}`);
  assert.is(new Set(mutations.map(({ id }) => id)).size, mutations.length);
  assert.is(new Set(mutations.map(({ file, old, now }) => `${file}\n${old}\n${now}`)).size, mutations.length);
});

test('every patch fits the code, and every suite that it names is there', () => {
  const misfits: string[] = [];
  for (const mutation of mutations) {
    try {
      patched(root, mutation);
    } catch (error) {
      if (!(error instanceof PatchMisfit)) throw error;
      misfits.push(error.message);
    }
    for (const suite of mutation.suites)
      if (suite !== 'simulation' && !fs.existsSync(`${root}/${suite}`)) misfits.push(`${mutation.id}: no ${suite}`);
  }
  assert.is(misfits.join('\n'), '');
});

test('a patch whose old text is gone is an error that names it', () => {
  const gone = { id: 'gone', file: 'package.json', old: 'not in there', now: '', breaks: '', suites: [] };
  assert.throws(() => patched(root, gone), /^gone: .*package\.json/);
});

test.run();
