/**
 * The store of a simulated cluster: the real commands of the embedded store and its real append file, on a disk in
 * memory; either inside the one router, or as a server with a network in front that loses and doubles.
 */
import { AppendFile } from '../../actors/log/append-file.ts';
import { EmbeddedConnection } from '../../actors/log/embedded-connection.ts';
import { Engine } from '../../actors/log/embedded-redis.ts';
import type { Arg, Batch, BatchReply, Store, Words } from '../../actors/log/store.ts';
import type { VirtualClock } from './clock.ts';
import { SimDisk } from './disk.ts';
import { SimNode } from './node.ts';
import type { Random } from './random.ts';
import type { Tally } from './tally.ts';
import type { Timeline } from './timeline.ts';

export type StoreFault = 'store reply lost' | 'store command lost' | 'store command doubled';

export interface StoreParts {
  readonly clock: VirtualClock;
  readonly random: Random;
  readonly tally: Tally;
  readonly timeline: Timeline | null;
}

const path = '/data/auxot.aof';

/** What a process that uses the files has in memory. `now`: of that process. */
async function load(disk: SimDisk, now: () => number): Promise<Engine> {
  const engine = new Engine(now);
  const options = { path, files: disk, fsync: 'no', say: () => undefined, rewriteBytesMin: 256 * 1024 } as const;
  engine.keep(await AppendFile.open({ ...options, waitingBytesMax: 64 * 2 ** 20 }, engine), async () => undefined);
  return engine;
}

const jobsIn = (engine: Engine | null): string[] =>
  [...(engine?.keys.values.keys() ?? [])].flatMap(key => /^auxot:\{(.*)\}:log$/.exec(key)?.[1] ?? []);

/** The store inside the one router there is. */
export class EmbeddedStore {
  readonly disk: SimDisk;
  #engine: Engine | null = null;

  constructor(parts: StoreParts) {
    this.disk = new SimDisk(parts);
  }

