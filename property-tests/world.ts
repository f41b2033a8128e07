/**
 * A whole router in one process under a stepped clock: the real front, the real shards, and at the ports a log, callers
 * and workers that a test holds in its hands. Nothing sleeps; time moves when a test says so.
 */
import { setImmediate as nextTurn } from 'node:timers/promises';
import { silentDiagnostics } from '../actors/config/diagnostics.ts';
import type { FrontOptions } from '../actors/router/front.options.ts';
import { Front } from '../actors/router/front.ts';
import type { CallerPort, Clock, LogPort, ShardHost, WorkerPort } from '../actors/router/ports.ts';
import { Shard } from '../actors/shard/shard.ts';
import { type WorkerRules, workerRules } from '../actors/shard/workers.ts';
import { type CodeName, codeOf } from '../protocol/codes.ts';
import { errorBody } from '../protocol/openai-api.ts';
import type { ShardOutput, ToShard } from '../protocol/shard-messages.ts';
import { FakeLog } from './fake-log.ts';

export class SteppedClock implements Clock {
  #now = 1_700_000_000_000;
  #last = 0;
  readonly #timers = new Map<number, { at: number; fire: () => void }>();
  #deferred: (() => void)[] = [];

  now(): number {
    return this.#now;
  }

  after(ms: number, fire: () => void): () => void {
    this.#last += 1;
    const id = this.#last;
    this.#timers.set(id, { at: this.#now + Math.max(0, ms), fire });
    return () => void this.#timers.delete(id);
  }

  defer(run: () => void): void {
    this.#deferred.push(run);
  }

  /** Lets everything happen that can without time passing. */
  async settle(): Promise<void> {
    for (let quiet = 0; quiet < 3; ) {
      const due = this.#deferred;
      this.#deferred = [];
      for (const run of due) run();
      await nextTurn();
      quiet = due.length === 0 && this.#deferred.length === 0 ? quiet + 1 : 0;
    }
  }

  /** Moves time on by `ms`, timer by timer. */
  async pass(ms: number): Promise<void> {
    const end = this.#now + ms;
    await this.settle();
    for (;;) {
      let next: [number, { at: number; fire: () => void }] | null = null;
      for (const timer of this.#timers)
        if (timer[1].at <= end && (next === null || timer[1].at < next[1].at)) next = timer;
      if (next === null) break;
      this.#timers.delete(next[0]);
      this.#now = Math.max(this.#now, next[1].at);
      next[1].fire();
      await this.settle();
    }
    this.#now = end;
  }
}

/** Shards in this thread. `kill` loses what a shard holds, as the death of a thread does. */
export class InlineShards implements ShardHost {
  readonly count: number;
  readonly #clock: Clock;
  readonly #rules: WorkerRules;
  readonly #live = new Map<number, { shard: Shard; die: (reason: string) => void }>();
  /** Called before each batch; may throw to kill the shard. */
  before: (message: ToShard) => void = () => undefined;
  deaths = 0;

  constructor(count: number, clock: Clock, rules: WorkerRules) {
    this.count = count;
    this.#clock = clock;
    this.#rules = rules;
  }

  start(index: number, heard: (output: ShardOutput) => void, dead: (reason: string) => void) {
    const shard = new Shard(this.#rules);
    let alive = true;
    const die = (reason: string): void => {
      if (!alive) return;
      alive = false;
      this.deaths += 1;
      this.#live.delete(index);
      this.#clock.defer(() => dead(reason));
    };
    this.#live.set(index, { shard, die });
    return {
      post: (message: ToShard) =>
        this.#clock.defer(() => {
          if (!alive || 'stop' in message) return;
          try {
            this.before(message);
            // Plain data crosses a thread's border, and nothing else.
            const output = structuredClone(shard.handle(structuredClone(message)));
            this.#clock.defer(() => heard(output));
          } catch (error) {
            die(error instanceof Error ? error.message : String(error));
          }
        }),
    };
  }

  kill(index: number): void {
    this.#live.get(index)?.die('killed by the test');
  }

  sizes(): { jobs: number; streams: number; workers: number }[] {
    return [...this.#live.values()].map(({ shard }) => shard.size);
  }

  async stop(): Promise<void> {
    this.#live.clear();
  }
}

/** A caller that writes down what it gets. `slow`: takes nothing until `drain`. */
export class TestCaller implements CallerPort {
  status = 0;
  headers: Readonly<Record<string, string>> = {};
  text = '';
  ended = false;
  destroyed = false;
  slow = false;
  streamId = 0;
  #buffered = 0;

  respond(status: number, headers: Readonly<Record<string, string>>, body: string): void {
    this.open(status, headers);
    this.text += body;
    this.ended = true;
  }

  refuse(code: CodeName, message: string): void {
    this.respond(codeOf(code).status, {}, JSON.stringify(errorBody(code, message)));
  }

  open(status: number, headers: Readonly<Record<string, string>>): void {
    if (this.status !== 0) throw new Error('the head of an answer went out twice');
    this.status = status;
    this.headers = headers;
  }

  write(text: string): void {
    if (this.ended) throw new Error('bytes after the end');
    this.text += text;
    if (this.slow) this.#buffered += text.length;
  }

