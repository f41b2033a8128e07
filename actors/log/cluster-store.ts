/** All that routers which share a store do with each other, over that store: members, offers, letters, others' logs. */
import type { Position } from '../../protocol/position.ts';
import { type Letter, lettersOf, sendLetter } from './inbox.ts';
import type { JobLog } from './job-log.ts';
import { endsLog, lastSaid } from './last-said.ts';
import { type LogPage, liveTail } from './live-tail.ts';
import { inboxKey, logKey, wakeKey } from './log-keys.ts';
import { Members } from './members.ts';
import { type Offer, type OfferLine, Offers, offerLines } from './offers.ts';
import type { Entry, Store } from './store.ts';
import { Watch } from './watch.ts';

export interface ClusterStoreOptions {
  readonly boot: string;
  /** Routers that serve the same model run each other's jobs. */
  readonly pool: string;
  /** Shown to people who look into the store. */
  readonly about: string;
  readonly quietMsMax: number;
}

export class ClusterStore extends Members {
  readonly #store: Store;
  readonly #log: JobLog;
  readonly #options: ClusterStoreOptions;
  readonly #offers: Offers;
  readonly #watch: Watch;
  /** Behind the offers that were heard of. */
  readonly #heardOf = new Map<OfferLine, string>(offerLines.map(line => [line, '0-0']));

  constructor(store: Store, log: JobLog, options: ClusterStoreOptions) {
    super(store, options.boot, options.about);
    this.#store = store;
    this.#log = log;
    this.#options = options;
    this.#offers = new Offers(store, options.boot, options.pool);
    this.#watch = new Watch(store, wakeKey(options.boot));
  }

  override async bury(boot: string): Promise<void> {
    await this.#offers.forget(boot);
    await this.#store.unlink(inboxKey(boot));
    await this.#store.unlink(wakeKey(boot));
    await super.bury(boot);
  }

  offer(jobId: string, epoch: number, line: OfferLine): Promise<string> {
    return this.#offers.offer(jobId, epoch, line);
  }

  take(count: number, lines: readonly OfferLine[]): Promise<Offer[]> {
    return this.#offers.take(count, lines);
  }

  done(offer: Pick<Offer, 'line' | 'id'>): Promise<void> {
    return this.#offers.done(offer);
  }

  inherit(isGone: (boot: string) => boolean): Promise<Offer[]> {
    return this.#offers.inherit(isGone);
  }

  onOffers(heard: () => void): () => void {
    const stops = offerLines.map(line =>
      this.#watch.add(this.#offers.key(line), this.#heardOf.get(line) ?? '0-0', entries => {
        this.#heardOf.set(line, entries.at(-1)?.[0] ?? '0-0');
        heard();
      }),
    );
    return () => {
      for (const stop of stops) stop();
    };
  }

  tell(boot: string, letter: Letter): Promise<void> {
    return sendLetter(this.#store, boot, letter);
  }

  onLetters(heard: (letter: Letter) => void): () => void {
    const key = inboxKey(this.#options.boot);
    return this.#watch.add(key, '0-0', entries => {
      for (const letter of lettersOf(entries)) heard(letter);
      // What stays there when this fails goes away with the key.
      this.#store.xdel(key, ...entries.map(([id]) => id)).catch(() => undefined);
    });
  }

  /** The boot that writes the job's log; null when the job has ended, or has none. */
  async ownerOf(jobId: string): Promise<string | null> {
    const [top] = await this.#store.xrevrange(logKey(jobId), '+', '-', 'COUNT', 1);
    if (top === undefined) return null;
    const opening = `${Number.parseInt(top[0], 10)}-1`;
    const [entry] = await this.#store.xrange(logKey(jobId), opening, opening);
    if (entry === undefined) return null;
    const last = await lastSaid(this.#store, jobId);
    return last !== undefined && endsLog(last) ? null : bootIn(entry);
  }

  tail(jobId: string, after: Position, wanted: () => boolean): AsyncGenerator<LogPage> {
    return liveTail(this.#log, this.#watch, this.#options.quietMsMax, jobId, after, wanted);
  }

  close(): void {
    this.#watch.stop();
  }
}

const eventsIn = ([, fields]: Entry): unknown[] => {
  const events: unknown = JSON.parse(fields[3] ?? '[]');
  return Array.isArray(events) ? events : [];
};

function bootIn(entry: Entry): string | null {
  const [first] = eventsIn(entry);
  return typeof first === 'object' && first !== null && 'boot' in first ? String(first.boot) : null;
}
