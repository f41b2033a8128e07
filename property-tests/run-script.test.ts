/**
 * scripts/run.mjs, run in small projects of its own: whatever happens to a test file, the run says so, ends, and closes
 * with `N passed, N failed` alone on the last line.
 */
import { spawn, spawnSync } from 'node:child_process';
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';

const root = dirname(dirname(fileURLToPath(import.meta.url)));

const script = suite<{ dir: string }>('run.mjs');
script.before.each(context => {
  context.dir = mkdtempSync(join(tmpdir(), 'auxot-run-'));
  for (const folder of ['scripts', 'protocol', 'bin']) mkdirSync(join(context.dir, folder));
  for (const file of ['scripts/run.mjs', 'package.json', 'package-lock.json', 'tsconfig.json', 'tsconfig.build.json'])
    cpSync(join(root, file), join(context.dir, file));
  // A folder of links, and not a link to the folder: should npm ever run here, it must not reach the real packages.
  mkdirSync(join(context.dir, 'node_modules'));
  for (const name of readdirSync(join(root, 'node_modules')))
    if (!name.startsWith('.')) symlinkSync(join(root, 'node_modules', name), join(context.dir, 'node_modules', name));
  cpSync(join(root, 'node_modules/.package-lock.json'), join(context.dir, 'node_modules/.package-lock.json'));
  write(context.dir, 'bin/router.ts', 'export {};\n');
});
script.after.each(({ dir }) => rmSync(dir, { recursive: true, force: true }));

const write = (dir: string, path: string, text: string): void => writeFileSync(join(dir, path), text);

function run(dir: string, ...args: string[]) {
  const env = { ...process.env, TEST_FILE_SECONDS: '3' };
  const { status, stdout, stderr } = spawnSync(process.execPath, ['scripts/run.mjs', ...args], {
    cwd: dir,
    env,
    encoding: 'utf8',
    timeout: 60_000,
  });
  return { status, stdout, stderr, last: stdout.trimEnd().split('\n').at(-1) };
}

const passing = "import { test } from 'uvu'; test('a', () => {}); test('b', () => {}); test.run();";

script('passing files are counted, and only those asked for are run', ({ dir }) => {
  write(dir, 'protocol/one.test.ts', passing);
  write(
    dir,
    'bin/two.test.ts',
    "import { test } from 'uvu'; test.skip('s', () => {}); test('c', () => {}); test.run();",
  );
  write(dir, 'protocol/other.test.ts', 'throw new Error("must not run");');
  const { status, stdout, last } = run(dir, 'test', 'one', 'bin/');
  assert.is(last, '3 passed, 0 failed', stdout);
  assert.is(status, 0);
  assert.match(stdout, /ok {3}bin\/two\.test\.ts: 1 passed, 1 skipped/);
});

script('failures, crashes, empty files and hanging files are failures, each with its name', ({ dir }) => {
  write(
    dir,
    'protocol/bad.test.ts',
    `${passing.replace('test.run()', '')} test('x', () => { throw new Error('broken claim'); }); test.run();`,
  );
  write(dir, 'protocol/crash.test.ts', "throw new Error('crashed early');");
  write(dir, 'protocol/empty.test.ts', "import { test } from 'uvu'; test('forgotten', () => {});");
  write(dir, 'protocol/hang.test.ts', `${passing} setInterval(() => {}, 1000);`);
  write(dir, 'protocol/late.test.ts', `${passing} process.on('exit', () => { process.exitCode = 3; });`);
  const { status, stdout, last } = run(dir, 'test', 'protocol');
  assert.is(status, 1);
  assert.is(last, '6 passed, 5 failed', stdout);
  assert.match(stdout, /broken claim/);
  assert.match(stdout, /FAIL protocol\/bad\.test\.ts: 1 failed, 2 passed/);
  assert.match(stdout, /FAIL protocol\/crash\.test\.ts.*no test ran \(exit 1\)/);
  assert.match(stdout, /FAIL protocol\/empty\.test\.ts.*no test ran \(exit 0\)/);
  assert.match(stdout, /FAIL protocol\/hang\.test\.ts.*still running after 3 s, killed/);
  assert.match(stdout, /FAIL protocol\/late\.test\.ts.*exit 3 although every test passed/);
});

script('what cannot be built is a failure, and no test runs of it', ({ dir }) => {
  write(dir, 'protocol/one.test.ts', passing);
  write(dir, 'bin/router.ts', 'export const wrong: number = "text";\n');
  const { status, stdout, stderr, last } = run(dir, 'test', 'one');
  assert.is(status, 1);
  assert.match(stderr, /the build failed/);
  assert.is(last, '0 passed, 1 failed', stdout);
});

script('a filter that matches nothing and an unknown task are errors', ({ dir }) => {
  write(dir, 'protocol/one.test.ts', passing);
  assert.is(run(dir, 'test', 'nothing-like-it').status, 1);
  const { status, stderr } = run(dir, 'strat');
  assert.is(status, 2);
  assert.match(stderr, /start\|test\|build\|bench/);
});

script('start builds once, passes arguments on and ends with the exit status of the router', ({ dir }) => {
  write(dir, 'protocol/data.json', '{"kept":true}');
  write(
    dir,
    'bin/router.ts',
    "import { readFileSync } from 'node:fs';\nconsole.log('args', process.argv.slice(2).join(' '), readFileSync(new URL('../protocol/data.json', import.meta.url), 'utf8'));\nprocess.exitCode = 7;\n",
  );
  write(dir, 'bin/left-out.test.ts', passing);
  const first = run(dir, 'start', '--port', '0');
  assert.not.match(first.stdout, /npm/);
  assert.match(first.stdout, /tsc -p tsconfig\.build\.json/);
  assert.match(first.stdout, /args up --port 0 \{"kept":true\}/);
  assert.is(first.status, 7);
  assert.is(existsSync(join(dir, 'dist/bin/left-out.test.js')), false);
  assert.not.match(run(dir, 'start').stdout, /tsc/);
  write(dir, 'bin/router.ts', 'const wrong: number = "text";\nconsole.log(wrong);\n');
  const broken = run(dir, 'start');
  assert.is(broken.status, 1);
  assert.match(broken.stderr, /the build failed/);
});

script('a signal reaches the router, which ends in its own way', async ({ dir }) => {
  write(
    dir,
    'bin/router.ts',
    "process.on('SIGTERM', () => { console.log('drained'); process.exit(0); });\nsetInterval(() => undefined, 1000);\nconsole.log('ready');\n",
  );
  // A group of its own, so that a router that is not told to stop does not outlive the test.
  const child = spawn(process.execPath, ['scripts/run.mjs', 'start'], {
    cwd: dir,
    stdio: ['ignore', 'pipe', 'inherit'],
    detached: true,
  });
  const limit = setTimeout(() => process.kill(-(child.pid ?? 0), 'SIGKILL'), 30_000);
  let output = '';
  const code = await new Promise(resolve => {
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      output += text;
      if (output.includes('ready') && !child.killed) child.kill('SIGTERM');
    });
    child.once('close', resolve);
  });
  clearTimeout(limit);
  assert.is(code, 0);
  assert.match(output, /drained/);
});

script('an old Node is told so', ({ dir }) => {
  const text = readFileSync(join(dir, 'scripts/run.mjs'), 'utf8');
  write(dir, 'scripts/run.mjs', text.replace('nodeFloor = 20', 'nodeFloor = 99'));
  const { status, stderr } = run(dir, 'start');
  assert.is(status, 1);
  assert.match(stderr, /Node 99 or newer is needed; this is v/);
});

script.run();
