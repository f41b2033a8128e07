/**
 * A conformance case: one sentence of the contract, and how to find out whether a peer keeps it. A case knows the peer
 * only through its port, so the same one runs against our own programs in the tests and against any other by address.
 *
 * Every wait in a case has an end; the case as a whole has one, too.
 */
import { within } from '../processes.ts';

export interface Case<Peer> {
  /** Stable, for `--only`: side, subject, name. */
  readonly id: string;
  readonly says: string;
  /** Where that is written: paragraphs of PROTOCOL.md (§), ids of the specification's cases. */
  readonly of: string;
  /** A reference peer is expected to fail, for this weakness of the specification's list. */
  readonly weakness?: string;
  /** It mostly waits, and is not disturbed by what else goes on at the peer: may run beside others. */
  readonly beside?: true;
  /** When it takes longer than `caseMs`. */
  readonly ms?: number;
  readonly run: (peer: Peer) => Promise<void>;
}

export interface Outcome {
  readonly id: string;
  readonly says: string;
  readonly of: string;
  readonly weakness: string | null;
  readonly result: 'pass' | 'fail' | 'skipped';
  /** Why it failed or was skipped; '' when it passed. */
  readonly reason: string;
  readonly ms: number;
}

/** This peer cannot be asked this: it speaks an older version, or something that the case needs was not given. */
export class NotApplicable extends Error {
  override readonly name = 'NotApplicable';
}

const caseMs = 20_000;

/** What the runner needs of a peer: to hang up, and to be as it was before. */
export interface Resettable {
  hangUp(): void;
  reset(): Promise<void>;
}

export async function runCase<Peer extends Resettable>(
  one: Case<Peer>,
  peer: Peer,
  /** How many times longer than usual a case may take: at a peer whose speed is not known. */
  patience = 1,
): Promise<{ outcome: Outcome; error: unknown }> {
  const startedMs = performance.now();
  const outcome = (result: Outcome['result'], reason = ''): Outcome => ({
    id: one.id,
    says: one.says,
    of: one.of,
    weakness: one.weakness ?? null,
    result,
    reason,
    ms: Math.round(performance.now() - startedMs),
  });
  let ended: { outcome: Outcome; error: unknown };
  try {
    await within((one.ms ?? caseMs) * patience, one.run(peer), 'the case did not end');
    ended = { outcome: outcome('pass'), error: null };
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    ended = { outcome: outcome(error instanceof NotApplicable ? 'skipped' : 'fail', reason), error };
  }
  try {
    if (one.beside) peer.hangUp();
    else await peer.reset();
  } catch (error) {
    // What a case leaves behind is part of its result, unless it had failed before.
    if (ended.outcome.result === 'pass')
      ended = { outcome: outcome('fail', `afterwards: ${error instanceof Error ? error.message : error}`), error };
  }
  return ended;
}

/** The cases whose id contains one of the words; all without words. */
export const chosen = <Peer>(cases: readonly Case<Peer>[], words: readonly string[]): Case<Peer>[] =>
  cases.filter(({ id }) => words.length === 0 || words.some(word => id.includes(word)));

export function expect(isSo: boolean, otherwise: string): asserts isSo {
  if (!isSo) throw new Error(otherwise);
}

export function expectSame(got: unknown, wanted: unknown, what: string): void {
  expect(
    JSON.stringify(got) === JSON.stringify(wanted),
    `${what}: got ${shown(got)} where ${shown(wanted)} is expected`,
  );
}

export const shown = (value: unknown): string => {
  const text = JSON.stringify(value) ?? String(value);
  return text.length > 300 ? `${text.slice(0, 300)}…` : text;
};

export const pause = (ms: number): Promise<void> => new Promise(resolve => setTimeout(resolve, ms));
