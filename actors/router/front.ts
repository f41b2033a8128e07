/**
 * The front: owns sockets, timers, the queue and the log's writer, and does the thinking of none of them.
 *
 * Everything that arrives becomes an input of the shard that owns its job or connection; what the shards say becomes
 * appends and, once these are acknowledged, effects. All I/O stands behind ports (ports.ts), so that this very code also
 * runs in one process under a stepped clock.
 */
import { closeCodes } from '../../protocol/codes.ts';
import type { Offered } from '../../protocol/features.ts';
import type { AnswerShape } from '../../protocol/job-events.ts';
import { comparePositions, type Position } from '../../protocol/position.ts';
import type {
  Effect,
  Follow,
  Look,
  ShardInput,
  ShardOutput,
  WorkerOffer,
  Writer,
} from '../../protocol/shard-messages.ts';
import { slotOf } from '../../protocol/shard-messages.ts';
import type { Diagnostics } from '../config/diagnostics.ts';
import { LogCorrupt } from '../log/job-log.ts';
import { Appender } from './appender.ts';
import { Callers } from './callers.ts';
import { Claims } from './claims.ts';
import { Handovers } from './handovers.ts';
import { JobQueue } from './job-queue.ts';
import { lookMs, seen } from './liveness.ts';
import { tailByReading } from './log-tail.ts';
import { type LookPort, Looks } from './looks.ts';
import { Membership } from './membership.ts';
import { OwnLogs } from './own-logs.ts';
import { patiently } from './patiently.ts';
import type {
  CallerPort,
  Clock,
  ClusterPort,
  Ids,
  KeyPort,
  LogPort,
  RequestKeyPort,
  ShardHost,
  TailPort,
  WorkerPort,
} from './ports.ts';
import { type Found, RequestKeys } from './request-keys.ts';
import { jobIdOf } from './route-frame.ts';
import { ShardLinks } from './shard-links.ts';
import { Sharing } from './sharing.ts';
import { Timers } from './timers.ts';
import { type CountPort, TokenCounts } from './token-counts.ts';
import { ToolCalls } from './tool-calls.ts';
import { routerToolsFor, type ToolsOptions, toolsOff } from './tool-offer.ts';
import { type WorkerSocket, WorkerSockets } from './worker-sockets.ts';

export interface FrontOptions {
  readonly writer: Writer;
  readonly jobTimeoutMs: number;
  readonly queueTimeoutMs: number;
  readonly maxQueue: number;
  readonly keepAliveMs: number;
  readonly pingMs: number;
  /** A worker whose process shows no sign of life for this long is gone; 0: never. */
  readonly silentMs: number;
  /** Shown when a request names no model. */
  readonly modelDefault: string;
  /** Fields of requests that have no effect are refused. */
  readonly strictParams?: boolean;
  /** What tools workers may do; nothing is offered to models where it is absent. */
  readonly tools?: ToolsOptions;
}

export interface FrontParts {
  readonly clock: Clock;
  readonly log: LogPort;
  /** How logs are followed that this router does not write; by reading them again and again where it is absent. */
  readonly tail?: TailPort;
  readonly shards: ShardHost;
  readonly ids: Ids;
  readonly keys: KeyPort;
  readonly diagnostics: Diagnostics;
  /** Where keys of requests are kept; absent where they are not. */
  readonly requestKeys?: RequestKeyPort;
  /** Notes that a chat completion was stored; absent where they are not listed. */
  readonly listCompletion?: (jobId: string) => Promise<void>;
  /** Other routers write to the same store; absent where it is this router's own. */
  readonly cluster?: ClusterPort;
  /** The router cannot go on. */
  readonly failed: (reason: string) => void;
}

export interface Request {
  readonly api: AnswerShape['api'];
  readonly requestId: string;
  readonly body: Uint8Array;
  readonly idempotency?: string;
  /** The id that `jobFor` has given out for it. */
  readonly jobId?: string;
  /** How long the job goes on when its callers have gone, ms. */
  readonly keepMs?: number;
  /** False: the model is not offered the router's tools. */
  readonly tools?: boolean;
}

/** A request to count tokens, with its body. */
export interface CountRequest {
  readonly api: 'anthropic.messages' | 'openai.responses';
  readonly requestId: string;
  readonly body: Uint8Array;
}

/** Why a request is not taken in; `code` is one of codes.ts. */
export type Turned = {
  readonly code: 'store_unavailable' | 'shutting_down' | 'queue_full' | 'server_overloaded';
  readonly message: string;
};

/** Characters a job may have waiting for the log before its worker is not read any more, and when it is again. */
const stopReadingChars = 2 ** 20;
const startReadingChars = 2 ** 18;
/** What shards may owe an answer for before workers are not read any more. */
const batchesMax = 64;
const inputsMax = 8192;
const sweepMs = 1000;
/** After a shutdown's grace, for the jobs that are cut to say so. */
const lastWordsMs = 2000;
const lastLookMs = 10;
/** Events of a job that can have been on their way to the store at once, and more. */
const lookedBack = 256;

