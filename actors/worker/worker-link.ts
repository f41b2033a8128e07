/**
 * A worker's line to its router: dial, greet, stay alive, dial again. It knows frames only as far as the greeting goes.
 *
 *   resting ──wait over──▶ dialling ──open──▶ greeting ──hello_ack──▶ open
 *      ▲                      └────────────────────┴── closed, silent, late ──┘│
 *      └───────────────────────────────────────────────────────────────────────┘
 *   parked (on purpose, until unparked)        stopped (for ever)
 *
 * K1. There is at most one socket, and what an earlier one still says is not heard.
 * K2. Every state but `open`, `parked` and `stopped` ends by a timer, and `open` by silence.
 * K3. A refusal that cannot be healed (a wrong key) stops the link and is told once, by `onRefused`.
 *
 * Clock, chance and sockets are handed in, so a simulation can run it.
 */
import { closeCodes } from '../../protocol/codes.ts';
import {
  agreedVersion,
  type HelloAckFrame,
  type HelloFrame,
  parseRouterFrame,
  type RouterFrame,
  serialiseFrame,
  type WorkerFrame,
} from '../../protocol/worker-frames.ts';
import { type BackoffRange, backoffMs } from './backoff.ts';
import type { Clock } from './clock.ts';
import { isWrongKey } from './greet.ts';
import type { Dial, Socket } from './socket.ts';

export type LinkState = 'resting' | 'dialling' | 'greeting' | 'open' | 'parked' | 'stopped';

export interface LinkOptions {
  /** Several routers of one store are separated by commas: one that cannot be reached is followed by the next. */
  readonly url: string;
  readonly dial: Dial;
  readonly clock: Clock;
  /** In [0, 1). */
  readonly random: () => number;
  readonly redial: BackoffRange;
  readonly heartbeatMs: number;
  readonly hello: () => HelloFrame;
  /** Somebody waits for what this worker does: it dials again sooner, and says more often that it lives. */
  readonly hurried?: () => boolean;
  readonly onOpen: (ack: HelloAckFrame, version: 1 | 2) => void;
  readonly onFrame: (frame: RouterFrame) => void;
  /** A connection that was open is gone. */
  readonly onLost: (reason: string) => void;
  readonly onRefused: (reason: string) => void;
  /** For a person: what went wrong, and what happens next. */
  readonly onTrouble: (message: string) => void;
}

export interface WorkerLink {
  readonly state: LinkState;
  /** What was agreed on the last connection; 2 before there was one. */
  readonly version: 1 | 2;
  start(): void;
  /** False when there is no open connection: the frame is dropped. */
  send(frame: WorkerFrame): boolean;
  /** Leaves the router and stays away until `unpark`. */
  park(reason: string): void;
  unpark(): void;
  /** Ends this connection in order and dials again. */
  redial(reason: string): void;
  stop(code: number, reason: string): void;
}

const helloMsMax = 30_000;
const bufferedBytesMax = 64 * 2 ** 20;
/** A router of version 2 moves a silent worker's jobs within seconds, so the worker should notice as fast. */
const pingMs = { 1: 10_000, 2: 1000 } as const;
/** While jobs run: between heartbeats, and the longest wait before the next attempt to dial. */
const hurriedMs = 1000;
const silentPings = 3;
/** A connection that lived for less was not a good one. */
const briefMs = 1000;
const waitMsMax = 3_600_000;

