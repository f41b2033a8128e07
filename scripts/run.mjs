/**
 * What `npm start`, `npm test` and `npm run build`, `bench`, `conformance`, `simulate`, `chaos` and `mutations` run. Node alone
 * is enough: what else is missing is set up first, and said. Each step is skipped when its result is already there and still fits.
 */
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import fs from 'node:fs';
import { availableParallelism, constants } from 'node:os';
import { dirname, join, relative, sep } from 'node:path';
import { fileURLToPath } from 'node:url';

const nodeFloor = 20;
const testFileSeconds = Number(process.env.TEST_FILE_SECONDS || 180);
/** Files that are given more. */
const longTests = { 'property-tests/simulation.test.ts': 360 };
/**
 * Files that measure time or memory: they have the machine to themselves, and run last. All others run four at a time where
 * there is more than one core, because those that start programs wait for more than half of their time. One that fails so is
 * run again by itself, and named: it may have failed for its neighbours only.
 */
const alone = [
  'bench/measure.test',
  'tools-hostile.code',
  'timing.test',
  'worker-loss.test',
  'shard-death.test',
  'chaos.test',
  'simulation.test',
];
const outputCharsMax = 1_000_000;

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const modules = join(root, 'node_modules');
const dist = join(root, 'dist');
const builtFolders = ['protocol', 'machines', 'registry', 'actors', 'bin'];
const testedFolders = [...builtFolders, 'property-tests', 'bench', 'scripts'];

const testsRunning = new Set();
/** The signal that somebody stopped us with, once there was one. */
let stopSignal = null;

const [task = '', ...args] = process.argv.slice(2);
const tasks = { start, test, build, bench, conformance, simulate, chaos, mutations };

if (Number(process.versions.node.split('.')[0]) < nodeFloor)
  fail(`Node ${nodeFloor} or newer is needed; this is ${process.version} (${process.execPath}).`);
if (!Object.hasOwn(tasks, task)) fail(`usage: node scripts/run.mjs ${Object.keys(tasks).join('|')} [arguments]`, 2);
process.exitCode = await tasks[task]();

async function start() {
  await install();
  await compile();
  say(['auxot-router up', ...args].join(' '));
  return runNode(['dist/bin/router.js', 'up', ...args]);
}

async function build() {
  await install();
  await compile();
  return 0;
}

async function bench() {
  await install();
  return runNode(['--import', 'tsx', 'bench/run.ts', ...args]);
}

async function conformance() {
  await install();
  return runNode(['--import', 'tsx', 'property-tests/conformance/main.ts', ...args]);
}

async function simulate() {
  await install();
  return runNode(['--import', 'tsx', 'property-tests/simulation/simulate.ts', ...args]);
}

async function chaos() {
  await install();
  await compile();
  return run(process.execPath, ['--import', 'tsx', 'property-tests/chaos/chaos.ts', ...args], { env: ofBuilt() });
}

async function mutations() {
  await install();
  return runNode(['--import', 'tsx', 'property-tests/mutations/main.ts', ...args]);
}

/** With words behind it, only the test files whose path contains one of them; without, every check there is. */
async function test() {
  await install();
  await compile('0 passed, 1 failed');
  const all = files(testedFolders, path => path.endsWith('.test.ts'));
  const layers = join('property-tests', 'layers.test.ts');
  const wanted = all.filter(path => args.length === 0 || args.some(word => path.split(sep).join('/').includes(word)));
  if (wanted.length === 0) fail(`no test file matches ${args.join(', ')}; there are ${all.length}.`);

  let passed = 0;
  const failures = [];
  const runFile = async path => {
    const result = await runTestFile(path);
    passed += result.passed;
    for (let n = 0; n < result.failed; n++) failures.push(path);
  };
  if (args.length === 0) {
    if (wanted.includes(layers)) await runFile(layers);
    for (const [name, argv] of [
      ['biome ci', [tool('@biomejs/biome', 'biome'), 'ci']],
      ['tsc', [tool('typescript', 'tsc'), '--noEmit', '-p', '.']],
    ]) {
      say(name);
      if ((await runNode(argv)) !== 0) failures.push(name);
    }
  }
  const rest = wanted.filter(path => args.length > 0 || path !== layers);
  const isAlone = path => alone.some(word => path.split(sep).join('/').includes(word));
  // The long ones first: what is short fills the gaps at the end.
  const isLong = path => path.startsWith('property-tests');
  const together = rest.filter(path => !isAlone(path)).sort((a, b) => Number(isLong(b)) - Number(isLong(a)));
  const disturbed = [];
  const runNext = async () => {
    for (let path = together.shift(); path !== undefined; path = together.shift()) {
      const result = await runTestFile(path);
      if (result.failed === 0) passed += result.passed;
      else disturbed.push(path);
    }
  };
  await Promise.all(Array.from({ length: availableParallelism() > 1 ? 4 : 1 }, runNext));
  for (const path of [...disturbed, ...rest.filter(isAlone)]) await runFile(path);
  const unsteady = disturbed.filter(path => !failures.includes(path));
  if (unsteady.length > 0) process.stdout.write(`\nfailed beside another file, passed alone: ${unsteady.join(', ')}\n`);

  if (failures.length > 0) process.stdout.write(`\nfailed: ${[...new Set(failures)].join(', ')}\n`);
  process.stdout.write(`\n${passed} passed, ${failures.length} failed\n`);
  return failures.length === 0 ? 0 : 1;
}

