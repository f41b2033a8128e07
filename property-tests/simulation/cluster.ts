/**
 * One world: a cluster of real routers and workers, its store, its callers, and the clock that drives them. What goes
 * wrong is a finding, and the first one ends the run.
 */
import type { Diagnostics } from '../../actors/config/diagnostics.ts';
import { type WorkerRules, workerRules } from '../../actors/shard/workers.ts';
import { type Cursor, parseCursor } from '../../protocol/position.ts';
import { CallerNode } from './caller-node.ts';
import { VirtualClock } from './clock.ts';
import { families } from './families.ts';
import { Network } from './network.ts';
import type { SimNode } from './node.ts';
import type { Plan, PlannedAsk } from './plan.ts';
import { hashText, type Random, seededRandom } from './random.ts';
import { gpuKey, type RouterLife, RouterNode, type RouterTimes } from './router-node.ts';
import { EmbeddedStore, StoreServer } from './store.ts';
import { Tally } from './tally.ts';
import { Timeline } from './timeline.ts';
import { ToolBook } from './tool-truth.ts';
import { ToolsNode } from './tools-node.ts';
import { routerTools } from './tools-plan.ts';
import { truthOf } from './truth.ts';
import { WorkerNode } from './worker-node.ts';
import { Writers } from './writers.ts';

export const slotsOfWorkers = 2;
const policy = {
  model_name: 'm',
  quantization: '',
  context_size: 4096,
  max_parallelism: slotsOfWorkers,
  capabilities: ['chat'],
};

export const times = {
  jobTimeoutMs: 40_000,
  queueTimeoutMs: 15_000,
  keepAliveMs: 5_000,
  pingMs: 10_000,
  silentMs: 20_000,
} as const;

/** A caller whose answer broke off asks for the rest so often. */
const resumesMax = 5;

/** Beyond its grace, a router that stops has so long until it is killed. */
const stopMsMax = 15_000;

/** Something that must not be. */
export class Finding extends Error {
  override readonly name = 'Finding';
}

export class Cluster {
  readonly plan: Plan;
  readonly clock = new VirtualClock();
  readonly tally = new Tally();
  readonly timeline: Timeline | null;
  readonly random: Random;
  readonly network: Network;
  readonly store: EmbeddedStore | StoreServer;
  readonly routers: RouterNode[] = [];
  readonly workers: WorkerNode[] = [];
  readonly callers: CallerNode[] = [];
  readonly toolsWorkers: ToolsNode[] = [];
  readonly toolBook = new ToolBook();
  readonly rules: WorkerRules = workerRules(policy, 300_000);
  /** All lives of all routers. */
  readonly lives: RouterLife[] = [];
  readonly writers = new Writers();
  /** Faults have ceased. */
  calm = false;
  /** The next requests are broken. */
  malformed = 0;
  found: Finding | null = null;
  #lastId = 0;

  constructor(plan: Plan, traced: boolean) {
    this.plan = plan;
    this.random = seededRandom(plan.seed ^ 0x5bd1e995);
    this.timeline = traced ? new Timeline(this.clock) : null;
    const parts = { clock: this.clock, random: this.random, tally: this.tally, timeline: this.timeline };
    this.network = new Network(parts);
    this.store = plan.shape.store === 'embedded' ? new EmbeddedStore(parts) : new StoreServer(parts);
    this.#build();
  }

  wrong(what: string): void {
    if (this.found !== null) return;
    this.found = new Finding(what);
    this.timeline?.note('FOUND', what);
    this.clock.fail(this.found);
  }

