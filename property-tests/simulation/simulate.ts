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
import { parseArgs } from 'node:util';
import { campaign } from './campaign.ts';
import { told } from './figures.ts';
import { planOf } from './plan.ts';
import { shapeOf, storyOf } from './story.ts';
import { runPlan } from './world.ts';

const { values } = parseArgs({
  options: {
    seed: { type: 'string' },
    from: { type: 'string' },
    seeds: { type: 'string' },
    seconds: { type: 'string' },
    minutes: { type: 'string' },
    processes: { type: 'string' },
    faults: { type: 'string' },
    rate: { type: 'string', default: '1' },
    trace: { type: 'boolean', default: false },
    shrink: { type: 'boolean', default: false },
    'shrink-seconds': { type: 'string' },
  },
});

function numberOf(
  name: 'seed' | 'from' | 'seeds' | 'seconds' | 'minutes' | 'processes' | 'faults' | 'rate' | 'shrink-seconds',
  otherwise: number,
): number {
  const text = values[name];
  if (text === undefined) return otherwise;
  const number = Number(text);
  if (Number.isFinite(number) && number >= 0 && text !== '') return number;
  process.stderr.write(`simulate: --${name} must be a number, and ${JSON.stringify(text)} is none\n`);
  process.exit(2);
}

const shrinkMs = 1000 * numberOf('shrink-seconds', 60);
const rate = numberOf('rate', 1);
process.exitCode = values.seed === undefined ? await many() : await one(numberOf('seed', 0));

async function one(seed: number): Promise<number> {
  const plan = planOf(seed, { rate });
  const outcome = await runPlan(plan, values.trace);
  for (const line of outcome.timeline) process.stdout.write(`${line}\n`);
  const faults = [...outcome.faults].map(([kind, count]) => `${kind} ${count}`).join(', ');
  process.stdout.write(`seed ${seed} (${plan.mood})\n${shapeOf(plan)}\n  ${faults}\n`);
  process.stdout.write(
    `  ${(outcome.virtualMs / 1000).toFixed(0)} s in ${outcome.realMs} ms, ${outcome.satisfied} of ${outcome.callers} requests answered\n`,
  );
  if (outcome.found === null) return 0;
  process.stdout.write(values.shrink ? `\n${await storyOf(seed, rate, shrinkMs)}\n` : `\nfound: ${outcome.found}\n`);
  return 1;
}

async function many(): Promise<number> {
  const seconds = values.minutes === undefined ? numberOf('seconds', 60) : 60 * numberOf('minutes', 1);
  // Another day, other seeds; a campaign that is to be repeated says where it begins.
  const firstSeed = numberOf('from', Math.floor(Date.now() / 1000) % 1_000_000_000);
  const processes = numberOf('processes', availableParallelism());
  let toldAt = Date.now();
  const { figures, realMs, found } = await campaign({
    firstSeed,
    processes,
    rate,
    msMax: seconds * 1000,
    faultsWanted: numberOf('faults', Number.POSITIVE_INFINITY),
    seedsMax: numberOf('seeds', Number.MAX_SAFE_INTEGER),
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
