/**
 * A short run of `npm run chaos`, in both of its forms: real programs, killed, stopped and cut off, and callers of every
 * API that get their right answer all the same. FC_SEED plays other histories.
 */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type Outcome, runChaos } from './chaos/run.ts';

const seed = Number(process.env.FC_SEED ?? 7);
const common = { seed, ms: 12_000, stop: new AbortController().signal, progress: () => undefined };

function checkOutcome(outcome: Outcome | null): void {
  if (outcome === null) return; // without a redis-server
  const { tally, done, found, evidence } = outcome;
  assert.is(found.join('\n'), '', `seed ${seed}; what the programs said is in ${evidence}`);
  assert.ok(tally.answered > 5 && tally.answered === tally.requests, `${tally.answered} of ${tally.requests}`);
  assert.ok(done.length > 3, `only ${done.length} faults`);
  console.log(
    `» ${done.length} faults, ${tally.answered} requests, ${tally.retries} retries, ${tally.resumes} resumes`,
  );
}

test('with two routers on Redis, whatever is killed, every caller gets the right answer', async () => {
  checkOutcome(await runChaos({ ...common, embedded: false, rate: 1, callers: 6, workers: [3, 1] }));
});

test('with one router that is killed every few seconds, too', async () => {
  checkOutcome(await runChaos({ ...common, embedded: true, rate: 1, callers: 4, workers: [2, 1] }));
});

test.run();