export class Front {
  readonly #options: FrontOptions;
  readonly #parts: FrontParts;
  readonly #links: ShardLinks;
  readonly #appender: Appender;
  readonly #logs: OwnLogs;
  readonly #timers: Timers;
  readonly #callers: Callers;
  readonly #workers: WorkerSockets;
  readonly #queue: JobQueue;
  readonly #counts: TokenCounts;
  readonly #looks: Looks;
  readonly #toolsOptions: ToolsOptions;
  /** Calls of tools, and the tools workers. */
  readonly tools: ToolCalls;
  readonly #claims: Claims;
  readonly #keys: RequestKeys | null;
  readonly #membership: Membership | null;
  readonly #sharing: Sharing | null;
  readonly #handovers: Handovers | null;
  /** Jobs whose log is open and ours, and so whose shard must be told of them after its death. */
  readonly #jobs = new Set<string>();
  /** Of these, those whose last caller has left. */
  readonly #leftAlone = new Set<string>();
  #draining = false;
  #sweptAt = 0;
  #stopSweep: () => void = () => undefined;
  #whenIdle: (() => void)[] = [];

  constructor(options: FrontOptions, parts: FrontParts) {
    this.#options = options;
    this.#parts = parts;
    const { clock, log, diagnostics } = parts;
    const post = (jobId: string, input: ShardInput): void => this.#post(jobId, input);
    this.#timers = new Timers(clock, (key, at) => this.#timerFired(key, at));
    this.#appender = new Appender(
      log,
      clock,
      {
        release: effects => this.#release(effects),
        fenced: (jobId, why) => this.#fenced(jobId, why),
        full: jobId => this.#failJob(jobId, 'log_full', 'the answer is longer than one job may log'),
        storeChanged: (working, reason) => {
          if (working) diagnostics.info('the store works again');
          else diagnostics.error('the store fails: answers are held back and new jobs are refused', { reason });
        },
      },
      diagnostics,
    );
    this.#logs = new OwnLogs(options.writer, {
      clock,
      log,
      diagnostics,
      appender: this.#appender,
      taken: (jobId, entries, adopted) => {
        this.#jobs.add(jobId);
        this.#post(jobId, { kind: 'jobRestored', at: clock.now(), jobId, entries, adopted });
      },
    });
    this.#queue = new JobQueue(options, clock, this.#timers, {
      give: (jobId, workerId, { protocol, workerInstance, modelFile }, at) =>
        this.#post(jobId, {
          kind: 'jobMatched',
          at,
          jobId,
          workerId,
          protocol,
          ...(workerInstance === undefined ? {} : { workerInstance }),
          ...(modelFile === undefined ? {} : { modelFile }),
        }),
      fail: (jobId, code, message) => this.#failJob(jobId, code, message),
      matched: () => this.#sharing?.look(),
      recalled: jobId => this.#sharing?.recall(jobId),
    });
    const postLazily = (jobId: string, input: ShardInput): void => this.#links.postLazily(this.#shardOf(jobId), input);
    const tail = parts.tail ?? parts.cluster ?? tailByReading(log, clock, options.jobTimeoutMs);
    this.#callers = new Callers(options, {
      clock,
      log,
      tail,
      appender: this.#appender,
      diagnostics,
      post,
      postLazily,
      places: () => this.#queue.places(),
    });
    this.#workers = new WorkerSockets(options, clock, diagnostics, (worker, code) => this.#workerGone(worker, code));
    this.#counts = new TokenCounts(clock, (model, frame) => this.#askToCount(model, frame));
    this.#looks = new Looks({
      clock,
      log,
      appender: this.#appender,
      post: (lookId, look, entries) => this.#post(look.jobId, { kind: 'lookArrived', lookId, look, entries }),
      end: jobId => this.#end(jobId),
    });
    this.#toolsOptions = options.tools ?? toolsOff;
    this.tools = new ToolCalls(
      { ...this.#toolsOptions, shared: parts.cluster !== undefined },
      { clock, post, send: (workerId, text) => this.#workers.send(workerId, text) },
    );
    this.#claims = new Claims((workerId, jobs) =>
      this.#post(workerId, { kind: 'workerClaimed', at: clock.now(), workerId, jobs }),
    );
    [this.#membership, this.#sharing, this.#handovers] =
      parts.cluster === undefined ? [null, null, null] : this.#join(parts.cluster);
    this.#keys =
      parts.requestKeys === undefined
        ? null
        : new RequestKeys({ clock, ids: parts.ids, port: parts.requestKeys, isOpen: jobId => this.#jobs.has(jobId) });
    this.#links = new ShardLinks(
      parts.shards,
      clock,
      {
        heard: output => this.#heard(output),
        rebuild: shard => this.#rebuild(shard),
        poisoned: input => this.#poisoned(input),
        gaveUp: (shard, reason) => parts.failed(`shard ${shard} died too often: ${reason}`),
      },
      diagnostics,
    );
    this.#sweepLater();
  }

  /**
   * Takes up the jobs that an earlier boot left open. Resolves with their number when all have been read. On a store that
   * routers share it is 0: whose jobs may be taken shows while their leases lapse.
   */
  async recover(): Promise<number> {
    if (this.#membership === null) return this.#logs.takeAll();
    await this.#membership.start();
    this.#sharing?.start();
    return 0;
  }

  /** The store's connection was lost and is there again: it may lead to another server. */
  storeReturned(): void {
    void this.#checkOwned();
  }

  /** Why no request can be taken in now; null when one can. Asked before the body is read. */
  turnedAway(): Turned | null {
    if (this.#draining) return { code: 'shutting_down', message: 'the router is shutting down' };
    if (!this.#appender.working) return { code: 'store_unavailable', message: 'the event log cannot be written now' };
    if (this.#queue.full) {
      return { code: 'queue_full', message: 'too many jobs wait for a worker already (AUXOT_MAX_QUEUE)' };
    }
    return null;
  }

  /** A request with its body. The answer goes to `port`; returns the stream's id. */
  requestArrived(
    port: CallerPort,
    { api, requestId, body, idempotency, keepMs, jobId: given, tools }: Request,
  ): number {
    const { clock, ids } = this.#parts;
    const at = clock.now();
    const jobId = given ?? ids.jobId();
    const deadlineAt = at + this.#options.jobTimeoutMs;
    const { streamId } = this.#callers.add(jobId, port, at, deadlineAt);
    this.#post(jobId, {
      kind: 'requestArrived',
      at,
      streamId,
      jobId,
      requestId,
      writer: this.#options.writer,
      api,
      body,
      deadlineAt,
      modelDefault: this.#options.modelDefault,
      ...(this.#options.strictParams === true ? { strict: true } : {}),
      offered: this.#offered(),
      ...(tools === false ? {} : routerToolsFor(this.#toolsOptions, this.tools.listed, this.#offered())),
      ...(idempotency === undefined ? {} : { idempotency }),
      ...(keepMs === undefined ? {} : { keepMs }),
    });
    return streamId;
  }

  /** The answer of a job that was asked for before, from where the caller stands. Returns the stream's id. */
  followArrived(port: CallerPort, jobId: string, follow: Follow): number {
    const at = this.#parts.clock.now();
    this.#leftAlone.delete(jobId);
    const { streamId, turn } = this.#callers.add(jobId, port, at, at + this.#options.jobTimeoutMs, follow);
    this.#post(jobId, { kind: 'streamFollows', streamId, turn, jobId, follow });
    return streamId;
  }

  /** Which job a request with this key and body is. Rejects when the store is in trouble. */
  async jobFor(key: string, body: string, resumes: boolean): Promise<Found> {
    const found = await this.#keys?.find(key, body, resumes);
    return found ?? { kind: 'new', jobId: this.#parts.ids.jobId() };
  }

  /** The request for which `jobFor` gave out this id does not come. */
  noJobFor(jobId: string): void {
    this.#keys?.refused(jobId);
  }

  /** Ends a job that has not ended; the caller is told how it stands then. Returns the stream's id. */
  cancelArrived(port: CallerPort, jobId: string): number {
    const ours = this.#jobs.has(jobId);
    if (ours) this.#post(jobId, { kind: 'jobCancel', at: this.#parts.clock.now(), jobId, reason: 'requested' });
    else void this.#sharing?.tellWriter('unwanted', jobId);
    const waits = ours || this.#sharing !== null;
    return this.followArrived(port, jobId, { cursor: null, shape: 'standing', waits });
  }

  /** A request to count tokens, with its body. The answer goes to `port`. */
  countArrived(port: CountPort, { requestId, api, body }: CountRequest): void {
    const countId = this.#counts.add(port);
    if (countId === null) return;
    this.#links.post(Number(countId) % this.#links.count, { kind: 'countArrived', countId, requestId, api, body });
  }

  /** A stored response is asked for, or something is to be done with it. */
  lookArrived(port: LookPort, look: Look): void {
    this.#looks.begin(port, look);
  }

  /** The caller's connection is gone, before or after its answer's end. */
  callerClosed(streamId: number): void {
    const left = this.#callers.close(streamId);
    if (left !== undefined && !this.#callers.watch(left.jobId)) {
      if (this.#jobs.has(left.jobId)) this.#leftAlone.add(left.jobId);
      else if (left.follow?.waits === true) void this.#sharing?.tellWriter('abandoned', left.jobId);
    }
    this.#checkIdle();
  }

  /** The caller's connection has taken all that was written. */
  callerDrained(streamId: number): void {
    this.#callers.drained(streamId);
  }

  /** A worker's socket has opened; returns the connection's id. */
  workerOpened(port: WorkerPort, remote: string): string {
    const workerId = this.#parts.ids.workerId();
    this.#workers.add(workerId, port, remote);
    this.#post(workerId, { kind: 'workerOpened', at: this.#parts.clock.now(), workerId, remote });
    return workerId;
  }

  workerMessage(workerId: string, text: string): void {
    const worker = this.#workers.get(workerId);
    if (worker === undefined) return;
    const at = this.#parts.clock.now();
    seen(worker.liveness, at);
    worker.liveness.lastFrameAt = at;
    const jobId = worker.trusted ? jobIdOf(text) : null;
    if (jobId === null) this.#post(workerId, { kind: 'workerFrame', at, workerId, text });
    else if (this.tools.heard(workerId, jobId, text)) return;
    else if (this.#queue.holder(jobId) === workerId) {
      this.#links.postFrame(this.#shardOf(jobId), at, jobId, workerId, text);
    }
    // Else it is about a job that this worker does not hold (any more): late by nature, or not its business.
    if (this.#crowded(1)) this.#pause(worker);
  }

  /** A pong: the worker's process lives. */
  workerSeen(workerId: string): void {
    const worker = this.#workers.get(workerId);
    if (worker !== undefined) seen(worker.liveness, this.#parts.clock.now());
  }

  workerClosed(workerId: string, code: number): void {
    this.#workers.remove(workerId, code);
  }

  health(): {
    working: boolean;
    workers: number;
    toolsWorkers: number;
    slots: number;
    active: number;
    queued: number;
    streams: number;
  } {
    const { workers, slots, held, waiting } = this.#queue.counts;
    const { working } = this.#appender;
    const { workers: toolsWorkers } = this.tools;
    return { working, workers, toolsWorkers, slots, active: held, queued: waiting, streams: this.#callers.size };
  }

  /** Features of connected workers, each set once. */
  #offered(): Offered {
    const sets = new Map(this.offers().map(({ features = [] }) => [String(features), features]));
    return [...sets.values()];
  }

  /** What connected workers offer. */
  offers(): WorkerOffer[] {
    return [...this.#workers].flatMap(({ offer }) => (offer === null ? [] : [offer]));
  }

  /** What is held; everything is 0 when all is done. */
  get load(): { jobs: number; callers: number; holders: number; timers: number; appends: number; batches: number } {
    return {
      jobs: this.#jobs.size,
      callers: this.#callers.size,
      holders: this.#queue.heldJobs,
      timers: this.#timers.size,
      appends: this.#appender.pending,
      batches: this.#links.backlog.batches,
    };
  }

  /**
   * Takes no new jobs, waits up to `graceMs` for those there are, hands the rest to another router or ends them with an
   * error that says why, closes the workers' sockets and ends the shards.
   */
  async stop(graceMs: number): Promise<void> {
    const { diagnostics } = this.#parts;
    this.#draining = true;
    this.#queue.close();
    this.#sharing?.stop();
    if (this.#hasOthers) this.#sendAway();
    if (!(await this.#idleWithin(graceMs))) {
      const cut = [...this.#jobs].filter(jobId => !this.#hasOthers || !this.#canMove(jobId));
      diagnostics.warn('jobs outlast the shutdown', { cut: cut.length, handedOver: this.#jobs.size - cut.length });
      await this.#cancelAll(cut);
    }
    this.#workers.closeAll(closeCodes.goingAway, 'the router is shutting down');
    await this.#lastAppends();
    this.#appender.stop();
    this.#sharing?.close();
    this.#handovers?.stop();
    // From here on others take what is left (M3).
    await this.#membership?.stop().catch(() => undefined); // the lease lapses by itself
    this.#logs.stop();
    this.#stopSweep();
    this.#counts.stop();
    this.#looks.stop();
    this.tools.stop();
    this.#timers.stop();
    await this.#links.stop();
    for (const { port } of this.#callers) port.destroy();
  }

  get #hasOthers(): boolean {
    return (this.#membership?.others.length ?? 0) > 0;
  }

  /** Workers go to other routers when they have finished, and what waits here runs there. */
  #sendAway(): void {
    const at = this.#parts.clock.now();
    for (const { workerId, protocol } of this.#workers) {
      if (protocol >= 2) this.#post(workerId, { kind: 'workerDrained', at, workerId });
    }
    this.#sharing?.look();
  }

  /** Whether the job can go on at another router: it waits, or its worker takes it there. */
  #canMove(jobId: string): boolean {
    const workerId = this.#queue.holder(jobId);
    return workerId === undefined || (this.#workers.get(workerId)?.protocol ?? 1) >= 2;
  }

  async #cancelAll(jobIds: readonly string[]): Promise<void> {
    const { clock } = this.#parts;
    const at = clock.now();
    for (const jobId of jobIds) this.#post(jobId, { kind: 'jobCancel', at, jobId, reason: 'shutdown' });
    const left = (): boolean => jobIds.some(jobId => this.#jobs.has(jobId) || this.#callers.watch(jobId));
    for (; left() && clock.now() < at + lastWordsMs; ) await new Promise<void>(resolve => clock.after(lookMs, resolve));
  }

  /** What was said so far is in the log before anybody else reads it. */
  async #lastAppends(): Promise<void> {
    const { clock } = this.#parts;
    const until = clock.now() + lastWordsMs;
    while (this.#hasOthers && this.#appender.pending > 0 && clock.now() < until)
      await new Promise<void>(resolve => clock.after(lastLookMs, resolve));
  }

  #idleWithin(ms: number): Promise<boolean> {
    if (this.#jobs.size === 0 && this.#callers.size === 0) return Promise.resolve(true);
    return new Promise(resolve => {
      const giveUp = this.#parts.clock.after(ms, () => resolve(false));
      this.#whenIdle.push(() => {
        giveUp();
        resolve(true);
      });
    });
  }

  #checkIdle(): void {
    if (this.#whenIdle.length === 0 || this.#jobs.size > 0 || this.#callers.size > 0) return;
    for (const resolve of this.#whenIdle.splice(0)) resolve();
  }

  /** To the shard that owns the job or the worker's connection. */
  #post(id: string, input: ShardInput): void {
    this.#links.post(this.#shardOf(id), input);
  }

  #shardOf(id: string): number {
    return this.#links.count === 1 ? 0 : slotOf(id) % this.#links.count;
  }

  #heard({ chunks, effects }: ShardOutput): void {
    for (const chunk of chunks) {
      // The first event of an epoch: the job is ours from here on. Of one that was let go since, nothing more is logged.
      if (chunk.creates) {
        this.#jobs.add(chunk.jobId);
        this.#keys?.made(chunk.jobId);
      } else if (chunk.count > 0 && !this.#jobs.has(chunk.jobId)) continue;
      this.#appender.add(chunk);
      if (this.#appender.waitingChars(chunk.jobId) <= stopReadingChars) continue;
      const worker = this.#workers.get(this.#queue.holder(chunk.jobId) ?? '');
      if (worker !== undefined) this.#pause(worker);
    }
    this.#appender.flush();
    this.#release(effects);
  }

  #release(effects: readonly Effect[]): void {
    for (const effect of effects) this.#carryOut(effect);
  }

  #carryOut(effect: Effect): void {
    switch (effect.kind) {
      case 'write':
        return this.#callers.write(effect);
      case 'open':
        return this.#callers.open(effect);
      case 'listCompletion':
        return this.#listCompletion(effect.jobId);
      case 'progress':
        return this.#callers.progressed(effect);
      case 'respond':
        this.#madeNoJob(effect.streamId);
        this.#callers.respond(effect.streamId, effect.status, effect.headers, effect.body);
        return this.#checkIdle();
      case 'refuse':
        this.#callers.refuse(effect.streamId, effect.code, effect.message);
        return this.#checkIdle();
      case 'end':
        this.#callers.end(effect);
        return this.#checkIdle();
      case 'countTokens':
        return this.#counts.ask(effect);
      case 'readHistories':
        void this.#bringHistories(effect);
        return;
      case 'looked':
        return this.#looks.looked(effect.lookId, effect.outcome);
      case 'tokensCounted':
        return this.#counts.counted(effect);
      case 'refuseCount':
        return this.#counts.respond(effect);
      case 'read':
        void this.#callers.readFor(effect);
        return;
      case 'sendFrame':
        return this.#workers.send(effect.workerId, effect.text);
      case 'ackFrames':
        return this.#workers.acknowledge(effect);
      case 'claimJobs':
        return this.#claimJobs(effect);
      case 'claimAnswered':
        return this.#claims.answer(effect.workerId, effect.jobId, effect.mark);
      case 'askAnswered':
        return this.#handovers?.answered(effect);
      case 'takeBack':
        return this.#takeBack(effect.jobId, effect.workerId);
      case 'closeWorker': {
        const worker = this.#workers.get(effect.workerId);
        // Its machine has ended, and a shard built anew has none to go on with.
        if (worker !== undefined) worker.snapshot = null;
        return worker?.port.close(effect.code, effect.reason);
      }
      case 'checkKey':
        void this.#checkKey(effect.workerId, effect.role, effect.key);
        return;
      case 'keepWorker': {
        const worker = this.#workers.get(effect.workerId);
        if (worker !== undefined) worker.snapshot = effect.snapshot;
        return;
      }
      case 'offerWorker': {
        const worker = this.#workers.get(effect.workerId);
        if (worker === undefined) return;
        worker.offer = effect.offer;
        worker.protocol = effect.offer.protocol;
        this.#replaceFormer(effect.workerId, effect.offer.workerInstance);
        return this.#queue.offer(effect.workerId, effect.offer);
      }
      case 'withdrawWorker': {
        const worker = this.#workers.get(effect.workerId);
        if (worker !== undefined) worker.offer = null;
        return this.#queue.withdraw(effect.workerId);
      }
      case 'callTool':
        return this.tools.call(effect);
      case 'sendTool':
        return this.tools.send(effect);
      case 'endTool':
        return this.tools.end(effect.callId, effect.thanks);
      case 'toolResulted':
        return this.tools.resulted(effect);
      case 'offerTools': {
        const worker = this.#workers.get(effect.workerId);
        if (worker === undefined) return;
        this.#replaceFormer(effect.workerId, effect.offer.workerInstance);
        return this.tools.offer(effect.workerId, effect.offer);
      }
      case 'withdrawTools':
        return this.tools.withdraw(effect.workerId);
      case 'enqueueJob':
        this.#queue.enqueue(effect);
        return this.#sharing?.arrived(effect.jobId);
      case 'dequeueJob':
        return this.#queue.dequeue(effect.jobId);
      case 'freeSlot':
        return this.#queue.free(effect.jobId, effect.workerId);
      case 'armTimer':
        return this.#timers.arm(effect.key, effect.at);
      case 'disarmTimer':
        return this.#timers.disarm(effect.key);
      case 'retireJob':
        this.#jobs.delete(effect.jobId);
        this.#leftAlone.delete(effect.jobId);
        this.#appender.forget(effect.jobId);
        return this.#checkIdle();
      case 'note':
        return this.#parts.diagnostics[effect.level](effect.message, effect.fields);
    }
  }

  /** Machines of a dead shard as they stand now, for its successor (shard-links.ts L2). */
  async #rebuild(shard: number): Promise<ShardInput[]> {
    const mine = (id: string): boolean => this.#shardOf(id) === shard;
    const jobs = [...this.#jobs].filter(mine);
    await Promise.all(jobs.map(jobId => this.#appender.settled(jobId)));
    const at = this.#parts.clock.now();
    const inputs: ShardInput[] = [];
    for (const { workerId, snapshot } of this.#workers) {
      if (mine(workerId) && snapshot !== null) inputs.push({ kind: 'workerRestored', workerId, snapshot });
    }
    const known = new Set<string>();
    for (const jobId of jobs) {
      if (!this.#jobs.has(jobId)) continue;
      const entries = (await this.#logs.read(jobId)) ?? [];
      if (entries.length > 0 && !this.#logs.areOurs(entries)) {
        this.#fenced(jobId, 'fenced');
        continue;
      }
      const workerId = this.#queue.holder(jobId);
      inputs.push({ kind: 'jobRestored', at, jobId, entries, ...(workerId === undefined ? {} : { workerId }) });
      known.add(jobId);
    }
    for (const { jobId, opened, follow } of [...this.#callers]) {
      if (!mine(jobId) || known.has(jobId) || follow !== undefined) continue;
      // A job that has ended, and a caller that has yet to read its answer; or no log at all yet.
      const entries = opened ? await this.#logs.read(jobId) : [];
      if (entries !== null && entries.length === 0) continue;
      known.add(jobId);
      inputs.push({ kind: 'jobRestored', at, jobId, entries: entries ?? [] });
    }
    // From here on without a pause: what happens to a caller now comes after what is said here.
    for (const caller of this.#callers) {
      if (!(known.has(caller.jobId) || (caller.follow !== undefined && mine(caller.jobId)))) continue;
      caller.turn += 1;
      const { streamId, turn, jobId, sent, opened, paused, follow } = caller;
      if (follow === undefined) inputs.push({ kind: 'streamRestored', streamId, turn, jobId, sent, opened });
      else {
        const cursor = sent === null ? follow.cursor : { position: sent, frames: null };
        inputs.push({ kind: 'streamFollows', streamId, turn, jobId, follow: { ...follow, cursor } });
      }
      if (paused) inputs.push({ kind: 'streamPaused', streamId, turn });
    }
    return inputs;
  }

  /** A request goes on from other jobs: it comes again with their logs. */
  async #bringHistories({ input, jobIds }: Extract<Effect, { kind: 'readHistories' }>): Promise<void> {
    const counts = input.kind === 'countArrived';
    try {
      const histories = await this.#looks.histories(jobIds);
      if (counts) this.#links.post(Number(input.countId) % this.#links.count, { ...input, histories });
      else if (this.#callers.has(input.streamId)) this.#post(input.jobId, { ...input, histories });
      else this.#keys?.refused(input.jobId);
    } catch (error) {
      const message = 'the log of a response that the request names cannot be read now';
      this.#parts.diagnostics.error(message, { reason: String(error) });
      if (counts) this.#counts.refuse(input.countId, 'store_unavailable', message);
      else {
        this.#keys?.refused(input.jobId);
        this.#callers.refuse(input.streamId, 'store_unavailable', message);
      }
    }
  }

  /** Resolves when the job has ended, if it is ours to end. */
  #end(jobId: string): Promise<void> {
    return new Promise(resolve => {
      const done = (): void => resolve();
      const nothing = (): void => undefined;
      const port = { respond: done, refuse: done, open: nothing, write: nothing, end: done, destroy: done };
      this.cancelArrived({ ...port, bufferedBytes: 0 }, jobId);
    });
  }

  #poisoned(input: ShardInput): void {
    const message = 'something about this job kills the thread that handles it';
    this.#parts.diagnostics.error('an input killed its shard twice and is dropped', { kind: input.kind });
    const [, id = ''] = input.kind === 'timerFired' ? input.key.split(':') : [];
    if (input.kind === 'countArrived') this.#counts.refuse(input.countId, 'poisoned_input', message);
    else if (input.kind === 'requestArrived' || input.kind === 'streamFollows') {
      this.#madeNoJob(input.streamId);
      this.#callers.refuse(input.streamId, 'poisoned_input', message);
    } else if (input.kind === 'lookArrived') this.#looks.refuse(input.lookId, 'poisoned_input', message);
    else if (input.kind === 'jobRestored') this.#fenced(input.jobId, 'poisoned');
    else if (input.kind === 'directAnswered') this.tools.end(input.callId, true);
    else if ('jobId' in input) this.#failJob(input.jobId, 'poisoned_input', message);
    else if ('streamId' in input) this.#callers.refuse(input.streamId, 'poisoned_input', message);
    else if (this.#jobs.has(id)) this.#failJob(id, 'poisoned_input', message);
    else {
      const workerId = 'workerId' in input ? input.workerId : id;
      this.#workers.get(workerId)?.port.close(closeCodes.internal, 'this connection cannot be handled');
    }
  }

  #fenced(jobId: string, why: 'fenced' | 'gone' | 'full' | 'poisoned' | 'cut short'): void {
    if (this.#logs.lost(jobId)) return;
    if (why === 'fenced' && this.#sharing !== null) return this.#letGo(jobId);
    this.#parts.diagnostics.error('a job is let go: its log takes nothing more from this router', { jobId, why });
    this.#drop(jobId);
    for (const caller of [...this.#callers]) if (caller.jobId === jobId) this.#callers.cut(caller);
    this.#checkIdle();
  }

  /** What this router does with the others on its store. */
  #join(cluster: ClusterPort): [Membership, Sharing, Handovers] {
    const { clock, diagnostics } = this.#parts;
    const { boot } = this.#options.writer;
    const sharing = new Sharing(boot, cluster, clock, diagnostics, {
      others: () => membership.others,
      free: () => this.#queue.slots,
      lend: () => this.#queue.lend(),
      putBack: jobId => this.#queue.putBack(jobId),
      epochOf: jobId => (this.#jobs.has(jobId) ? (this.#appender.ackedOf(jobId)?.epoch ?? null) : null),
      take: (jobId, epoch) => this.#logs.takeOffered(jobId, epoch),
      letGo: jobId => this.#letGo(jobId),
      abandoned: jobId => this.#post(jobId, { kind: 'streamClosed', at: clock.now(), streamId: 0, jobId }),
      unwanted: jobId => this.#post(jobId, { kind: 'jobCancel', at: clock.now(), jobId, reason: 'requested' }),
      handover: letter => handovers.read(letter),
    });
    const membership: Membership = new Membership(boot, cluster, clock, diagnostics, {
      lapsed: () => void this.#checkOwned(),
      changed: () => {
        sharing.look();
        // Word of a job that was taken may have been lost with the router that took it.
        void this.#checkOwned();
      },
      gone: async isGone => {
        await this.#logs.takeAll(isGone);
        await sharing.inherit(isGone);
      },
    });
    const handovers = new Handovers(boot, cluster, clock, {
      isOurs: jobId => this.#jobs.has(jobId),
      ask: (jobId, from, claim) =>
        this.#post(jobId, { kind: 'jobAsked', at: clock.now(), jobId, boot: from, ...claim }),
      letGo: async jobId => {
        await this.#appender.settled(jobId);
        const epoch = this.#jobs.has(jobId) ? (this.#appender.ackedOf(jobId)?.epoch ?? null) : null;
        if (epoch !== null) this.#letGo(jobId);
        return epoch;
      },
      take: (jobId, epoch) => this.#logs.takeReleased(jobId, epoch),
      inherit: (jobId, isGone) => this.#logs.inherit(jobId, isGone),
    });
    return [membership, sharing, handovers];
  }

  /**
   * Whether the logs of this router's jobs are as it knows them: others may have taken them while it was away, and a store
   * that was replaced by its replica, or emptied, may have less.
   */
  async #checkOwned(): Promise<void> {
    const { cluster, clock } = this.#parts;
    if (cluster === undefined) return;
    const jobs = [...this.#jobs].map(jobId => ({ jobId, acked: this.#appender.ackedOf(jobId) }));
    const wanted = (): boolean => true;
    const tops = await patiently(clock, wanted, () => cluster.tops(jobs.map(({ jobId }) => jobId))).catch(() => null);
    for (const [i, { jobId, acked }] of jobs.entries()) {
      const top = tops?.[i];
      if (top === undefined || acked === null || !this.#jobs.has(jobId)) continue;
      // Since it was asked about, the job was let go and taken again: this is no news of it.
      if (this.#appender.ackedOf(jobId)?.epoch !== acked.epoch) continue;
      if (top === null) this.#fenced(jobId, 'gone');
      else if (top.epoch > acked.epoch) this.#letGo(jobId);
      else if (comparePositions(top, acked) < 0) this.#cutShort(jobId);
      else if (await this.#hasGap(jobId, acked)) {
        this.#fenced(jobId, 'cut short');
        this.#parts.log.letGo(jobId);
      }
    }
  }

  /** What was on its way when the store was replaced may have been appended behind what is missing. */
  async #hasGap(jobId: string, { epoch, number }: Position): Promise<boolean> {
    try {
      await this.#parts.log.read(jobId, { epoch, number: Math.max(0, number - lookedBack) });
      return false;
    } catch (error) {
      // Trouble with the store: when it is over, this is asked again.
      return error instanceof LogCorrupt;
    }
  }

  /** The store has lost the end of the job's log: what its callers have cannot be gone on from. */
  #cutShort(jobId: string): void {
    this.#fenced(jobId, 'cut short');
    void this.#logs
      .inherit(jobId, () => true)
      .then(took => took && this.#failJob(jobId, 'log_corrupt', 'the store has lost the end of this answer'));
  }

  /** It can be asked for by its id, whether it is listed or not. */
  #listCompletion(jobId: string): void {
    const { listCompletion, diagnostics } = this.#parts;
    listCompletion?.(jobId).catch(error =>
      diagnostics.warn('a stored completion could not be listed', { jobId, reason: String(error) }),
    );
  }

  /** A request that is answered while its key still waits for a job has made none. */
  #madeNoJob(streamId: number): void {
    if (this.#keys === null || this.#keys.idle) return;
    const jobId = this.#callers.jobOf(streamId);
    if (jobId !== null) this.#keys.refused(jobId);
  }

  /** Another router writes the job now. Callers here read the rest of its answer from the log, as it comes. */
  #letGo(jobId: string): void {
    this.#parts.log.letGo(jobId);
    this.#appender.forget(jobId);
    // Nobody waits for it here, and its new writer cannot know that.
    if (this.#leftAlone.has(jobId)) void this.#sharing?.tellWriter('abandoned', jobId);
    this.#drop(jobId);
    for (const caller of this.#callers) {
      if (caller.jobId !== jobId) continue;
      const { streamId, turn, follow, paused } = this.#callers.follow(caller);
      this.#post(jobId, { kind: 'streamFollows', streamId, turn, jobId, follow });
      if (paused) this.#post(jobId, { kind: 'streamPaused', streamId, turn });
    }
    this.#checkIdle();
  }

  /** The job is nobody's business here any more, but for its callers. */
  #drop(jobId: string): void {
    this.#jobs.delete(jobId);
    this.#leftAlone.delete(jobId);
    this.#timers.disarm(`job:${jobId}`);
    this.#timers.disarm(`keep:${jobId}`);
    this.#timers.disarm(`patience:${jobId}`);
    this.#timers.disarm(`tools:${jobId}`);
    this.tools.letGo(jobId);
    this.#post(jobId, { kind: 'jobFenced', jobId });
    const workerId = this.#queue.holder(jobId);
    if (workerId === undefined) return this.#queue.dequeue(jobId);
    this.#workers.send(workerId, JSON.stringify({ type: 'cancel', job_id: jobId }));
    this.#queue.free(jobId, workerId);
  }

  #failJob(jobId: string, code: string, message: string): void {
    this.#post(jobId, { kind: 'jobFail', at: this.#parts.clock.now(), jobId, code, message });
  }

  #workerGone({ workerId }: WorkerSocket, code: number): void {
    const at = this.#parts.clock.now();
    this.#claims.forget(workerId);
    this.#post(workerId, { kind: 'workerClosed', at, workerId, code });
    this.#counts.workerGone(workerId);
    this.tools.gone(workerId);
    const reason = code === closeCodes.silent ? 'worker_silent' : 'worker_lost';
    for (const jobId of this.#queue.remove(workerId)) {
      this.#post(jobId, { kind: 'jobOrphaned', at, jobId, workerId, reason });
    }
  }

  /** The worker that runs the model that is meant, or any: a router has one model. */
  #askToCount(model: string, frame: string): string | null {
    const able = [...this.#workers].filter(({ offer }) => (offer?.protocol ?? 1) >= 2);
    const worker = able.find(({ offer }) => offer?.model === model) ?? able[0];
    if (worker === undefined) return null;
    this.#workers.send(worker.workerId, frame);
    return worker.workerId;
  }

  /** A worker is back and holds jobs still: each job's own shard says whether it may go on with it. */
  #claimJobs({ workerId, offer, jobs }: Extract<Effect, { kind: 'claimJobs' }>): void {
    const { workerInstance, modelFile, protocol } = offer;
    if (this.#workers.get(workerId) === undefined || workerInstance === undefined) return;
    this.#replaceFormer(workerId, workerInstance);
    // Known to the queue from here on, so that it can hold jobs, but not yet open for new ones.
    this.#queue.offer(workerId, offer);
    this.#queue.withdraw(workerId);
    this.#claims.open(workerId, jobs);
    const { clock } = this.#parts;
    for (const { job_id: jobId, attempt, seq } of jobs) {
      const file = modelFile === undefined ? {} : { modelFile };
      const claim = { workerId, workerInstance, protocol, ...file, attempt, seq };
      const ask = (): void => this.#post(jobId, { kind: 'jobClaimed', at: clock.now(), jobId, ...claim });
      if (this.#handovers === null || this.#jobs.has(jobId)) ask();
      // Another router writes it, or did until it died. Whatever comes of that, the job's shard answers the worker.
      else void this.#handovers.fetch(jobId, claim).then(ask);
    }
  }

  #takeBack(jobId: string, workerId: string): void {
    if (this.#queue.takeBack(jobId, workerId)) return;
    // It was gone again before its claim was granted.
    this.#post(jobId, { kind: 'jobOrphaned', at: this.#parts.clock.now(), jobId, workerId, reason: 'worker_lost' });
  }

  /** A worker has one connection: the one before is dead, even if nobody has noticed yet. */
  #replaceFormer(workerId: string, instance: string | undefined): void {
    if (instance === undefined) return;
    const mine = this.#workers.get(workerId);
    if (mine !== undefined) mine.instance = instance;
    for (const worker of [...this.#workers]) {
      if (worker.instance === instance && worker.workerId !== workerId) this.#workers.drop(worker);
    }
  }

  async #checkKey(workerId: string, role: 'admin' | 'tools', key: string): Promise<void> {
    const worker = this.#workers.get(workerId);
    if (worker === undefined) return;
    const verdict = await this.#parts.keys.verify(role, key, worker.remote);
    if (this.#workers.get(workerId) !== worker) return;
    if (verdict === 'right') {
      worker.trusted = true;
      worker.port.trust();
    }
    this.#post(workerId, { kind: 'workerKeyChecked', at: this.#parts.clock.now(), workerId, verdict });
  }

  #pause(worker: WorkerSocket): void {
    this.#workers.pause(worker, () => !this.#crowded(0.5) && !this.#overflows(worker.workerId));
  }

  #crowded(share: number): boolean {
    const { batches, inputs } = this.#links.backlog;
    return batches > batchesMax * share || inputs > inputsMax * share;
  }

  #overflows(workerId: string): boolean {
    return this.#queue.heldBy(workerId).some(jobId => this.#appender.waitingChars(jobId) > startReadingChars);
  }

  #timerFired(key: string, at: number): void {
    const [kind, id = ''] = key.split(':');
    if (kind === 'queue') {
      this.#failJob(id, 'server_overloaded', 'no worker was free in time (AUXOT_QUEUE_TIMEOUT)');
    } else if (kind === 'standby') this.#queue.enqueueLater(id);
    else this.#post(id, { kind: 'timerFired', at, key });
  }

  #sweepLater(): void {
    this.#stopSweep = this.#parts.clock.after(lookMs, () => {
      const now = this.#parts.clock.now();
      this.#workers.sweep(now, workerId => this.#queue.heldBy(workerId).length > 0);
      if (now - this.#sweptAt >= sweepMs) {
        this.#sweptAt = now;
        this.#links.sweep(now);
        this.#callers.sweep(now);
      }
      this.#sweepLater();
    });
  }
}
