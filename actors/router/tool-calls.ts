/**
 * Calls of tools on their way to tools workers, and who has which: for jobs in their tool rounds, and for callers that
 * call a tool directly.
 *
 *   waiting ──matched──▶ running ──answered──▶ over         (a job's shard logs each step before it is acted on)
 *      ▲                    │ its worker is lost
 *      └──the job asks again┤
 *                           └─▶ away ──its worker is back──▶ running, sent again with `sent_to`
 *                                 └──its worker has the result, at another router──▶ running ──▶ answered
 *
 * C1. A call is sent to a worker that has the tool and a free slot, and never where the allow-list forbids it.
 * C2. A call that may have been begun goes to nobody but the process that has it, unless its tool is idempotent. When that
 *     does not come back in `graceMs`, its outcome is unknown.
 * C3. A result is acknowledged when the log has it; one that nobody waits for, only when nobody will ask for it again.
 * C4. Secrets are added here, to the frame of the tool that they are for, and are nowhere else.
 */
import type { Effect, ToolInput, ToolOutcome, ToolsOffer } from '../../protocol/shard-messages.ts';
import type { ToolProgressFrame } from '../../protocol/worker-frames.tools.ts';
import { serialiseFrame } from '../../protocol/worker-frames.ts';
import type { ToolLetter } from '../log/inbox.ts';
import type { Clock } from './ports.ts';
import { isNoResult } from './route-frame.ts';
import { callOfCaller, callOfJob, type DirectCall, directCallId, stateOf, type ToolCall } from './tool-call.ts';
import type { ListedTool } from './tool-offer.ts';
import { ToolStrangers, type ToolStrangersParts } from './tool-strangers.ts';
import { type ToolsWorker, ToolsWorkers } from './tools-workers.ts';

export interface ToolCallsOptions {
  readonly allowed: readonly string[];
  /** By tool name in lower case. */
  readonly credentials: Readonly<Record<string, Readonly<Record<string, string>>>>;
  /** How long a lost worker, or any worker with the tool, is waited for. */
  readonly graceMs: number;
}

export interface ToolCallsParts {
  readonly clock: Clock;
  /** To the shard that owns the job or the call. */
  readonly post: (id: string, input: ToolInput) => void;
  readonly send: (workerId: string, text: string) => void;
  /** What routers on one store tell each other of calls; null on a store of our own. */
  readonly others: {
    readonly tellWriter: NonNullable<ToolStrangersParts['tellWriter']>;
    /** The call that a worker at the boot `boot` has is over. */
    readonly callIsOver: (boot: string, callId: string) => void;
  } | null;
  /** Those of a job, how far one of its calls is. */
  readonly tellCallers: (jobId: string, name: string, frame: ToolProgressFrame) => void;
}

const callsMax = 16_384;
const sweepMs = 250;
/** A worker that is full is left alone for so long. */
const fullMs = 1000;
/** Between two words on how far a call is, at least. */
const tellMs = 100;

/** After its own time limit, a tools worker has this long to say so. */
const lateMs = 3000;

export class ToolCalls {
  readonly #options: ToolCallsOptions;
  readonly #parts: ToolCallsParts;
  readonly #workers: ToolsWorkers;
  readonly #strangers: ToolStrangers;
  readonly #calls = new Map<string, ToolCall>();
  /** Results that workers have brought to other routers, by their calls. */
  readonly #brought = new Map<string, { readonly result: string; readonly boot: string }>();
  #matching = false;
  #stopSweep: (() => void) | null = null;

  constructor(options: ToolCallsOptions, parts: ToolCallsParts) {
    this.#options = options;
    this.#parts = parts;
    this.#workers = new ToolsWorkers(options.allowed);
    const { clock, send, others } = parts;
    const isKnown = (callId: string): boolean => this.#calls.has(callId);
    const tellWriter = others?.tellWriter ?? null;
    this.#strangers = new ToolStrangers({ clock, send, isKnown, tellWriter, againMs: options.graceMs / 3 });
  }

  /** Tools that can be called now. */
  get listed(): readonly ListedTool[] {
    return this.#workers.listed;
  }

  get workers(): number {
    return this.#workers.count;
  }

