/**
 * Whole clusters under virtual time.
 *
 *   npm run simulate                              one minute on all cores
 *   npm run simulate -- --minutes 60              as long as told
 *   npm run simulate -- --seconds 20              a short one, for a quick answer
 *   npm run simulate -- --seed 7 --trace          plays one seed again, with its whole timeline
 *   npm run simulate -- --seed 7 --shrink         and tells its shortest history
 *   npm run simulate -- --shrink-seconds 0        spends no time on looking for a shorter history of what it finds
 *
 * Ends with 1 when something was found.
 */
import { availableParallelism } from 'node:os';
import { commandLine } from '../command-line.ts';
import { campaign } from './campaign.ts';
import { told } from './figures.ts';
import { planOf } from './plan.ts';
import { shapeOf, storyOf } from './story.ts';
import { runPlan } from './world.ts';

const help = `Usage: npm run simulate -- [options]

Plays clusters of routers, workers and callers under virtual time, with everything between them broken, and judges what
came of it. Without options: one minute on all cores, other seeds each time.

  --seconds N, --minutes N   for how long (60 s)
  --from N                   the first seed
  --seeds N                  how many seeds at the most
  --faults N                 ends after so many faults
  --processes N              how many play side by side (one for each core)
  --rate N                   so many times the usual faults (1)

  --seed N                   plays one seed again
  --trace                    with its whole timeline
  --shrink                   looks for its shortest history
  --shrink-seconds N         for so long at the most (60; 0: not at all, also for what a campaign finds)

Ends with 1 when something was found.
`;

const line = commandLine('simulate', help, {
  seed: 'value',
  from: 'value',
  seeds: 'value',
  seconds: 'value',
  minutes: 'value',
  processes: 'value',
  faults: 'value',
  rate: 'value',
  trace: 'switch',
  shrink: 'switch',
  'shrink-seconds': 'value',
});

const shrinkMs = 1000 * line.number('shrink-seconds', 60);
const rate = line.number('rate', 1);
process.exitCode = line.value('seed') === undefined ? await many() : await one(line.number('seed', 0));

async function one(seed: number): Promise<number> {
  const plan = planOf(seed, { rate });
  const outcome = await runPlan(plan, line.has('trace'));
  for (const line of outcome.timeline) process.stdout.write(`${line}\n`);
  const faults = [...outcome.faults].map(([kind, count]) => `${kind} ${count}`).join(', ');
  process.stdout.write(`seed ${seed} (${plan.mood})\n${shapeOf(plan)}\n  ${faults}\n`);
  process.stdout.write(
    `  ${(outcome.virtualMs / 1000).toFixed(0)} s in ${outcome.realMs} ms, ${outcome.satisfied} of ${outcome.callers} requests answered\n`,
  );
  if (outcome.found === null) return 0;
  process.stdout.write(
    line.has('shrink') ? `\n${await storyOf(seed, rate, shrinkMs)}\n` : `\nfound: ${outcome.found}\n`,
  );
  return 1;
}

async function many(): Promise<number> {
  const seconds = line.value('minutes') === undefined ? line.number('seconds', 60) : 60 * line.number('minutes', 1);
  // Another day, other seeds; a campaign that is to be repeated says where it begins.
  const firstSeed = line.number('from', Math.floor(Date.now() / 1000) % 1_000_000_000);
  const processes = line.number('processes', availableParallelism(), 1);
  let toldAt = Date.now();
  const { figures, realMs, found } = await campaign({
    firstSeed,
    processes,
    rate,
    msMax: seconds * 1000,
    faultsWanted: line.number('faults', Number.POSITIVE_INFINITY),
    seedsMax: line.number('seeds', Number.MAX_SAFE_INTEGER),
    told: (sums, ms) => {
      if (Date.now() - toldAt < 60_000) return;
      toldAt = Date.now();
      process.stdout.write(`${told(sums, ms, processes).split('\n').slice(0, 3).join('\n')}\n`);
    },
  });
  process.stdout.write(`from seed ${firstSeed}\n${told(figures, realMs, processes)}\n`);
  for (const { seed } of found.slice(0, 1)) process.stdout.write(`\n${await storyOf(seed, rate, shrinkMs)}\n`);
  return found.length === 0 ? 0 : 1;
}
