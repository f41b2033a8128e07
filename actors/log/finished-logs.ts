/**
 * What happens to the logs of finished jobs: they expire, and the oldest go early when all logs grow beyond their cap.
 *
 * The stream `auxot:finished` lists them (fields `job`, `bytes`) in the order they ended. Removal is idempotent, so several
 * routers may sweep one store; each keeps a running total and counts again when the list's length is not what it knows.
 */
import { finishedKey, logKey, readyKey } from './log-keys.ts';
import type { BatchReply, Entry, Words } from './store.ts';

export interface FinishedLog {
  readonly jobId: string;
  readonly bytes: number;
  /** Its entries in the index of open jobs. Empty: look for them there. */
  readonly readyIds: readonly string[];
}

export interface SweepResult {
  readonly removed: number;
  /** All logs together, open and finished. */
  readonly bytes: number;
}

/** What a finished log costs beside its events: keys, ids, fields and their entry in the list. */
const logOverheadBytes = 1024;
/** Entries of a list read, or logs removed, in one round trip. */
const page = 500;

export class FinishedLogs {
  private readonly run: (words: Words[]) => Promise<BatchReply>;
  private readonly limits: { readonly retentionMs: number; readonly logsBytesMax: number };
  /** Ended, and not yet expiring. Kept over store trouble and tried again. */
  private waiting: FinishedLog[] = [];
  private tidying: Promise<void> | null = null;
  private counted = { upTo: '-', logs: 0, bytes: 0 };

  constructor(
    run: (words: Words[]) => Promise<BatchReply>,
    limits: { readonly retentionMs: number; readonly logsBytesMax: number },
  ) {
    this.run = run;
    this.limits = limits;
  }

  add(log: FinishedLog): void {
    this.waiting.push(log);
    this.tidying ??= this.tidy().finally(() => {
      this.tidying = null;
    });
  }

  /** Settles when what has ended so far is put away, or cannot be for now. */
  async settle(): Promise<void> {
    await this.tidying;
  }

  async sweep(now: number, openBytes: number): Promise<SweepResult> {
    await this.settle();
    await this.tidy();
    await this.count();
    let removed = 0;
    for (;;) {
      const oldest = await this.list('-');
      const expired = await this.expired(oldest, now);
      const doomed = oldest.filter(([id, fields]) => {
        if (!expired.has(id) && this.counted.bytes + openBytes <= this.limits.logsBytesMax) return false;
        this.counted.bytes -= costOf(fields);
        this.counted.logs -= 1;
        return true;
      });
      if (doomed.length === 0) return { removed, bytes: this.counted.bytes + openBytes };
      await this.run([
        ...doomed.map(([, fields]): Words => ['unlink', logKey(fields[1] ?? '')]),
        ['xdel', finishedKey, ...doomed.map(([id]) => id)],
      ]);
      removed += doomed.length;
      if (oldest.length > doomed.length) return { removed, bytes: this.counted.bytes + openBytes };
    }
  }

  /**
   * Of these, those whose log has expired: by the store, whose clock set the time. A router whose own clock is ahead would
   * take logs away that others still promise.
   */
  private async expired(entries: readonly Entry[], now: number): Promise<ReadonlySet<string>> {
    const overdue = entries.filter(([id]) => Number.parseInt(id, 10) + this.limits.retentionMs <= now);
    const replies = await this.run(overdue.map(([, fields]): Words => ['exists', logKey(fields[1] ?? '')]));
    return new Set(overdue.flatMap(([id], i) => (Number(replies[i]?.[1]) === 0 ? [id] : [])));
  }

  private async tidy(): Promise<void> {
    while (this.waiting.length > 0) {
      const logs = this.waiting.splice(0, page);
      try {
        const found = await this.findReadyIds(logs);
        await this.run(
          logs.flatMap((log, i): Words[] => {
            const readyIds = found[i] ?? [];
            const words: Words[] = [
              ['pexpire', logKey(log.jobId), this.limits.retentionMs],
              ['xadd', finishedKey, '*', 'job', log.jobId, 'bytes', log.bytes],
            ];
            if (readyIds.length > 0) words.push(['xdel', readyKey, ...readyIds]);
            return words;
          }),
        );
      } catch {
        // Trouble with the store, which its users are told of: these wait for the next job that ends, or the next sweep.
        this.waiting.unshift(...logs);
        return;
      }
    }
  }

  private async findReadyIds(logs: readonly FinishedLog[]): Promise<(readonly string[])[]> {
    const missing = new Map<string, string[]>();
    for (const { jobId, readyIds } of logs) if (readyIds.length === 0) missing.set(jobId, []);
    for (let from = '-'; missing.size > 0; ) {
      const [reply] = await this.run([['xrange', readyKey, from, '+', 'COUNT', page]]);
      const entries = (reply?.[1] ?? []) as Entry[];
      for (const [id, fields] of entries) missing.get(fields[1] ?? '')?.push(id);
      const last = entries.at(-1);
      if (last === undefined || entries.length < page) break;
      from = `(${last[0]}`;
    }
    return logs.map(({ jobId, readyIds }) => missing.get(jobId) ?? readyIds);
  }

  /** Adds what was listed since the last time, by whichever router; counts anew when another router removed some. */
  private async count(): Promise<void> {
    if ((await this.countOn()) === this.counted.logs) return;
    this.counted = { upTo: '-', logs: 0, bytes: 0 };
    await this.countOn();
  }

  /** Answers the length of the list as it was when its end was read. */
  private async countOn(): Promise<number> {
    for (;;) {
      const [reply, length] = await this.run([
        ['xrange', finishedKey, this.counted.upTo, '+', 'COUNT', page],
        ['xlen', finishedKey],
      ]);
      const entries = (reply?.[1] ?? []) as Entry[];
      for (const [id, fields] of entries) {
        const { logs, bytes } = this.counted;
        this.counted = { upTo: `(${id}`, logs: logs + 1, bytes: bytes + costOf(fields) };
      }
      if (entries.length < page) return Number(length?.[1] ?? 0);
    }
  }

  private async list(from: string): Promise<Entry[]> {
    const [reply] = await this.run([['xrange', finishedKey, from, '+', 'COUNT', page]]);
    return (reply?.[1] ?? []) as Entry[];
  }
}

const costOf = (fields: readonly string[]): number => Number(fields[3] ?? 0) + logOverheadBytes;
