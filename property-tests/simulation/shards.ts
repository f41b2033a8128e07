/** Shards of a simulated router: the real ones, each a little way off, each of which can be killed with what it holds. */
import type { ShardHost, ShardPort } from '../../actors/router/ports.ts';
import { Shard } from '../../actors/shard/shard.ts';
import type { WorkerRules } from '../../actors/shard/workers.ts';
import type { ShardOutput, ToShard } from '../../protocol/shard-messages.ts';
import type { SimNode } from './node.ts';
import type { Random } from './random.ts';

export class SimShards implements ShardHost {
  readonly count: number;
  readonly #node: SimNode;
  readonly #rules: WorkerRules;
  readonly #random: Random;
  readonly #live = new Map<number, { shard: Shard; die: (reason: string) => void }>();
  /** Copies what crosses, as a thread's border does: slow, so not in every world. */
  readonly #copies: boolean;
  /** Until then answers take long. */
  slowUntil = 0;
  /** Instants of deaths, by shard. */
  readonly deaths: { readonly shard: number; readonly at: number }[] = [];
  /** A shard threw: its successor will have the same. */
  readonly threw: unknown[] = [];

  constructor(count: number, node: SimNode, rules: WorkerRules, random: Random, copies: boolean) {
    this.count = count;
    this.#node = node;
    this.#rules = rules;
    this.#random = random;
    this.#copies = copies;
  }

  start(index: number, heard: (output: ShardOutput) => void, dead: (reason: string) => void): ShardPort {
    const shard = new Shard(this.#rules);
    const node = this.#node;
    let alive = true;
    const ready = { to: 0, from: 0 };
    const die = (reason: string): void => {
      if (!alive) return;
      alive = false;
      this.#live.delete(index);
      this.deaths.push({ shard: index, at: node.clock.now });
      node.after(Math.max(0, ready.from - node.clock.now), () => dead(reason));
    };
    this.#live.set(index, { shard, die });
    const hop = (way: 'to' | 'from', run: () => void): void => {
      const slow = node.clock.now < this.slowUntil ? 50 : 0.05;
      ready[way] = Math.max(ready[way], node.clock.now + this.#random.next() * slow);
      node.after(ready[way] - node.clock.now, run);
    };
    return {
      post: (message: ToShard) =>
        hop('to', () => {
          if (!alive || 'stop' in message) return;
          try {
            const output = this.#copies
              ? structuredClone(shard.handle(structuredClone(message)))
              : shard.handle(message);
            hop('from', () => heard(output));
          } catch (error) {
            this.threw.push(error);
            die(error instanceof Error ? error.message : String(error));
          }
        }),
    };
  }

  kill(index: number): boolean {
    const found = this.#live.get(index);
    found?.die('killed by the simulation');
    return found !== undefined;
  }

  /** Deaths of a shard in the last minute: a router gives up when there are too many. */
  recentDeaths(index: number): number {
    const since = this.#node.clock.now - 60_000;
    return this.deaths.filter(({ shard, at }) => shard === index && at >= since).length;
  }

  sizes(): { jobs: number; streams: number; workers: number }[] {
    return [...this.#live.values()].map(({ shard }) => shard.size);
  }

  async stop(): Promise<void> {
    this.#live.clear();
  }
}
