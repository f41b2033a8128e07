/**
 * A router of the simulated cluster: the real front, shards, queue and job log as bin/serve.ts puts them together, over
 * simulated sockets and store. It can be killed and started again, and stand still while others go on.
 */
import type { Diagnostics } from '../../actors/config/diagnostics.ts';
import { ClusterStore } from '../../actors/log/cluster-store.ts';
import { CompletionList } from '../../actors/log/completion-list.ts';
import type { Store } from '../../actors/log/job-log.ts';
import { StoredRequestKeys } from '../../actors/log/request-keys.ts';
import { storeTime } from '../../actors/log/store-time.ts';
import { Front } from '../../actors/router/front.ts';
import type { Clock, WorkerPort } from '../../actors/router/ports.ts';
import { SharedClock } from '../../actors/router/shared-clock.ts';
import type { ToolsOptions } from '../../actors/router/tool-offer.ts';
import type { WorkerRules } from '../../actors/shard/workers.ts';
import type { VirtualClock } from './clock.ts';
import type { Listener } from './network.ts';
import { SimNode } from './node.ts';
import type { Random } from './random.ts';
import { SimShards } from './shards.ts';
import { NotedLog, type Writers } from './writers.ts';

export interface RouterTimes {
  readonly jobTimeoutMs: number;
  readonly queueTimeoutMs: number;
  readonly maxQueue: number;
  readonly keepAliveMs: number;
  readonly pingMs: number;
  readonly silentMs: number;
  /** Where there are tools workers. */
  readonly tools?: ToolsOptions;
}

export interface RouterParts {
  readonly clock: VirtualClock;
  readonly random: Random;
  readonly times: RouterTimes;
  readonly rules: WorkerRules;
  readonly shardCount: number;
  readonly copies: boolean;
  /** Whether it shares its store with others. */
  readonly shared: boolean;
  readonly openStore: (node: SimNode) => Promise<Store>;
  readonly diagnostics: (who: string) => Diagnostics;
  readonly writers: Writers;
  readonly newId: (length: number) => string;
  readonly gaveUp: (router: RouterNode, reason: string) => void;
}

export const gpuKey = 'adm_simulated-key';
const logSweepMs = 5000;
const retentionMs = 3_600_000;

/** One life of a router, from boot to kill. */
export interface RouterLife {
  readonly node: SimNode;
  readonly boot: string;
  readonly front: Front;
  readonly shards: SimShards;
  /** As bin/serve.ts stops. */
  readonly stop: (graceMs: number) => Promise<void>;
}

export class RouterNode implements Listener {
  readonly name: string;
  readonly #parts: RouterParts;
  node: SimNode;
  life: RouterLife | null = null;
  listening = false;
  boots = 0;
  /** Kept over its lives: the machine's clock. */
  skewMs = 0;

  constructor(name: string, parts: RouterParts) {
    this.name = name;
    this.#parts = parts;
    this.node = new SimNode(name, parts.clock);
    this.node.die();
  }

  /** Starts it, again when it was killed. The store may be in trouble: then it tries again, as whoever starts it would. */
  start(): void {
    this.boots += 1;
    this.node = new SimNode(`${this.name}.${this.boots}`, this.#parts.clock);
    this.node.skewMs = this.skewMs;
    this.#parts.clock.after(0, this.node, () => void this.#boot(this.node));
  }

  async #boot(node: SimNode): Promise<void> {
    const { times, rules, shardCount, copies, shared, random, openStore, diagnostics, newId, gaveUp, writers } =
      this.#parts;
    const boot = `boot-${node.name}`;
    const store = await openStore(node);
    const own: Clock = {
      now: () => node.now(),
      after: (ms, fire) => node.after(ms, fire),
      defer: run => void node.clock.after(0, node, run),
    };
    const together = shared ? await this.#sharedClock(node, own, store) : null;
    const clock = together ?? own;
    const log = new NotedLog(store, { boot }, writers);
    const options = { boot, about: this.name, pool: 'm', quietMsMax: times.jobTimeoutMs };
    const cluster = shared ? new ClusterStore(store, log, options) : null;
    const completions = new CompletionList(store, retentionMs);
    const shards = new SimShards(shardCount, node, rules, random, copies);
    const front = new Front(
      { writer: { instance: this.name, boot }, ...times, modelDefault: 'm' },
      {
        clock,
        log,
        shards,
        diagnostics: diagnostics(node.name),
        ...(cluster === null ? {} : { cluster }),
        listCompletion: jobId => completions.add(jobId),
        requestKeys: new StoredRequestKeys(store, times.jobTimeoutMs + retentionMs),
        keys: { verify: async (_role, key) => (key === gpuKey ? 'right' : 'wrong') },
        failed: reason => gaveUp(this, reason),
        ids: { jobId: () => `chatcmpl-${newId(24)}`, workerId: () => newId(32) },
      },
    );
    const stop = async (graceMs: number): Promise<void> => {
      this.listening = false;
      await front.stop(graceMs);
      cluster?.close();
      together?.stop();
      await log.close();
      await store.quit();
    };
    this.life = { node, boot, front, shards, stop };
    const sweep = (): void => {
      if (!this.listening) return;
      node.after(logSweepMs, sweep);
      log.sweep(clock.now()).catch(() => undefined); // the store's trouble is told elsewhere
    };
    await this.#patiently(node, () => front.recover());
    this.listening = true;
    sweep();
  }

  async #sharedClock(node: SimNode, own: Clock, store: Store): Promise<SharedClock> {
    const clock = new SharedClock(
      own,
      () => node.clock.now,
      () => storeTime(store),
    );
    await this.#patiently(node, () => clock.look());
    clock.keep();
    return clock;
  }

  /** The store is in trouble: the program ends here, and is started again. The front has done nothing yet. */
  async #patiently(node: SimNode, what: () => Promise<unknown>): Promise<void> {
    for (;;) {
      try {
        await what();
        return;
      } catch {
        await new Promise<void>(resolve => node.after(500, resolve));
      }
    }
  }

  kill(): boolean {
    if (this.node.dead) return false;
    this.listening = false;
    this.life = null;
    this.node.die();
    return true;
  }

  accept(port: WorkerPort, remote: string): string {
    return this.life?.front.workerOpened(port, remote) ?? '';
  }

  message(workerId: string, text: string): void {
    this.life?.front.workerMessage(workerId, text);
  }

  alive(workerId: string): void {
    this.life?.front.workerSeen(workerId);
  }

  closed(workerId: string, code: number): void {
    this.life?.front.workerClosed(workerId, code);
  }
}
