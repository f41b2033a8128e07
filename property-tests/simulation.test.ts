/**
 * Whole clusters under virtual time (simulation/): whatever is broken, every caller gets its whole right answer or one
 * true error, every log is whole and true, and afterwards nothing is left and everything works.
 *
 * Seeds from 1 on, so that every run does the same; `npm run simulate` tries others. SIM_SECONDS shortens it.
 */
import { availableParallelism } from 'node:os';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { campaign } from './simulation/campaign.ts';
import { faultsOf, told } from './simulation/figures.ts';
import { planOf } from './simulation/plan.ts';
import { storyOf } from './simulation/story.ts';
import { runPlan } from './simulation/world.ts';

/** With what it takes to start and to tell a finding, below what scripts/run.mjs gives this file. */
const seconds = Number(process.env.SIM_SECONDS ?? 240);
const faultsWanted = 1_000_000;
/** Enough for a million faults. `npm run simulate` plays others. */
const seedsMax = Number(process.env.SIM_SEEDS ?? 2700);
const shrinkMs = 30_000;

test('a seed says everything: played again, it gives the same story', async () => {
  for (const seed of [1, 2, 3]) {
    const plan = planOf(seed);
    const one = await runPlan(plan, true);
    const two = await runPlan(plan, true);
    assert.is(one.found, null);
    assert.ok(one.timeline.length > 100);
    assert.equal(one.timeline, two.timeline);
    assert.is(one.events, two.events);
  }
});

test('nothing that can break in a cluster makes an answer wrong, a wait endless, or leaves anything behind', async () => {
  const processes = Math.min(2, availableParallelism());
  const { figures, realMs, found } = await campaign({
    firstSeed: 1,
    processes,
    rate: 1,
    msMax: seconds * 1000,
    faultsWanted,
    seedsMax,
  });
  // Lines with this mark are shown by `npm test` also when all is well.
  for (const line of told(figures, realMs, processes).split('\n')) process.stdout.write(`» ${line}\n`);
  const faults = faultsOf(figures);
  if (faults < faultsWanted) {
    const why = figures.worlds < seedsMax ? `its ${seconds} s were over` : 'there were no more seeds';
    process.stdout.write(
      `» NOT REACHED: ${faults.toLocaleString('en-US')} of ${faultsWanted.toLocaleString('en-US')} faults in ${figures.worlds} of ${seedsMax} seeds, then ${found.length > 0 ? 'something was found' : why}\n`,
    );
  }
  const [first] = found;
  assert.is(first, undefined, first === undefined ? '' : await storyOf(first.seed, 1, shrinkMs));
  assert.ok(figures.worlds > 0);
});

test.run();
