/**
 * `npm run mutations`: does the suite find what it should? Puts one seeded bug after the other into a copy of the program
 * and asks the suites until one of them fails.
 *
 * The suites that the chosen bugs name are asked first of the program as it is: one that fails there finds nothing.
 */
import { execFileSync } from 'node:child_process';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { commandLine } from '../command-line.ts';
import { mutations } from './list.ts';
import { type Mutation, patched } from './mutation.ts';
import { Scratch } from './scratch.ts';

const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))));
const shareMin = 0.95;
const simulationSeconds = 20;

interface Outcome {
  readonly mutation: Mutation;
  /** Null: nothing found it. */
  readonly suite: string | null;
  readonly told: string;
  readonly seconds: number;
}

const help = `Usage: npm run mutations -- [options]

Puts one seeded bug after the other into a copy of the program, and asks the suites until one of them fails.

  --list                   the bugs, what each breaks and who should find it, and do nothing
  --only ID,ID             only these
  --simulation-seconds N   how long the simulation looks for each (${simulationSeconds})

Exit code 0: at least ${100 * shareMin}% were found. 1: fewer. 2: it could not be asked.
`;

const line = commandLine('mutations', help, { only: 'value', list: 'switch', 'simulation-seconds': 'value' });

const say = (text: string): void => void process.stdout.write(`${text}\n`);

try {
  process.exitCode = await main();
} catch (error) {
  process.stderr.write(`mutations: ${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 2;
}

async function main(): Promise<number> {
  const seconds = line.number('simulation-seconds', simulationSeconds, 1);
  const wanted = chosen(line.value('only'));
  for (const mutation of wanted) patched(root, mutation);
  if (line.has('list')) {
    for (const { id, file, breaks, suites } of wanted) say(`${id}  ${file}\n    ${breaks} (${suites.join(', ')})`);
    return 0;
  }
  const scratch = new Scratch(root, { simulationSeconds: seconds });
  const stop = (): void => {
    scratch.close();
    process.exit(130);
  };
  process.once('SIGINT', stop).once('SIGTERM', stop);
  try {
    await control(scratch, wanted);
    const outcomes: Outcome[] = [];
    for (const mutation of wanted) {
      const outcome = await tried(scratch, mutation);
      outcomes.push(outcome);
      const { suite, told } = outcome;
      say(`${suite === null ? 'MISSED' : 'found '} ${mutation.id}  ${outcome.seconds.toFixed(0)} s  ${suite ?? ''}`);
      say(`       ${suite === null ? mutation.breaks : told}`);
    }
    return summary(outcomes);
  } finally {
    scratch.close();
  }
}

function chosen(only: string | undefined): readonly Mutation[] {
  if (only === undefined) return mutations;
  return only.split(',').map(id => {
    const found = mutations.find(mutation => mutation.id === id);
    if (found === undefined) throw new Error(`there is no seeded bug ${id}; --list shows them all`);
    return found;
  });
}

/** The suites pass where nothing is broken. */
async function control(scratch: Scratch, wanted: readonly Mutation[]): Promise<void> {
  const first = new Set(wanted.map(({ suites }) => suites[0] ?? 'simulation'));
  for (const suite of first) {
    // Once more: on a busy machine a test may be late.
    let verdict = await scratch.ask(suite);
    if (verdict.found) verdict = await scratch.ask(suite);
    if (verdict.found) throw new Error(`${suite} fails without any seeded bug: ${verdict.told}`);
    say(`passes ${suite}  ${verdict.seconds.toFixed(0)} s`);
  }
}

/** On a busy machine, a test that waits for real time may fail without a bug, but not the same one twice in a row. */
function waits(suite: string): boolean {
  return suite.startsWith('property-tests/');
}

async function tried(scratch: Scratch, mutation: Mutation): Promise<Outcome> {
  let seconds = 0;
  scratch.break(mutation);
  try {
    for (const suite of mutation.suites) {
      const verdict = await scratch.ask(suite);
      seconds += verdict.seconds;
      if (!verdict.found) continue;
      if (!waits(suite)) return { mutation, suite, told: verdict.told, seconds };
      const again = await scratch.ask(suite);
      seconds += again.seconds;
      const same = verdict.failed.find(name => again.failed.includes(name));
      if (same !== undefined) return { mutation, suite, told: same, seconds };
    }
    return { mutation, suite: null, told: '', seconds };
  } catch (error) {
    throw new Error(`${mutation.id}: ${error instanceof Error ? error.message : String(error)}`);
  } finally {
    scratch.mend();
  }
}

function summary(outcomes: readonly Outcome[]): number {
  const found = outcomes.filter(({ suite }) => suite !== null);
  const missed = outcomes.filter(({ suite }) => suite === null);
  const bySuite = new Map<string, number>();
  for (const { suite } of found) if (suite !== null) bySuite.set(suite, (bySuite.get(suite) ?? 0) + 1);
  const folders = new Map<string, [found: number, all: number]>();
  for (const { mutation, suite } of outcomes) {
    const folder = mutation.file.split('/').slice(0, -1).join('/');
    const [sum, all] = folders.get(folder) ?? [0, 0];
    folders.set(folder, [sum + (suite === null ? 0 : 1), all + 1]);
  }
  say('\nin                     found');
  for (const [folder, [sum, all]] of folders) say(`${folder.padEnd(22)} ${sum} of ${all}`);
  say('\nby');
  for (const [suite, count] of [...bySuite].sort(([, a], [, b]) => b - a))
    say(`${String(count).padStart(4)}  ${suite}`);
  if (missed.length > 0) say(`\nmissed: ${missed.map(({ mutation }) => mutation.id).join(', ')}`);
  const share = found.length / outcomes.length;
  const minutes = outcomes.reduce((sum, { seconds }) => sum + seconds, 0) / 60;
  say(
    `\n${found.length} of ${outcomes.length} seeded bugs found (${(100 * share).toFixed(1)}%), ${minutes.toFixed(0)} min, at ${commit()}`,
  );
  return share >= shareMin ? 0 : 1;
}

function commit(): string {
  try {
    return execFileSync('git', ['rev-parse', '--short', 'HEAD'], { cwd: root, encoding: 'utf8' }).trim();
  } catch {
    return 'no commit'; // a copy without its history
  }
}
