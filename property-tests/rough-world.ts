/**
 * A router among callers, workers, shards and a store that misbehave in every way a test asks for, under a clock that
 * runs what is due one round at a time, so that anything may happen between an input and its answer.
 *
 * Everybody here writes down what was really said and done: that is what the router is held to (router.property.test.ts).
 */
import { setImmediate as nextTurn } from 'node:timers/promises';
import { type Diagnostics, silentDiagnostics } from '../actors/config/diagnostics.ts';
import { type Append, type AppendResult, type LogEntry, StoreTrouble } from '../actors/log/job-log.ts';
import { Front } from '../actors/router/front.ts';
import type { Clock, Ids } from '../actors/router/ports.ts';
import type { Position } from '../protocol/position.ts';
import { FakeLog } from './fake-log.ts';
import { InlineShards, rules, TestCaller, TestWorker } from './world.ts';

export const times = { jobTimeoutMs: 20_000, queueTimeoutMs: 12_000, silentMs: 15_000, keepAliveMs: 5_000 };
export const shardCount = 2;
export const maxQueue = 4;

interface Timer {
  readonly at: number;
  readonly fire: () => void;
}

export class RoughClock implements Clock {
  #now = 1_700_000_000_000;
  #deferred: (() => void)[] = [];
  #timers: Timer[] = [];
  /** Called whenever something may have changed. */
  watch: () => void = () => undefined;

  now(): number {
    return this.#now;
  }

  after(ms: number, fire: () => void): () => void {
    const timer = { at: this.#now + Math.max(0, ms), fire };
    this.#timers.push(timer);
    return () => {
      this.#timers = this.#timers.filter(other => other !== timer);
    };
  }

  defer(run: () => void): void {
    this.#deferred.push(run);
  }

  /** Runs what has been put off until now, and lets promises move on. */
  async step(): Promise<boolean> {
    const due = this.#deferred;
    this.#deferred = [];
    for (const run of due) run();
    await nextTurn();
    this.watch();
    return due.length > 0 || this.#deferred.length > 0;
  }

  /** Lets everything happen that can without time passing. */
  async settle(): Promise<void> {
    for (let quiet = 0; quiet < 2; ) quiet = (await this.step()) ? 0 : quiet + 1;
  }

  async pass(ms: number): Promise<void> {
    const end = this.#now + ms;
    await this.settle();
    for (;;) {
      let next: Timer | undefined;
      for (const timer of this.#timers) {
        if (timer.at <= end && (next === undefined || timer.at < next.at)) next = timer;
      }
      if (next === undefined) break;
      this.#timers.splice(this.#timers.indexOf(next), 1);
      this.#now = Math.max(this.#now, next.at);
      next.fire();
      await this.settle();
    }
    this.#now = end;
  }
}

/** A log whose reads fail with its appends, and which keeps whatever should never have been asked of it. */
export class RoughLog extends FakeLog {
  readonly violations: string[] = [];
  /** It was down, or lost replies. */
  troubled = false;
  #open: () => void = () => undefined;
  #readsWait = false;

  shut(reads: boolean): void {
    if (this.gate !== null) return;
    this.#readsWait = reads;
    this.gate = new Promise(resolve => {
      this.#open = resolve;
    });
  }

  unshut(): void {
    this.gate = null;
    this.#open();
  }

  override async append(batch: readonly Append[]): Promise<AppendResult[]> {
    try {
      return await super.append(batch);
    } catch (error) {
      if (!(error instanceof StoreTrouble)) this.violations.push(String(error));
      throw error;
    }
  }

  override async read(jobId: string, after?: Position, limit?: number): Promise<LogEntry[]> {
    if (this.gate !== null && this.#readsWait) await this.gate;
    if (this.down) throw new StoreTrouble('the fake store is down');
    // Short pages, so that a caller that catches up needs several.
    return super.read(jobId, after, limit === undefined ? undefined : 2);
  }

  override async openJobs(): Promise<string[]> {
    if (this.down) throw new StoreTrouble('the fake store is down');
    return super.openJobs();
  }
}

/** A caller whose connection is full after one write while it is slow. */
export class RoughCaller extends TestCaller {
  readonly streamed: boolean;
  jobId = '';
  left = false;
  leftAt = 0;
  everSlow = false;
  #pieces = 0;

  constructor(streamed: boolean) {
    super();
    this.streamed = streamed;
  }

