/** Runs cases at a peer, and tells what came of them. */
import { type Case, type Outcome, type Resettable, runCase } from './case.ts';

export interface ReportOptions {
  readonly json: boolean;
  /** Failures that are expected of a reference peer do not count. */
  readonly reference: boolean;
  readonly patience: number;
  readonly print: (text: string) => void;
}

/** The exit code. */
export async function report<Peer extends Resettable>(
  cases: readonly Case<Peer>[],
  peer: Peer,
  { json, reference, patience, print }: ReportOptions,
): Promise<0 | 1> {
  const outcomes: Outcome[] = [];
  for (const one of cases) {
    const { outcome } = await runCase(one, peer, patience);
    outcomes.push(outcome);
    if (!json) print(lineOf(outcome));
  }
  const count = (result: Outcome['result']): number => outcomes.filter(one => one.result === result).length;
  const counts = { passed: count('pass'), failed: count('fail'), skipped: count('skipped') };
  if (json) print(JSON.stringify({ ...counts, cases: outcomes }, null, 2));
  else print(`\n${counts.passed} passed, ${counts.failed} failed, ${counts.skipped} skipped`);
  const forgiven = ({ weakness }: Outcome): boolean => reference && weakness !== null;
  return outcomes.some(one => one.result === 'fail' && !forgiven(one)) ? 1 : 0;
}

const expectation = (weakness: string | null | undefined): string =>
  weakness === undefined || weakness === null ? '' : `; expected of a reference peer: fails (${weakness})`;

export const titleOf = <Peer>({ id, says, of, weakness }: Case<Peer>): string =>
  `${id}\n        ${says} [${of}${expectation(weakness)}]`;

function lineOf({ id, says, of, weakness, result, reason, ms }: Outcome): string {
  const word = { pass: 'ok     ', fail: 'FAIL   ', skipped: 'skipped' }[result];
  const head = `${word} ${id} (${ms} ms)`;
  if (result === 'pass') return head;
  return `${head}\n        ${reason}\n        ${says} [${of}${expectation(weakness)}]`;
}
