/**
 * A TCP proxy between one worker and its router that can count what the worker says, cut the connection behind a certain
 * token, or let both sides hang. It reads the frames that pass and changes none.
 */
import type { AddressInfo } from 'node:net';
import { connect, createServer, type Socket } from 'node:net';

export interface WorkerProxy {
  readonly port: number;
  readonly url: string;
  /** Token ids that have passed, over all connections: how much the worker generated. */
  readonly ids: number[];
  /** Connections so far. */
  readonly dials: () => number;
  /** Calls `reached` when `tokens` more tokens have passed; what the worker says behind them is dropped. */
  after(tokens: number, reached: () => void): void;
  /** Ends all connections; new ones are let through. */
  cut(): void;
  /** Passes nothing on any more in either direction, and closes nothing: a half-open connection. */
  hang(): void;
  /** Refuses (true) or lets through (false) new connections. */
  refuse(refusing: boolean): void;
  close(): Promise<void>;
}

interface Pair {
  readonly worker: Socket;
  readonly router: Socket;
  /** Bytes of the worker not yet passed on: less than a frame. */
  pending: Buffer;
  upgraded: boolean;
  mute: boolean;
}

export async function openWorkerProxy(routerPort: number): Promise<WorkerProxy> {
  const pairs = new Set<Pair>();
  const ids: number[] = [];
  let dials = 0;
  let refusing = false;
  let mark: { at: number; reached: () => void } | null = null;

  const server = createServer(worker => {
    if (refusing) return void worker.destroy();
    dials += 1;
    const router = connect(routerPort, '127.0.0.1');
    const pair: Pair = { worker, router, pending: Buffer.alloc(0), upgraded: false, mute: false };
    pairs.add(pair);
    const end = (): void => {
      pairs.delete(pair);
      if (pair.mute) return;
      worker.destroy();
      router.destroy();
    };
    for (const socket of [worker, router]) {
      socket.setNoDelay(true);
      socket.on('error', () => undefined);
      socket.on('close', end);
    }
    router.on('data', (bytes: Buffer) => void (pair.mute || worker.write(bytes)));
    worker.on('data', (bytes: Buffer) => {
      pair.pending = Buffer.concat([pair.pending, bytes]);
      if (pair.upgraded) return frames(pair);
      const end = pair.pending.indexOf('\r\n\r\n');
      if (end === -1) return;
      pass(pair, end + 4);
      pair.upgraded = true;
      frames(pair);
    });
  });

  const pass = (pair: Pair, length: number): void => {
    if (!pair.mute) pair.router.write(pair.pending.subarray(0, length));
    pair.pending = pair.pending.subarray(length);
  };

  const frames = (pair: Pair): void => {
    for (;;) {
      const length = frameLength(pair.pending);
      if (length === null) return;
      const said = pair.mute ? [] : idsIn(pair.pending.subarray(0, length));
      pass(pair, length);
      ids.push(...said);
      if (mark === null || ids.length < mark.at) continue;
      const { reached } = mark;
      mark = null;
      pair.mute = true;
      reached();
      pair.mute = false;
      if (pair.router.destroyed || pair.worker.destroyed) return;
    }
  };

  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return {
    port,
    url: `ws://127.0.0.1:${port}/ws`,
    ids,
    dials: () => dials,
    after(tokens, reached) {
      mark = { at: ids.length + tokens, reached };
    },
    cut() {
      for (const { worker, router } of pairs) {
        worker.destroy();
        router.destroy();
      }
    },
    hang() {
      for (const pair of pairs) {
        pair.mute = true;
        pair.worker.pause();
        pair.router.pause();
      }
    },
    refuse(now) {
      refusing = now;
    },
    async close() {
      for (const { worker, router } of pairs) {
        worker.destroy();
        router.destroy();
      }
      await new Promise(resolve => server.close(resolve));
    },
  };
}

/** Bytes of the client's frame that `bytes` begin with; null when it is not whole. */
function frameLength(bytes: Buffer): number | null {
  const head = headLength(bytes);
  if (head === null) return null;
  const length = head.length + head.payload;
  return bytes.length < length ? null : length;
}

function headLength(bytes: Buffer): { readonly length: number; readonly payload: number } | null {
  if (bytes.length < 2) return null;
  const short = bytes.readUInt8(1) & 127;
  if (short < 126) return { length: 6, payload: short };
  if (bytes.length < (short === 126 ? 4 : 10)) return null;
  return short === 126
    ? { length: 8, payload: bytes.readUInt16BE(2) }
    : { length: 14, payload: Number(bytes.readBigUInt64BE(2)) };
}

/** The ids of a token frame; none for any other. */
function idsIn(frame: Buffer): number[] {
  const head = headLength(frame);
  if (head === null || (frame.readUInt8(0) & 15) !== 1) return [];
  const mask = frame.subarray(head.length - 4, head.length);
  const payload = Buffer.from(frame.subarray(head.length));
  for (let index = 0; index < payload.length; index += 1)
    payload[index] = (payload[index] ?? 0) ^ (mask[index % 4] ?? 0);
  const said: { type?: string; ids?: number[] } = JSON.parse(payload.toString('utf8'));
  return said.type === 'token' ? (said.ids ?? []) : [];
}
