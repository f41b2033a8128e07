/**
 * The tool jobs of this worker: which run, which wait, and what is said of them.
 *
 *   tool_job ─▶ known? its result again ─▶ waiting ─▶ running ─▶ ended ─▶ acknowledged
 *
 * C1. Every tool job ends in exactly one `tool_result`, which is kept until it is acknowledged and said again after a
 *     redial (version 1: only when it could not be sent).
 * C2. A tool job that was begun is never begun again (call-journal.ts). One that may have been begun by somebody else is
 *     begun only if its tool is idempotent.
 * C3. At most `slots` run at the same time and `queueMax` wait; more are refused as `overloaded`, and may be sent again.
 * C4. A call ends by its deadline: a tool that does not stop then is left alone, and its slot is free.
 */
import { levelsMax } from '../../protocol/schema.ts';
import type {
  ToolErrorCode,
  ToolJobFrame,
  ToolProgressFrame,
  ToolResultFrame,
} from '../../protocol/worker-frames.tools.ts';
import type { Diagnostics } from '../config/diagnostics.ts';
import type { Clock } from '../worker/clock.ts';
import type { CallJournal, JournalEntry } from './call-journal.ts';
import { type Tool, type ToolCallProgress, ToolError, type ToolOutput } from './tool.ts';

export interface CallsOptions {
  readonly instanceId: string;
  readonly slots: number;
  readonly queueMax: number;
  readonly callMsMax: number;
  readonly journal: CallJournal;
  readonly clock: Clock;
  readonly diagnostics: Diagnostics;
  /** The tool that a job is for; throws a ToolError when there is none for it. */
  readonly toolOf: (job: ToolJobFrame) => Tool;
  /** Those of this machine, for a tool's name. */
  readonly credentialsOf: (name: string) => Readonly<Record<string, string>>;
  readonly send: (result: ToolResultFrame) => boolean;
  /** Words on how far a call is, which may be lost. */
  readonly tell?: (progress: ToolProgressFrame) => void;
  /** Of the connection, or of the last one. */
  readonly version: () => 1 | 2;
}

export interface Calls {
  start(job: ToolJobFrame): void;
  cancel(jobId: string): void;
  acknowledge(jobId: string): void;
  /** For `hello`: what runs or is not acknowledged. */
  held(): readonly string[];
  /** The connection is open (again): says what is owed. */
  resume(): void;
  /** Resolves when nothing runs or waits any more, or after `msMax`. */
  idle(msMax: number): Promise<void>;
  /** Takes nothing new from here on. */
  close(): void;
  cancelAll(): void;
  readonly running: number;
  readonly waiting: number;
}

/** How long a tool may take to stop after it was told to. */
const stopMs = 2000;
const resultCharsMax = 8 * 2 ** 20;
const imageCharsMax = 32 * 2 ** 20;
const heldMax = 4096;
/** Between two words on how far a call is, at least. */
const tellMs = 250;
const messageCharsMax = 500;

interface Running {
  readonly job: ToolJobFrame;
  readonly tool: Tool;
  readonly entry: JournalEntry;
  readonly abort: AbortController;
  readonly arrivedAt: number;
  readonly deadlineAt: number;
  begun: boolean;
  toldAt: number;
  disarm: () => void;
}