/** For tests that start programs: what was built is what is run (property-tests/processes.ts). */
function ofBuilt() {
  return { ...process.env, TEST_BUILT: '1' };
}

/** One file in a process and a process group of its own, so that a hanging one ends with all that it started. */
async function runTestFile(path) {
  const startedAt = Date.now();
  const env = { ...ofBuilt(), FORCE_COLOR: '0', NO_COLOR: '1' };
  const child = spawn(process.execPath, ['--import', 'tsx', path], {
    cwd: root,
    env,
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: process.platform !== 'win32',
  });
  let output = '';
  const keep = text => {
    output = (output + text).slice(-outputCharsMax);
  };
  child.stdout.setEncoding('utf8').on('data', keep);
  child.stderr.setEncoding('utf8').on('data', keep);
  const limitSeconds = Math.max(testFileSeconds, longTests[path.split(sep).join('/')] ?? 0);
  let timedOut = false;
  const limit = setTimeout(() => {
    timedOut = true;
    killGroup(child);
  }, limitSeconds * 1000);
  testsRunning.add(child);
  const release = onSignals(() => {
    for (const running of testsRunning) killGroup(running);
    process.exit(130);
  });
  const code = await ended(child);
  clearTimeout(limit);
  release();
  testsRunning.delete(child);
  killGroup(child); // what a test forgot to stop must not slow the next one

  const count = word => Number([...output.matchAll(new RegExp(`^ *${word}: +(\\d+)`, 'gm'))].at(-1)?.[1] ?? 0);
  const [total, passed, skipped] = [count('Total'), count('Passed'), count('Skipped')];
  let problem = '';
  if (timedOut) problem = `still running after ${limitSeconds} s, killed`;
  else if (total === 0) problem = `no test ran (exit ${code})`;
  else if (code !== 0 && passed + skipped === total) problem = `exit ${code} although every test passed`;
  const failed = problem === '' ? total - passed - skipped : Math.max(1, total - passed - skipped);

  const seconds = ((Date.now() - startedAt) / 1000).toFixed(1);
  if (failed > 0) process.stdout.write(`${output}\n`);
  // What a test has to tell although all is well.
  else for (const [, line] of output.matchAll(/^» (.*)$/gm)) process.stdout.write(`     ${line}\n`);
  const skips = skipped > 0 ? `, ${skipped} skipped` : '';
  const verdict = failed > 0 ? `FAIL ${path}: ${failed} failed, ` : `ok   ${path}: `;
  process.stdout.write(`${verdict}${passed} passed${skips}, ${seconds} s${problem && ` (${problem})`}\n`);
  return { passed, failed };
}

/** The packages, exactly as package-lock.json has them, unless they are already there. */
async function install() {
  const missing = firstMissing();
  if (missing === null) return;
  say(`npm ci (${missing})`);
  if ((await npm('ci')) === 0) return;
  // A registry that lacks a package of some other platform makes npm ci refuse a lock file that is fit for this one.
  say('npm install --no-save (npm ci refused; same versions, but not checked to be all of them)');
  if ((await npm('install', '--no-save')) !== 0) fail('the packages cannot be installed; see the messages above.');
}

/**
 * What is installed is read from npm's own record of it, and compared with the lock file: dates lie after a clone, a
 * copy or a change of branch. Only optional packages, those of other platforms, may be missing.
 */
function firstMissing() {
  const record = join(modules, '.package-lock.json');
  if (!fs.existsSync(record)) return 'no packages are installed yet';
  const wanted = JSON.parse(fs.readFileSync(join(root, 'package-lock.json'), 'utf8')).packages;
  const present = JSON.parse(fs.readFileSync(record, 'utf8')).packages;
  for (const [path, { version, optional }] of Object.entries(wanted)) {
    if (path === '' || (present[path] === undefined && optional)) continue;
    if (present[path]?.version !== version) return `${path} ${version} is not installed`;
  }
  for (const [path, { os }] of Object.entries(present)) {
    if (wanted[path] === undefined) return `${path} is no longer wanted`;
    if (os && !os.some(name => name.startsWith('!') || name === process.platform))
      return `${path} is not for this system`;
  }
  return null;
}

