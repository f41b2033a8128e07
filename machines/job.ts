/**
 * One inference request, from accepted to answered.
 *
 *              ┌──────────requeued───────────┐
 *              ▼                             │
 *   queued ──assigned──▶ dispatched ──output──▶ generating ──completed──▶ completed
 *                         ▲  │  │                │  ▲
 *                assigned │  │  └────orphaned────┤  │ output
 *                         │  │ resumed           ▼  │
 *                     orphaned ────resumed────▶ resumed     (a worker of version 2: lost, and come back)
 *   generating, dispatched, resumed ──moved──▶ dispatched   (its worker is about to leave, another is warm: job.moves.ts)
 *   generating, dispatched, resumed ──toolRound.started──▶ calling ──toolRound.finished──▶ queued
 *     └── failed, cancelled, expired: from every state that is not final ──▶ failed | cancelled | expired
 *
 * J1. A job has a worker exactly while it is dispatched, resumed or generating.
 * J2. `attempt` counts assignments, moves and resumptions and never falls.
 * J3. Exactly one terminal event; nothing follows it, but for `job.adopted` by a boot that came too late, which changes nothing.
 * J4. A job that loses two workers with no output accepted in between is not given to a third (job.losses.ts).
 * J5. Each event has the number after the one before it; a new epoch starts again at 1.
 * J6. `formers` are the workers that may come back by redial: those lost since output was last accepted. So from the first
 *     word of a standby on nobody else has a claim.
 * J7. An orphaned job asks for a worker unless J4 forbids it, and its wait has an end.
 * J8. While it is calling, tools of the router run for it; what becomes of each call is kept beside the machine
 *     (tool-round.ts), and so is the conversation that grows by it.
 *
 * Text is kept beside the machine, in `output`: a piece of text is no decision, and `transition` costs too much for it.
 */
import { assign, enqueueActions, type SnapshotFrom, setup } from 'xstate';
import type { JobCompleted, JobEvent, JobOrphaned, JobSubmitted } from '../protocol/job-events.ts';
import type { Position } from '../protocol/position.ts';
import { emptyContext, type JobContext, mayHaveStandby, orphaned, placed, resumed, standbyOf } from './job.context.ts';
import { type Output, outputAfter, said, silence } from './job.output.ts';
import { type AskedAction, pure } from './pure.ts';
import { canTake, endLoop, noRounds, owedCalls, type ToolAction, type ToolLoop, toolsAfter } from './tool-round.ts';

interface RequestWorker {
  readonly jobId: string;
  readonly model: string;
  readonly priority: number;
  readonly again: boolean;
  /** This one, if it is free when the job's turn comes. */
  readonly prefers?: string;
}

/** What the machine asks for, as data; the actor does it by `type`. */
export type JobAction =
  | ToolAction
  | { type: 'requestWorker'; params: RequestWorker }
  | { type: 'requestStandby'; params: { jobId: string; model: string; priority: number; notBeforeAt: number } }
  | { type: 'withdrawRequest'; params: { jobId: string } }
  | { type: 'sendJob'; params: { jobId: string; workerId: string; attempt: number; protocol: number } }
  | { type: 'cancelAtWorker'; params: { jobId: string; workerId: string; attempt: number } }
  | { type: 'freeSlot'; params: { jobId: string; workerId: string } }
  | { type: 'takeBack'; params: { jobId: string; workerId: string } }
  | { type: 'armDeadline'; params: { jobId: string; at: number } }
  | { type: 'armPatience'; params: { jobId: string; at: number } }
  | { type: 'disarmPatience'; params: { jobId: string } }
  | { type: 'finishJob'; params: { jobId: string } };

type Params<T extends JobAction['type']> = Extract<JobAction, { type: T }>['params'];