  override write(text: string): void {
    super.write(text);
    if (this.slow) this.#pieces += 1;
  }

  override get bufferedBytes(): number {
    return this.#pieces < 1 ? 0 : 2 ** 20;
  }

  /** Takes what waits for it; from then on at full speed, or slowly again. */
  take(front: Front, slow: boolean): void {
    this.slow = slow;
    this.#pieces = 0;
    this.drain(front);
  }
}

/** One attempt at a job on a worker, as the worker sees it. */
export interface Run {
  readonly jobId: string;
  /** The number it goes by now. */
  attempt: number;
  /** All numbers it went by: a redial may give it a new one. */
  readonly attempts: number[];
  /** Numbered frames that it has said, to be said again after a redial. */
  readonly tail: { readonly seq: number; readonly frame: object }[];
  /** What it said in good order, until it ended or broke its own sequence. */
  content: string;
  reasoning: string;
  seq: number;
  /** It has said its last, or was told to stop. */
  over: boolean;
  /** It left a number out, so that nothing after it counts. */
  broken: boolean;
}

export class RoughWorker extends TestWorker {
  readonly protocol: number;
  readonly slots: number;
  readonly runs: Run[] = [];
  readonly violations: string[] = [];
  gone = false;
  redialled = false;
  instance = '';
  #unread: string[] = [];

  constructor(front: Front, protocol: number, slots: number) {
    super(front);
    this.protocol = protocol;
    this.slots = slots;
  }

  override send(text: string): void {
    super.send(text);
    if (this.closed !== null) return;
    const frame = JSON.parse(text);
    const same = this.runs.filter(({ jobId, over }) => jobId === frame.job_id && !over);
    if (frame.type === 'hello_ack') this.#greeted(frame.jobs ?? []);
    else if (frame.type === 'cancel') {
      for (const run of same) if (frame.attempt === undefined || run.attempt <= frame.attempt) run.over = true;
    } else if (frame.type === 'job') {
      for (const run of same) run.over = true;
      const attempt = this.protocol >= 2 ? frame.attempt : 0;
      // It goes on from what others said.
      const { text: content = '', reasoning = '' } = frame.resume ?? {};
      const own = { seq: 0, tail: [], over: false, broken: false };
      this.runs.push({ jobId: frame.job_id, attempt, attempts: [attempt], content, reasoning, ...own });
      const active = this.runs.filter(({ over }) => !over).length;
      if (active > this.slots) this.violations.push(`a worker with ${this.slots} slots has ${active} jobs`);
    }
  }

  /** What it is still at work on goes on if the router wants it, under the number that the router gives it. */
  #greeted(marks: readonly { job_id: string; attempt: number; seq: number }[]): void {
    for (const run of this.runs.filter(({ over }) => !over)) {
      const mark = marks.find(({ job_id }) => job_id === run.jobId);
      if (mark === undefined) {
        run.over = true;
        continue;
      }
      run.attempt = mark.attempt;
      run.attempts.push(mark.attempt);
      for (const { seq, frame } of run.tail) if (seq > mark.seq) this.say({ ...frame, attempt: mark.attempt });
    }
  }

  /** A frame as text, for those that no honest peer would write. */
  tell(text: string): void {
    if (this.gone) return;
    if (this.paused) this.#unread.push(text);
    else this.front.workerMessage(this.workerId, text);
  }

  override say(frame: object): void {
    this.tell(JSON.stringify(frame));
  }

  override resume(): void {
    super.resume();
    while (!this.paused && this.#unread.length > 0) {
      const text = this.#unread.shift();
      if (text !== undefined) this.front.workerMessage(this.workerId, text);
    }
  }

  override drop(code = 1006): void {
    if (this.gone) return;
    this.gone = true;
    super.drop(code);
  }

  override close(code: number, reason: string): void {
    super.close(code, reason);
    this.drop(code);
  }

  override terminate(): void {
    super.terminate();
    this.drop();
  }

  /** What it said about the job in the attempt that the log names. */
  runOf(jobId: string, attempt: number): Run | undefined {
    return this.runs.findLast(run => run.jobId === jobId && (this.protocol < 2 || run.attempts.includes(attempt)));
  }
}

export interface Router {
  readonly front: Front;
  readonly shards: InlineShards;
  readonly callers: RoughCaller[];
  readonly workers: RoughWorker[];
  readonly errors: string[];
}

export class RoughWorld {
  readonly clock = new RoughClock();
  readonly log = new RoughLog();
  readonly routers: Router[] = [];
  /** Jobs that a later boot has taken from the one that had their callers. */
  readonly taken = new Set<string>();
  /** A shard was killed while it was still being rebuilt: what it had in hand may be blamed. */
  killedTwice = false;
  readonly #busySince = new Map<string, true>();
  #last = 0;

