/** A worker under test: an address that it dials, where we play the router. */
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type WebSocket, WebSocketServer } from 'ws';
import { waitUntil, within } from '../processes.ts';
import { expect, NotApplicable, pause, shown } from './case.ts';
import type { Heard } from './router-peer.ts';

export interface WorkerPeerOptions {
  readonly host: string;
  readonly port: number;
  /** What the worker must show. */
  readonly key: string;
  /** How long it may take to load its model. */
  readonly loadMs: number;
  /** How long it may take to dial again. */
  readonly redialMs: number;
  readonly policy: Readonly<Record<string, unknown>>;
  /** Whether cases may end the worker: somebody starts it again. */
  readonly mayEnd: boolean;
}

const soonMs = 5000;

/** One connection that the worker has made. */
export class RouterLine {
  readonly socket: WebSocket;
  readonly heard: Heard[] = [];
  /** What was heard that is no JSON. */
  readonly noise: string[] = [];
  readonly pongs: string[] = [];
  version: 1 | 2 = 1;
  closedWith: number | null = null;
  readonly #taken = new Set<Heard>();

  constructor(socket: WebSocket) {
    this.socket = socket;
    socket.on('message', (data: Buffer) => {
      try {
        this.heard.push(JSON.parse(data.toString()));
      } catch {
        // Cases look at it: a worker must not say such things.
        this.noise.push(data.toString().slice(0, 200));
      }
    });
    socket.on('pong', data => this.pongs.push(data.toString()));
    socket.on('error', () => undefined);
    socket.on('close', code => {
      this.closedWith = code;
    });
  }

  say(...frames: (object | string)[]): void {
    for (const frame of frames) this.socket.send(typeof frame === 'string' ? frame : JSON.stringify(frame));
  }

  async next(type: string, isSo: (frame: Heard) => boolean = () => true, ms = soonMs): Promise<Heard> {
    let found: Heard;
    await waitUntil(
      () => {
        found = this.heard.find(frame => frame?.type === type && !this.#taken.has(frame) && isSo(frame));
        if (found === undefined && this.closedWith !== null)
          throw new Error(`the worker closed with ${this.closedWith} where a ${type} frame is expected`);
        return found !== undefined;
      },
      ms,
      () => `no ${type} frame came within ${ms} ms; heard ${shown(this.heard.slice(-4))}`,
    );
    this.#taken.add(found);
    return found;
  }

  about(jobId: string): Heard[] {
    return this.heard.filter(frame => frame.job_id === jobId);
  }

  /** The last frame about a job, once it has come. */
  async end(jobId: string, ms = 60_000): Promise<Heard> {
    const isEnd = ({ type }: Heard): boolean => ['complete', 'error', 'cancelled', 'job.overload'].includes(type);
    await waitUntil(
      () => {
        if (this.about(jobId).some(isEnd)) return true;
        expect(this.closedWith === null, `the worker closed with ${this.closedWith} before the end of its job`);
        return false;
      },
      ms,
      () => `the job did not end within ${ms} ms; heard ${shown(this.about(jobId).slice(-3))}`,
    );
    return this.about(jobId).find(isEnd);
  }

  tokens(jobId: string): Heard[] {
    return this.about(jobId).filter(({ type }) => type === 'token');
  }

  /** Until the worker has said so many tokens of a job; false when the job has ended before. */
  async spoken(jobId: string, count: number, ms = 60_000): Promise<boolean> {
    const over = (): boolean =>
      this.about(jobId).some(({ type }) => ['complete', 'error', 'cancelled', 'job.overload'].includes(type));
    await waitUntil(
      () => this.tokens(jobId).length >= count || over(),
      ms,
      () => `the worker has not said ${count} tokens within ${ms} ms`,
    );
    return !over();
  }

  async closed(ms = soonMs): Promise<number> {
    await waitUntil(
      () => this.closedWith !== null,
      ms,
      () => 'the worker did not close the connection',
    );
    return this.closedWith ?? 0;
  }

  /** Everything that was said so far has been read when this settles: a ping is answered in its turn. */
  async heardOut(): Promise<void> {
    const mark = `read ${this.pongs.length}`;
    this.socket.ping(mark);
    await waitUntil(
      () => this.pongs.includes(mark),
      soonMs,
      () => 'a ping was not answered',
    );
  }

  drop(): void {
    this.socket.terminate();
  }
}

export class WorkerPeer {
  readonly options: WorkerPeerOptions;
  readonly #server: Server;
  readonly #sockets: WebSocketServer;
  #waiting: RouterLine[] = [];
  #given: RouterLine[] = [];

