/**
 * Random lives of jobs: what callers, workers, timers and other routers may do to one, in any order, and the log that
 * comes of it. The common ground of the tests of job, stream and answer.
 *
 * A worker is named by what it is to the job, so that most commands mean something: its holder, or a stranger.
 */
import fc from 'fast-check';
import type { CallPiece, JobEvent, JobSubmitted } from '../protocol/job-events.ts';
import type { Position } from '../protocol/position.ts';
import type { CompleteFrame, TokenFrame } from '../protocol/worker-frames.ts';
import {
  acceptToken,
  assignJob,
  cancelJob,
  completeJob,
  type Decision,
  type Draft,
  expireJob,
  failAtWorker,
  failJob,
  outputEvents,
  stopAtWorker,
} from './job.decide.ts';
import { type Claim, endPatience, orphanJob, resumeJob, takeOverJob } from './job.losses.ts';
import { begin, evolve, type Job, type JobAction } from './job.ts';

export const jobId = 'chatcmpl-7f1a91b5f8e95322ab8c4d912d09d479';
export const deadlineAt = 1_300_000;

/** One piece of text from a worker; `step` is how far its sequence number is from the one that is due. */
export interface Piece {
  readonly call?: CallPiece | undefined;
  readonly text: string;
  readonly reasoning: boolean;
  readonly step: number;
}

export type JobCommand =
  | { readonly kind: 'assign'; readonly protocol: number }
  /** Pieces that arrive in one tick. */
  | { readonly kind: 'speak'; readonly from: Who; readonly pieces: readonly Piece[] }
  | { readonly kind: 'complete'; readonly from: Who; readonly frame: Partial<CompleteFrame> }
  | { readonly kind: 'giveUp'; readonly from: Who; readonly code: string }
  | { readonly kind: 'stop'; readonly from: Who }
  | { readonly kind: 'orphan'; readonly from: Who; readonly reason: 'worker_lost' | 'worker_silent' }
  /** One of the workers that were lost dials in again and says how far it had come, from what the log holds on. */
  | { readonly kind: 'claim'; readonly former: number; readonly stranger: boolean; readonly ahead: number }
  | { readonly kind: 'endPatience'; readonly early: boolean }
  | { readonly kind: 'cancel'; readonly reason: 'caller_gone' | 'requested' | 'shutdown' }
  | { readonly kind: 'fail'; readonly code: string }
  | { readonly kind: 'expire'; readonly at: number }
  | { readonly kind: 'adopt' };
type Who = 'holder' | 'former' | 'stranger';

export interface JobLife {
  readonly job: Job;
  readonly log: readonly (readonly [JobEvent, Position])[];
  readonly actions: readonly JobAction[];
  /** Codes of refusals, in order. */
  readonly refusals: readonly string[];
}

export function bear(submitted: JobSubmitted): JobLife {
  const [job, actions] = begin(submitted);
  return { job, log: [[submitted, job.position]], actions, refusals: [] };
}

export const obeyAll = (life: JobLife, commands: readonly JobCommand[]): JobLife => commands.reduce(obey, life);

export function obey(life: JobLife, command: JobCommand): JobLife {
  const { job } = life;
  const at = 1_000_000 + life.log.length;
  switch (command.kind) {
    case 'assign': {
      const number = job.state.context.attempt + 1;
      const two = { workerInstance: `instance-${number}`, modelFile: 'sha256:1' };
      const { protocol } = command;
      const worker = { at, workerId: `worker-${number}`, protocol, ...(protocol >= 2 ? two : {}) };
      return took(life, assignJob(job, worker));
    }
    case 'claim':
      return took(life, resumeJob(job, claimOf(job, command, at)));
    case 'endPatience': {
      const { waitsUntilAt } = job.state.context;
      return took(life, endPatience(job, command.early ? waitsUntilAt - 1 : Math.max(at, waitsUntilAt)));
    }
    case 'speak':
      return spoke(life, command, at);
    case 'complete': {
      const frame: CompleteFrame = { type: 'complete', job_id: jobId, full_response: '', ...command.frame };
      return took(life, completeJob(job, nameOf(job, command.from), frame, at));
    }
    case 'giveUp': {
      const { from, code } = command;
      return took(life, failAtWorker(job, nameOf(job, from), { type: 'error', job_id: jobId, error: 'no', code }, at));
    }
    case 'stop':
      return took(life, stopAtWorker(job, nameOf(job, command.from), undefined, at));
    case 'orphan':
      return took(life, orphanJob(job, nameOf(job, command.from), command.reason, at));
    case 'cancel':
      return took(life, cancelJob(job, command.reason, at));
    case 'fail':
      return took(life, failJob(job, command.code, 'because', at));
    case 'expire':
      return took(life, expireJob(job, command.at));
    case 'adopt':
      return adopted(life, at);
  }
}

