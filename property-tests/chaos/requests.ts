/** The callers: so many at once, each asking one question after another in an API picked by chance. */
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Random } from '../simulation/random.ts';
import { type Asked, check, WrongAnswer } from './asked.ts';
import { longQuestions, questions } from './book.ts';
import { officialCallers } from './official-callers.ts';
import { rawCallers } from './raw-callers.ts';

export const callerKinds = { ...officialCallers, ...rawCallers };
const kinds = Object.entries(callerKinds);

export interface Tally {
  requests: number;
  answered: number;
  failed: number;
  wrong: number;
  retries: number;
  resumes: number;
  /** Answers whose bytes were read again and compared. */
  compared: number;
  readonly byKind: Map<string, number>;
  /** How long answers took, ms. */
  readonly tookMs: number[];
}

export const newTally = (): Tally => ({
  requests: 0,
  answered: 0,
  failed: 0,
  wrong: 0,
  retries: 0,
  resumes: 0,
  compared: 0,
  byKind: new Map(),
  tookMs: [],
});

/** A request that has no right answer by then has failed. */
const patienceMs = 90_000;

/** One request: tried again, with its key, until it has its answer. */
async function request(
  [kind, ask]: (typeof kinds)[number],
  asked: Asked,
  tally: Tally,
  found: (what: string) => void,
): Promise<void> {
  const startedAt = performance.now();
  const errors: string[] = [];
  tally.requests += 1;
  for (let pauseMs = 100; ; pauseMs = Math.min(1500, pauseMs * 2)) {
    try {
      check(asked.question, await ask(asked), true);
      tally.answered += 1;
      tally.byKind.set(kind, (tally.byKind.get(kind) ?? 0) + 1);
      tally.tookMs.push(performance.now() - startedAt);
      return;
    } catch (error) {
      if (error instanceof WrongAnswer) {
        tally.wrong += 1;
        return found(`${kind}, key ${asked.key}: wrong text ${error.message}`);
      }
      errors.push(`${Math.round(performance.now() - startedAt)} ms: ${error}`);
      if (performance.now() > asked.until) {
        tally.failed += 1;
        return found(`${kind}, key ${asked.key}: no answer\n    ${errors.join('\n    ')}`);
      }
      tally.retries += 1;
      await sleep(pauseMs);
    }
  }
}

/** `count` callers that go on until `until` fires, and then finish what they have begun. */
export async function askQuestions(
  url: string,
  count: number,
  random: Random,
  until: AbortSignal,
  tally: Tally,
  found: (what: string) => void,
): Promise<void> {
  const caller = async (): Promise<void> => {
    while (!until.aborted) {
      const question = random.pick(random.chance(0.6) ? longQuestions : questions);
      const kind = random.pick(kinds);
      if (question === undefined || kind === undefined) return;
      const key = `chaos-${randomUUID()}`;
      const keepS = random.chance(0.6) ? 60 : 0;
      await request(kind, { url, question, key, keepS, until: performance.now() + patienceMs, tally }, tally, found);
      await sleep(random.between(0, 300));
    }
  };
  await Promise.all(Array.from({ length: count }, caller));
}