  private constructor(options: WorkerPeerOptions) {
    this.options = options;
    this.#server = createServer((_req, res) => res.writeHead(404).end());
    this.#sockets = new WebSocketServer({ server: this.#server, path: '/ws', perMessageDeflate: false });
    this.#sockets.on('connection', socket => this.#waiting.push(new RouterLine(socket)));
  }

  static async listen(options: WorkerPeerOptions): Promise<WorkerPeer> {
    const peer = new WorkerPeer(options);
    await new Promise<void>((resolve, reject) => {
      peer.#server.once('error', reject);
      peer.#server.listen(options.port, options.host, resolve);
    });
    return peer;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  /** Until the worker has dialled; it is not answered yet. */
  arrived(ms: number): Promise<void> {
    return waitUntil(
      () => this.#waiting.some(({ closedWith }) => closedWith === null),
      ms,
      () => `no worker has dialled within ${ms / 1000} s`,
    );
  }

  /** The worker's newest connection that nobody has answered, with its hello. */
  async dialled(ms = this.options.redialMs): Promise<{ line: RouterLine; hello: Heard }> {
    let line: RouterLine | undefined;
    await waitUntil(
      () => {
        this.#waiting = this.#waiting.filter(({ closedWith }) => closedWith === null);
        line = this.#waiting.at(-1);
        return line !== undefined && line.heard.length > 0;
      },
      ms,
      () => `the worker did not dial within ${ms} ms`,
    );
    expect(line !== undefined, 'the worker did not dial');
    this.#waiting = this.#waiting.filter(one => one !== line);
    this.#given.push(line);
    const hello = await line.next('hello');
    expect(hello.gpu_key === this.options.key, 'the worker shows another key than the one it was to be given');
    return { line, hello };
  }

  ack(version: 1 | 2, more: object = {}): object {
    const two = version === 2 ? { protocol_version: 2, ack_interval_ms: 100 } : {};
    const gpuId = '5f1a91b5f8e95322ab8c4d912d09d479';
    return { type: 'hello_ack', success: true, gpu_id: gpuId, policy: this.options.policy, ...two, ...more };
  }

  /** Answers a hello. Version 2 is only spoken with a worker that offers it. */
  greet(line: RouterLine, hello: Heard, version: 1 | 2, more: object = {}): void {
    if (version === 2 && !(hello.protocol_version >= 2))
      throw new NotApplicable('the worker speaks version 1 of the protocol');
    line.version = version;
    line.say(this.ack(version, more));
  }

  /** A connection of a worker that can work now. The first one may take as long as a model takes to load. */
  async line(version: 1 | 2): Promise<{ line: RouterLine; slots: number; hello: Heard }> {
    for (const line of this.#given) line.drop();
    const end = Date.now() + this.options.loadMs;
    while (Date.now() < end) {
      const { line, hello } = await this.dialled(Math.max(1, end - Date.now()));
      this.greet(line, hello, version);
      const pending = hello.capabilities?.model === 'pending' || hello.capabilities?.backend === 'pending';
      if (pending && version === 1) {
        // It has learnt its policy; it comes again when it can work.
        await line.closed(Math.max(1, end - Date.now()));
        continue;
      }
      const config = await line.next('config', undefined, Math.max(1, end - Date.now()));
      line.say({ type: 'config_ack', success: true });
      if (pending) await line.next('status', ({ state }) => state === 'ready', Math.max(1, end - Date.now()));
      return { line, hello, slots: config.capabilities?.total_slots ?? 1 };
    }
    throw new Error(`the worker was not ready within ${this.options.loadMs} ms`);
  }

  hangUp(): void {
    for (const line of [...this.#given, ...this.#waiting]) line.drop();
    this.#given = [];
    this.#waiting = [];
  }

  async reset(): Promise<void> {
    const noise = this.#given.flatMap(line => line.noise);
    this.hangUp();
    await pause(1);
    expect(noise.length === 0, `the worker said what is no JSON: ${shown(noise[0])}`);
  }

  async close(): Promise<void> {
    this.hangUp();
    this.#sockets.close();
    this.#server.closeAllConnections();
    await within(soonMs, new Promise(resolve => this.#server.close(resolve)), 'the listener did not close');
  }
}