/** As a boot does that takes up what an earlier one left: it opens its epoch, reads, and then acts. */
function adopted(life: JobLife, at: number): JobLife {
  const decision = takeOverJob(life.job, at);
  if (!decision.ok) return took(life, decision);
  const boot = `boot-${life.log.length}`;
  return took(happened(life, { type: 'job.adopted', at, instance: 'router-2', boot }), decision);
}

function took(life: JobLife, decision: Decision): JobLife {
  if (!decision.ok) return { ...life, refusals: [...life.refusals, decision.refusal.code] };
  return decision.events.reduce(happened, life);
}

function happened(life: JobLife, event: JobEvent): JobLife {
  const [job, actions] = evolve(life.job, event);
  return { ...life, job, log: [...life.log, [event, job.position]], actions: [...life.actions, ...actions] };
}

/** As a shard does: pieces of one kind are joined within the tick, and each draft becomes one event. */
function spoke(before: JobLife, { from, pieces }: Extract<JobCommand, { kind: 'speak' }>, at: number): JobLife {
  let life = before;
  let draft: Draft | null = null;
  const { protocol, attempt } = life.job.state.context;
  const workerId = nameOf(life.job, from);
  for (const { text, reasoning, step, call } of pieces) {
    const two = { attempt, seq: Math.max(1, (draft?.seq ?? life.job.output.seq) + 1 + step), ids: [text.length] };
    const frame: TokenFrame = {
      type: 'token',
      job_id: jobId,
      token: call === undefined || protocol < 2 ? text : '',
      ...(call === undefined || protocol < 2 ? {} : { call }),
      ...(reasoning ? { reasoning } : {}),
      ...(protocol >= 2 ? two : {}),
    };
    const taken = acceptToken(life.job, draft, workerId, frame);
    if (!taken.ok) {
      life = { ...life, refusals: [...life.refusals, taken.refusal.code] };
      continue;
    }
    if (!taken.joins && draft !== null) life = outputEvents(life.job, draft, at).reduce(happened, life);
    draft = taken.piece;
  }
  return draft === null ? life : outputEvents(life.job, draft, at).reduce(happened, life);
}

function claimOf({ state: { context } }: Job, claim: Extract<JobCommand, { kind: 'claim' }>, at: number): Claim {
  const { former, stranger, ahead } = claim;
  const known = context.formers[former % Math.max(1, context.formers.length)];
  return {
    at,
    workerId: `worker-${context.attempt + 1}`,
    workerInstance: stranger ? 'stranger' : (known?.workerInstance ?? 'nobody'),
    protocol: 2,
    modelFile: 'sha256:1',
    attempt: known?.attempt ?? 1,
    seq: Math.max(0, (known?.seq ?? 0) + ahead),
  };
}

const nameOf = ({ state: { context } }: Job, who: Who): string =>
  who === 'holder' ? (context.workerId ?? 'nobody') : who === 'former' ? `worker-${context.attempt - 1}` : 'stranger';

const anyWho = fc.oneof(
  { weight: 8, arbitrary: fc.constant<Who>('holder') },
  { weight: 1, arbitrary: fc.constantFrom<Who>('former', 'stranger') },
);
/** Line ends, quotes, separators of SSE and of JSON, and characters outside the BMP: what breaks careless framing. */
const anyText = fc.oneof(
  fc.constantFrom('Hello', ' ', '\n\n', 'data: ', '"', '\\', '\u2028', '🙂', ''),
  fc.string({ maxLength: 6 }),
);
const anyPiece = fc.record({
  text: anyText,
  reasoning: fc.oneof({ weight: 4, arbitrary: fc.constant(false) }, { weight: 1, arbitrary: fc.constant(true) }),
  call: fc.oneof(
    { weight: 3, arbitrary: fc.constant(undefined) },
    {
      weight: 1,
      arbitrary: fc.record({
        index: fc.nat(2),
        id: fc.constantFrom('call_1', 'call_2', 'call_3'),
        name: fc.constantFrom('look', 'add'),
        arguments: fc.constant('{"a":"'),
      }),
    },
    { weight: 1, arbitrary: fc.record({ index: fc.nat(2), arguments: fc.constantFrom('', 'x', '\\n', 'é') }) },
  ),
  step: fc.oneof({ weight: 20, arbitrary: fc.constant(0) }, { weight: 1, arbitrary: fc.constantFrom(-1, 1) }),
});
const anyCall = fc.record({
  id: fc.constantFrom('', 'call_1', 'call_2'),
  type: fc.constant('function'),
  function: fc.record({
    name: fc.constantFrom('look', 'add'),
    arguments: fc.constantFrom('', '{}', '{"a":1}', '{"a":[', 'none'),
  }),
});
const anyComplete: fc.Arbitrary<Partial<CompleteFrame>> = fc.record(
  {
    full_response: anyText,
    reasoning_content: anyText,
    input_tokens: fc.nat(50),
    cache_tokens: fc.nat(50),
    output_tokens: fc.nat(50),
    tool_calls: fc.array(anyCall, { maxLength: 3 }),
    finish_reason: fc.constantFrom('stop', 'length', 'tool_calls'),
    stop_sequence: fc.constantFrom('END', ' '),
    context_full: fc.boolean(),
    duration_ms: fc.nat(100),
  },
  { requiredKeys: [] },
);