const machine = setup({
  types: {} as { context: JobContext; events: JobEvent; input: JobSubmitted },
  actions: {
    requestWorker: (_, _params: Params<'requestWorker'>) => undefined,
    withdrawRequest: (_, _params: Params<'withdrawRequest'>) => undefined,
    sendJob: (_, _params: Params<'sendJob'>) => undefined,
    cancelAtWorker: (_, _params: Params<'cancelAtWorker'>) => undefined,
    freeSlot: (_, _params: Params<'freeSlot'>) => undefined,
    requestStandby: (_, _params: Params<'requestStandby'>) => undefined,
    takeBack: (_, _params: Params<'takeBack'>) => undefined,
    armDeadline: (_, _params: Params<'armDeadline'>) => undefined,
    armPatience: (_, _params: Params<'armPatience'>) => undefined,
    disarmPatience: (_, _params: Params<'disarmPatience'>) => undefined,
    finishJob: (_, _params: Params<'finishJob'>) => undefined,
    dropWorker: assign({ workerId: null, workerInstance: null, modelFile: null }),
    countLoss: assign({ lostInARow: ({ context }) => context.lostInARow + 1 }),
    forgetLosses: assign({ lostInARow: 0, formers: [] }),
    countWriter: assign({ writers: ({ context }) => context.writers + 1 }),
    assignWorker: assign(({ event }) =>
      event.type === 'job.assigned' || event.type === 'job.moved' ? placed(event) : {},
    ),
    orphan: assign(({ context, event }) => (event.type === 'job.orphaned' ? orphaned(context, event) : {})),
    enterCalls: assign(({ context }) => ({ usedWorker: context.workerId, formers: [], lostInARow: 0 })),
    noteCall: assign({}),
    resume: assign(({ context, event }) => (event.type === 'job.resumed' ? resumed(context, event) : {})),
  },
});

const finish = {
  type: 'finishJob',
  params: ({ context }: { context: JobContext }) => ({ jobId: context.jobId }),
} as const;
const withdraw = {
  type: 'withdrawRequest',
  params: ({ context }: { context: JobContext }) => ({ jobId: context.jobId }),
} as const;
const free = {
  type: 'freeSlot',
  params: ({ context }: { context: JobContext }) => ({ jobId: context.jobId, workerId: context.workerId ?? '' }),
} as const;
const cancel = {
  type: 'cancelAtWorker',
  params: ({ context }: { context: JobContext }) => ({
    jobId: context.jobId,
    workerId: context.workerId ?? '',
    attempt: context.attempt,
  }),
} as const;

/** Leaving a worker: the slot is free, and the job has no worker any more (J1). */
const leave = [free, 'dropWorker'] as const;

const takeBack = {
  type: 'takeBack',
  params: ({ context }: { context: JobContext }) => ({ jobId: context.jobId, workerId: context.workerId ?? '' }),
} as const;

const running = {
  'job.requeued': {
    target: 'queued',
    // A worker that left a frame out still runs the job, in a slot that is free from now on; one that is gone reads nothing.
    actions: [cancel, ...leave, 'countLoss'],
  },
  'job.orphaned': [
    {
      guard: ({ event }: { event: JobOrphaned }) => event.reason === 'frames_lost',
      target: 'orphaned',
      actions: [cancel, free, 'orphan'],
    },
    { target: 'orphaned', actions: [free, 'orphan'] },
  ],
  // The former worker stops before the next one speaks: nobody hears both.
  'job.moved': { target: 'dispatched', reenter: true, actions: [cancel, 'assignWorker', takeBack] },
  'toolRound.started': { target: 'calling', actions: ['enterCalls', ...leave] },
  'job.completed': [
    {
      // At a stop text that the worker knows nothing of.
      guard: ({ event }: { event: JobCompleted }) => event.by === 'router',
      target: 'completed',
      actions: [cancel, ...leave],
    },
    { target: 'completed', actions: [...leave] },
  ],
  'job.cancelled': { target: 'cancelled', actions: [cancel, ...leave] },
  'job.expired': { target: 'expired', actions: [cancel, ...leave] },
  'job.adopted': { actions: 'countWriter' },
} as const;