  async open(node: SimNode): Promise<Store> {
    this.#engine = await load(this.disk, () => node.wall());
    return EmbeddedConnection.first(this.#engine);
  }

  /** Its process was killed. */
  killed(): void {
    this.disk.killed();
    this.#engine?.keys.close();
    this.#engine = null;
  }

  /** For whoever judges: as it is in memory. */
  look(): Store | null {
    return this.#engine === null ? null : EmbeddedConnection.first(this.#engine);
  }

  close(): void {
    this.#engine?.keys.close();
  }

  jobIds(): string[] {
    return jobsIn(this.#engine);
  }
}

/** A server that several routers may use. */
export class StoreServer {
  readonly node: SimNode;
  readonly disk: SimDisk;
  readonly parts: StoreParts;
  readonly links = new Set<StoreLink>();
  engine: Engine | null = null;
  /** Refuses all until then. */
  downUntil = 0;
  #boots = 0;

  constructor(parts: StoreParts) {
    this.parts = parts;
    this.node = new SimNode('store', parts.clock);
    this.disk = new SimDisk(parts);
    this.disk.writeMs = 0.5;
  }

  async start(): Promise<void> {
    this.#boots += 1;
    const boot = this.#boots;
    this.parts.clock.node = this.node;
    const engine = await load(this.disk, () => this.node.wall());
    if (boot === this.#boots) this.engine = engine;
    else engine.keys.close();
  }

  get isDown(): boolean {
    return this.engine === null || this.parts.clock.now < this.downUntil;
  }

  /** Killed, and started again a little later with what its file has. */
  restart(afterMs: number): boolean {
    if (this.engine === null) return false;
    this.engine.keys.close();
    this.engine = null;
    this.#boots += 1;
    this.disk.killed();
    // Each in an event of its own: what a process does about it is no other's.
    for (const link of this.links) this.parts.clock.after(0, null, () => link.broken());
    this.parts.clock.after(afterMs, this.node, () => void this.start());
    return true;
  }

  connect(client: SimNode): Store {
    const link = new StoreLink(this, client);
    this.links.add(link);
    return link.store();
  }

  look(): Store | null {
    return this.engine === null ? null : EmbeddedConnection.first(this.engine);
  }

  close(): void {
    this.engine?.keys.close();
  }

  jobIds(): string[] {
    return jobsIn(this.engine);
  }
}

/** A command, or several together, on its way. */
interface Call {
  readonly run: (connection: Store) => Promise<unknown>;
  readonly words: readonly Words[] | null;
  readonly resolve: (reply: unknown) => void;
  readonly reject: (error: Error) => void;
  settled: boolean;
  tries: number;
}

const triesMax = 3;

/** A router's connection to the server: in order, with latency; broken ones are made again, as ioredis does. */
export class StoreLink {
  readonly server: StoreServer;
  readonly client: SimNode;
  latencyMs: number;
  slow = 1;
  readonly #armed: { fault: StoreFault; at: number }[] = [];
  readonly #open = new Set<Call>();
  #ready = { up: 0, down: 0 };
  #connection: { readonly engine: Engine; readonly store: Store } | null = null;

  constructor(server: StoreServer, client: SimNode) {
    this.server = server;
    this.client = client;
    this.latencyMs = server.parts.random.between(0.1, 3);
  }

  arm(fault: StoreFault): void {
    this.#armed.push({ fault, at: this.server.parts.clock.now });
  }

  broken(): void {
    for (const call of [...this.#open]) this.#again(call, 'Connection is closed.');
  }

  store(): Store {
    const call = (run: Call['run'], words: Call['words'] = null): Promise<unknown> =>
      new Promise((resolve, reject) => this.#send({ run, words, resolve, reject, settled: false, tries: 0 }));
    const batch = (kind: 'pipeline' | 'multi', commands: Words[]): Batch => ({
      exec: () =>
        call(
          connection => connection[kind](commands).exec(),
          kind === 'pipeline' ? commands : null,
        ) as Promise<BatchReply>,
    });
    const own: Partial<Store> = {
      pipeline: commands => batch('pipeline', commands),
      multi: commands => batch('multi', commands),
      duplicate: () => this.server.connect(this.client),
      on: () => undefined,
      off: () => undefined,
      quit: async () => 'OK',
      disconnect: () => this.#disconnect(),
    };
    return new Proxy(own, {
      get: (target, name) => {
        if (name in target || typeof name !== 'string' || name === 'then') return Reflect.get(target, name);
        return (...args: Arg[]) =>
          call(connection => {
            const command: unknown = Reflect.get(connection, name);
            if (typeof command !== 'function') return Promise.reject(new Error(`the store has no command ${name}`));
            return Reflect.apply(command, connection, args);
          });
      },
    }) as Store; // every command is there by the proxy
  }

  #send(call: Call): void {
    const { clock, random, timeline } = this.server.parts;
    this.#open.add(call);
    call.tries += 1;
    const fault = this.#hit(call);
    timeline?.sent(this.client.name, 'store', call.words === null ? 'a command' : JSON.stringify(call.words));
    const at = Math.max(this.#ready.up, clock.now + this.#ms());
    this.#ready.up = at;
    clock.after(at - clock.now, this.server.node, () => {
      if (call.settled) return;
      if (this.server.isDown) {
        return void clock.after(random.between(1, 50), null, () => this.#again(call, 'connect ECONNREFUSED'));
      }
      if (fault === 'store command lost') {
        // Some of a pipeline may have got there.
        const some = call.words === null ? 0 : random.below(call.words.length + 1);
        if (some > 0 && some < (call.words?.length ?? 0))
          void this.#connected()
            .pipeline([...(call.words ?? [])].slice(0, some))
            .exec()
            .catch(() => undefined);
        return void this.#loseAnswer(call);
      }
      if (fault === 'store command doubled') call.run(this.#connected()).catch(() => undefined);
      const engine = this.server.engine;
      call.run(this.#connected()).then(
        reply =>
          fault === 'store reply lost' ? this.#loseAnswer(call) : this.#answer(engine, call, () => call.resolve(reply)),
        (error: Error) => this.#answer(engine, call, () => call.reject(error)),
      );
    });
  }

  #hit(call: Call): StoreFault | null {
    const { clock, tally, timeline } = this.server.parts;
    while (this.#armed[0] !== undefined && this.#armed[0].at < clock.now - 3000) this.#armed.shift();
    const first = this.#armed.shift();
    if (first === undefined) return null;
    tally.fault(first.fault, clock.now);
    timeline?.fault(
      first.fault,
      `${this.client.name}: ${call.words === null ? 'a command' : JSON.stringify(call.words)}`,
    );
    return first.fault;
  }

  #disconnect(): void {
    this.server.links.delete(this);
    this.#connection?.store.disconnect();
    this.#connection = null;
    for (const call of [...this.#open]) {
      call.settled = true;
      this.#open.delete(call);
      queueMicrotask(() => call.reject(new Error('Connection is closed.')));
    }
  }

  #ms(): number {
    return this.latencyMs * this.slow * (0.8 + 0.4 * this.server.parts.random.next());
  }

  #connected(): Store {
    const { engine } = this.server;
    if (engine === null) throw new Error('the store is down');
    if (this.#connection?.engine !== engine)
      this.#connection = { engine, store: EmbeddedConnection.first(engine).duplicate() };
    return this.#connection.store;
  }

  #answer(engine: Engine | null, call: Call, settle: () => void): void {
    // A server that was killed meanwhile has not answered.
    if (call.settled || this.server.engine !== engine) return;
    const { clock } = this.server.parts;
    const at = Math.max(this.#ready.down, clock.now + this.#ms());
    this.#ready.down = at;
    clock.after(at - clock.now, null, () => {
      if (call.settled) return;
      call.settled = true;
      this.#open.delete(call);
      clock.node = this.client;
      this.client.take(settle);
    });
  }

  /** The connection breaks before the answer: ioredis sends again, or gives up; or nobody notices, and no answer comes. */
  #loseAnswer(call: Call): void {
    const { clock, random } = this.server.parts;
    if (random.chance(0.2)) {
      call.settled = true;
      this.#open.delete(call);
      return;
    }
    clock.after(random.between(1, 100), null, () => this.#again(call, 'Connection is closed.'));
  }

  #again(call: Call, reason: string): void {
    const { clock, random } = this.server.parts;
    if (call.settled) return;
    if (call.tries < triesMax && random.chance(0.5)) {
      clock.after(random.between(10, 300), this.client, () => !call.settled && this.#send(call));
      return;
    }
    call.settled = true;
    this.#open.delete(call);
    clock.node = this.client;
    this.client.take(() => call.reject(new Error(reason)));
  }
}
