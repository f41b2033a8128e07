/**
 * A job's life, stepped through again from its log: each event, the state before and after it, what the machine asked
 * for, and the bytes that the caller got.
 *
 * What stays true: the machines are the ones that ran the job, and this folder knows no way to act. What they ask for is
 * told, never done. The same log gives the same steps, however its events are batched.
 *
 * A log does not tell of the wire. Left out are keep-alive comments, and how far a caller that left had read. A head that
 * went out early, because nothing was said for `openAfterMs`, is told from the times of the events: a job that failed
 * within the second after that, with nothing said, may have been answered the other way.
 */
import { begin, evolve, type Job, type JobAction, ReplayError } from '../../machines/job.ts';
import {
  leave,
  openAfterMs,
  openEarly,
  openStream,
  type Stream,
  type StreamAction,
  show,
} from '../../machines/stream.ts';
import type { JobEvent } from '../../protocol/job-events.ts';
import { formatPosition, type Position } from '../../protocol/position.ts';

/** A batch of a log, from whatever kept it. */
export interface ReplayEntry {
  readonly epoch: number;
  /** Number, within the epoch, of the first event. */
  readonly sequence: number;
  readonly events: readonly JobEvent[];
}

export interface Step {
  readonly position: Position;
  readonly at: number;
  /** Since the event before; 0 for the first. Negative when two routers' clocks disagree. */
  readonly sinceMs: number;
  readonly event: JobEvent;
  /** Null before the first event. */
  readonly before: Standing | null;
  readonly after: Standing;
  /** What the machine asked for. */
  readonly actions: readonly JobAction[];
  readonly caller: Seen;
}

/** Where a job and its answer stand between two events. Text is told by its length: it is in the events. */
export interface Standing {
  readonly state: string;
  readonly attempt: number;
  readonly workerId: string | null;
  readonly lostInARow: number;
  readonly tokens: number;
  readonly reasoningTokens: number;
  readonly textChars: number;
  readonly reasoningChars: number;
  /** The answer's machine: waiting, open, ended or left. */
  readonly answer: string;
}

/** What an event made the caller get. */
export interface Seen {
  /** Of the answer, in the step that sent it; null in all others. */
  readonly head: { readonly status: number; readonly headers: Readonly<Record<string, string>> } | null;
  /** The exact text of the body, or of its next part. */
  readonly bytes: string;
  /** Nothing follows. */
  readonly ended: boolean;
}

export interface ReplayOptions {
  /** Whose log it is; null: the log says so itself. */
  readonly jobId: string | null;
  /** After this long the router that wrote the log sent the head of a streamed answer, though nothing was said yet. */
  readonly openAfterMs: number;
}

export const replayDefaults: ReplayOptions = { jobId: null, openAfterMs };

/** The log cannot have been written by a router: its steps end here. */
export class ReplayStopped extends Error {
  readonly code = 'log_corrupt';
  readonly retryable = false;
  readonly position: Position;
  readonly reason: string;

  constructor(jobId: string | null, position: Position, reason: string) {
    const whose = jobId === null ? 'This log' : `The log of job ${jobId}`;
    super(`${whose} cannot be replayed at ${formatPosition(position)}: ${reason}.`);
    this.name = 'ReplayStopped';
    this.position = position;
    this.reason = reason;
  }
}

/** The steps of a whole log. Throws ReplayStopped behind the last one that is sound. */
export function* stepsOf(entries: Iterable<ReplayEntry>, options: Partial<ReplayOptions> = {}): Generator<Step> {
  const replay = new Replay(options);
  for (const entry of entries) yield* replay.take(entry);
}

/** A log taken entry by entry, as its reader gets hold of them. */
export class Replay {
  private readonly options: ReplayOptions;
  private past: {
    readonly job: Job;
    readonly stream: Stream;
    readonly standing: Standing;
    readonly at: number;
  } | null = null;
  private position: Position = { epoch: 0, number: 0 };

  constructor(options: Partial<ReplayOptions> = {}) {
    this.options = { ...replayDefaults, ...options };
  }

  /** The job as it stands behind what was taken; null before its first event. */
  get job(): Job | null {
    return this.past?.job ?? null;
  }

