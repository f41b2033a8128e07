/**
 * Log, then act: puts the shards' chunks into the job logs and releases their effects when they are acknowledged.
 *
 * A1. At most one append of a job is on its way (design §2a.1); what its shard says meanwhile gathers and goes as one.
 * A2. All jobs' appends of a moment go as one batch, so that a tick costs one round trip, not one per job.
 * A3. Effects of a job are released in the order in which its shard gave them, each once.
 * A4. While the store fails, the same batch is tried again, with back-off, and nothing is released.
 */

import { comparePositions, type Position } from '../../protocol/position.ts';
import type { Chunk, Effect } from '../../protocol/shard-messages.ts';
import type { Diagnostics } from '../config/diagnostics.ts';
import type { Append } from '../log/job-log.ts';
import type { Clock, LogPort } from './ports.ts';

interface Book {
  readonly jobId: string;
  /** On their way to the log. */
  sent: Chunk[];
  /** Said since. */
  gathered: Chunk[];
  gatheredChars: number;
  /** In the log, but for the request. */
  answerChars: number;
  acked: Position;
  /** Who waits for the log to stand at a position; null: for nothing to be on its way any more. */
  waiting: { readonly until: Position | null; readonly resolve: () => void }[];
}

export interface AppenderEvents {
  release(effects: readonly Effect[]): void;
  /** The log refuses us: another writer has the job, or the log is gone. */
  fenced(jobId: string, why: 'fenced' | 'gone' | 'full'): void;
  /** The job's log has reached its cap. */
  full(jobId: string): void;
  /** The store stopped or started to answer. */
  storeChanged(working: boolean, reason: string): void;
}

/** Between tries while the store fails, ms. */
const retryMinMs = 20;
const retryMaxMs = 1000;
/** A job whose answer grows beyond this in the log is failed: the store is shared by all. */
export const jobLogCharsMax = 24 * 2 ** 20;

export class Appender {
  readonly #log: LogPort;
  readonly #clock: Clock;
  readonly #events: AppenderEvents;
  readonly #diagnostics: Diagnostics;
  readonly #books = new Map<string, Book>();
  #ready = new Set<Book>();
  #failing = false;
  #stopped = false;

  constructor(log: LogPort, clock: Clock, events: AppenderEvents, diagnostics: Diagnostics) {
    this.#log = log;
    this.#clock = clock;
    this.#events = events;
    this.#diagnostics = diagnostics;
  }

  get working(): boolean {
    return !this.#failing;
  }

  /** Jobs with something not yet acknowledged. */
  get pending(): number {
    let count = 0;
    for (const book of this.#books.values()) if (!idle(book)) count += 1;
    return count;
  }

  add(chunk: Chunk): void {
    if (chunk.count === 0) return this.#addEffects(chunk);
    const book = this.#bookOf(chunk.jobId);
    book.gathered.push(chunk);
    book.gatheredChars += chunk.events.length;
    if (book.sent.length === 0) this.#ready.add(book);
  }

  /** Sends what has gathered. */
  flush(): void {
    if (this.#ready.size === 0 || this.#failing || this.#stopped) return;
    const books = [...this.#ready];
    this.#ready = new Set();
    const batch = books.map(take);
    this.#send(books, batch, retryMinMs).catch(error => {
      this.#diagnostics.error('append failed in an unforeseen way', { error: String(error) });
      throw error;
    });
  }

  /** Characters of a job that wait for the log: what a slow store makes its worker wait for. */
  waitingChars(jobId: string): number {
    return this.#books.get(jobId)?.gatheredChars ?? 0;
  }

  /** Of the last event of the job that is known to be in the log; null before the first. */
  ackedOf(jobId: string): Position | null {
    const acked = this.#books.get(jobId)?.acked;
    return acked === undefined || acked.epoch === 0 ? null : acked;
  }

  /** Whether nothing of the job is on its way or gathered. */
  isSettled(jobId: string): boolean {
    const book = this.#books.get(jobId);
    return book === undefined || idle(book);
  }

  /** Resolves when nothing of the job is on its way or gathered. */
  settled(jobId: string): Promise<void> {
    return this.#whenAt(jobId, null);
  }

  /** Resolves when the job's log stands at `until` or behind it, or will never. */
  reached(jobId: string, until: Position): Promise<void> {
    return this.#whenAt(jobId, until);
  }

  forget(jobId: string): void {
    const book = this.#books.get(jobId);
    if (book === undefined) return;
    this.#ready.delete(book);
    this.#books.delete(jobId);
    for (const { resolve } of book.waiting.splice(0)) resolve();
  }

  stop(): void {
    this.#stopped = true;
  }

  /** Effects that follow no event of their own wait for those before them (A3). */
  #addEffects({ jobId, effects }: Chunk): void {
    const book = this.#books.get(jobId);
    const waiting = book === undefined || book.gathered.length === 0 ? book?.sent : book.gathered;
    const last = waiting?.pop();
    if (last === undefined) this.#events.release(effects);
    else waiting?.push({ ...last, effects: [...last.effects, ...effects] });
  }

