/**
 * WebSockets between workers and routers as the two ends see them: in order within a connection, out of order between
 * connections, with latency, and with everything that goes wrong between two machines.
 *
 * N1. What one end says arrives at the other in order, or the connection breaks (a broken one tells nothing more).
 * N2. A half-open connection tells neither end: only silence is to be had from it.
 * N3. Whole frames are lost, doubled or garbled only for peers that number them (version 2): no network does that, but a
 *     defective peer or proxy does, and the protocol has an answer to it.
 */
import type { WorkerPort } from '../../actors/router/ports.ts';
import type { Dial, Socket, SocketEvents } from '../../actors/worker/socket.ts';
import type { VirtualClock } from './clock.ts';
import type { SimNode } from './node.ts';
import type { Random } from './random.ts';
import type { FaultKind, Tally } from './tally.ts';
import type { Timeline } from './timeline.ts';

/** Where workers dial: a router that may be up or not. */
export interface Listener {
  readonly node: SimNode;
  readonly listening: boolean;
  /** A socket has opened. */
  accept(port: WorkerPort, remote: string): string;
  message(workerId: string, text: string): void;
  alive(workerId: string): void;
  closed(workerId: string, code: number): void;
}

export interface NetworkParts {
  readonly clock: VirtualClock;
  readonly random: Random;
  readonly tally: Tally;
  readonly timeline: Timeline | null;
}

type Way = 'up' | 'down';
type Item =
  | { readonly kind: 'text'; readonly text: string }
  | { readonly kind: 'ping' | 'pong' }
  | { readonly kind: 'close'; readonly code: number; readonly reason: string };

export type FrameFault = 'frame lost' | 'frame doubled' | 'frame garbled';

const stalledChars = 1000;
/** A close that nobody answers: what `ws` waits, ms. */
const closeMs = 30_000;