  #build(): void {
    const { shape } = this.plan;
    const { clock, random, network, store } = this;
    const routerTimes: RouterTimes = { ...times, maxQueue: shape.maxQueue, ...routerTools(shape) };
    for (let n = 0; n < shape.routers; n += 1) {
      this.routers.push(
        new RouterNode(`r${n + 1}`, {
          clock,
          random,
          times: routerTimes,
          rules: this.rules,
          shardCount: shape.shards,
          copies: shape.copies,
          shared: shape.store === 'shared',
          openStore: async node => (store instanceof EmbeddedStore ? store.open(node) : store.connect(node)),
          diagnostics: who => this.#diagnostics(who),
          writers: this.writers,
          newId: length => this.newId(length),
          gaveUp: (router, reason) => this.wrong(`the router ${router.name} gave up: ${reason}`),
        }),
      );
    }
    for (const [n, { version, slots, modelFile }] of shape.workers.entries()) {
      // Most know one router; the last ones go where the balancer sends them.
      const home = n < shape.routers ? this.routers[n] : null;
      this.workers.push(
        new WorkerNode(`w${n + 1}`, {
          clock,
          random,
          slots,
          version,
          modelFile,
          dialFrom: (node, v) => network.dialFrom(node, v, () => home ?? random.pick(this.routers) ?? null),
          diagnostics: who => this.#diagnostics(who),
          endedByItself: (worker, message) => this.wrong(`the worker ${worker.name} ended: ${message}`),
          wrong: what => this.wrong(what),
        }),
      );
    }
    this.#buildTools();
  }

  #buildTools(): void {
    const { clock, random, network, routers } = this;
    for (let n = 0; n < (this.plan.shape.tools ?? 0); n += 1) {
      // Every router has one of its own; the others go where the balancer sends them.
      const home = routers[n] ?? null;
      const dialFrom = (node: SimNode) => network.dialFrom(node, 2, () => home ?? random.pick(routers) ?? null);
      this.toolsWorkers.push(
        new ToolsNode(`t${n + 1}`, {
          clock,
          random,
          book: this.toolBook,
          dialFrom,
          diagnostics: who => this.#diagnostics(who),
          wrong: what => this.wrong(what),
        }),
      );
    }
  }

  newId(length: number): string {
    this.#lastId += 1;
    return (this.#lastId % 256).toString(16).padStart(2, '0') + String(this.#lastId).padStart(length - 2, '0');
  }

  /** Nothing that anybody writes for people holds a key. */
  #diagnostics(who: string): Diagnostics {
    const take =
      (level: string) =>
      (message: string, fields: object = {}): void => {
        if (message.includes(gpuKey)) this.wrong(`a line for people shows a key: ${message}`);
        for (const value of Object.values(fields))
          if (typeof value === 'string' && value.includes(gpuKey))
            this.wrong(`a line for people shows a key: ${message} ${value}`);
        if (this.timeline !== null) this.timeline.note(who, `${level}: ${message} ${JSON.stringify(fields)}`);
      };
    const [debug, info, warn, error] = [take('debug'), take('info'), take('warn'), take('error')];
    return { debug, info, warn, error, child: () => this.#diagnostics(who) };
  }

  /** Starts everything that there is. */
  async start(): Promise<void> {
    if (this.store instanceof StoreServer) await this.store.start();
    for (const router of this.routers) this.clock.after(0, null, () => router.start());
    for (const worker of this.workers) this.clock.after(this.random.between(0, 300), null, () => worker.start());
    for (const worker of this.toolsWorkers) this.clock.after(this.random.between(0, 300), null, () => worker.start());
  }

  liveRouters(): RouterNode[] {
    return this.routers.filter(({ listening, node }) => listening && !node.dead);
  }

  ask(planned: PlannedAsk): CallerNode | null {
    const family = families[planned.family % families.length];
    const live = this.liveRouters();
    const router = live[Math.floor(planned.pick * live.length)];
    const life = router?.life ?? null;
    // Nobody listens: no connection, and nothing to be wrong about.
    if (life === null || family === undefined || life.node.frozen) return null;
    const malformed = this.malformed > 0;
    if (malformed) {
      this.malformed -= 1;
      this.tally.fault('request malformed', this.clock.now);
    }
    const { prompt, tokensMax, streamed, keepMs } = planned;
    const ask = { prompt, tokensMax, streamed, keepMs, malformed, keyed: planned.keyed && !malformed };
    const number = this.callers.length + 1;
    const caller = new CallerNode(number, family, ask, truthOf(prompt, tokensMax), this.clock, what =>
      this.wrong(what),
    );
    this.callers.push(caller);
    this.clock.after(0, life.node, () => void this.#send(caller, life));
    return caller;
  }

  /** The request goes to a router: for the first time, or again under its key. */
  async #send(caller: CallerNode, life: RouterLife): Promise<void> {
    if (!caller.waits) return;
    const { ask, family } = caller;
    const { front } = life;
    const port = caller.port();
    const { connection } = caller;
    caller.life = life;
    caller.streamId = 0;
    const turned = front.turnedAway();
    if (turned !== null) return port.refuse(turned.code, turned.message);
    const malformed = ask.malformed ? { messages: 'none', input: 7, prompt: 7 } : {};
    const text = JSON.stringify({ ...family.body(ask), ...malformed });
    const body = new TextEncoder().encode(text);
    this.timeline?.note(caller.name, `asks ${life.node.name} ${text}`);
    const request = { api: family.api, requestId: `req_${caller.number}`, body, keepMs: ask.keepMs };
    if (!ask.keyed) {
      caller.streamId = front.requestArrived(port, request);
      // The request's id is the last that was given out.
      caller.jobId = `chatcmpl-${(this.#lastId % 256).toString(16).padStart(2, '0')}${String(this.#lastId).padStart(22, '0')}`;
      return;
    }
    // As edge/keyed.ts does.
    const key = `key ${caller.number}`;
    const cursor = caller.heard.lastId === null ? null : parseCursor(caller.heard.lastId);
    const found = await front.jobFor(key, String(hashText(text)), cursor !== null).catch(() => null);
    if (caller.connection !== connection || !caller.waits) {
      if (found?.kind === 'new') front.noJobFor(found.jobId);
      return;
    }
    if (found === null) return port.refuse('store_unavailable', 'the store cannot say whether this key is known');
    if (found.kind === 'conflict') return this.wrong(`${caller.name}: its key is said to be another request's`);
    caller.jobId = found.jobId;
    if (found.kind === 'new')
      caller.streamId = front.requestArrived(port, { ...request, jobId: found.jobId, idempotency: key });
    else caller.streamId = front.followArrived(port, found.jobId, { cursor, shape: 'asked', waits: true });
  }

  /** A caller whose connection is gone asks for the rest, on any router; or lets it be. */
  resume(caller: CallerNode): void {
    if (!caller.waits) return;
    const { keyed, streamed } = caller.ask;
    const known = keyed || (streamed && caller.jobId !== '');
    if (!known || caller.malformed || caller.resumes >= resumesMax) return caller.giveUp();
    const life = this.random.pick(this.liveRouters())?.life ?? null;
    if (life === null || life.node.frozen) {
      this.clock.after(500, null, () => this.resume(caller));
      return;
    }
    caller.resumes += 1;
    const { lastId, sequence } = caller.heard;
    if (keyed && this.random.chance(streamed ? 0.5 : 1)) {
      this.clock.after(0, life.node, () => void this.#send(caller, life));
      return;
    }
    if (caller.jobId === '') return caller.giveUp();
    caller.guessed ||= caller.status === 0;
    const byNumber = caller.family.api === 'openai.responses' && this.random.chance(0.5);
    const from = byNumber ? `event ${sequence}` : lastId;
    this.timeline?.note(caller.name, `asks ${life.node.name} for what follows ${from}`);
    this.clock.after(0, life.node, () => {
      if (!caller.waits) return;
      const { front } = life;
      const port = caller.port();
      caller.life = life;
      caller.streamId = 0;
      const { connection, jobId } = caller;
      const follow = (cursor: Cursor | null): void => {
        if (caller.connection !== connection || !caller.waits) return;
        caller.streamId = front.followArrived(port, jobId, { cursor, shape: 'streamed', waits: true });
      };
      if (!byNumber) return follow(lastId === null ? null : parseCursor(lastId));
      const look = { what: 'stream', jobId, after: sequence } as const;
      front.lookArrived({ respond: port.respond, refuse: port.refuse, follow }, look);
    });
  }

  /** A router's process ends; who was connected to it learns of it. */
  killRouter(router: RouterNode, silently: boolean): boolean {
    const { node, life } = router;
    if (!router.kill()) return false;
    for (const wire of this.network.of(node)) wire.lose('router', silently);
    if (this.store instanceof EmbeddedStore) this.store.killed();
    else for (const link of [...this.store.links]) if (link.client === node) this.store.links.delete(link);
    for (const caller of this.callers) {
      if (!caller.waits || caller.life !== life || life === null) continue;
      caller.lose();
      this.clock.after(this.random.between(100, 3000), null, () => this.resume(caller));
    }
    return true;
  }

  /** A router is told to stop: it finishes what it can in `graceMs`, its process ends, and it is started again. */
  drainRouter(router: RouterNode, graceMs: number, backAfterMs: number): void {
    const { life, node } = router;
    if (life === null) return;
    const over = (): void => {
      if (!this.killRouterOf(router, node)) return;
      this.clock.after(backAfterMs, null, () => router.start());
    };
    // Whoever runs it kills it when it takes too long.
    this.clock.after(graceMs + stopMsMax, null, over);
    this.clock.after(0, node, () => void life.stop(graceMs).then(over, over));
  }

  /** Only if it is still this process. */
  killRouterOf(router: RouterNode, node: RouterLife['node']): boolean {
    return router.node === node && this.killRouter(router, false);
  }

  killWorker(worker: WorkerNode | ToolsNode, silently: boolean): boolean {
    const { node } = worker;
    if (!worker.kill()) return false;
    for (const wire of this.network.of(node)) wire.lose('worker', silently);
    return true;
  }
}
