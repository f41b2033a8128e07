/**
 * Jobs that wait at one router and may be run by any: streams with a consumer group, in which each boot is a consumer.
 *
 * F1. An offer names the job and the epoch in which its router writes it. Whoever is given it opens the next one, unless it
 *     is the job's own router, which goes on in its own.
 * F2. An offer is done with (acknowledged and deleted) when the job stands in the index in its new writer's name, or need
 *     not run any more. Until then it is pending, and goes to another boot if this one is gone.
 */
import { offersKey } from './log-keys.ts';
import type { PendingEntry, Store } from './store.ts';

/** In the order in which they are served: something was said already; queued before; new. */
export const offerLines = ['begun', 'again', 'new'] as const;
export type OfferLine = (typeof offerLines)[number];

export interface Offer {
  readonly jobId: string;
  readonly epoch: number;
  /** Who offered it. */
  readonly boot: string;
  readonly line: OfferLine;
  /** Of its entry. */
  readonly id: string;
}

const group = 'routers';
/** Pending entries looked at in one round trip. */
const page = 200;

export class Offers {
  readonly #store: Store;
  readonly #boot: string;
  readonly #pool: string;
  #grouped = false;

  constructor(store: Store, boot: string, pool: string) {
    this.#store = store;
    this.#boot = boot;
    this.#pool = pool;
  }

  key(line: OfferLine): string {
    return offersKey(this.#pool, line);
  }

  async offer(jobId: string, epoch: number, line: OfferLine): Promise<string> {
    const fields = ['job', jobId, 'epoch', epoch, 'boot', this.#boot];
    return (await this.#store.xadd(this.key(line), '*', ...fields)) ?? '';
  }

  async take(count: number, lines: readonly OfferLine[]): Promise<Offer[]> {
    const keys = lines.map(line => this.key(line));
    const read = () =>
      this.#store.xreadgroup(
        ...['GROUP', group, this.#boot, 'COUNT', count, 'STREAMS', ...keys, ...keys.map(() => '>')],
      );
    if (!this.#grouped) await this.#group();
    const reply = await read().catch(async (error: unknown) => {
      // The store was emptied.
      if (!String(error).includes('NOGROUP')) throw error;
      await this.#group();
      return read();
    });
    return (reply ?? []).flatMap(([key, entries]) => this.#offersOf(lines[keys.indexOf(key)] ?? 'new', entries));
  }

  async done({ line, id }: Pick<Offer, 'line' | 'id'>): Promise<void> {
    await this.#store
      .pipeline([
        ['xack', this.key(line), group, id],
        ['xdel', this.key(line), id],
      ])
      .exec();
  }

  /** Offers that were given to boots which are gone now. */
  async inherit(isGone: (boot: string) => boolean): Promise<Offer[]> {
    await this.#group();
    const offers: Offer[] = [];
    for (const line of offerLines) {
      for (let from = '-'; ; ) {
        const pending = await this.#store.xpending(this.key(line), group, from, '+', page);
        // The shape of the reply is the store's promise.
        const entries = pending as [id: string, consumer: string, idleMs: number, deliveries: number][];
        const left = entries.filter(([, consumer]) => isGone(consumer)).map(([id]) => id);
        if (left.length > 0) {
          const claimed = await this.#store.xclaim(this.key(line), group, this.#boot, 0, ...left);
          offers.push(...this.#offersOf(line, claimed as (PendingEntry | null)[]));
        }
        const last = entries.at(-1);
        if (last === undefined || entries.length < page) break;
        from = `(${last[0]}`;
      }
    }
    return offers;
  }

  /** A boot that has ended is no consumer any more. */
  async forget(boot: string): Promise<void> {
    for (const line of offerLines) {
      // No such group or consumer: nothing to forget.
      await this.#store.xgroup('DELCONSUMER', this.key(line), group, boot).catch(() => undefined);
    }
  }

  #offersOf(line: OfferLine, entries: readonly (PendingEntry | null)[]): Offer[] {
    return entries.flatMap(entry => {
      if (entry === null || entry[1] === null) return [];
      const [id, [, jobId = '', , epoch = '0', , boot = '']] = entry;
      return [{ jobId, epoch: Number(epoch), boot, line, id }];
    });
  }

  async #group(): Promise<void> {
    for (const line of offerLines) {
      await this.#store.xgroup('CREATE', this.key(line), group, '0', 'MKSTREAM').catch((error: unknown) => {
        if (!String(error).includes('BUSYGROUP')) throw error;
      });
    }
    this.#grouped = true;
  }
}