export function openCalls(options: CallsOptions): Calls {
  const { journal, clock, diagnostics } = options;
  const calls = new Map<string, Running>();
  const queue: Running[] = [];
  let busy = 0;
  let closed = false;
  const idlers: (() => void)[] = [];

  const say = (result: ToolResultFrame): boolean =>
    options.send(options.version() === 1 ? withoutCode(result) : result);
  const refuse = (job: ToolJobFrame, code: ToolErrorCode, error: string): void => void say(failed(job, code, error));

  const end = (call: Running, result: ToolResultFrame): void => {
    if (call.entry.result !== null) return;
    call.disarm();
    calls.delete(call.job.job_id);
    journal.end(call.entry, result, clock.now());
    call.entry.sent = say(result);
    diagnostics[result.error === undefined ? 'debug' : 'info']('tool call ended', {
      tool: call.job.tool_name,
      jobId: call.job.job_id,
      durationMs: result.duration_ms ?? 0,
      ...(result.code === undefined ? {} : { code: result.code }),
    });
    if (calls.size === 0) for (const wake of idlers.splice(0)) wake();
  };

  const next = (): void => {
    while (busy < options.slots) {
      const call = queue.shift();
      if (call === undefined) return;
      if (call.entry.result === null) void run(call);
    }
  };

  const run = async (call: Running): Promise<void> => {
    const { job, tool, abort, deadlineAt, arrivedAt } = call;
    busy += 1;
    call.begun = true;
    let freed = false;
    const free = (): void => {
      if (freed) return;
      freed = true;
      busy -= 1;
      next();
    };
    // A tool that does not stop when it is told to must not keep its slot.
    abort.signal.addEventListener('abort', () => void clock.after(stopMs, free), { once: true });
    const took = (): number => Math.max(0, clock.now() - arrivedAt);
    try {
      const output = await tool.run({
        args: argumentsOf(job),
        threadId: job.thread_id === undefined || job.thread_id === '' ? null : job.thread_id,
        credentials: { ...options.credentialsOf(tool.credentialsOf ?? tool.name), ...job.credentials },
        signal: abort.signal,
        deadlineAt,
        progressed: progress => tell(call, progress),
      });
      end(call, { ...succeeded(job, output), duration_ms: took() });
    } catch (error) {
      const { code, message } = problemOf(error, abort.signal);
      if (!(error instanceof ToolError) && !abort.signal.aborted)
        diagnostics.warn('a tool broke', { tool: job.tool_name, jobId: job.job_id, error });
      end(call, { ...failed(job, code, message), duration_ms: took() });
    }
    free();
  };

  const tell = (call: Running, { progress, total, message }: ToolCallProgress): void => {
    const now = clock.now();
    if (call.entry.result !== null || now - call.toldAt < tellMs || !Number.isFinite(progress)) return;
    if (options.version() === 1) return;
    call.toldAt = now;
    const more = total !== undefined && Number.isFinite(total) ? { total } : {};
    const said = message === undefined ? {} : { message: message.slice(0, messageCharsMax) };
    options.tell?.({ type: 'tool_progress', job_id: call.job.job_id, progress, ...more, ...said });
  };

  /** Says the end of a call that is to stop, at once if it waits, else when its tool has stopped or did not in time. */
  const stop = (call: Running, code: 'timeout' | 'cancelled' | 'worker_stopping', message: string): void => {
    if (call.abort.signal.aborted) return;
    call.abort.abort(new ToolError(code, message));
    const at = queue.indexOf(call);
    if (at >= 0) queue.splice(at, 1);
    const result = { ...failed(call.job, code, message), duration_ms: clock.now() - call.arrivedAt };
    call.disarm();
    if (!call.begun) end(call, result);
    else call.disarm = clock.after(stopMs, () => end(call, result));
  };

  return {
    start(job) {
      const known = journal.get(job.job_id);
      if (known !== undefined) {
        // It runs, and is answered when it ends; or it ended, and that is said again.
        if (known.result !== null) known.sent = say(known.result);
        return;
      }
      if (closed) return refuse(job, 'worker_stopping', 'this tools worker is stopping');
      let tool: Tool;
      try {
        tool = options.toolOf(job);
        argumentsOf(job);
      } catch (error) {
        const { code, message } = problemOf(error, null);
        return refuse(job, code, message);
      }
      const isOurs = job.sent_to === options.instanceId && journal.complete;
      if (job.sent_to !== undefined && job.sent_to !== '' && !isOurs && !tool.idempotent) {
        const why = 'the call may have been run already by a tools worker that is gone; it is not run again';
        return refuse(job, 'outcome_unknown', why);
      }
      if (busy >= options.slots && queue.length >= options.queueMax) {
        return refuse(job, 'overloaded', `this tools worker runs ${busy} calls and ${queue.length} wait`);
      }
      const arrivedAt = clock.now();
      const limitMs = Math.max(1, Math.min(options.callMsMax, job.timeout_ms || options.callMsMax));
      const call: Running = {
        job,
        tool,
        entry: journal.begin(job.job_id),
        abort: new AbortController(),
        arrivedAt,
        deadlineAt: arrivedAt + limitMs,
        begun: false,
        toldAt: 0,
        disarm: () => undefined,
      };
      const late = `the call took longer than ${Math.round(limitMs / 100) / 10} s and was stopped`;
      call.disarm = clock.after(limitMs, () => stop(call, 'timeout', late));
      calls.set(job.job_id, call);
      queue.push(call);
      next();
    },
    cancel(jobId) {
      const call = calls.get(jobId);
      if (call !== undefined) stop(call, 'cancelled', 'the call was cancelled');
    },
    acknowledge: jobId => journal.acknowledge(jobId),
    held: () =>
      journal
        .open()
        .slice(0, heldMax)
        .map(({ jobId }) => jobId),
    resume() {
      for (const entry of journal.open()) {
        if (entry.result === null || (options.version() === 1 && entry.sent)) continue;
        entry.sent = say(entry.result);
      }
    },
    async idle(msMax) {
      if (calls.size === 0) return;
      await new Promise<void>(resolve => {
        const cancel = clock.after(msMax, resolve);
        idlers.push(() => {
          cancel();
          resolve();
        });
      });
    },
    close() {
      closed = true;
    },
    cancelAll() {
      // What only waited may be sent elsewhere.
      for (const call of [...calls.values()])
        stop(call, call.begun ? 'cancelled' : 'worker_stopping', 'this tools worker is stopping');
    },
    get running() {
      return busy;
    },
    get waiting() {
      return queue.length;
    },
  };
}