/** npm by the path that started us where there is one, so that its version is the one that the user chose. */
async function npm(...argv) {
  // A NODE_ENV of production must not leave out the compiler.
  const all = [...argv, '--include=dev', '--no-audit', '--no-fund'];
  const path = process.env.npm_execpath;
  const code = await (path?.endsWith('.js')
    ? runNode([path, ...all])
    : run('npm', all, { shell: process.platform === 'win32' }));
  if (stopSignal !== null) process.exit(128 + constants.signals[stopSignal]);
  return code;
}

/** TypeScript to dist/, tests left out, with the data files that lie beside the code. `verdict`: what a failure closes with. */
async function compile(verdict = '') {
  const sources = files(
    builtFolders,
    path => !/\.(test|contract)\.ts$|\.md$|[\\/](train|golden)[\\/]|golden\.json$/.test(path),
  );
  const print = createHash('sha256');
  for (const path of [...sources, 'tsconfig.json', 'tsconfig.build.json', 'package-lock.json']) {
    const { mtimeMs, size } = fs.statSync(join(root, path));
    print.update(`${path} ${mtimeMs} ${size}\n`);
  }
  const fingerprint = print.digest('hex');
  const stamp = join(dist, '.built');
  if (fs.existsSync(stamp) && fs.readFileSync(stamp, 'utf8') === fingerprint) return;
  say('tsc -p tsconfig.build.json');
  fs.rmSync(dist, { recursive: true, force: true });
  const code = await runNode([tool('typescript', 'tsc'), '-p', 'tsconfig.build.json']);
  if (code !== 0) fail(`the build failed with exit ${code}; see the messages above.`, 1, verdict);
  for (const path of sources) if (!path.endsWith('.ts')) fs.cpSync(join(root, path), join(dist, path));
  // So that the programs can be linked and called by their names.
  for (const path of ['router.js', 'worker.js', 'tools.js'].map(name => join(dist, 'bin', name)))
    if (fs.existsSync(path)) fs.chmodSync(path, 0o755);
  fs.writeFileSync(stamp, fingerprint);
}

function files(folders, wanted) {
  const found = [];
  for (const folder of folders.filter(name => fs.existsSync(join(root, name))))
    for (const entry of fs.readdirSync(join(root, folder), { withFileTypes: true, recursive: true }))
      if (entry.isFile()) found.push(relative(root, join(entry.parentPath ?? entry.path, entry.name)));
  return found.filter(wanted).sort();
}

function runNode(argv) {
  return run(process.execPath, argv);
}

/** Runs a program in our place: its input, output, signals and exit status are ours. */
async function run(program, argv, options = {}) {
  const child = spawn(program, argv, { cwd: root, stdio: 'inherit', ...options });
  const release = onSignals(signal => {
    stopSignal = signal;
    // A terminal sends Ctrl-C to the child as well, and a second one would mean "at once" to it.
    if (signal !== 'SIGINT' || !process.stdin.isTTY) child.kill(signal);
  });
  const code = await ended(child);
  release();
  return code;
}

function ended(child) {
  return new Promise(resolve => {
    child.once('error', error => fail(`cannot run ${child.spawnfile}: ${error.message}`));
    child.once('close', (code, signal) => resolve(code ?? 128 + (constants.signals[signal] ?? 0)));
  });
}

function onSignals(listener) {
  const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'];
  for (const signal of signals) process.on(signal, listener);
  return () => {
    for (const signal of signals) process.off(signal, listener);
  };
}

function killGroup(child) {
  try {
    if (process.platform === 'win32') child.kill('SIGKILL');
    else process.kill(-child.pid, 'SIGKILL');
  } catch {
    // The group is gone already, as it should be.
  }
}

/** The JavaScript entry of an installed tool: started by this very Node, without a shell. */
function tool(name, command) {
  const folder = join(modules, name);
  const { bin } = JSON.parse(fs.readFileSync(join(folder, 'package.json'), 'utf8'));
  return join(folder, typeof bin === 'string' ? bin : bin[command]);
}

function say(step) {
  process.stdout.write(`▸ ${step}\n`);
}

/** `verdict` closes what was written to stdout, where something is expected there. */
function fail(problem, code = 1, verdict = '') {
  process.stderr.write(`run.mjs: ${problem}\n`);
  if (verdict !== '') process.stdout.write(`\n${verdict}\n`);
  process.exit(code);
}
