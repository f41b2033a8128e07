/**
 * Which routers live on a store that they share. Each boot has a lease, a key that lapses by itself, and stands in a hash
 * until whoever takes what it left behind has buried it.
 *
 * Renewing is PEXPIRE, which a store that is full still takes; only a lease that is not there any more is set anew.
 */
import type { Position } from '../../protocol/position.ts';
import { parseEntry } from './log-entry.ts';
import { bootsKey, leaseKey, logKey } from './log-keys.ts';
import { type BatchReply, type Entry, type Store, StoreTrouble, type Words } from './store.ts';

/** Without renewal a boot counts as gone after this long: three renewals (design §2a.7). */
export const lapseMs = 1500;

export class Members {
  readonly #store: Store;
  readonly #boot: string;
  readonly #about: string;

  /** `about` is shown to people who look into the store. */
  constructor(store: Store, boot: string, about: string) {
    this.#store = store;
    this.#boot = boot;
    this.#about = about;
  }

  async renew(): Promise<boolean> {
    const key = leaseKey(this.#boot);
    const [renewed] = await this.#run([['pexpire', key, lapseMs]]);
    if (Number(renewed) === 1) return true;
    await this.#run([
      ['set', key, this.#about, 'PX', lapseMs],
      ['hset', bootsKey, this.#boot, this.#about],
    ]);
    return false;
  }

  async boots(): Promise<ReadonlyMap<string, number>> {
    const boots = Object.keys(await this.#store.hgetall(bootsKey));
    const lasting = await this.#run(boots.map((boot): Words => ['pttl', leaseKey(boot)]));
    return new Map(boots.map((boot, i) => [boot, Math.max(0, Number(lasting[i]))]));
  }

  async bury(boot: string): Promise<void> {
    await this.#store.hdel(bootsKey, boot);
  }

  async leave(): Promise<void> {
    await this.#store.del(leaseKey(this.#boot));
  }

  async tops(jobIds: readonly string[]): Promise<readonly (Position | null)[]> {
    const tops = await this.#run(jobIds.map((jobId): Words => ['xrevrange', logKey(jobId), '+', '-', 'COUNT', 1]));
    return tops.map((reply, i) => {
      // The shape of the reply is the store's promise.
      const [last] = reply as Entry[];
      if (last === undefined) return null;
      const { epoch, sequence, count } = parseEntry(jobIds[i] ?? '', last);
      return { epoch, number: sequence + count - 1 };
    });
  }

  async #run(words: Words[]): Promise<unknown[]> {
    if (words.length === 0) return [];
    const replies: BatchReply = (await this.#store.pipeline(words).exec()) ?? [];
    for (const [error] of replies) if (error !== null) throw new StoreTrouble(error.message, error);
    return replies.map(([, reply]) => reply);
  }
}