const idsOf = ({ job_id, parent_job_id, tool_call_id, tool_name }: ToolJobFrame) => ({
  type: 'tool_result' as const,
  job_id,
  parent_job_id,
  tool_call_id,
  tool_name,
});

const failed = (job: ToolJobFrame, code: ToolErrorCode, error: string): ToolResultFrame => ({
  ...idsOf(job),
  error,
  code,
});

function withoutCode({ code: _, ...result }: ToolResultFrame): ToolResultFrame {
  return result;
}

/** Null and nothing count as no arguments; text must hold an object, as some models write it so. */
function argumentsOf({ arguments: given }: ToolJobFrame): Readonly<Record<string, unknown>> {
  let value: unknown = given ?? {};
  if (typeof value === 'string') {
    try {
      value = JSON.parse(value);
    } catch {
      // The refusal below says it.
    }
  }
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
  throw new ToolError('invalid_arguments', 'the arguments must be a JSON object');
}

/** What a tool gave, held to what a frame may carry. */
function succeeded(job: ToolJobFrame, { result, images = [] }: ToolOutput): ToolResultFrame {
  if (!isShallow(result, levelsMax - 10)) throw new ToolError('tool_failed', 'the result is nested too deep');
  const text = JSON.stringify(result) ?? 'null';
  if (text.length > resultCharsMax) {
    throw new ToolError('tool_failed', `the result is too large: ${text.length} characters, ${resultCharsMax} may be`);
  }
  const imageChars = images.reduce((chars, { base64 }) => chars + base64.length, 0);
  if (imageChars > imageCharsMax) throw new ToolError('tool_failed', 'the images of the result are too large');
  const parts = images.map(({ mimeType, base64 }) => ({ mime_type: mimeType, data: base64 }));
  return { ...idsOf(job), result: JSON.parse(text), ...(parts.length === 0 ? {} : { image_parts: parts }) };
}

function problemOf(error: unknown, signal: AbortSignal | null): { code: ToolErrorCode; message: string } {
  // A tool that was stopped says all sorts of things; why it was stopped is what counts.
  const told: unknown = signal?.aborted === true ? signal.reason : error;
  if (told instanceof ToolError) return { code: told.code, message: told.message };
  return { code: 'tool_failed', message: 'the tool failed inside; the diagnostics of the tools worker say more' };
}

function isShallow(value: unknown, levels: number): boolean {
  if (typeof value !== 'object' || value === null) return true;
  return levels > 0 && Object.values(value).every(inner => isShallow(inner, levels - 1));
}