export function workerLink(options: LinkOptions): WorkerLink {
  const { clock } = options;
  const urls = options.url.split(',');
  /** Which of them is dialled; workers begin anywhere, so that all routers get some. */
  let turn = urls.length === 1 ? 0 : Math.floor(options.random() * urls.length);
  let state: LinkState = 'parked';
  let version: 1 | 2 = 2;
  let socket: Socket | null = null;
  let failures = 0;
  /** Connections in a row that a router took and dropped at once; the first of them is no reason to wait. */
  let brief = 0;
  let openedAt = 0;
  /** The router asked for at least this wait before the next attempt. */
  let askedMs = 0;
  let heardAt = 0;
  let timers: (() => void)[] = [];

  const after = (ms: number, run: () => void): void => {
    timers.push(clock.after(ms, run));
  };
  const every = (ms: number, run: () => void): void => {
    after(ms, () => {
      run();
      if (state === 'open') every(ms, run);
    });
  };
  const enter = (next: LinkState): void => {
    for (const cancel of timers) cancel();
    timers = [];
    state = next;
  };

  /** Forgets the socket before it is ended, so that its end is not heard. */
  const drop = (end: (socket: Socket) => void): void => {
    const dropped = socket;
    socket = null;
    if (dropped !== null) end(dropped);
  };

  /** The longest that a step of dialling should take now. */
  const hurryMs = (): number => (version === 2 && options.hurried?.() === true ? hurriedMs : Number.POSITIVE_INFINITY);

  const rest = (why: string): void => {
    const waitMs = Math.max(
      askedMs,
      Math.min(hurryMs(), backoffMs(version, Math.floor(failures / urls.length), options.redial, options.random())),
    );
    askedMs = 0;
    failures += 1;
    enter('resting');
    options.onTrouble(`${why}; dialling again ${waitMs === 0 ? 'at once' : `in ${waitMs} ms`}`);
    after(waitMs, dial);
  };

  /** A router that was lost is tried once more before the next one: it knows what it was doing with this worker. */
  const lose = (why: string, leaves = false): void => {
    const wasOpen = state === 'open';
    if (leaves || !wasOpen) turn = (turn + 1) % urls.length;
    brief = wasOpen && clock.now() - openedAt < briefMs ? brief + 1 : 0;
    if (wasOpen) failures = Math.max(0, brief - 1);
    drop(gone => gone.terminate());
    rest(why);
    if (wasOpen) options.onLost(why);
  };

  const refuse = (why: string): void => {
    const wasOpen = state === 'open';
    enter('stopped');
    drop(gone => gone.close(closeCodes.normal, ''));
    if (wasOpen) options.onLost(why);
    options.onRefused(why);
  };

  const dial = (): void => {
    enter('dialling');
    after(Math.min(hurryMs() * 3, helloMsMax), () => lose('the router did not answer the greeting in time'));
    const dialled: Socket = options.dial(urls[turn] ?? '', {
      onOpen: () => {
        if (socket !== dialled) return;
        state = 'greeting'; // the deadline of the dialling goes on
        dialled.send(serialiseFrame(options.hello()));
      },
      onText: text => {
        if (socket === dialled) hear(text);
      },
      onAlive: () => {
        if (socket === dialled) heardAt = clock.now();
      },
      onClosed: (code, reason) => {
        if (socket !== dialled) return;
        socket = null;
        if (code === closeCodes.badKey)
          refuse(`the router refuses this worker's key${reason === '' ? '' : `: ${reason}`}`);
        else
          lose(
            code === 0 ? `cannot reach the router (${reason})` : `connection closed (${code}${reason && ` ${reason}`})`,
            code === closeCodes.goingAway,
          );
      },
    });
    socket = dialled;
  };

  const hear = (text: string): void => {
    const parsed = parseRouterFrame(text);
    if (!parsed.ok) misheard(parsed.kind, parsed.message, parsed.type, parsed.jobId);
    else if (state === 'open') options.onFrame(parsed.frame);
    else if (state === 'greeting') greeted(parsed.frame);
  };

  const greeted = (frame: RouterFrame): void => {
    if (frame.type === 'error') {
      if (isWrongKey(frame.error)) refuse(`the router refuses this worker's key: ${frame.error}`);
      else lose(`the router refuses: ${frame.error}`);
      return;
    }
    if (frame.type !== 'hello_ack') return;
    askedMs = Math.min(waitMsMax, (frame.reconnectInSeconds ?? 0) * 1000);
    if (!frame.success) {
      const why = `the router refuses this worker: ${frame.error ?? 'no reason given'}`;
      if (askedMs > 0) lose(why);
      else refuse(why);
      return;
    }
    version = agreedVersion(frame.protocol_version);
    failures = 0;
    openedAt = clock.now();
    enter('open');
    heardAt = clock.now();
    every(options.heartbeatMs, () => send({ type: 'heartbeat' }));
    if (version === 2) every(hurriedMs, () => void (options.hurried?.() === true && send({ type: 'heartbeat' })));
    every(pingMs[version], () => {
      if (clock.now() - heardAt >= pingMs[version] * silentPings) lose('the router has gone silent');
      else socket?.ping();
    });
    options.onOpen(frame, version);
  };

  /** Types we do not know are a newer router's business. What breaks its own shape is not, but an old router stays. */
  const misheard = (kind: 'json' | 'type' | 'shape', message: string, type?: string, jobId?: string): void => {
    if (kind === 'type') return;
    if (type === 'job' && jobId !== undefined && state === 'open') {
      options.onTrouble(`a job was refused: ${message}`);
      send({ type: 'error', job_id: jobId, error: message, ...(version === 2 ? { code: 'invalid_request' } : {}) });
      return;
    }
    if (type === 'tool_job' && jobId !== undefined && state === 'open') {
      options.onTrouble(`a tool job was refused: ${message}`);
      const ids = { job_id: jobId, parent_job_id: '', tool_call_id: '', tool_name: '' };
      const code = version === 2 ? { code: 'invalid_arguments' } : {};
      send({ type: 'tool_result', ...ids, error: message, ...code });
      return;
    }
    if (version === 1) {
      options.onTrouble(`a frame from the router was ignored: ${message}`);
      return;
    }
    drop(gone => gone.close(closeCodes.badFrame, message.slice(0, 100)));
    lose(`the router sent a frame that cannot be read: ${message}`);
  };

  const send = (frame: WorkerFrame): boolean => {
    if (state !== 'open' || socket === null) return false;
    if (socket.bufferedBytes > bufferedBytesMax) {
      lose(`the router does not read: more than ${bufferedBytesMax / 2 ** 20} MiB are waiting to be sent`);
      return false;
    }
    socket.send(serialiseFrame(frame));
    return true;
  };

  return {
    get state() {
      return state;
    },
    get version() {
      return version;
    },
    start() {
      if (state === 'parked') dial();
    },
    send,
    park(reason) {
      if (state === 'stopped' || state === 'parked') return;
      const wasOpen = state === 'open';
      enter('parked');
      drop(gone => gone.close(closeCodes.normal, reason));
      if (wasOpen) options.onLost(reason);
    },
    unpark() {
      if (state === 'parked') dial();
    },
    redial(reason) {
      if (state !== 'open') return;
      drop(gone => gone.close(closeCodes.normal, reason));
      lose(reason, true);
    },
    stop(code, reason) {
      enter('stopped');
      drop(gone => gone.close(code, reason));
    },
  };
}