export const jobMachine = machine.createMachine({
  id: 'job',
  context: ({ input }) =>
    input === undefined
      ? emptyContext
      : {
          ...emptyContext,
          jobId: input.jobId,
          model: input.request.model,
          priority: input.priority,
          deadlineAt: input.deadlineAt,
        },
  initial: 'queued',
  options: { maxIterations: 100 },
  entry: { type: 'armDeadline', params: ({ context }) => ({ jobId: context.jobId, at: context.deadlineAt }) },
  states: {
    queued: {
      entry: {
        type: 'requestWorker',
        params: ({ context }) => requestOf(context, context.attempt > 0),
      },
      on: {
        'job.assigned': {
          target: 'dispatched',
          actions: 'assignWorker',
        },
        'job.failed': { target: 'failed', actions: withdraw },
        'job.cancelled': { target: 'cancelled', actions: withdraw },
        'job.expired': { target: 'expired', actions: withdraw },
        'job.adopted': { actions: 'countWriter' },
      },
    },
    orphaned: {
      entry: [
        { type: 'armPatience', params: ({ context }) => ({ jobId: context.jobId, at: context.waitsUntilAt }) },
        enqueueActions(({ context, enqueue }) => {
          if (mayHaveStandby(context)) enqueue({ type: 'requestStandby', params: standbyOf(context) });
        }),
      ],
      exit: { type: 'disarmPatience', params: ({ context }) => ({ jobId: context.jobId }) },
      on: {
        'job.assigned': { target: 'dispatched', actions: 'assignWorker' },
        'job.resumed': { target: 'resumed', actions: [withdraw, 'resume', takeBack] },
        // The patience is over, and nothing was said that would be lost.
        'job.requeued': { target: 'queued', actions: assign({ formers: [] }) },
        'job.orphaned': { target: 'orphaned', reenter: true, actions: 'orphan' },
        'job.failed': { target: 'failed', actions: withdraw },
        'job.cancelled': { target: 'cancelled', actions: withdraw },
        'job.expired': { target: 'expired', actions: withdraw },
        'job.adopted': { actions: 'countWriter' },
      },
    },
    dispatched: {
      entry: {
        type: 'sendJob',
        params: ({ context }) => ({
          jobId: context.jobId,
          workerId: context.workerId ?? '',
          attempt: context.attempt,
          protocol: context.protocol,
        }),
      },
      on: {
        ...running,
        'output.appended': { target: 'generating', actions: 'forgetLosses' },
        // A former worker was faster than this one: it never stopped.
        'job.resumed': { target: 'resumed', actions: [cancel, free, 'resume', takeBack] },
        'job.failed': [
          { guard: ({ event }) => event.by === 'worker', target: 'failed', actions: [...leave] },
          { target: 'failed', actions: [cancel, ...leave] },
        ],
      },
    },
    resumed: {
      on: {
        ...running,
        'output.appended': { target: 'generating', actions: 'forgetLosses' },
        'job.failed': [
          { guard: ({ event }) => event.by === 'worker', target: 'failed', actions: [...leave] },
          { target: 'failed', actions: [cancel, ...leave] },
        ],
      },
    },
    generating: {
      on: {
        ...running,
        // Text after the first piece takes the short way in `evolve`; this row keeps the table whole.
        'output.appended': { actions: 'forgetLosses' },
        'job.failed': [
          { guard: ({ event }) => event.by === 'worker', target: 'failed', actions: [...leave] },
          { target: 'failed', actions: [cancel, ...leave] },
        ],
      },
    },
    calling: {
      on: {
        // What happens to one call takes the short way in `evolve`; these rows keep the table whole.
        'toolCall.started': { actions: 'noteCall' },
        'toolCall.returned': { actions: 'noteCall' },
        'toolCall.finished': { actions: 'noteCall' },
        'toolRound.finished': 'queued',
        'job.failed': 'failed',
        'job.cancelled': 'cancelled',
        'job.expired': 'expired',
        'job.adopted': { actions: 'countWriter' },
      },
    },
    completed: { type: 'final', entry: finish },
    failed: { type: 'final', entry: finish },
    cancelled: { type: 'final', entry: finish },
    expired: { type: 'final', entry: finish },
  },
});

const steps = pure(jobMachine);

export type JobState = SnapshotFrom<typeof jobMachine>;

export interface Job {
  readonly submitted: JobSubmitted;
  readonly state: JobState;
  readonly output: Output;
  /** J8. */
  readonly tools: ToolLoop;
  /** Of the last event. */
  readonly position: Position;
}

