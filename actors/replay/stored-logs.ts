/**
 * The logs that a store holds, as a reader beside a running router may see them: nothing here writes, locks, or asks the
 * store for more than a page at a time.
 */
import { origin, type Position } from '../../protocol/position.ts';
import { suggest } from '../config/flags.ts';
import { JobLog, LogCorrupt, type LogEntry, type Store } from '../log/job-log.ts';
import { finishedKey, logKey, readyKey } from '../log/log-keys.ts';

export interface KnownJob {
  readonly jobId: string;
  /** Since when it stands where it stands: accepted or ended. */
  readonly sinceAt: number;
}

export type Found =
  | { readonly kind: 'one'; readonly jobId: string }
  | { readonly kind: 'many'; readonly jobIds: readonly string[] }
  /** `near` is what may have been meant. */
  | { readonly kind: 'none'; readonly near: string | null };

/** Entries of a log or a list read in one round trip: a fraction of a millisecond of a server's time. */
const page = 256;
/** Jobs looked at for what may have been meant: enough for a slip of the hand, and done before it is noticed. */
const nearMax = 2000;
/** What ids begin with, and people leave out. */
const idPrefix = 'chatcmpl-';

export class StoredLogs {
  private readonly store: Store;
  private readonly log: JobLog;

  constructor(store: Store) {
    this.store = store;
    this.log = new JobLog(store);
  }

  /** The log from its start. Of one that is corrupt, all that stands before the damage; then LogCorrupt is thrown. */
  async *entries(jobId: string): AsyncGenerator<LogEntry> {
    let after: Position = origin;
    let limit = page;
    for (;;) {
      let entries: readonly LogEntry[];
      try {
        entries = await this.log.read(jobId, after, limit);
      } catch (error) {
        if (!(error instanceof LogCorrupt) || limit === 1) throw error;
        // A page fails as a whole: taken one by one, its sound entries are still told.
        limit = 1;
        continue;
      }
      yield* entries;
      const last = entries.at(-1);
      if (last === undefined || entries.length < limit) return;
      after = { epoch: last.epoch, number: last.sequence + last.count - 1 };
    }
  }

  /** The jobs in which something happened last, newest first. */
  async newest(limit: number): Promise<KnownJob[]> {
    const jobs = new Map<string, KnownJob>();
    for (const key of [readyKey, finishedKey])
      for (const [id, fields] of await this.store.xrevrange(key, '+', '-', 'COUNT', limit)) {
        const job = known(id, fields);
        jobs.set(job.jobId, job);
      }
    return [...jobs.values()].sort((a, b) => b.sinceAt - a.sinceAt).slice(0, limit);
  }

  /** The job of this id, or the one whose id begins with `word`. */
  async find(word: string): Promise<Found> {
    if ((await this.store.exists(logKey(word))) > 0) return { kind: 'one', jobId: word };
    const begun = new Set<string>();
    const others: string[] = [];
    for (const key of [readyKey, finishedKey])
      for await (const { jobId } of this.list(key)) {
        if (isMeant(jobId, word)) begun.add(jobId);
        else if (others.length < nearMax) others.push(jobId);
      }
    const [jobId] = begun;
    if (jobId === undefined) return { kind: 'none', near: suggest(word, others) };
    return begun.size === 1 ? { kind: 'one', jobId } : { kind: 'many', jobIds: [...begun] };
  }

  private async *list(key: string): AsyncGenerator<KnownJob> {
    let before = '+';
    for (;;) {
      const entries = await this.store.xrevrange(key, before, '-', 'COUNT', page);
      for (const [id, fields] of entries) yield known(id, fields);
      const last = entries.at(-1);
      if (last === undefined || entries.length < page) return;
      before = `(${last[0]}`;
    }
  }
}

/** Whether `word` is the beginning of an id, with or without what all ids begin with. */
export const isMeant = (jobId: string, word: string): boolean =>
  jobId.startsWith(word) || jobId.startsWith(idPrefix + word);

const known = (id: string, fields: readonly string[]): KnownJob => ({
  jobId: fields[1] ?? '',
  sinceAt: Number.parseInt(id, 10),
});