/** What `text` looks like after a bit of it was lost or turned. */
function garbled(text: string, version: 1 | 2, random: Random): string {
  // Broken before the job's id, an old worker's frame is not missed by anybody: it has no number.
  const from = version === 1 ? text.indexOf('"job_id":"') + 50 : 0;
  const at = Math.min(text.length - 1, from + random.below(Math.max(1, text.length - from)));
  // An unknown type is ignored: only frames with numbers tell that one is missing, and a `config` is never said again.
  // And behind a job's last word comes nothing that could tell.
  const isNumbered =
    version === 2 && text.includes('"job_id":') && !/^\{"type":"(complete|error|cancelled)"/.test(text);
  switch (random.below(isNumbered ? 5 : 4)) {
    case 0:
      return text.slice(0, at);
    case 1:
      return text.replace(/"(token|text|full_response|total_slots)":("(\\.|[^"\\])*"|\d+)/, '"$1":{"no":"text"}');
    case 2:
      return `${text}${text}`;
    case 3:
      return `${text.slice(0, at)}\u0000${text.slice(at + 1)}`;
    default:
      return text.replace('"type":"', '"type":"x.');
  }
}

export class Wire {
  readonly id: number;
  readonly worker: SimNode;
  readonly router: SimNode;
  /** 2 once its worker numbers its frames. */
  readonly version: 1 | 2;
  readonly #parts: NetworkParts;
  readonly #latencyMs: number;
  readonly #ready: Record<Way, number> = { up: 0, down: 0 };
  readonly #inFlight: Record<Way, number> = { up: 0, down: 0 };
  readonly #dark: Record<Way, boolean> = { up: false, down: false };
  readonly #closing: Record<Way, boolean> = { up: false, down: false };
  readonly #ended = { worker: false, router: false };
  readonly #armed: { fault: FrameFault; at: number }[] = [];
  readonly #arrived: Record<Way, (item: Item) => void>;
  readonly #over: (wire: Wire) => void;
  readonly #endedAt: { worker: (code: number, reason: string) => void; router: (code: number) => void };
  slow = 1;
  open = true;

  constructor(
    id: number,
    ends: { worker: SimNode; router: SimNode; version: 1 | 2 },
    parts: NetworkParts,
    arrived: Record<Way, (item: Item) => void>,
    endedAt: { worker: (code: number, reason: string) => void; router: (code: number) => void },
    over: (wire: Wire) => void,
  ) {
    this.id = id;
    this.worker = ends.worker;
    this.router = ends.router;
    this.version = ends.version;
    this.#parts = parts;
    this.#latencyMs = parts.random.between(0.2, 20);
    this.#arrived = arrived;
    this.#endedAt = endedAt;
    this.#over = over;
  }

  get name(): string {
    return `${this.worker.name}~${this.router.name}#${this.id}`;
  }

  /** The next frame that can bear it is hit, if one comes soon. */
  arm(fault: FrameFault): void {
    this.#armed.push({ fault, at: this.#parts.clock.now });
  }

  /** Nothing more can come of it, and one end may not know yet. */
  get isDead(): boolean {
    return this.#dark.up || this.#dark.down || this.worker.dead || this.router.dead;
  }

  /** Faults have ceased. */
  disarm(): void {
    this.#armed.length = 0;
  }

  bufferedBytes(way: Way): number {
    return this.#dark[way] || this.slow > 20 ? this.#inFlight[way] * stalledChars : 0;
  }

  send(way: Way, item: Item): void {
    const { clock, timeline } = this.#parts;
    if (!this.open || this.#closing[way]) return;
    if (item.kind === 'close') this.#closing[way] = true;
    if (item.kind !== 'text' || this.#armed.length === 0) return this.#carry(way, item);
    const hit = this.#hit(way, item.text);
    if (hit === null) return this.#carry(way, item);
    timeline?.fault(hit, `${this.name} ${way === 'up' ? '→' : '←'} ${item.text}`);
    this.#parts.tally.fault(hit, clock.now);
    if (hit === 'frame lost') return;
    if (hit === 'frame garbled')
      return this.#carry(way, { kind: 'text', text: garbled(item.text, this.version, this.#parts.random) });
    this.#carry(way, item);
    this.#carry(way, item);
  }

  #hit(way: Way, text: string): FrameFault | null {
    const now = this.#parts.clock.now;
    while (this.#armed[0] !== undefined && this.#armed[0].at < now - 3000) this.#armed.shift();
    for (const [n, { fault }] of this.#armed.entries()) {
      const isToken = text.startsWith('{"type":"token"');
      const bears =
        fault === 'frame lost'
          ? way === 'up' && isToken && this.version === 2
          : fault === 'frame doubled'
            ? this.version === 2 || way === 'down'
            : way === 'up';
      // A hello that says something else is another worker, not a broken frame.
      if (!bears || text.startsWith('{"type":"hello"')) continue;
      this.#armed.splice(n, 1);
      return fault;
    }
    return null;
  }

  #carry(way: Way, item: Item): void {
    const { clock, random, tally, timeline } = this.#parts;
    let ms = this.#latencyMs * this.slow * (0.8 + 0.4 * random.next());
    if (random.chance(0.01)) {
      ms += random.between(10, 400);
      tally.delay('frame delayed');
    }
    const at = Math.max(this.#ready[way], clock.now + ms);
    this.#ready[way] = at;
    this.#inFlight[way] += 1;
    if (timeline !== null && item.kind !== 'ping' && item.kind !== 'pong')
      timeline.sent(
        way === 'up' ? this.worker.name : this.router.name,
        way === 'up' ? this.router.name : this.worker.name,
        shown(item),
      );
    clock.after(at - clock.now, null, () => {
      if (this.#dark[way]) return;
      this.#inFlight[way] -= 1;
      if (!this.open) return;
      const receiver = way === 'up' ? this.router : this.worker;
      clock.node = receiver;
      receiver.take(() => this.#deliver(way, item));
    });
  }

  #deliver(way: Way, item: Item): void {
    if (!this.open || this.#ended[way === 'up' ? 'router' : 'worker']) return;
    if (item.kind === 'close') {
      // The other end answers by itself, and then both are through.
      if (way === 'up') this.#endRouter(item.code);
      else this.#endWorker(item.code, item.reason);
      this.#closing[way === 'up' ? 'down' : 'up'] = true;
      this.#parts.clock.after(this.#latencyMs * this.slow, null, () => {
        if (way === 'up') this.#later('worker', item.code, item.reason);
        else this.#later('router', item.code, '');
      });
      return;
    }
    this.#arrived[way](item);
  }

  /** A good-bye that is not answered ends all the same. */
  closeLate(end: 'worker' | 'router', code: number): void {
    this.#parts.clock.after(closeMs, null, () => this.#later(end, code === 1000 ? 1006 : code, ''));
  }

  #later(end: 'worker' | 'router', code: number, reason: string): void {
    const node = end === 'worker' ? this.worker : this.router;
    this.#parts.clock.node = node;
    node.take(() => (end === 'worker' ? this.#endWorker(code, reason) : this.#endRouter(code)));
  }

  #endWorker(code: number, reason: string): void {
    if (this.#ended.worker) return;
    this.#ended.worker = true;
    this.#endedAt.worker(code, reason);
    this.#checkOver();
  }

  #endRouter(code: number): void {
    if (this.#ended.router) return;
    this.#ended.router = true;
    this.#endedAt.router(code);
    this.#checkOver();
  }

  #checkOver(): void {
    const { worker, router } = this.#ended;
    if ((worker || this.worker.dead) && (router || this.router.dead)) this.#forget();
  }

  #forget(): void {
    if (!this.open) return;
    this.open = false;
    this.#over(this);
  }

  /** One end drops it without a word; the other hears of it, unless it is dark. */
  terminate(end: 'worker' | 'router'): void {
    const { clock } = this.#parts;
    if (this.#ended[end]) return;
    clock.after(0, null, () => this.#later(end, 1006, ''));
    const way: Way = end === 'worker' ? 'up' : 'down';
    if (this.#dark[way]) return;
    const other = end === 'worker' ? 'router' : 'worker';
    clock.after(this.#latencyMs * this.slow, null, () => this.#later(other, 1006, ''));
  }

  /** The connection breaks, and both ends are told, each in its time. What was on its way is lost. */
  cut(): boolean {
    if (!this.open) return false;
    const { clock, random } = this.#parts;
    this.#closing.up = this.#closing.down = true;
    this.#dark.up = this.#dark.down = true;
    for (const end of ['worker', 'router'] as const)
      clock.after(random.chance(0.2) ? random.between(0, 800) : random.between(0, 5), null, () =>
        this.#later(end, 1006, ''),
      );
    return true;
  }

  /** Nothing arrives any more, and nobody is told. One way, or both. */
  darken(ways: readonly Way[]): boolean {
    if (!this.open) return false;
    let changed = false;
    for (const way of ways) {
      if (!this.#dark[way]) changed = true;
      this.#dark[way] = true;
    }
    return changed;
  }

  /** One end's process is gone: the system says so to the other, unless the machine went with it. */
  lose(end: 'worker' | 'router', silently: boolean): void {
    if (!this.open) return;
    this.#ended[end] = true;
    if (silently) {
      this.#dark.up = this.#dark.down = true;
      // In the end somebody gives up: a keep-alive of TCP, in minutes.
      this.#parts.clock.after(120_000, null, () => this.#later(end === 'worker' ? 'router' : 'worker', 1006, ''));
      return;
    }
    const other = end === 'worker' ? 'router' : 'worker';
    this.#parts.clock.after(this.#latencyMs, null, () => this.#later(other, 1006, ''));
  }
}

const shown = (item: Item): string =>
  item.kind === 'text' ? item.text : item.kind === 'close' ? `close ${item.code} ${item.reason}` : item.kind;

export class Network {
  readonly #parts: NetworkParts;
  readonly wires = new Set<Wire>();
  /** Pairs of names that cannot reach each other. */
  readonly partitioned = new Set<string>();
  #last = 0;

  constructor(parts: NetworkParts) {
    this.#parts = parts;
  }

  /** How a worker at `node` reaches the listener that `find` knows at that moment. */
  dialFrom(node: SimNode, version: 1 | 2, find: () => Listener | null): Dial {
    return (_url, events) => this.#dial(node, version, find, events);
  }

  isPartitioned(worker: SimNode, router: SimNode): boolean {
    return this.partitioned.has(`${worker.name} ${router.name}`);
  }

  #dial(worker: SimNode, version: 1 | 2, find: () => Listener | null, events: SocketEvents): Socket {
    const { clock, random } = this.#parts;
    let wire: Wire | null = null;
    let given = false;
    clock.after(random.between(0.3, 20), null, () => {
      if (given || worker.dead) return;
      const listener = find();
      clock.node = worker;
      if (listener === null || !listener.listening || listener.node.dead)
        return worker.take(() => given || events.onClosed(0, 'connection refused'));
      // Nobody answers: the one who dials has a deadline.
      if (this.isPartitioned(worker, listener.node) || listener.node.frozen) return;
      wire = this.#connect(worker, version, listener, events);
      const opened = wire;
      clock.after(random.between(0.3, 20), worker, () => {
        if (!given && opened.open) events.onOpen();
      });
    });
    return {
      send: text => wire?.send('up', { kind: 'text', text }),
      ping: () => wire?.send('up', { kind: 'ping' }),
      close: (code, reason) => {
        given = true;
        wire?.send('up', { kind: 'close', code, reason });
        wire?.closeLate('worker', 1006);
      },
      terminate: () => {
        given = true;
        wire?.terminate('worker');
      },
      get bufferedBytes() {
        return wire?.bufferedBytes('up') ?? 0;
      },
    };
  }

  #connect(worker: SimNode, version: 1 | 2, listener: Listener, events: SocketEvents): Wire {
    this.#last += 1;
    let workerId = '';
    /** While the router does not read: what has arrived. */
    let unread: Item[] | null = null;
    const read = (item: Item): void => {
      if (unread !== null) return void unread.push(item);
      if (item.kind === 'text') listener.message(workerId, item.text);
      else {
        listener.alive(workerId);
        if (item.kind === 'ping') wire.send('down', { kind: 'pong' });
      }
    };
    const wire = new Wire(
      this.#last,
      { worker, router: listener.node, version },
      this.#parts,
      {
        up: read,
        down: item => {
          events.onAlive();
          if (item.kind === 'text') events.onText(item.text);
          else if (item.kind === 'ping') wire.send('up', { kind: 'pong' });
        },
      },
      {
        worker: (code, reason) => events.onClosed(code, reason),
        router: code => listener.closed(workerId, code),
      },
      gone => this.wires.delete(gone),
    );
    this.wires.add(wire);
    const { clock } = this.#parts;
    clock.node = listener.node;
    listener.node.take(() => {
      workerId = listener.accept(
        {
          send: text => wire.send('down', { kind: 'text', text }),
          ping: () => wire.send('down', { kind: 'ping' }),
          close: (code, reason) => {
            wire.send('down', { kind: 'close', code, reason });
            wire.closeLate('router', code);
          },
          terminate: () => wire.terminate('router'),
          pause: () => {
            unread ??= [];
          },
          resume: () => {
            const items = unread ?? [];
            unread = null;
            for (const item of items) read(item);
          },
          trust: () => undefined,
          get bufferedBytes() {
            return wire.bufferedBytes('down');
          },
        },
        worker.name,
      );
    });
    return wire;
  }

  of(node: SimNode): Wire[] {
    return [...this.wires].filter(({ worker, router }) => worker === node || router === node);
  }

  /** All connections of a pair go dark, and no new one opens until it is healed. */
  partition(worker: SimNode, router: SimNode, ms: number): boolean {
    const key = `${worker.name} ${router.name}`;
    if (this.partitioned.has(key)) return false;
    const wires = [...this.wires].filter(wire => wire.worker === worker && wire.router === router);
    if (wires.length === 0) return false;
    this.partitioned.add(key);
    for (const wire of wires) wire.darken(['up', 'down']);
    this.#parts.clock.after(ms, null, () => this.partitioned.delete(key));
    return true;
  }

  hit(kind: FaultKind, what: string): void {
    this.#parts.tally.fault(kind, this.#parts.clock.now);
    this.#parts.timeline?.fault(kind, what);
  }
}