/** A logged event that cannot follow what stands before it: the log is corrupt, and this job alone stops. */
export class ReplayError extends Error {
  readonly code = 'log_corrupt';
  constructor(jobId: string, position: Position, state: string, event: string) {
    super(
      `the log of job ${jobId} is corrupt: ${event} cannot follow at ${position.epoch}-${position.number}.0 in state ${state}`,
    );
    this.name = 'ReplayError';
  }
}

/** The job that `job.submitted` begins, and what it asks for. */
export function begin(event: JobSubmitted): [Job, JobAction[]] {
  const [state, actions] = steps.initial(event);
  return [
    { submitted: event, state, output: silence(), tools: noRounds, position: { epoch: 1, number: 1 } },
    asked(actions),
  ];
}

/** Applies one logged event. It has no opinion: whatever is in the log has happened. */
export function evolve(job: Job, event: JobEvent): [Job, JobAction[]] {
  const position = next(job.position, event);
  if (event.type === 'output.appended' && job.state.value === 'generating') {
    return [{ ...job, output: said(job.output, event), position }, []];
  }
  if (event.type === 'job.adopted' && isOver(job)) return [{ ...job, position }, []];
  if (!job.state.can(event) || !canTake(job.tools, event))
    throw new ReplayError(job.submitted.jobId, position, String(job.state.value), event.type);
  if (event.type === 'toolCall.started' || event.type === 'toolCall.returned' || event.type === 'toolCall.finished') {
    const [tools, actions] = toolsAfter(job.tools, event, job);
    return [{ ...job, tools, position }, actions];
  }
  const [state, actions] = steps.next(job.state, event);
  const [tools, more] = state.status === 'done' ? endLoop(job.tools, job) : toolsAfter(job.tools, event, job);
  return [{ ...job, state, tools, output: outputAfter(job.output, event), position }, [...more, ...asked(actions)]];
}

/** The job that a log tells of; null for an empty one. Actions are thrown away: a replay never acts. */
export function replay(events: Iterable<JobEvent>): Job | null {
  let job: Job | null = null;
  for (const event of events) {
    if (job !== null) [job] = evolve(job, event);
    else if (event.type === 'job.submitted') [job] = begin(event);
    else throw new ReplayError('?', { epoch: 0, number: 0 }, 'none', event.type);
  }
  return job;
}

export const isOver = (job: Job): boolean => job.state.status === 'done';

/** Whether a worker runs it now. */
export const isRunning = (job: Job): boolean => job.state.context.workerId !== null;

/**
 * What is still owed after a rebuild, read from the state: never from actions of the past. A worker is asked for again:
 * a job that was accepted once is not refused because others wait.
 */
export function owed(job: Job): JobAction[] {
  const { jobId, deadlineAt } = job.state.context;
  if (isOver(job)) return [];
  const deadline: JobAction = { type: 'armDeadline', params: { jobId, at: deadlineAt } };
  if (isRunning(job)) return [deadline];
  if (job.state.value === 'orphaned') {
    const { context } = job.state;
    const patience: JobAction = { type: 'armPatience', params: { jobId, at: context.waitsUntilAt } };
    if (!mayHaveStandby(context)) return [deadline, patience];
    return [deadline, patience, { type: 'requestStandby', params: standbyOf(context) }];
  }
  if (job.state.value === 'calling') return [deadline, ...owedCalls(job.tools, job)];
  return [deadline, { type: 'requestWorker', params: requestOf(job.state.context, true) }];
}

function requestOf({ jobId, model, priority, usedWorker }: JobContext, again: boolean): RequestWorker {
  return { jobId, model, priority, again, ...(usedWorker === null ? {} : { prefers: usedWorker }) };
}

function next(position: Position, event: JobEvent): Position {
  return event.type === 'job.adopted'
    ? { epoch: position.epoch + 1, number: 1 }
    : { epoch: position.epoch, number: position.number + 1 };
}

// The names declared in setup(), with the params typed there.
const asked = (actions: readonly AskedAction[]): JobAction[] => actions as JobAction[];