  constructor() {
    this.boot();
  }

  get router(): Router {
    const last = this.routers.at(-1);
    if (last === undefined) throw new Error('there is no router');
    return last;
  }

  /** A new router on the same log; those before it live on, and do not know. */
  boot(): Router {
    const errors: string[] = [];
    const diagnostics: Diagnostics = {
      ...silentDiagnostics,
      error: (message, fields) => void errors.push(`${message} ${JSON.stringify(fields ?? {})}`),
    };
    const shards = new InlineShards(shardCount, this.clock, rules);
    const ids: Ids = { jobId: () => `chatcmpl-${this.#id(24)}`, workerId: () => this.#id(32) };
    const front = new Front(
      {
        writer: { instance: 'test', boot: `boot-${this.routers.length + 1}` },
        ...times,
        maxQueue,
        pingMs: 5_000,
        modelDefault: 'm',
      },
      {
        clock: this.clock,
        log: this.log,
        shards,
        ids,
        diagnostics,
        keys: { verify: async () => 'right' },
        failed: reason => void this.log.violations.push(`the router gave up: ${reason}`),
      },
    );
    const router = { front, shards, callers: [], workers: [], errors };
    this.routers.push(router);
    return router;
  }

  #id(length: number): string {
    this.#last += 1;
    return (this.#last % 256).toString(16).padStart(2, '0') + String(this.#last).padStart(length - 2, '0');
  }

  ask(streamed: boolean, request: object = {}): RoughCaller | null {
    const { front, callers } = this.router;
    if (front.turnedAway() !== null) return null;
    const caller = new RoughCaller(streamed);
    const text = JSON.stringify({ stream: streamed, messages: [{ role: 'user', content: 'hi' }], ...request });
    caller.streamId = front.requestArrived(caller, {
      api: 'openai.chat',
      requestId: 'req_1',
      body: new TextEncoder().encode(text),
    });
    // The request's id is the last that was given out.
    caller.jobId = `chatcmpl-${(this.#last % 256).toString(16).padStart(2, '0')}${String(this.#last).padStart(22, '0')}`;
    callers.push(caller);
    return caller;
  }

  join(protocol: number, slots: number): RoughWorker {
    const { front, workers } = this.router;
    const worker = new RoughWorker(front, protocol, slots);
    worker.instance = worker.workerId.slice(-4);
    worker.hello(slots, protocol >= 2 ? { protocol_version: 2, instance_id: worker.instance } : {});
    workers.push(worker);
    return worker;
  }

  /** A worker of version 2 whose connection is gone dials in again, with the jobs that it never stopped. */
  redial(lost: RoughWorker): void {
    const { front, workers } = this.router;
    const worker = new RoughWorker(front, 2, lost.slots);
    lost.redialled = true;
    worker.instance = lost.instance;
    worker.runs.push(...lost.runs.filter(({ over, broken }) => !over && !broken));
    const jobs = worker.runs.map(({ jobId, attempt, seq }) => ({ job_id: jobId, attempt, seq }));
    worker.hello(lost.slots, { protocol_version: 2, instance_id: lost.instance, jobs });
    workers.push(worker);
  }

  /** Kills a shard of the last router, or of one so many boots before it. */
  kill(index: number, back: number): void {
    const boot = Math.max(0, this.routers.length - 1 - back);
    const { shards, front } = this.routers[boot] ?? this.router;
    const key = `${boot}/${index}`;
    if (this.#busySince.has(key)) this.killedTwice = true;
    if (front.load.batches > 0) this.#busySince.set(key, true);
    shards.kill(index);
  }

  /** Called at each step: what was under way at a kill is done with once nothing waits for an answer. */
  noteQuiet(): void {
    if (this.routers.every(({ front }) => front.load.batches === 0)) this.#busySince.clear();
  }

  workerOf(workerId: string): RoughWorker | undefined {
    for (const { workers } of this.routers)
      for (const worker of workers) if (worker.workerId === workerId) return worker;
    return undefined;
  }
}
