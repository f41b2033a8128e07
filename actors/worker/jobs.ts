/**
 * The jobs a worker runs: frames in, engine, frames out.
 *
 * B1. Every job that was accepted ends in exactly one `complete`, `error` or `cancelled`, as long as there is a router
 *     to tell.
 * B2. Token frames of a job and attempt are numbered 1, 2, 3 … without a gap (version 2), and those the router has not
 *     acknowledged are kept, up to a cap.
 * B3. Nothing is said about a job after its end, nor about an attempt that a newer one of the same job replaced.
 * B4. A broken connection stops no job (version 2): it goes on, its frames are kept, and so is its end, until a router
 *     has acknowledged it, says that it does not want the job, or has been away for `keepMs`.
 */

import type { JobMark } from '../../protocol/worker-frames.parts.ts';
import type {
  CompleteFrame,
  JobFrame,
  TokenFrame,
  WorkerErrorCode,
  WorkerFrame,
} from '../../protocol/worker-frames.ts';
import type { Diagnostics } from '../config/diagnostics.ts';
import { type Engine, type EngineCode, EngineError, type EngineResult, type Piece } from '../engine/engine.ts';
import type { Clock } from './clock.ts';
import { engineJob } from './job-request.ts';
import { openTail, type Tail } from './tail.ts';

export interface JobsOptions {
  readonly engine: () => Engine | null;
  readonly send: (frame: WorkerFrame) => void;
  readonly version: () => 1 | 2;
  readonly jobMsMax: number;
  /** How long ended jobs, and running ones without a router, are kept for one that may still want them. */
  readonly keepMs: number;
  readonly clock: Clock;
  readonly diagnostics: Diagnostics;
}

/** Why jobs are ended from outside. `lost`: there is nobody to tell. */
export type EndReason = 'cancelled' | 'timeout' | 'stopping' | 'lost';

export interface Jobs {
  readonly count: number;
  /** Running jobs, and ended ones whose end the router has not got yet. */
  readonly held: number;
  start(frame: JobFrame): void;
  /** `attempt` undefined: whichever runs. */
  cancel(jobId: string, attempt: number | undefined): void;
  acknowledge(jobId: string, attempt: number, seq: number, ended: boolean): void;
  /** What is held for the router: jobs that run, and ends that it has not acknowledged. */
  marks(): JobMark[];
  /** The connection is broken: jobs go on, for a while, without a router. */
  detach(): void;
  /** Connected again: the router goes on with these, and all others are over. */
  resume(granted: readonly JobMark[]): void;
  endAll(reason: EndReason): void;
  /** The worker ends: nothing is kept for anybody any more. */
  close(): void;
  /** Settles when no job runs any more, or after `msMax`. */
  idle(msMax: number): Promise<void>;
}

interface RunningJob {
  /** Changes when the router gives the job back under another number. */
  attempt: number | undefined;
  readonly abort: AbortController;
  readonly tail: Tail;
  endReason: EndReason | null;
  seq: number;
  /** What is said last, once the job is over. */
  last: WorkerFrame | null;
  /** Takes back the end of the time that it is kept for. */
  keepOn: () => void;
}

/** Ends that are kept for the router, of which a router that works leaves a few. */
const endedMax = 1024;