  end(): void {
    if (this.ended) throw new Error('ended twice');
    this.ended = true;
  }

  destroy(): void {
    this.destroyed = true;
  }

  get bufferedBytes(): number {
    return this.#buffered;
  }

  drain(front: Front): void {
    this.#buffered = 0;
    front.callerDrained(this.streamId);
  }

  /** The chunks of a streamed answer. */
  get chunks(): { id: string | null; data: string }[] {
    return this.text.split('\n\n').flatMap(block => {
      const data = /^data: (.*)$/m.exec(block)?.[1];
      return data === undefined ? [] : [{ id: /^id: (.*)$/m.exec(block)?.[1] ?? null, data }];
    });
  }

  /** Text of a streamed answer. */
  get said(): string {
    let said = '';
    for (const { data } of this.chunks) {
      if (data !== '[DONE]') said += JSON.parse(data).choices?.[0]?.delta?.content ?? '';
    }
    return said;
  }
}

/** A worker's end of a socket. */
export class TestWorker implements WorkerPort {
  readonly front: Front;
  readonly frames: Record<string, unknown>[] = [];
  workerId = '';
  closed: { code: number; reason: string } | null = null;
  paused = false;
  pings = 0;
  answersPings = true;
  bufferedBytes = 0;

  constructor(front: Front) {
    this.front = front;
    this.workerId = front.workerOpened(this, '127.0.0.1');
  }

  send(text: string): void {
    this.frames.push(JSON.parse(text));
  }

  say(frame: object): void {
    this.front.workerMessage(this.workerId, JSON.stringify(frame));
  }

  hello(slots: number, more: object = {}): void {
    const capabilities = { backend: 'mock', model: 'm', ctx_size: 4096, total_slots: slots };
    this.say({ type: 'hello', gpu_key: 'adm_test', capabilities, ...more });
    this.say({ type: 'config', capabilities });
  }

  of(type: string): Record<string, unknown>[] {
    return this.frames.filter(frame => frame.type === type);
  }

  get jobs(): string[] {
    return this.of('job').map(({ job_id }) => String(job_id));
  }

  /** The connection breaks. */
  drop(code = 1006): void {
    this.front.workerClosed(this.workerId, code);
  }

  ping(): void {
    this.pings += 1;
    if (this.answersPings) this.front.workerSeen(this.workerId);
  }

  close(code: number, reason: string): void {
    this.closed ??= { code, reason };
  }

  terminate(): void {
    this.closed ??= { code: 1006, reason: '' };
  }

  pause(): void {
    this.paused = true;
  }

  resume(): void {
    this.paused = false;
  }

  trust(): void {
    // Limits for strangers are the socket's business.
  }
}

const policy = { model_name: 'm', quantization: '', context_size: 4096, max_parallelism: 2, capabilities: ['chat'] };

export const rules = workerRules(policy, 300_000);

export interface World {
  readonly clock: SteppedClock;
  readonly log: FakeLog;
  readonly shards: InlineShards;
  readonly front: Front;
  readonly failures: string[];
  ask(request?: Record<string, unknown>): TestCaller;
  worker(slots?: number, more?: object): Promise<TestWorker>;
}

const encoder = new TextEncoder();

export function openWorld(
  options: Partial<FrontOptions> = {},
  {
    shardCount = 2,
    log = new FakeLog(),
    clock = new SteppedClock(),
  }: { shardCount?: number; log?: LogPort; clock?: SteppedClock } = {},
): World {
  const shards = new InlineShards(shardCount, clock, rules);
  const failures: string[] = [];
  let last = 0;
  const front = new Front(
    {
      writer: { instance: 'test', boot: 'boot-1' },
      jobTimeoutMs: 300_000,
      queueTimeoutMs: 300_000,
      maxQueue: 1000,
      keepAliveMs: 15_000,
      pingMs: 10_000,
      silentMs: 45_000,
      modelDefault: 'm',
      ...options,
    },
    {
      clock,
      log,
      shards,
      diagnostics: silentDiagnostics,
      keys: { verify: async (_role, key) => (key === 'adm_test' ? 'right' : 'wrong') },
      failed: reason => void failures.push(reason),
      ids: {
        jobId() {
          last += 1;
          return `chatcmpl-${(last % 256).toString(16).padStart(2, '0')}${String(last).padStart(22, '0')}`;
        },
        workerId() {
          last += 1;
          return (last % 256).toString(16).padStart(2, '0') + String(last).padStart(30, '0');
        },
      },
    },
  );
  return {
    clock,
    log: log as FakeLog,
    shards,
    front,
    failures,
    ask(request = {}) {
      const caller = new TestCaller();
      const body = { model: 'm', stream: true, messages: [{ role: 'user', content: 'hi' }], ...request };
      caller.streamId = front.requestArrived(caller, {
        api: 'openai.chat',
        requestId: 'req_1',
        body: encoder.encode(JSON.stringify(body)),
      });
      return caller;
    },
    async worker(slots = 4, more = {}) {
      const worker = new TestWorker(front);
      worker.hello(slots, more);
      await clock.settle();
      return worker;
    },
  };
}