  #whenAt(jobId: string, until: Position | null): Promise<void> {
    const book = this.#books.get(jobId);
    if (book === undefined || isAt(book, until)) return Promise.resolve();
    return new Promise(resolve => book.waiting.push({ until, resolve }));
  }

  async #send(books: readonly Book[], batch: readonly Append[], waitMs: number): Promise<void> {
    let results: Awaited<ReturnType<LogPort['append']>>;
    try {
      results = await this.#log.append(batch);
    } catch (error) {
      this.#fault(error);
      if (this.#stopped) return;
      this.#clock.after(waitMs, () => void this.#send(books, batch, Math.min(waitMs * 2, retryMaxMs)));
      return;
    }
    if (this.#failing) {
      this.#failing = false;
      this.#events.storeChanged(true, '');
    }
    for (const [index, book] of books.entries()) {
      const result = results[index];
      // Forgotten meanwhile: the job is another router's, or ours anew, and this says nothing of that.
      if (this.#books.get(book.jobId) !== book) continue;
      if (result?.kind === 'ok') this.#acknowledged(book);
      else this.#refused(book, result?.kind ?? 'fenced');
    }
    this.flush();
  }

  #fault(error: unknown): void {
    const reason = error instanceof Error ? error.message : String(error);
    if (!this.#failing) this.#events.storeChanged(false, reason);
    this.#failing = true;
  }

  #acknowledged(book: Book): void {
    const chunks = book.sent;
    book.sent = [];
    const last = chunks.at(-1);
    if (last !== undefined) book.acked = { epoch: last.epoch, number: last.sequence + last.count - 1 };
    for (const chunk of chunks) {
      // The request itself has its own cap, that of bodies.
      if (!chunk.creates) book.answerChars += chunk.events.length;
      this.#events.release(chunk.effects);
    }
    if (book.answerChars > jobLogCharsMax && !chunks.some(chunk => chunk.ends)) this.#events.full(book.jobId);
    if (book.gathered.length > 0) this.#ready.add(book);
    if (book.waiting.length === 0) return;
    const { waiting } = book;
    book.waiting = waiting.filter(({ until }) => !isAt(book, until));
    for (const { until, resolve } of waiting) if (isAt(book, until)) resolve();
  }

  #refused(book: Book, why: 'fenced' | 'gone' | 'full'): void {
    this.forget(book.jobId);
    this.#events.fenced(book.jobId, why);
  }

  #bookOf(jobId: string): Book {
    let book = this.#books.get(jobId);
    if (book === undefined) {
      book = {
        jobId,
        sent: [],
        gathered: [],
        gatheredChars: 0,
        answerChars: 0,
        acked: { epoch: 0, number: 0 },
        waiting: [],
      };
      this.#books.set(jobId, book);
    }
    return book;
  }
}

const idle = (book: Book): boolean => book.sent.length === 0 && book.gathered.length === 0;
const isAt = (book: Book, until: Position | null): boolean =>
  idle(book) || (until !== null && comparePositions(book.acked, until) >= 0);

/** Takes what has gathered as one append. A new epoch's opening entry goes alone with what follows it. */
function take(book: Book): Append {
  const epoch = book.gathered[0]?.epoch ?? 0;
  const cut = book.gathered.findIndex(chunk => chunk.epoch !== epoch);
  book.sent = cut < 0 ? book.gathered : book.gathered.slice(0, cut);
  book.gathered = cut < 0 ? [] : book.gathered.slice(cut);
  book.gatheredChars = book.gathered.reduce((sum, chunk) => sum + chunk.events.length, 0);
  const events = book.sent.length === 1 ? (book.sent[0]?.events ?? '') : book.sent.map(chunk => chunk.events).join(',');
  return {
    jobId: book.jobId,
    epoch,
    sequence: book.sent[0]?.sequence ?? 0,
    count: book.sent.reduce((sum, chunk) => sum + chunk.count, 0),
    events: `[${events}]`,
    ...(book.sent.some(chunk => chunk.creates) ? { creates: true } : {}),
    ...(book.sent.some(chunk => chunk.adopts) ? { adopts: true } : {}),
    ...(book.sent.some(chunk => chunk.ends) ? { ends: true } : {}),
  };
}
