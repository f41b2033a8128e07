/** A run that is short enough for a test. FC_SEED plays other histories. */
import * as assert from 'uvu/assert';
import { runChaos } from './run.ts';

const runMs = 12_000;

export async function shortRun(embedded: boolean, callers: number, workers: readonly [number, number]): Promise<void> {
  const seed = Number(process.env.FC_SEED ?? 7);
  const stop = new AbortController().signal;
  const progress = (): void => undefined;
  const outcome = await runChaos({ seed, ms: runMs, embedded, rate: 1, callers, workers, stop, progress });
  if (outcome === null) return; // without a redis-server
  const { tally, done, found, evidence } = outcome;
  assert.is(found.join('\n'), '', `seed ${seed}; what the programs said is in ${evidence}`);
  assert.is(tally.answered, tally.requests);
  assert.ok(tally.answered > 3, `only ${tally.answered} requests`);
  assert.ok(done.length > 3, `only ${done.length} faults`);
  console.log(
    `» ${done.length} faults, ${tally.answered} requests, ${tally.retries} retries, ${tally.resumes} resumes`,
  );
}