  get size(): number {
    return this.#calls.size;
  }

  /** Calls `heard` when other tools can be called than before; the returned function ends that. */
  onChange(heard: () => void): () => void {
    return this.#workers.onChange(heard);
  }

  offer(workerId: string, offer: ToolsOffer): void {
    const { workerInstance, held } = offer;
    if (this.#workers.offer(workerId, offer)) this.#strangers.held({ workerId, workerInstance }, held);
    this.#matchSoon();
  }

  withdraw(workerId: string): void {
    this.#workers.withdraw(workerId);
  }

  gone(workerId: string): void {
    const worker = this.#workers.remove(workerId);
    if (worker === undefined) return;
    this.#strangers.gone(workerId);
    const instance = worker.offer.workerInstance ?? null;
    for (const callId of worker.calls) {
      const call = this.#calls.get(callId);
      if (call === undefined || call.state === 'answered') continue;
      call.workerId = null;
      call.sinceAt = this.#parts.clock.now();
      call.sentTo = instance ?? '';
      const elsewhere = call.idempotent && this.#workers.choose(call.name, null) !== null;
      if (instance === null || elsewhere) this.#lost(call);
      else call.state = 'away';
    }
    this.#matchSoon();
  }

  /** A call of a job waits. One that is known is on its way: a shard built anew asks again for what it is owed. */
  call(effect: Extract<Effect, { kind: 'callTool' }>): void {
    const { callId, sentTo, idempotent } = effect;
    const known = this.#calls.get(callId);
    const sinceAt = this.#parts.clock.now();
    if (known !== undefined) {
      if (known.state !== 'answered' && known.state !== 'lost') return;
      this.#release(known);
      if (known.state === 'lost' && !idempotent) return;
      Object.assign(known, { state: stateOf(sentTo, idempotent), workerId: null, sinceAt, sentTo });
      return this.#matchSoon();
    }
    const call = callOfJob(effect, sinceAt);
    this.#calls.set(callId, call);
    if (this.#calls.size > callsMax) return this.#refused(call, 'overloaded', 'too many tool calls wait already');
    if (sentTo === '' && !idempotent) return this.#lost(call);
    this.#matchSoon();
  }

  /** Runs a tool for a caller who waits. Returns how to end that. */
  callDirectly(direct: DirectCall, settle: (outcome: ToolOutcome) => void): () => void {
    const callId = directCallId();
    const { clock } = this.#parts;
    const late = clock.after(direct.timeoutMs + lateMs, () => {
      this.end(callId, false);
      settle({ result: 'null', images: [], error: 'the call took too long', code: 'timeout' });
    });
    const call = callOfCaller(callId, direct, clock.now(), outcome => {
      late();
      settle(outcome);
    });
    this.#calls.set(callId, call);
    if (this.#calls.size > callsMax) this.#refused(call, 'overloaded', 'too many tool calls wait already');
    else this.#matchSoon();
    return () => {
      late();
      this.end(callId, false);
    };
  }

  /** The log says that the call begins there (C1, C4). */
  send({ workerId, frame }: Extract<Effect, { kind: 'sendTool' }>): void {
    const brought = this.#brought.get(frame.job_id);
    if (brought !== undefined) return this.#answered(frame.job_id, workerId, brought.result);
    const worker = this.#workers.get(workerId);
    if (worker === undefined) return;
    const { timeout_ms: _, sent_to: __, ...first } = frame;
    const credentials = this.#options.credentials[frame.tool_name.toLowerCase()];
    const secret = credentials === undefined ? {} : { credentials: { ...credentials } };
    const sent = { ...(worker.offer.protocol >= 2 ? frame : first), ...secret };
    this.#parts.send(workerId, serialiseFrame(sent));
  }

  /** A result of a tool job from this worker. False: it is none. */
  heard(workerId: string, callId: string, text: string): boolean {
    const worker = this.#workers.get(workerId);
    if (worker === undefined) return false;
    if (isNoResult(text)) return this.#tells(workerId, callId, text);
    const call = this.#calls.get(callId);
    if (call === undefined || call.workerId !== workerId || call.state !== 'running') {
      const { protocol, workerInstance } = worker.offer;
      if (protocol >= 2) this.#strangers.heard({ workerId, workerInstance }, callId, text);
      return true;
    }
    // Its shard reads which of the two it is; to wait for a moment costs nothing.
    if (isNotBegun(text)) worker.fullUntilAt = this.#parts.clock.now() + fullMs;
    this.#answered(callId, workerId, text);
    return true;
  }

  #answered(callId: string, workerId: string, text: string): void {
    const call = this.#calls.get(callId);
    if (call === undefined) return;
    call.state = 'answered';
    const at = this.#parts.clock.now();
    if (call.jobId === null) this.#parts.post(callId, { kind: 'directAnswered', callId, text });
    else this.#parts.post(call.jobId, { kind: 'toolAnswered', at, jobId: call.jobId, callId, workerId, text });
  }

  /** What another router says of a call (tool-strangers.ts S2). */
  read(letter: ToolLetter): void {
    const { callId } = letter;
    if (letter.kind === 'toolOver') return this.#strangers.ended(callId);
    const { from, workerInstance, result } = letter;
    const call = this.#calls.get(callId);
    if (call === undefined) {
      // A job that has just come here asks for its calls in a moment.
      if (this.#strangers.isOver(callId)) this.#parts.others?.callIsOver(from, callId);
      return;
    }
    const at = this.#parts.clock.now();
    if (call.state !== 'away' || call.sentTo !== workerInstance) return;
    call.sinceAt = at;
    if (result === undefined || call.jobId === null) return;
    this.#brought.set(callId, { result, boot: from });
    const workerId = `${workerInstance}@${from}`;
    Object.assign(call, { state: 'running', workerId });
    this.#parts.post(call.jobId, { kind: 'toolMatched', at, jobId: call.jobId, callId, workerId, workerInstance });
  }

  /** Who waits for the call is told how far it is, now and then. */
  progressed({ callId, frame }: Extract<Effect, { kind: 'toolProgressed' }>): void {
    const call = this.#calls.get(callId);
    if (call === undefined) return;
    if (call.jobId !== null && call.state === 'running') this.#parts.tellCallers(call.jobId, call.name, frame);
    call.direct?.progressed?.(frame);
  }

  /** A direct call's result has been read. */
  resulted({ callId, outcome }: Extract<Effect, { kind: 'toolResulted' }>): void {
    const call = this.#calls.get(callId);
    if (call?.direct == null) return;
    if (outcome.code === 'overloaded' || outcome.code === 'worker_stopping') {
      this.#release(call);
      Object.assign(call, { state: 'waiting', workerId: null });
      return this.#sweepLater();
    }
    this.end(callId, true);
    call.direct.settle(outcome);
  }

  /** The call is over: its worker is thanked for the result, or told to stop. */
  end(callId: string, thanks: boolean): void {
    const call = this.#calls.get(callId);
    if (call === undefined) return;
    this.#calls.delete(callId);
    this.#strangers.remember(callId);
    const brought = this.#brought.get(callId);
    this.#brought.delete(callId);
    if (brought !== undefined) this.#parts.others?.callIsOver(brought.boot, callId);
    const worker = this.#workers.get(call.workerId);
    this.#release(call);
    if (worker === undefined || worker.offer.protocol < 2) return;
    if (thanks || call.state === 'answered') this.#strangers.thank(worker.workerId, callId);
    else this.#strangers.cancel(worker.workerId, callId);
  }

  /** Another router has the job: what runs for it goes on, and is that one's business. */
  letGo(jobId: string): void {
    for (const call of [...this.#calls.values()]) {
      if (call.jobId !== jobId) continue;
      this.#release(call);
      this.#calls.delete(call.callId);
      this.#brought.delete(call.callId);
    }
  }

  stop(): void {
    this.#stopSweep?.();
    for (const { direct } of [...this.#calls.values()])
      direct?.settle({ result: 'null', images: [], error: 'the router is shutting down', code: 'worker_stopping' });
    this.#calls.clear();
    this.#brought.clear();
    this.#strangers.stop();
    this.#workers.stop();
  }

  #matchSoon(): void {
    if (this.#matching) return;
    this.#matching = true;
    queueMicrotask(() => {
      this.#matching = false;
      this.#match();
    });
  }

  #match(): void {
    const now = this.#parts.clock.now();
    let waits = false;
    for (const call of this.#calls.values()) {
      if (call.state !== 'waiting' && call.state !== 'away') continue;
      const worker = this.#workerFor(call);
      // One that comes back to its worker has its slot there already, unless that says otherwise.
      const full = worker !== null && call.state === 'waiting' && worker.calls.size >= worker.slots;
      if (worker === null || full || worker.fullUntilAt > now) waits = true;
      else this.#matched(call, worker, now);
    }
    if (waits) this.#sweepLater();
  }

  /** C2. */
  #workerFor(call: ToolCall): ToolsWorker | null {
    if (call.state === 'away') return this.#workers.ofInstance(call.sentTo);
    return this.#workers.choose(call.name, call.threadId);
  }

  #matched(call: ToolCall, worker: ToolsWorker, at: number): void {
    const { workerId, offer } = worker;
    const { callId, jobId, direct, sentTo } = call;
    worker.calls.add(callId);
    Object.assign(call, { state: 'running', workerId });
    const { workerInstance } = offer;
    if (jobId !== null) {
      const named = workerInstance === undefined ? {} : { workerInstance };
      return this.#parts.post(jobId, { kind: 'toolMatched', at, jobId, callId, workerId, ...named });
    }
    if (direct === null) return;
    const frame = sentTo === null || sentTo === '' ? direct.frame : { ...direct.frame, sent_to: sentTo };
    this.send({ kind: 'sendTool', workerId, frame });
  }

  #tells(workerId: string, callId: string, text: string): boolean {
    const call = this.#calls.get(callId);
    if (call === undefined || call.workerId !== workerId) return false;
    if (call.jobId === null && call.direct?.progressed == null) return false;
    const now = this.#parts.clock.now();
    if (call.state !== 'running' || now - call.toldAt < tellMs) return false;
    call.toldAt = now;
    this.#parts.post(call.jobId ?? callId, { kind: 'toolProgressed', callId, text });
    return true;
  }

  #sweepLater(): void {
    this.#stopSweep ??= this.#parts.clock.after(sweepMs, () => {
      this.#stopSweep = null;
      this.#sweep();
      this.#match();
    });
  }

  /** Nobody is waited for longer than `graceMs`; a worker that is only busy is waited for until the call's own deadline. */
  #sweep(): void {
    const now = this.#parts.clock.now();
    for (const call of [...this.#calls.values()]) {
      if (call.state !== 'waiting' && call.state !== 'away') continue;
      if (this.#workerFor(call) !== null) call.sinceAt = now;
      else if (now - call.sinceAt < this.#options.graceMs) continue;
      else if (call.state === 'away') this.#lost(call);
      else this.#refused(call, 'unknown_tool', `no tools worker has ${call.name} now`);
    }
  }

  #lost(call: ToolCall): void {
    call.state = 'lost';
    const { callId, jobId, direct } = call;
    const at = this.#parts.clock.now();
    if (jobId !== null) return this.#parts.post(jobId, { kind: 'toolLost', at, jobId, callId });
    const error = 'the tools worker was lost; whether the call was run is not known';
    this.end(callId, false);
    direct?.settle({ result: 'null', images: [], error, code: 'outcome_unknown' });
  }

  #refused(call: ToolCall, code: string, message: string): void {
    call.state = 'lost';
    const { callId, jobId, direct } = call;
    const at = this.#parts.clock.now();
    if (jobId !== null) return this.#parts.post(jobId, { kind: 'toolRefused', at, jobId, callId, code, message });
    this.end(callId, false);
    direct?.settle({ result: 'null', images: [], error: message, code });
  }

  #release(call: ToolCall): void {
    this.#workers.get(call.workerId)?.calls.delete(call.callId);
    this.#matchSoon();
  }
}

/** A short look at a result's end: what it says exactly is read elsewhere. */
const isNotBegun = (text: string): boolean => /"code":"(?:overloaded|worker_stopping)"[^"]*\}$/.test(text.slice(-64));