export function openJobs({ engine, send, version, jobMsMax, keepMs, clock, diagnostics }: JobsOptions): Jobs {
  const running = new Map<string, RunningJob>();
  /** Jobs that are over, whose end the router has not acknowledged (version 2). */
  const ended = new Map<string, RunningJob>();
  let forgetAll: (() => void) | null = null;
  let waiting: (() => void)[] = [];

  const end = (job: RunningJob, reason: EndReason): void => {
    if (job.endReason !== null) return;
    job.endReason = reason;
    job.abort.abort(new EngineError('cancelled', `the job was ended: ${reason}`));
  };

  const isCurrent = (jobId: string, job: RunningJob): boolean => running.get(jobId) === job;

  const say = (jobId: string, job: RunningJob, { kind, text, ids, choice = 0, ...more }: Piece): void => {
    const { logprobs, call, end } = more;
    const reasoning = kind === 'reasoning' ? { reasoning: true } : {};
    if (version() === 1) {
      if (text !== '') send({ type: 'token', job_id: jobId, token: text, ...reasoning });
      return;
    }
    job.seq += 1;
    const frame: TokenFrame = {
      type: 'token',
      job_id: jobId,
      token: text,
      ...reasoning,
      ...attemptOf(job),
      seq: job.seq,
      ...(more.isInexact === true ? {} : { ids: [...ids] }),
      ...(choice === 0 ? {} : { choice }),
      ...(logprobs === undefined ? {} : { logprobs: [...logprobs] }),
      ...(call === undefined ? {} : { call: wirePiece(call) }),
      ...(end === undefined ? {} : { end: wireEnd(end) }),
    };
    job.tail.push(frame);
    send(frame);
  };

  const keep = (jobId: string, job: RunningJob, last: WorkerFrame): void => {
    job.last = last;
    ended.set(jobId, job);
    job.keepOn = clock.after(keepMs, () => forget(jobId));
    const [oldest] = ended.keys();
    if (ended.size > endedMax && oldest !== undefined) forget(oldest);
  };

  const forget = (jobId: string): void => {
    ended.get(jobId)?.keepOn();
    ended.delete(jobId);
  };

  const drop = (jobId: string, job: RunningJob): void => {
    end(job, 'lost');
    // With nobody to tell there is nothing to wait for: the job is forgotten, and its engine stops by the signal.
    if (isCurrent(jobId, job)) running.delete(jobId);
    forget(jobId);
  };

  const run = async (frame: JobFrame, job: RunningJob): Promise<void> => {
    const jobId = frame.job_id;
    const startedAt = clock.now();
    const callOff = clock.after(jobMsMax, () => end(job, 'timeout'));
    diagnostics.info('job started', { jobId, messages: frame.messages.length, tools: frame.tools?.length ?? 0 });
    let last: WorkerFrame | null;
    try {
      const runner = engine();
      if (runner === null) throw new EngineError('engine_unavailable', 'the model is not loaded yet');
      const result = await runner.generate(engineJob(frame), {
        signal: job.abort.signal,
        onPiece: piece => {
          if (isCurrent(jobId, job) && job.endReason === null) say(jobId, job, piece);
        },
        onProgress: ({ total, cached, processed }) => {
          // A version 1 router writes a warning for each of these.
          if (version() === 1 || !isCurrent(jobId, job)) return;
          send({ type: 'prompt_progress', job_id: jobId, total, cached, processed, ...attemptOf(job) });
        },
        onToolCall: () => {
          if (!isCurrent(jobId, job)) return;
          send({ type: 'tool_generating', job_id: jobId, ...(version() === 1 ? {} : attemptOf(job)) });
        },
      });
      last = completeFrame(jobId, job, result, version());
      diagnostics.info('job done', {
        jobId,
        finishReason: result.finishReason,
        outputTokens: result.usage.output,
        durationMs: clock.now() - startedAt,
      });
    } catch (error) {
      last = lastFrame(jobId, job, error, version(), jobMsMax);
      if (job.endReason === null) diagnostics.warn('job failed', { jobId, error });
      else diagnostics.info('job ended early', { jobId, reason: job.endReason });
    }
    callOff();
    if (!isCurrent(jobId, job)) return;
    running.delete(jobId);
    if (last !== null) {
      if (version() === 2 && job.attempt !== undefined) keep(jobId, job, last);
      send(last);
    }
    if (running.size > 0) return;
    const settled = waiting;
    waiting = [];
    for (const settle of settled) settle();
  };

  /** Says what the router has not got of a job, under its new number. Frames that are forgotten leave a gap it sees. */
  const goOn = (job: RunningJob, { attempt, seq }: JobMark): void => {
    job.attempt = attempt;
    job.tail.acknowledge(seq);
    for (const frame of job.tail.all()) send({ ...frame, attempt });
    if (job.last === null) return;
    job.last = 'attempt' in job.last ? { ...job.last, attempt } : job.last;
    send(job.last);
  };

  return {
    get count() {
      return running.size;
    },
    get held() {
      return running.size + ended.size;
    },
    start(frame) {
      const held = running.get(frame.job_id);
      if (held !== undefined) {
        // The same attempt twice is one job that was sent twice; a newer one takes the place of the older.
        if ((frame.attempt ?? 0) <= (held.attempt ?? 0)) return;
        end(held, 'cancelled');
      }
      // Its end has been said, and will be again until the router has it: the same attempt is not run once more.
      const over = ended.get(frame.job_id);
      if (over !== undefined && frame.attempt !== undefined && frame.attempt <= (over.attempt ?? 0)) return;
      const job: RunningJob = {
        attempt: frame.attempt,
        abort: new AbortController(),
        tail: openTail(),
        endReason: null,
        seq: 0,
        last: null,
        keepOn: () => undefined,
      };
      forget(frame.job_id);
      running.set(frame.job_id, job);
      void run(frame, job);
    },
    cancel(jobId, attempt) {
      const job = running.get(jobId);
      if (job === undefined || (attempt !== undefined && job.attempt !== undefined && attempt !== job.attempt)) return;
      end(job, 'cancelled');
    },
    acknowledge(jobId, attempt, seq, isEnd) {
      const job = running.get(jobId) ?? ended.get(jobId);
      if (job?.attempt !== attempt) return;
      job.tail.acknowledge(seq);
      if (isEnd) forget(jobId);
    },
    marks() {
      return [...running, ...ended].flatMap(([jobId, { attempt, seq, endReason }]) =>
        attempt === undefined || endReason !== null ? [] : [{ job_id: jobId, attempt, seq }],
      );
    },
    detach() {
      forgetAll ??= clock.after(keepMs, () => {
        forgetAll = null;
        for (const [jobId, job] of [...running, ...ended]) drop(jobId, job);
      });
    },
    resume(granted) {
      forgetAll?.();
      forgetAll = null;
      const marks = new Map(granted.map(mark => [mark.job_id, mark]));
      for (const [jobId, job] of [...running, ...ended]) {
        const mark = marks.get(jobId);
        if (mark === undefined) drop(jobId, job);
        else goOn(job, mark);
      }
    },
    endAll(reason) {
      for (const [jobId, job] of [...running]) {
        end(job, reason);
        if (reason === 'lost') drop(jobId, job);
      }
      if (running.size === 0) {
        for (const settle of waiting) settle();
        waiting = [];
      }
    },
    close() {
      forgetAll?.();
      forgetAll = null;
      for (const [jobId, job] of [...running, ...ended]) drop(jobId, job);
    },
    idle(msMax) {
      if (running.size === 0) return Promise.resolve();
      return new Promise(resolve => {
        const callOff = clock.after(msMax, resolve);
        waiting.push(() => {
          callOff();
          resolve();
        });
      });
    },
  };
}

