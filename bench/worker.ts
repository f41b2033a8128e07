/**
 * The scripted worker: dials in like a worker of protocol version 1 and says what the prompt tells it (script.ts).
 *
 * It works in steps, as an engine that decodes all its slots together does: each step gives every job that is due its
 * next token and writes the step's frames in one piece. Unpaced jobs step as fast as the socket takes them: a full
 * socket stops the connection until it drains.
 */
import type { Socket } from 'node:net';
import WebSocket from 'ws';
import { FrameBatch } from './frame-batch.ts';
import type { Release, WorkerOrder, WorkerReport } from './round.ts';
import { bytesOf, expectedOf, readPrompt, type Script, textOf, tokenJsonOf } from './script.ts';

const heartbeatMs = 10_000;
const handshakeMs = 10_000;
/** Paced tokens leave at most this late by design. */
const wheelMs = 2;

interface Job {
  readonly id: string;
  script: Script;
  readonly connection: Connection;
  readonly startedAt: number;
  readonly head: string;
  said: number;
  dueAt: number;
  cancelled: boolean;
}

/** What is read of a router's frames; `job`, `cancel`, `hello_ack` and `error` matter here. */
interface Incoming {
  readonly type?: unknown;
  readonly job_id?: unknown;
  readonly messages?: unknown;
  readonly success?: unknown;
  readonly error?: unknown;
}

interface Connection {
  readonly socket: Socket;
  readonly batch: FrameBatch;
  readonly jobs: Map<string, Job>;
  full: boolean;
}

let eager: Job[] = [];
let eagerScheduled = false;
const wheel = new Map<number, Job[]>();
let wheelAt = 0;
let wheelTimer: NodeJS.Timeout | undefined;
let holding: Job[] = [];
const connections: Connection[] = [];

function start(job: Job): void {
  if (job.script.everyMs === 0) {
    eager.push(job);
    scheduleEager();
  } else {
    putOnWheel(job);
  }
}

function scheduleEager(): void {
  if (eagerScheduled || eager.length === 0) return;
  eagerScheduled = true;
  setImmediate(stepEager);
}

function stepEager(): void {
  eagerScheduled = false;
  let runnable = false;
  const step = eager;
  eager = [];
  for (const job of step) {
    if (!job.connection.full && !say(job)) continue;
    eager.push(job);
    runnable ||= !job.connection.full;
  }
  flush();
  // When all sockets are full the next step waits for one to drain.
  if (runnable) scheduleEager();
}

function putOnWheel(job: Job): void {
  const at = Math.max(Math.ceil(job.dueAt / wheelMs), wheelAt + 1);
  const due = wheel.get(at);
  if (due === undefined) wheel.set(at, [job]);
  else due.push(job);
  wheelTimer ??= startWheel();
}

function startWheel(): NodeJS.Timeout {
  wheelAt = Math.floor(performance.now() / wheelMs);
  return setInterval(turnWheel, wheelMs);
}

function turnWheel(): void {
  const until = Math.floor(performance.now() / wheelMs);
  for (; wheelAt < until; wheelAt++) {
    const due = wheel.get(wheelAt);
    wheel.delete(wheelAt);
    for (const job of due ?? []) {
      if (job.connection.full) putOnWheel(job);
      else if (say(job)) {
        job.dueAt += job.script.everyMs;
        putOnWheel(job);
      }
    }
  }
  flush();
  if (wheel.size > 0) return;
  clearInterval(wheelTimer);
  wheelTimer = undefined;
}

/** Says the job's next token; false when the job needs no further step. */
function say(job: Job): boolean {
  if (job.cancelled) return false;
  const { script, connection } = job;
  connection.batch.add(`${job.head}${tokenJsonOf(script.seed, job.said)}}`);
  job.said += 1;
  if (job.said === script.holdAfter && job.said < script.tokens) {
    holding.push(job);
    return false;
  }
  if (job.said < script.tokens) return true;
  connection.jobs.delete(job.id);
  const frame = {
    type: 'complete',
    job_id: job.id,
    full_response: textOf(expectedOf(script).bytes),
    input_tokens: 8,
    output_tokens: script.tokens,
    duration_ms: Math.round(performance.now() - job.startedAt),
  };
  connection.batch.add(bytesOf(JSON.stringify(frame)));
  return false;
}

