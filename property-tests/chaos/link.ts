/**
 * A piece of network: a TCP proxy between two programs that can be cut, delayed, left half-open or taken away. With
 * several targets it is a plain load balancer: each new connection goes to the next one that takes it.
 */
import type { AddressInfo } from 'node:net';
import { connect, createServer, type Server, type Socket } from 'node:net';

interface Pair {
  readonly near: Socket;
  far: Socket | null;
  /** Half-open: nothing passes any more, and nobody is told. */
  dead: boolean;
}

/** How long a side may take to read the rest when the other has closed. */
const lastBytesMs = 1000;

export class Link {
  readonly #targets: readonly number[];
  readonly #pairs = new Set<Pair>();
  #server: Server | null = null;
  #turn = 0;
  #delayMs = 0;
  #refusing = false;
  #port = 0;

  private constructor(targets: readonly number[]) {
    this.#targets = targets;
  }

  static async open(targets: readonly number[]): Promise<Link> {
    const link = new Link(targets);
    const server = createServer(socket => link.#take(socket));
    await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve));
    link.#server = server;
    link.#port = (server.address() as AddressInfo).port;
    return link;
  }

  get port(): number {
    return this.#port;
  }

  get connections(): number {
    return this.#pairs.size;
  }

  /** Resets all connections; new ones are let through. */
  cut(): void {
    for (const pair of this.#pairs) end(pair);
  }

  /** What is open now stays open and says nothing more, in either direction, for ever. */
  hang(): void {
    for (const pair of this.#pairs) {
      pair.dead = true;
      pair.near.pause();
      pair.far?.pause();
    }
  }

  /** Everything takes so much longer from now on. */
  delay(ms: number): void {
    this.#delayMs = ms;
  }

  /** Whether new connections are turned away. */
  refuse(refusing: boolean): void {
    this.#refusing = refusing;
  }

  async close(): Promise<void> {
    this.cut();
    await new Promise(resolve => this.#server?.close(resolve) ?? resolve(null));
  }

  #take(near: Socket): void {
    if (this.#refusing) return void near.destroy();
    const pair: Pair = { near, far: null, dead: false };
    this.#pairs.add(pair);
    near.pause();
    near.setNoDelay(true);
    near.on('error', () => undefined);
    near.on('close', failed => void (failed || pair.far === null ? this.#over(pair) : this.#left(pair)));
    this.#turn += 1;
    this.#reach(pair, this.#turn, this.#targets.length);
  }

  #reach(pair: Pair, turn: number, tries: number): void {
    const far = connect(this.#targets[turn % this.#targets.length] ?? 0, '127.0.0.1');
    far.setNoDelay(true);
    let reached = false;
    far.on('error', () => undefined);
    far.on('close', failed => {
      if (!reached && tries > 1 && !pair.near.destroyed) return this.#reach(pair, turn + 1, tries - 1);
      if (failed || !reached) this.#over(pair);
      else this.#left(pair);
    });
    far.on('connect', () => {
      if (pair.near.destroyed) return void far.destroy();
      reached = true;
      pair.far = far;
      if (pair.dead) return;
      this.#pass(pair, pair.near, far);
      this.#pass(pair, far, pair.near);
    });
  }

  /** Bytes keep their order, and an end comes behind them. */
  #pass(pair: Pair, from: Socket, to: Socket): void {
    const waiting: { readonly bytes: Buffer | null; readonly dueAt: number }[] = [];
    const pump = (): void => {
      for (let next = waiting[0]; next !== undefined && !pair.dead; next = waiting[0]) {
        const waitMs = next.dueAt - performance.now();
        if (waitMs > 0) return void setTimeout(pump, Math.ceil(waitMs));
        waiting.shift();
        if (next.bytes === null) to.end();
        else if (!to.destroyed) to.write(next.bytes);
      }
    };
    const take = (bytes: Buffer | null): void => {
      if (pair.dead) return;
      waiting.push({ bytes, dueAt: performance.now() + this.#delayMs });
      if (waiting.length === 1) pump();
    };
    from.on('data', take);
    from.on('end', () => take(null));
    from.resume();
  }

  /** One side is closed in order: the other gets what is still on its way. */
  #left(pair: Pair): void {
    if (pair.near.destroyed && pair.far?.destroyed !== false) this.#over(pair);
    else setTimeout(() => this.#over(pair), lastBytesMs).unref();
  }

  #over(pair: Pair): void {
    if (!this.#pairs.has(pair) || pair.dead) return;
    end(pair);
    this.#pairs.delete(pair);
  }
}

function end({ near, far }: Pair): void {
  near.destroy();
  far?.destroy();
}