const attemptOf = ({ attempt }: RunningJob): { attempt?: number } => (attempt === undefined ? {} : { attempt });

function completeFrame(jobId: string, job: RunningJob, result: EngineResult, version: 1 | 2): CompleteFrame {
  const { usage, text, reasoning, toolCalls, finishReason, stopSequence, contextFull, embeddings } = result;
  return {
    type: 'complete',
    job_id: jobId,
    full_response: text,
    ...(reasoning === '' ? {} : { reasoning_content: reasoning }),
    duration_ms: result.durationMs,
    cache_tokens: usage.cached,
    input_tokens: usage.input,
    output_tokens: usage.output,
    ...(usage.reasoning === 0 ? {} : { reasoning_tokens: usage.reasoning }),
    ...(toolCalls.length === 0
      ? {}
      : { tool_calls: toolCalls.map(({ id, name, arguments: args }) => wireCall(id, name, args)) }),
    ...(version === 1
      ? {}
      : {
          ...attemptOf(job),
          seq: job.seq,
          finish_reason: finishReason,
          ...(stopSequence === undefined ? {} : { stop_sequence: stopSequence }),
          ...(contextFull === true ? { context_full: true } : {}),
          ...(embeddings === undefined ? {} : { embeddings: [...embeddings] }),
        }),
  };
}

const wireEnd = ({ finishReason, toolCalls }: NonNullable<Piece['end']>): NonNullable<TokenFrame['end']> => ({
  finish_reason: finishReason,
  ...(toolCalls.length === 0
    ? {}
    : { tool_calls: toolCalls.map(({ id, name, arguments: args }) => wireCall(id, name, args)) }),
});

const wirePiece = ({ index, id, name, arguments: text }: NonNullable<Piece['call']>) => ({
  index,
  ...(id === undefined ? {} : { id }),
  ...(name === undefined ? {} : { name }),
  arguments: text,
});

const wireCall = (id: string, name: string, args: string) =>
  ({ id, type: 'function', function: { name, arguments: args } }) as const;

/** How a job ends that did not complete. */
function lastFrame(
  jobId: string,
  job: RunningJob,
  error: unknown,
  version: 1 | 2,
  jobMsMax: number,
): WorkerFrame | null {
  const failure = (code: WorkerErrorCode, message: string): WorkerFrame => ({
    type: 'error',
    job_id: jobId,
    error: message,
    ...(version === 1 ? {} : { code, ...attemptOf(job) }),
  });
  switch (job.endReason) {
    case 'lost':
      return null;
    case 'cancelled':
      if (version === 2) return { type: 'cancelled', job_id: jobId, ...attemptOf(job) };
      return failure('cancelled', 'the job was cancelled');
    case 'timeout':
      return failure('timeout', `the job ran longer than this worker allows (${jobMsMax} ms, AUXOT_JOB_TIMEOUT)`);
    case 'stopping':
      // A router of version 2 goes on elsewhere when the connection closes: said nothing, nothing is lost.
      if (version === 2) return null;
      return failure('overloaded', 'the worker is stopping');
    case null: {
      if (version === 2 && error instanceof EngineError && error.retryAfterMs !== null) {
        const retry_after_secs = Math.ceil(error.retryAfterMs / 1000);
        return { type: 'job.overload', job_id: jobId, retry_after_secs, ...attemptOf(job) };
      }
      const message = error instanceof Error ? error.message : String(error);
      return failure(error instanceof EngineError ? wireCode(error.code) : 'worker_error', message);
    }
  }
}

function wireCode(code: EngineCode): WorkerErrorCode {
  switch (code) {
    case 'context_length_exceeded':
    case 'invalid_request':
    case 'engine_crashed':
    case 'malformed_tool_call':
    case 'cancelled':
      return code;
    case 'unsupported_parameter':
      return 'invalid_request';
    case 'server_overloaded':
    case 'engine_unavailable':
      return 'overloaded';
    case 'model_load_failed':
    case 'internal_error':
      return 'worker_error';
  }
}