  *take({ epoch, sequence, events }: ReplayEntry): Generator<Step> {
    for (const [index, event] of events.entries()) yield this.step(event, { epoch, number: sequence + index });
  }

  private step(event: JobEvent, position: Position): Step {
    this.checkPlace(event, position);
    const { past } = this;
    const [job, actions] = past === null ? this.first(event, position) : this.next(past.job, event, position);
    const [stream, caller] =
      past === null ? [openStream(job.submitted), nothingSeen] : this.shown(past.stream, event, position);
    const before = past?.standing ?? null;
    const after = standingOf(job, stream);
    const { at } = event;
    this.past = { job, stream, standing: after, at };
    this.position = position;
    return { position, at, sinceMs: past === null ? 0 : at - past.at, event, before, after, actions, caller };
  }

  /** Events are numbered without a gap, and an epoch is opened by the event that says who opened it. */
  private checkPlace(event: JobEvent, position: Position): void {
    const { epoch, number } = this.position;
    const opens = event.type === 'job.submitted' || event.type === 'job.adopted';
    if (position.epoch === epoch) {
      if (position.number > number + 1) {
        const missing = { epoch, number: number + 1 };
        throw this.stopped(position, `the events from ${formatPosition(missing)} up to it are missing`);
      }
      if (position.number <= number) throw this.stopped(position, `it stands behind ${formatPosition(this.position)}`);
      if (opens && epoch > 0) throw this.stopped(position, `${event.type} can only stand first in an epoch`);
      return;
    }
    if (position.epoch !== epoch + 1)
      throw this.stopped(position, `epoch ${position.epoch} cannot follow epoch ${epoch}`);
    if (position.number !== 1) throw this.stopped(position, `the first events of epoch ${position.epoch} are missing`);
    if (!opens) throw this.stopped(position, `${event.type} cannot open an epoch`);
  }

  private first(event: JobEvent, position: Position): [Job, JobAction[]] {
    if (event.type !== 'job.submitted')
      throw this.stopped(position, `a log begins with job.submitted, not with ${event.type}`);
    const { jobId } = this.options;
    if (jobId !== null && jobId !== event.jobId) throw this.stopped(position, `it is the log of job ${event.jobId}`);
    return begin(event);
  }

  private next(job: Job, event: JobEvent, position: Position): [Job, JobAction[]] {
    try {
      return evolve(job, event);
    } catch (error) {
      if (!(error instanceof ReplayError)) throw error;
      throw this.stopped(position, `${event.type} cannot follow in state ${job.state.value}`);
    }
  }

  private shown(stream: Stream, event: JobEvent, position: Position): [Stream, Seen] {
    const { at } = stream.answer.submitted;
    let opening: StreamAction[] = [];
    let next = stream;
    if (event.at - at >= this.options.openAfterMs) [next, opening] = openEarly(next);
    if (event.type === 'job.cancelled' && event.reason === 'caller_gone') next = leave(next);
    const [after, actions] = show(next, event, position);
    return [after, seen([...opening, ...actions])];
  }

  private stopped(position: Position, reason: string): ReplayStopped {
    return new ReplayStopped(this.past?.job.submitted.jobId ?? this.options.jobId, position, reason);
  }
}

const nothingSeen: Seen = { head: null, bytes: '', ended: false };

function seen(actions: readonly StreamAction[]): Seen {
  let { head, bytes, ended } = nothingSeen;
  for (const action of actions) {
    switch (action.type) {
      case 'respond':
        ({ body: bytes } = action);
        head = { status: action.status, headers: action.headers };
        ended = true;
        break;
      case 'open':
        head = { status: action.status, headers: action.headers };
        break;
      case 'write':
        bytes += action.text;
        break;
      case 'end':
        ended = true;
        break;
    }
  }
  return { head, bytes, ended };
}

function standingOf({ state, output }: Job, stream: Stream): Standing {
  const { attempt, workerId, lostInARow } = state.context;
  return {
    state: String(state.value),
    attempt,
    workerId,
    lostInARow,
    tokens: output.tokens,
    reasoningTokens: output.reasoningTokens,
    textChars: output.text.length,
    reasoningChars: output.reasoning.length,
    answer: String(stream.state.value),
  };
}