function flush(): void {
  for (const connection of connections) {
    if (connection.batch.isEmpty) continue;
    connection.full = !connection.socket.write(connection.batch.take());
  }
}

/** A released job says the rest as fast as it can. */
function release(): void {
  const released = holding;
  holding = [];
  for (const job of released) {
    job.script = { ...job.script, everyMs: 0, holdAfter: 0 };
    start(job);
  }
}

function receive(connection: Connection, frame: Incoming): void {
  const id = String(frame.job_id);
  if (frame.type === 'cancel') {
    const job = connection.jobs.get(id);
    if (job !== undefined) job.cancelled = true;
    connection.jobs.delete(id);
  }
  if (frame.type !== 'job') return;
  const last = Array.isArray(frame.messages) ? frame.messages.at(-1)?.content : undefined;
  const script = readPrompt(last);
  if (script === undefined) {
    const error = { type: 'error', job_id: id, error: 'the last message is not a script for this worker' };
    connection.socket.write(frameOf(JSON.stringify(error)));
    return;
  }
  const now = performance.now();
  const head = bytesOf(`{"type":"token","job_id":${JSON.stringify(id)},"token":`);
  const job: Job = { id, script, connection, startedAt: now, head, said: 0, dueAt: now, cancelled: false };
  connection.jobs.set(id, job);
  start(job);
}

function frameOf(text: string): Buffer {
  const batch = new FrameBatch();
  batch.add(bytesOf(text));
  return batch.take();
}

function dial({ url, key, slotsEach }: WorkerOrder): Promise<void> {
  const capabilities = { backend: 'mock', model: 'bench', ctx_size: 4096, total_slots: slotsEach };
  return new Promise((resolve, reject) => {
    const ws = new WebSocket(url, { perMessageDeflate: false, handshakeTimeout: handshakeMs });
    const timer = setTimeout(() => reject(new Error(`no hello_ack from ${url} in ${handshakeMs} ms`)), handshakeMs);
    let connection: Connection | undefined;
    ws.on('upgrade', response => {
      const opened: Connection = { socket: response.socket, batch: new FrameBatch(), jobs: new Map(), full: false };
      opened.socket.on('drain', () => {
        opened.full = false;
        scheduleEager();
      });
      connection = opened;
    });
    ws.on('open', () => ws.send(JSON.stringify({ type: 'hello', gpu_key: key, capabilities })));
    ws.on('message', data => {
      const frame: Incoming = JSON.parse(String(data));
      if (connection === undefined) return;
      if (frame.type === 'hello_ack') {
        clearTimeout(timer);
        if (frame.success !== true) return reject(new Error(`refused by ${url}: ${String(frame.error)}`));
        connections.push(connection);
        ws.send(JSON.stringify({ type: 'config', capabilities: { ...capabilities, model_capabilities: ['chat'] } }));
        setInterval(() => ws.send('{"type":"heartbeat"}'), heartbeatMs);
        resolve();
      } else if (frame.type === 'error' && frame.job_id === undefined) {
        reject(new Error(`refused by ${url}: ${String(frame.error)}`));
      } else {
        receive(connection, frame);
      }
    });
    ws.on('error', reject);
    // Before hello_ack this is a refusal; afterwards no figure taken without this connection would mean anything.
    ws.on('close', code => {
      reject(new Error(`${url} closed the connection (${code})`));
      if (connection !== undefined && connections.includes(connection)) fail(`lost the connection (${code})`);
    });
  });
}

const report = (message: WorkerReport): void => void process.send?.(message);

function fail(reason: string): void {
  report({ kind: 'failed', reason: `worker: ${reason}` });
}

process.on('message', async (order: WorkerOrder | Release) => {
  if (order.kind === 'release') return release();
  try {
    for (let count = 0; count < order.connections; count++) await dial(order);
    report({ kind: 'ready' });
  } catch (error) {
    fail(error instanceof Error ? error.message : String(error));
  }
});
process.once('disconnect', () => process.exit());
