/**
 * One world: a cluster of real routers and workers, its store, its callers, and the clock that drives them. What goes
 * wrong is a finding, and the first one ends the run.
 */
import type { Diagnostics } from '../../actors/config/diagnostics.ts';
import { type WorkerRules, workerRules } from '../../actors/shard/workers.ts';
import { parseCursor } from '../../protocol/position.ts';
import { CallerNode } from './caller-node.ts';
import { VirtualClock } from './clock.ts';
import { families } from './families.ts';
import { Network } from './network.ts';
import type { Plan, PlannedAsk } from './plan.ts';
import { type Random, seededRandom } from './random.ts';
import { gpuKey, type RouterLife, RouterNode, type RouterTimes } from './router-node.ts';
import { EmbeddedStore, StoreServer } from './store.ts';
import { Tally } from './tally.ts';
import { Timeline } from './timeline.ts';
import { truthOf } from './truth.ts';
import { WorkerNode } from './worker-node.ts';

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
  readonly rules: WorkerRules = workerRules(policy, 300_000);
  /** All lives of all routers. */
  readonly lives: RouterLife[] = [];
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
    const routerTimes: RouterTimes = { ...times, maxQueue: shape.maxQueue };
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
    const ask = { prompt, tokensMax, streamed, keepMs, malformed };
    const number = this.callers.length + 1;
    const caller = new CallerNode(number, family, ask, truthOf(prompt, tokensMax), this.clock, what =>
      this.wrong(what),
    );
    this.callers.push(caller);
    this.clock.after(0, life.node, () => {
      const port = caller.port();
      const turned = life.front.turnedAway();
      if (turned !== null) return port.refuse(turned.code, turned.message);
      const text = JSON.stringify(malformed ? { ...family.body(ask), messages: 'none' } : family.body(ask));
      caller.life = life;
      caller.streamId = life.front.requestArrived(port, {
        api: family.api,
        requestId: `req_${number}`,
        body: new TextEncoder().encode(text),
        keepMs: planned.keepMs,
      });
      // The request's id is the last that was given out.
      caller.jobId = `chatcmpl-${(this.#lastId % 256).toString(16).padStart(2, '0')}${String(this.#lastId).padStart(22, '0')}`;
      this.timeline?.note(caller.name, `asks ${life.node.name} ${text}`);
    });
    return caller;
  }

  /** A caller whose connection is gone asks for the rest, on any router; or lets it be. */
  resume(caller: CallerNode): void {
    if (!caller.waits) return;
    if (!caller.ask.streamed || caller.malformed || caller.jobId === '' || caller.resumes >= resumesMax)
      return caller.giveUp();
    const life = this.random.pick(this.liveRouters())?.life ?? null;
    if (life === null || life.node.frozen) {
      this.clock.after(500, null, () => this.resume(caller));
      return;
    }
    caller.resumes += 1;
    const { lastId } = caller.heard;
    this.timeline?.note(caller.name, `asks ${life.node.name} for what follows ${lastId}`);
    this.clock.after(0, life.node, () => {
      if (!caller.waits) return;
      caller.life = life;
      const cursor = lastId === null ? null : parseCursor(lastId);
      caller.streamId = life.front.followArrived(caller.port(), caller.jobId, {
        cursor,
        shape: 'streamed',
        waits: true,
      });
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

  killWorker(worker: WorkerNode, silently: boolean): boolean {
    const { node } = worker;
    if (!worker.kill()) return false;
    for (const wire of this.network.of(node)) wire.lose('worker', silently);
    return true;
  }
}
