/**
 * Real routers, workers and callers on this machine, with everything between them broken by chance.
 *
 *   npm run chaos -- --minutes 5              two routers on a Redis, six workers
 *   npm run chaos -- --embedded               one router with the embedded store, killed every few seconds
 *   npm run chaos -- --tools                  tool rounds: a router, a tools worker and two GPU workers, killed in mid-round
 *   npm run chaos -- --seed 7 --rate 2        the same things at the same times, and so many a second
 *
 * What happens is drawn from the seed; when exactly, the machine decides. Ends with 1 when a request had no right answer,
 * or anything else was found.
 */
import { commandLine } from '../command-line.ts';
import { spread } from './figures.ts';
import { type Outcome, runChaos } from './run.ts';
import { runToolsChaos, toolsTold } from './tools-run.ts';

const help = `Usage: npm run chaos -- [options]

Starts real routers, Redis, workers and callers on this machine, breaks everything between them by chance, and checks every
answer. Ends with 1 when a request had no right answer, or anything else was found.

  --minutes N     for how long (5)
  --seed N        what happens is drawn from it; when exactly, the machine decides (another each time)
  --rate N        faults a second (1)
  --callers N     how many ask at once (8)
  --embedded      one router with the embedded store, killed every few seconds
  --tools         tool rounds: a router, a tools worker and two GPU workers, killed in mid-round
`;

const line = commandLine('chaos', help, {
  minutes: 'value',
  seed: 'value',
  rate: 'value',
  callers: 'value',
  embedded: 'switch',
  tools: 'switch',
});
/** Two modes at once would be one of them in silence. */
if (line.has('embedded') && line.has('tools')) {
  process.stderr.write('chaos: --embedded and --tools are two modes: one of them at a time\n');
  process.exit(2);
}
const rate = line.number('rate', 1, 0.01);
const callers = line.number('callers', 8, 1);
const isTools = line.has('tools');
const embedded = line.has('embedded');

const say = (line: string): void => void process.stdout.write(`${line}\n`);
const stop = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM'] as const)
  process.on(signal, () => {
    if (!stop.signal.aborted) say('chaos: stopping, and ending what was started');
    stop.abort();
  });

const seed = line.number('seed', 1 + (Date.now() % 1_000_000));
const minutes = line.number('minutes', 5, 0.01);
say(
  `chaos: seed ${seed}, ${minutes} min, ${isTools ? 'tool rounds' : embedded ? 'one router, embedded store' : 'two routers on Redis'}`,
);
if (isTools) await toolsOnly();
const outcome = await runChaos({
  seed,
  ms: minutes * 60_000,
  embedded,
  rate,
  callers,
  workers: [4, 2],
  stop: stop.signal,
  progress: ({ answered, failed, wrong, retries, resumes }, done, seconds) =>
    say(
      `${String(seconds).padStart(4)} s  ${done.length} faults, ${answered} answered, ${failed} failed, ${wrong} wrong, ${retries} retries, ${resumes} resumes`,
    ),
});
if (outcome === null) process.exitCode = 1;
else {
  tell(outcome);
  process.exitCode = stop.signal.aborted ? 130 : outcome.found.length > 0 ? 1 : 0;
}
// A client's idle connection does not keep the program alive.
process.stdout.write('', () => process.exit());

/** Ends the program. */
async function toolsOnly(): Promise<never> {
  const everyMs = 1000 / rate;
  const outcome = await runToolsChaos({ seed, ms: minutes * 60_000, callers, everyMs, stop: stop.signal });
  for (const line of toolsTold(outcome)) say(line);
  await new Promise<void>(resolve => void process.stdout.write('', () => resolve()));
  process.exit(stop.signal.aborted ? 130 : outcome.found.length > 0 ? 1 : 0);
}

function tell({ tally, done, logs, found, evidence }: Outcome): void {
  const counted = (names: readonly string[]): string =>
    [...new Set(names)]
      .sort()
      .map(name => `${name} ${names.filter(other => other === name).length}`)
      .join(', ');
  say(`\nrequests   ${tally.requests}: ${tally.answered} answered, ${tally.failed} failed, ${tally.wrong} wrong`);
  say(`           ${[...tally.byKind].map(([kind, count]) => `${kind} ${count}`).join('; ')}`);
  say(
    `           ${spread(tally.tookMs)}; ${tally.retries} retries, ${tally.resumes} resumes, ${tally.compared} read again`,
  );
  say(`faults     ${done.length}: ${counted(done.map(({ kind }) => kind))}`);
  if (logs !== null) {
    say(`jobs       ${logs.jobs}, ${logs.openEvents.size} open, ${logs.corrupt.length} unreadable`);
    for (const [what, gaps] of [...logs.gapsMs].sort()) say(`gap        ${what}: ${spread(gaps)}`);
    say(`take-over  ${spread(logs.takeOversMs)}`);
  }
  for (const what of found) say(`\nfound: ${what}`);
  if (evidence !== null) say(`\nwhat the programs said is in ${evidence}; seed ${seed}`);
}
