/** The commands for developers answer every command line: help, or a message that names what is wrong and status 2. */
import { spawnSync } from 'node:child_process';
import { test } from 'uvu';
import * as assert from 'uvu/assert';

const programs = { simulate: 'simulation/simulate.ts', chaos: 'chaos/chaos.ts', mutations: 'mutations/main.ts' };

function run(program: keyof typeof programs, ...args: string[]) {
  const argv = ['--import', 'tsx', `property-tests/${programs[program]}`, ...args];
  const { status, stdout, stderr } = spawnSync(process.execPath, argv, { encoding: 'utf8', timeout: 60_000 });
  return { status, stdout, stderr };
}

test('--help says what there is', () => {
  const { status, stdout, stderr } = run('simulate', '--help');
  assert.equal([status, stderr], [0, '']);
  assert.match(stdout, /--seed N/);
});

test('a flag that is not known is named', () => {
  const { status, stdout, stderr } = run('mutations', '--onyl', 'x');
  assert.equal([status, stdout], [2, '']);
  assert.match(stderr, /"--onyl".*--only/);
});

test('a number that is none is named', () => {
  for (const text of ['x', '', '-1', 'Infinity']) {
    const { status, stdout, stderr } = run('simulate', `--seed=${text}`);
    assert.equal([status, stdout], [2, '']);
    assert.match(stderr, `simulate: --seed must be a number of at least 0, and ${JSON.stringify(text)} is not`);
  }
});

test('two modes at once are refused', () => {
  const { status, stderr } = run('chaos', '--embedded', '--tools');
  assert.is(status, 2);
  assert.match(stderr, 'one of them at a time');
});

test.run();
