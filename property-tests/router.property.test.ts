/**
 * The whole router among callers, workers, shards and a store that do anything at any time (rough-world.ts).
 *
 * R1. What a caller has got is in the log, in order, nothing lost, repeated or invented; at every step.
 * R2. What is in the log is what the worker that spoke last said, with what it was told to go on from.
 * R3. A job has one end. A caller has one end: a whole answer, an error with a cause, or a connection that was cut for
 *     one; and an answer that is whole ends without error.
 * R4. Every SSE id leads to the rest of the answer.
 * R5. No worker has more jobs than slots.
 * R6. When all is quiet and time has passed, nothing is held any more, by front or shards.
 * R7. A stop ends in time and leaves no caller waiting.
 */
import fc from 'fast-check';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type Step, script } from './rough-deeds.ts';
import { Trial } from './rough-trial.ts';

const numRuns = Number(process.env.FC_RUNS ?? 400);
const seeded = process.env.FC_SEED === undefined ? {} : { seed: Number(process.env.FC_SEED) };
const path = process.env.FC_PATH === undefined ? {} : { path: process.env.FC_PATH };

const shown = (steps: readonly Step[]): string => steps.map(each => JSON.stringify(each)).join('\n');

/** An assertion's message names no values: they stand beside it. */
const told = (error: unknown): string => {
  if (!(error instanceof Error)) return String(error);
  const details = 'details' in error && typeof error.details === 'string' ? error.details : '';
  return `${error.stack}\n${details}`;
};

/** Scripts that found something once, with what they taught. */
const ask: Step = { deed: { do: 'ask', streamed: false, broken: false }, rounds: 0 };
const examples: [readonly Step[]][] = [
  // A shard cannot be rebuilt while its jobs' logs cannot be read: that is no reason to give up.
  [
    [
      ask,
      { deed: { do: 'store', down: true }, rounds: 0 },
      { deed: { do: 'kill', shards: 2 }, rounds: 0 },
      { deed: { do: 'rest' }, rounds: 5 },
    ],
  ],
  // A shard rebuilt late reads the epoch of the boot that took its job: going on behind it makes two writers of one epoch.
  [
    [
      ask,
      ask,
      { deed: { do: 'leave', who: 0 }, rounds: 9 },
      { deed: { do: 'store', down: true }, rounds: 0 },
      { deed: { do: 'kill', shards: 1 }, rounds: 0 },
      { deed: { do: 'pass', ms: 21_000 }, rounds: 0 },
      { deed: { do: 'store', down: false }, rounds: 0 },
      { deed: { do: 'boot' }, rounds: 0 },
      ask,
    ],
  ],
  // A worker that left out its first frame still runs the job that is taken from it, and had no slot for the next one.
  [
    [
      { deed: { do: 'join', protocol: 2, slots: 1 }, rounds: 9 },
      { ...ask, rounds: 9 },
      { deed: { do: 'join', protocol: 1, slots: 1 }, rounds: 9 },
      { deed: { do: 'say', who: 0, run: 0, saying: { what: 'skip' } }, rounds: 0 },
      { ...ask, rounds: 9 },
    ],
  ],
];

async function holds(runs: number, claim: (steps: readonly Step[]) => Promise<void>): Promise<void> {
  const escaped: unknown[] = [];
  const note = (error: unknown): void => void escaped.push(error);
  process.on('uncaughtException', note);
  process.on('unhandledRejection', note);
  try {
    await fc.assert(
      fc.asyncProperty(script, async steps => {
        escaped.length = 0;
        await claim(steps);
        assert.is(escaped.join(), '');
      }),
      {
        numRuns: runs,
        ...seeded,
        ...path,
        examples,
        reporter: ({ failed, seed, counterexample, counterexamplePath, errorInstance }) => {
          if (!failed) return;
          const [found] = counterexample ?? [[]];
          throw new Error(
            `FC_SEED=${seed} FC_PATH=${counterexamplePath}\n${shown(found ?? [])}\n${told(errorInstance)}`,
          );
        },
      },
    );
  } finally {
    process.off('uncaughtException', note);
    process.off('unhandledRejection', note);
  }
}

test('whatever callers, workers, shards and the store do, every caller gets its answer or one true error', () =>
  holds(numRuns, async steps => {
    const trial = new Trial();
    await trial.run(steps);
    await trial.end();
  }));

test('a router that is told to stop does so in time, whatever goes on, and leaves no caller waiting', () =>
  holds(Math.ceil(numRuns / 4), async steps => {
    const trial = new Trial();
    await trial.run(steps);
    await trial.stop();
  }));

test.run();