export const anyCommand: fc.Arbitrary<JobCommand> = fc.oneof(
  { weight: 6, arbitrary: fc.record({ kind: fc.constant('assign' as const), protocol: fc.constantFrom(1, 2) }) },
  {
    weight: 10,
    arbitrary: fc.record({
      kind: fc.constant('speak' as const),
      from: anyWho,
      pieces: fc.array(anyPiece, { minLength: 1, maxLength: 4 }),
    }),
  },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('complete' as const), from: anyWho, frame: anyComplete }) },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant('orphan' as const),
      from: anyWho,
      reason: fc.constantFrom('worker_lost', 'worker_silent'),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant('claim' as const),
      former: fc.nat(1),
      stranger: fc.oneof({ weight: 6, arbitrary: fc.constant(false) }, { weight: 1, arbitrary: fc.constant(true) }),
      ahead: fc.constantFrom(0, 1, 7, -1),
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('endPatience' as const), early: fc.boolean() }) },
  { weight: 2, arbitrary: fc.constant<JobCommand>({ kind: 'adopt' }) },
  {
    weight: 1,
    arbitrary: fc.oneof(
      fc.record({
        kind: fc.constant('giveUp' as const),
        from: anyWho,
        code: fc.constantFrom('', 'context_length_exceeded', 'timeout', 'overloaded', 'engine_crashed'),
      }),
      fc.record({ kind: fc.constant('stop' as const), from: anyWho }),
      fc.record({
        kind: fc.constant('cancel' as const),
        reason: fc.constantFrom('caller_gone', 'requested', 'shutdown'),
      }),
      fc.record({
        kind: fc.constant('fail' as const),
        code: fc.constantFrom('queue_full', 'log_full', 'poisoned_input'),
      }),
      fc.record({
        kind: fc.constant('expire' as const),
        at: fc.constantFrom(deadlineAt - 1, deadlineAt, deadlineAt + 5),
      }),
    ),
  },
);

export const anySubmitted: fc.Arbitrary<JobSubmitted> = fc
  .record({
    stream: fc.boolean(),
    includeUsage: fc.boolean(),
    maxTokens: fc.option(fc.nat(20), { nil: undefined }),
  })
  .map(({ stream, includeUsage, maxTokens }) => ({
    type: 'job.submitted',
    at: 1_000_000,
    jobId,
    instance: 'router-1',
    boot: 'boot-1',
    priority: 0,
    deadlineAt,
    request: {
      model: 'auxot-demo',
      messages: [{ role: 'user', content: 'hi' }],
      ...(maxTokens === undefined ? {} : { maxTokens }),
    },
    answer: { api: 'openai.chat', stream, model: 'auxot-demo', ...(includeUsage ? { includeUsage } : {}) },
  }));

/** A life that was lived by random commands; half of them start with a worker at work, for most else ends early. */
export const anyLife: fc.Arbitrary<JobLife> = fc
  .tuple(anySubmitted, fc.boolean(), fc.array(anyCommand, { maxLength: 25 }))
  .map(([submitted, working, commands]) => {
    const start: JobCommand[] = working ? [{ kind: 'assign', protocol: 2 }] : [];
    const life = obeyAll(bear(submitted), [...start, ...commands]);
    // A found case is printed as its log: XState's objects would fill pages.
    return { ...life, [fc.toStringMethod]: () => life.log.map(([event]) => JSON.stringify(event)).join('\n') };
  });
