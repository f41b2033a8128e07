/**
 * One scenario: every side gets a fresh server, worker and callers, then the rounds alternate A B A B, so that what
 * else happens on the machine meets both sides alike.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { forkProgram } from './child.ts';
import { rssBytesOf, rssPeakBytesOf } from './process-usage.ts';
import type { CallerOrder, CallerReport, Release, RoundResult, WorkerOrder, WorkerReport } from './round.ts';
import type { Scenario } from './scenarios.ts';
import { idleCpuShare, type Target } from './target.ts';

/** Beyond its own spans a round may take this much: for the last answers, or for all held streams to open. */
const roundExtraMs = 300_000;
const startMs = 60_000;
const idleMs = 1_000;

export interface Side {
  readonly target: string;
  readonly about: string;
  readonly idleCpuShare: number;
  readonly rounds: readonly RoundResult[];
  readonly rssIdleBytes: number;
  readonly rssHeldBytes: number;
  readonly rssPeakBytes: number;
  readonly rssAfterBytes: number;
}

class Bench {
  readonly #scenario: Scenario;
  readonly #path: string;
  readonly target: Target;
  readonly #worker = forkProgram('worker.ts');
  readonly #caller = forkProgram('caller.ts');
  readonly #rounds: RoundResult[] = [];
  #idleCpuShare = 0;
  #rssIdleBytes = Number.NaN;
  #rssHeldBytes = Number.NaN;

  constructor(scenario: Scenario, target: Target, path: string) {
    this.#scenario = scenario;
    this.target = target;
    this.#path = path;
  }

  async prepare(): Promise<void> {
    const { load, workerConnections } = this.#scenario;
    const { url, workerKey } = this.target;
    const slotsEach = Math.ceil(load.connections / workerConnections);
    const dial = { url: `${url.replace('http', 'ws')}/ws`, key: workerKey, connections: workerConnections, slotsEach };
    this.#worker.send({ kind: 'start', ...dial } satisfies WorkerOrder);
    await this.#worker.next(startMs, report => ((report as WorkerReport).kind === 'ready' ? true : undefined));
    // The key's first check and the first compilation are no part of any figure.
    await this.#run({
      ...load,
      connections: 8,
      warmMs: 0,
      windowMs: 500,
      rampMs: 0,
      tokens: 5,
      everyMs: 0,
      repeat: true,
      holdAfter: 0,
    });
    await sleep(idleMs);
    this.#idleCpuShare = await idleCpuShare(this.target, idleMs);
    this.#rssIdleBytes = this.#rss(rssBytesOf);
  }

  async round(): Promise<void> {
    this.#rounds.push(await this.#run(this.#scenario.load));
  }

  async side(): Promise<Side> {
    await sleep(idleMs);
    return {
      target: this.target.name,
      about: this.target.about,
      idleCpuShare: this.#idleCpuShare,
      rounds: this.#rounds,
      rssIdleBytes: this.#rssIdleBytes,
      rssHeldBytes: this.#rssHeldBytes,
      rssPeakBytes: this.#rss(rssPeakBytesOf),
      rssAfterBytes: this.#rss(rssBytesOf),
    };
  }

  async stop(): Promise<void> {
    await Promise.all([this.#caller.stop(), this.#worker.stop()]);
    await this.target.stop();
  }

  async #run(load: Scenario['load']): Promise<RoundResult> {
    const { url, callerKey: key, pid: serverPid } = this.target;
    const order = { load, url, path: this.#path, key, serverPid, workerPid: this.#worker.pid };
    this.#caller.send({ kind: 'round', ...order } satisfies CallerOrder);
    const waitMs = load.rampMs + load.warmMs + load.windowMs + roundExtraMs;
    const result = this.#caller.next(waitMs, message => {
      const report = message as CallerReport;
      if (report.kind === 'holding') {
        this.#rssHeldBytes = this.#rss(rssBytesOf);
        this.#worker.send({ kind: 'release' } satisfies Release);
      }
      return report.kind === 'result' ? report.result : undefined;
    });
    try {
      return await Promise.race([result, this.#worker.failed]);
    } catch (error) {
      const said = this.target.said();
      const reason = error instanceof Error ? error.message : String(error);
      throw new Error(said === '' ? reason : `${reason}; ${this.target.name} wrote: ${said}`, { cause: error });
    }
  }

  #rss(read: (pid: number) => number): number {
    return this.target.pid === undefined ? Number.NaN : read(this.target.pid);
  }
}

export async function measure(
  scenario: Scenario,
  starts: readonly (() => Promise<Target>)[],
  path: string,
  onProgress: (text: string) => void,
): Promise<Side[]> {
  const benches: Bench[] = [];
  try {
    for (const start of starts) {
      const bench = new Bench(scenario, await start(), path);
      benches.push(bench);
      await bench.prepare();
    }
    for (let round = 1; round <= scenario.rounds; round++) {
      for (const bench of benches) {
        onProgress(`${scenario.name} ${round}/${scenario.rounds}: ${bench.target.name}`);
        await bench.round();
      }
    }
    return await Promise.all(benches.map(bench => bench.side()));
  } finally {
    await Promise.all(benches.map(bench => bench.stop()));
  }
}
