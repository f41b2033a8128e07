/**
 * What routers tell each other about jobs that one of them holds: a stream for each boot. A letter of a kind that is not
 * known comes from a newer router and is left alone; one that is lost costs time, never a job (the log decides).
 */
import Type, { type Static } from 'typebox';
import { check } from '../../protocol/schema.ts';
import { inboxKey } from './log-keys.ts';
import type { Entry, Store } from './store.ts';

/** What a worker that has redialled says of a job (machines/job.losses.ts). */
const Claim = Type.Object({
  workerId: Type.String(),
  workerInstance: Type.String(),
  protocol: Type.Integer(),
  modelFile: Type.Optional(Type.String()),
  attempt: Type.Integer(),
  seq: Type.Integer(),
});
export type ClaimLetter = Static<typeof Claim>;

export const Letter = Type.Union([
  /** The job that you offered is run by me. */
  Type.Object({ kind: Type.Literal('taken'), jobId: Type.String(), epoch: Type.Integer() }),
  /** The last caller that read the job's answer here is gone. */
  Type.Object({ kind: Type.Literal('abandoned'), jobId: Type.String(), from: Type.Optional(Type.String()) }),
  /** A caller here reads the answer of the job that you write. */
  Type.Object({ kind: Type.Literal('wanted'), jobId: Type.String(), from: Type.String() }),
  /** The job is to be cancelled. */
  Type.Object({ kind: Type.Literal('unwanted'), jobId: Type.String() }),
  /** A worker that dialled in here holds the job that you write: let it go, if the worker may go on with it. */
  Type.Object({ kind: Type.Literal('asked'), jobId: Type.String(), from: Type.String(), claim: Claim }),
  /** It is yours: open the epoch after this one. */
  Type.Object({ kind: Type.Literal('released'), jobId: Type.String(), epoch: Type.Integer() }),
  /** A tools worker that dialled in here has a call of the job that you write: it runs, or this is its result. */
  Type.Object({
    kind: Type.Literal('toolHeld'),
    jobId: Type.String(),
    callId: Type.String(),
    workerInstance: Type.String(),
    from: Type.String(),
    result: Type.Optional(Type.String()),
  }),
  /** Nobody waits for that call any more, or its result is in the log. */
  Type.Object({ kind: Type.Literal('toolOver'), callId: Type.String() }),
  /** The worker has lost it. */
  Type.Object({ kind: Type.Literal('refused'), jobId: Type.String() }),
]);
export type Letter = Static<typeof Letter>;
export type ToolLetter = Extract<Letter, { kind: 'toolHeld' | 'toolOver' }>;

const checkLetter = check(Letter);
/** Letters to a boot that has gone go away by themselves. */
const keptMs = 60_000;
const lettersMax = 10_000;

export async function sendLetter(store: Store, boot: string, letter: Letter): Promise<void> {
  await store
    .pipeline([
      ['xadd', inboxKey(boot), 'MAXLEN', '~', lettersMax, '*', 'm', JSON.stringify(letter)],
      ['pexpire', inboxKey(boot), keptMs],
    ])
    .exec();
}

export function lettersOf(entries: readonly Entry[]): Letter[] {
  return entries.flatMap(([, [, text = '']]) => {
    try {
      const checked = checkLetter(JSON.parse(text));
      return checked.ok ? [checked.value] : [];
    } catch {
      return []; // no JSON: not from a router of ours
    }
  });
}
