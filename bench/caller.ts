/**
 * The callers of one round, all in this process: raw sockets that ask, read and check. It times what it reads when it
 * arrives, and reads the server's processor time at both ends of the window, where no other process has to be waited
 * for.
 */
import { connect, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { AnswerReader } from './answer-reader.ts';
import { cpuMsOf, machineCpuMs } from './process-usage.ts';
import type { CallerOrder, CallerReport, RoundResult } from './round.ts';
import { expectedOf, promptOf, type Script } from './script.ts';
import { Answer, Tally } from './tally.ts';

/** How long answers may still take when the window has closed. */
const finishMs = 30_000;
const openMs = 120_000;

let seed = 0;

class Caller {
  readonly #order: CallerOrder;
  readonly #tally: Tally;
  readonly #host: URL;
  #socket: Socket | undefined;
  #answer: Answer | undefined;
  #settle: ((ok: boolean) => void) | undefined;
  #onFirstText: (() => void) | undefined;

  constructor(order: CallerOrder, tally: Tally) {
    this.#order = order;
    this.#tally = tally;
    this.#host = new URL(order.url);
  }

  /** Asks once. Resolves when the answer has ended; false when the connection failed and will not do any more. */
  ask(onFirstText?: () => void): Promise<boolean> {
    const { load, path, key } = this.#order;
    const script: Script = { tokens: load.tokens, everyMs: load.everyMs, holdAfter: load.holdAfter, seed: seed++ };
    const content = promptOf(script);
    const body = JSON.stringify({ model: 'bench', stream: load.streamed, messages: [{ role: 'user', content }] });
    this.#onFirstText = onFirstText;
    this.#socket ??= this.#dial();
    this.#answer = new Answer(this.#tally, expectedOf(script), load.streamed);
    this.#socket.write(
      `POST ${path} HTTP/1.1\r\nhost: ${this.#host.host}\r\nauthorization: Bearer ${key}\r\n` +
        `content-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n${body}`,
    );
    return new Promise(resolve => {
      this.#settle = resolve;
    });
  }

  close(): void {
    this.#socket?.destroy();
    this.#socket = undefined;
    this.#settled(false);
  }

  #dial(): Socket {
    const socket = connect({ host: this.#host.hostname, port: Number(this.#host.port || 80), noDelay: true });
    const reader = new AnswerReader({
      onText: bytes => this.#answer?.add(bytes),
      onEnd: end => {
        const now = performance.now();
        this.#answer?.arrived(now);
        this.#answer?.end(end, now);
        this.#answer = undefined;
        if (!end.keepAlive) {
          this.#socket = undefined;
          socket.destroy();
        }
        this.#settled(true);
      },
    });
    socket.on('data', data => {
      try {
        reader.push(data);
      } catch (error) {
        socket.destroy(error instanceof Error ? error : new Error(String(error)));
        return;
      }
      this.#answer?.arrived(performance.now());
      if (this.#onFirstText !== undefined && this.#answer?.hasText) {
        this.#onFirstText();
        this.#onFirstText = undefined;
      }
    });
    socket.on('error', error => {
      if (this.#socket === socket) this.#tally.fail(`connection: ${error.message}`);
      this.#lost(socket);
    });
    socket.on('close', () => {
      if (this.#socket === socket && this.#answer) this.#tally.fail('connection closed in the middle of an answer');
      this.#lost(socket);
    });
    return socket;
  }

  #lost(socket: Socket): void {
    if (this.#socket !== socket) return;
    this.#socket = undefined;
    this.#answer = undefined;
    this.#settled(false);
  }

  #settled(ok: boolean): void {
    const settle = this.#settle;
    this.#settle = undefined;
    settle?.(ok);
  }
}

async function round(order: CallerOrder): Promise<RoundResult> {
  const { load } = order;
  const tally = new Tally();
  const callers = Array.from({ length: load.connections }, () => new Caller(order, tally));
  const window = new Window(order, tally);
  try {
    if (load.holdAfter > 0) await held(load, callers, window, tally);
    else await steady(load, callers, window, tally);
  } finally {
    for (const caller of callers) caller.close();
  }
  return window.result();
}

async function steady(load: CallerOrder['load'], callers: Caller[], window: Window, tally: Tally): Promise<void> {
  let stopped = false;
  const lives = callers.map(async (caller, index) => {
    await sleep((index * load.rampMs) / callers.length);
    while (!stopped && (await caller.ask()) && load.repeat);
  });
  await sleep(load.rampMs + load.warmMs);
  window.begin();
  await sleep(load.windowMs);
  window.end();
  stopped = true;
  await within(finishMs, Promise.all(lives), () => tally.fail(`answers still open ${finishMs} ms after the window`));
}

/** Opens all streams, watches them be silent, has them released and reads them to their end. */
async function held(load: CallerOrder['load'], callers: Caller[], window: Window, tally: Tally): Promise<void> {
  const startedAt = performance.now();
  const opened: Promise<void>[] = [];
  const lives: Promise<boolean>[] = [];
  for (const [index, caller] of callers.entries()) {
    const behindMs = (index * load.rampMs) / callers.length - (performance.now() - startedAt);
    if (behindMs > 1) await sleep(behindMs);
    opened.push(new Promise(resolve => lives.push(caller.ask(resolve))));
  }
  const allOpen = Promise.all(opened).then(() => true);
  // A stream that ends before it opened is a failure that the tally knows of; waiting for it would take the whole time.
  const someEnded = Promise.race(lives).then(() => false);
  const open = await within(openMs, Promise.race([allOpen, someEnded]), () => tally.fail('streams still not open'));
  if (open !== true) return;
  window.openedMs = performance.now() - startedAt;
  await sleep(load.warmMs);
  window.begin();
  await sleep(load.windowMs);
  window.end();
  const releasedAt = performance.now();
  report({ kind: 'holding' });
  await within(openMs, Promise.all(lives), () => tally.fail('streams still open after their release'));
  window.releasedMs = performance.now() - releasedAt;
}

interface CpuMs {
  readonly server: number | undefined;
  readonly worker: number;
  readonly caller: number;
  readonly machine: number;
}

/** The time in which things count, and the processor time used in it. */
class Window {
  readonly #tally: Tally;
  readonly #order: CallerOrder;
  #beganAt = 0;
  #windowMs = 0;
  #cpuBefore: CpuMs;
  #cpuAfter: CpuMs;
  openedMs: number | undefined;
  releasedMs: number | undefined;

  constructor(order: CallerOrder, tally: Tally) {
    this.#tally = tally;
    this.#order = order;
    this.#cpuBefore = this.#cpuAfter = this.#cpuNow();
  }

  begin(): void {
    this.#beganAt = performance.now();
    this.#cpuBefore = this.#cpuNow();
    this.#tally.open = true;
  }

  end(): void {
    this.#tally.open = false;
    this.#windowMs = performance.now() - this.#beganAt;
    this.#cpuAfter = this.#cpuNow();
  }

  result(): RoundResult {
    const { tokens, requests, arrivals, answers, failures, examples, firstToken, gap } = this.#tally;
    const used = (of: keyof CpuMs): number => (this.#cpuAfter[of] ?? 0) - (this.#cpuBefore[of] ?? 0);
    return {
      windowMs: this.#windowMs,
      tokens,
      requests,
      arrivals,
      answers,
      failures,
      examples,
      serverCpuMs: this.#cpuAfter.server === undefined ? undefined : used('server'),
      workerCpuMs: used('worker'),
      callerCpuMs: used('caller'),
      otherCpuMs: used('machine') - used('server') - used('worker') - used('caller'),
      firstToken: firstToken.toJSON(),
      gap: gap.toJSON(),
      openedMs: this.openedMs,
      releasedMs: this.releasedMs,
    };
  }

  #cpuNow(): CpuMs {
    const { serverPid, workerPid } = this.#order;
    const server = serverPid === undefined ? undefined : cpuMsOf(serverPid);
    return { server, worker: cpuMsOf(workerPid), caller: cpuMsOf(process.pid), machine: machineCpuMs() };
  }
}

async function within<T>(ms: number, promise: Promise<T>, onLate: () => void): Promise<T | undefined> {
  const late = new AbortController();
  try {
    return await Promise.race([
      promise,
      sleep(ms, undefined, { signal: late.signal }).then(() => {
        onLate();
        return undefined;
      }),
    ]);
  } finally {
    late.abort();
  }
}

const report = (message: CallerReport): void => void process.send?.(message);

process.on('message', async (order: CallerOrder) => {
  try {
    report({ kind: 'result', result: await round(order) });
  } catch (error) {
    report({ kind: 'failed', reason: `caller: ${error instanceof Error ? error.message : String(error)}` });
  }
});
process.once('disconnect', () => process.exit());
