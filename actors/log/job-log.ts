/**
 * The event log of jobs: append under an epoch, read back, list what is unfinished. Written once, against the store port.
 *
 * A job's log is the Redis stream `auxot:{<job>}:log`; the layout of an entry is in protocol/job-events.ts. Unfinished
 * jobs stand, in order of submission, in the stream `auxot:ready`: fields `job` and `boot`, who writes the log.
 *
 * L1. Entry ids are explicit, so an append repeated after a lost reply is refused by the store, and found to be ours.
 * L2. A refused append is ours only if the entry at exactly that id has our bytes; any other refusal means a newer writer.
 * L3. Only the append that creates a job may create its log. To every other, a missing log means that the job is gone.
 * L4. A job is accepted when both its ready entry and its log are acknowledged, the ready entry first: a log that no entry
 *     names would be found by nobody, and stay for ever. So a job may stand twice in `auxot:ready` (a reply was lost), or
 *     without a log (its router died in between, or is about to write it), and never not at all.
 * L5. Expiry and removal from the index follow the acknowledged end of a job, in a batch of their own: put into the same
 *     batch, they would run for a stale writer too, and take the log away from the job's new owner.
 * L6. An unfinished job stands in the index in the name of the boot that opened its last epoch: who takes a job over puts
 *     it there together with the opening entry, and who has lost it takes away what was put there in its own name only.
 * L7. With `replicas`, an append is acknowledged when that many replicas of the server have it. One that they do not
 *     confirm in time is trouble with the store: it may be there, and is then found to be ours when it is repeated (L1).
 */
import { envelopeVersion } from '../../protocol/job-events.ts';
import { comparePositions, origin, type Position } from '../../protocol/position.ts';
import { FinishedLogs, type SweepResult } from './finished-logs.ts';
import { endsLog, isAdoption } from './last-said.ts';
import { entryAfter, follows, LogCorrupt, type LogEntry, parseEntry } from './log-entry.ts';
import { logKey, readyKey, replicatedKey } from './log-keys.ts';
import { type BatchReply, type Entry, type Store, StoreTrouble, type Words } from './store.ts';

export { LogCorrupt, type LogEntry } from './log-entry.ts';
export { type Store, StoreTrouble } from './store.ts';

export interface Append {
  readonly jobId: string;
  readonly epoch: number;
  /** Number, within the epoch, of the first event. */
  readonly sequence: number;
  readonly count: number;
  /** JSON array text. */
  readonly events: string;
  /** Only `job.submitted`. */
  readonly creates?: boolean;
  /** Opens an epoch of a log that another boot has written. */
  readonly adopts?: boolean;
  /** Holds the terminal event. */
  readonly ends?: boolean;
}

export type AppendResult =
  | { readonly kind: 'ok' }
  /** A newer epoch writes this log: let the job go. */
  | { readonly kind: 'fenced' }
  /** The log is not there any more. */
  | { readonly kind: 'gone' }
  /** The log has reached its cap; only an append that ends the job is still taken. */
  | { readonly kind: 'full' };

export interface JobLogOptions {
  /** In whose name jobs stand in the index. */
  readonly boot: string;
  /** How long a finished log can be replayed and resumed: an hour covers a person's look back. */
  readonly retentionMs: number;
  /** Cap of one job's events, bytes: two orders above a long answer, and still read in one go. */
  readonly jobBytesMax: number;
  /** Cap of all logs together, bytes. Bounds the embedded store's memory. */
  readonly logsBytesMax: number;
  /** After this long without an acknowledgement the store counts as down. Longer than a fail-over of Redis Sentinel's default pace is not waited for. */
  readonly answerMs: number;
  /** Replicas that must have an entry before it counts as written. Design §2a.14. */
  readonly replicas: number;
}

export const jobLogDefaults: JobLogOptions = {
  boot: '',
  retentionMs: 3_600_000,
  jobBytesMax: 32 * 1024 * 1024,
  logsBytesMax: 64 * 1024 * 1024,
  answerMs: 5000,
  replicas: 0,
};

/** A job must always be able to say how it ended, also above its cap. */
const endBytesMax = 1024 * 1024;
/** How many times the wait for an answer an index entry may stand without its log: one would do, and nothing presses. */
const answersWaited = 4;
/** A replica confirms within two round trips; one that takes this long is in trouble. */
const replicasMs = 1000;
/** Entries of the index read in one round trip. */
const indexPage = 1000;

interface OpenJob {
  bytes: number;
  /** In which we are known to have written it; 0 before. */
  epoch: number;
  /** Where the job stands in the index in our name. Empty when another boot put it there. */
  readyIds: string[];
  /** Where it stands in the name of an earlier writer. */
  formerIds: string[];
}

type LogState = 'open' | 'ended' | 'missing';

const ok: AppendResult = { kind: 'ok' };
const fenced: AppendResult = { kind: 'fenced' };
const gone: AppendResult = { kind: 'gone' };
const full: AppendResult = { kind: 'full' };

export class JobLog {
  private readonly store: Store;
  private readonly options: JobLogOptions;
  private readonly finished: FinishedLogs;
  private readonly open = new Map<string, OpenJob>();
  /** Where jobs stand in the index in our name that we let go, and that nobody has taken yet. */
  private readonly unclaimed = new Map<string, readonly string[]>();
  /** Entries of the index whose log is not there, by their ids; `sinceAt`: the first sweep that saw it so. */
  private readonly withoutLog = new Map<string, { readonly jobId: string; sinceAt: number | null }>();

  constructor(store: Store, options: Partial<JobLogOptions> = {}) {
    this.store = store;
    this.options = { ...jobLogDefaults, ...options };
    this.finished = new FinishedLogs(words => this.run(words), this.options);
  }

  /** Appends all of `batch` in one round trip. Rejects with StoreTrouble, and then the same batch may be appended again. */
  async append(batch: readonly Append[]): Promise<AppendResult[]> {
    const results: AppendResult[] = new Array(batch.length).fill(full);
    const words: Words[] = [];
    const sent: { readonly index: number; readonly append: Append; readonly reply: number }[] = [];
    for (const [index, append] of batch.entries()) {
      if (!this.fits(append)) continue;
      // L4.
      if (isListed(append)) words.push(['xadd', readyKey, '*', 'job', append.jobId, 'boot', this.options.boot]);
      sent.push({ index, append, reply: words.length });
      words.push(xadd(append));
    }
    if (words.length === 0) return results;
    const replies = await this.runReplicated(words, isRefusal);
    const refused: typeof sent = [];
    for (const each of sent) {
      const [error, id] = replies[each.reply] ?? [null, null];
      if (error !== null) refused.push(each);
      else results[each.index] = id === null ? gone : ok;
    }
    if (refused.length > 0) {
      const ours = await this.areOurs(refused.map(({ append }) => append));
      // They were written before, perhaps by a connection that is gone: the server waits for what this one has written.
      if (ours.includes(true)) await this.runReplicated([['set', replicatedKey, this.options.boot, 'PX', replicasMs]]);
      for (const [i, { index }] of refused.entries()) results[index] = ours[i] === true ? ok : fenced;
    }
    for (const { index, append, reply } of sent) {
      const readyId = isListed(append) ? replies[reply - 1]?.[1] : null;
      this.settle(append, results[index] ?? fenced, typeof readyId === 'string' ? readyId : null);
    }
    return results;
  }

  /** The entries behind `after`, in order. An entry that `after` stands within comes with its remaining events only. */
  async read(jobId: string, after: Position = origin, limit?: number): Promise<LogEntry[]> {
    const key = logKey(jobId);
    const at = `${after.epoch}-${after.number}`;
    const count: (string | number)[] = limit === undefined ? [] : ['COUNT', limit];
    const [before, behind] = await this.run([
      ['xrevrange', key, at, '-', 'COUNT', 1],
      ['xrange', key, `(${at}`, '+', ...count],
    ]);
    const [last] = entriesOf(before);
    let previous = last === undefined ? null : parseEntry(jobId, last);
    const entries: LogEntry[] = [];
    if (previous !== null && previous.epoch === after.epoch) {
      const behindLast = previous.sequence + previous.count;
      if (behindLast > after.number + 1) entries.push(entryAfter(previous, after.number));
    }
    for (const raw of entriesOf(behind)) {
      const entry = parseEntry(jobId, raw);
      if (!follows(previous, entry))
        throw new LogCorrupt(jobId, entry.epoch, entry.sequence, 'the events before it are missing');
      entries.push(entry);
      previous = entry;
    }
    const known = this.open.get(jobId);
    if (known !== undefined && limit === undefined && comparePositions(after, origin) === 0)
      known.bytes = entries.reduce((bytes, entry) => bytes + entry.bytes, 0);
    return limit === undefined ? entries : entries.slice(0, limit);
  }

  /**
   * Ids of the jobs that have not ended, in order of submission; `isWanted` is asked about the boots that write them. What
   * a crash left behind in the index is tidied away.
   */
  async openJobs(isWanted: (boot: string) => boolean = () => true): Promise<string[]> {
    const jobs = new Set<string>();
    let from = '-';
    for (;;) {
      const [page] = await this.run([['xrange', readyKey, from, '+', 'COUNT', indexPage]]);
      const entries = entriesOf(page);
      const wanted = entries.filter(([, fields]) => isWanted(fields[3] ?? ''));
      await this.sortIndex(wanted, jobs);
      const last = entries.at(-1);
      if (last === undefined || entries.length < indexPage) return [...jobs];
      from = `(${last[0]}`;
    }
  }

  /** Forgets a log whose job has ended; its line in the books goes with the next sweep that finds it expired. */
  async remove(jobId: string): Promise<void> {
    await this.run([['unlink', logKey(jobId)]]);
  }

  /**
   * Another boot has the job: in our name it is not open any more. `unclaimed`: another is to have it and has said nothing
   * yet, so that it stays in the index, or nobody would find it when that one dies now.
   */
  letGo(jobId: string, unclaimed = false): void {
    const ids = [...this.releasedIds(jobId), ...(this.open.get(jobId)?.readyIds ?? [])];
    this.open.delete(jobId);
    if (unclaimed) this.unclaimed.set(jobId, ids);
    else this.unlist(ids);
  }

  /**
   * Removes expired logs from the books, the oldest finished ones while all logs together exceed the cap, and from the
   * index what never got a log. Call it every few seconds.
   */
  async sweep(now: number): Promise<SweepResult> {
    await this.sweepIndex(now);
    let openBytes = 0;
    for (const { bytes } of this.open.values()) openBytes += bytes;
    return this.finished.sweep(now, openBytes);
  }

  /** Waits for the housekeeping under way. The store stays open: whoever opened it closes it. */
  async close(): Promise<void> {
    await this.finished.settle();
  }

  private fits({ jobId, events, ends }: Append): boolean {
    const bytes = Buffer.byteLength(events);
    if (ends === true && bytes <= endBytesMax) return true;
    return (this.open.get(jobId)?.bytes ?? 0) + bytes <= this.options.jobBytesMax;
  }

  private releasedIds(jobId: string): readonly string[] {
    const ids = this.unclaimed.get(jobId) ?? [];
    this.unclaimed.delete(jobId);
    return ids;
  }

  private settle({ jobId, epoch, events, ends }: Append, result: AppendResult, readyId: string | null): void {
    if (result.kind !== 'ok') {
      if (readyId !== null) this.unlist([readyId]);
      // A late refusal of an epoch before: the job has gone to another boot since, and come back.
      if (result.kind !== 'full' && (this.open.get(jobId)?.epoch ?? 0) <= epoch) this.letGo(jobId);
      return;
    }
    let job = this.open.get(jobId);
    if (job === undefined) {
      job = { bytes: 0, epoch: 0, readyIds: [], formerIds: [] };
      this.open.set(jobId, job);
    }
    job.bytes += Buffer.byteLength(events);
    job.epoch = Math.max(job.epoch, epoch);
    if (readyId !== null) {
      job.readyIds.push(readyId);
      // L6: it stands there in our name now.
      this.unlist([...job.formerIds, ...this.releasedIds(jobId)]);
      job.formerIds = [];
    }
    if (ends !== true) return;
    this.open.delete(jobId);
    this.finished.add({ jobId, bytes: job.bytes, readyIds: job.readyIds });
  }

  /** What is left behind when this fails is found to be over, or another's, by whoever reads the index next. */
  private unlist(ids: readonly string[]): void {
    if (ids.length > 0) this.run([['xdel', readyKey, ...ids]]).catch(() => undefined);
  }

  /** L2. */
  private async areOurs(appends: readonly Append[]): Promise<boolean[]> {
    const replies = await this.run(
      appends.map((append): Words => ['xrange', logKey(append.jobId), idOf(append), idOf(append)]),
    );
    return appends.map((append, i) => {
      const fields = entriesOf(replies[i])[0]?.[1];
      if (fields === undefined || fields.length !== 4) return false;
      const [v, version, e, events] = fields;
      return v === 'v' && version === envelopeVersion && e === 'e' && events === append.events;
    });
  }

  private async sortIndex(entries: readonly Entry[], jobs: Set<string>): Promise<void> {
    const states = await this.statesOf(entries.map(([, fields]) => fields[1] ?? ''));
    for (const [readyId, fields] of entries) {
      const jobId = fields[1] ?? '';
      const state = states.get(jobId) ?? 'open';
      if (state === 'ended') this.finished.add({ jobId, bytes: 0, readyIds: [readyId] });
      if (state === 'missing' && !this.withoutLog.has(readyId)) this.withoutLog.set(readyId, { jobId, sinceAt: null });
      if (state !== 'open') continue;
      jobs.add(jobId);
      let known = this.open.get(jobId);
      if (known === undefined) {
        known = { bytes: 0, epoch: 0, readyIds: [], formerIds: [] };
        this.open.set(jobId, known);
      }
      const ids = (fields[3] ?? '') === this.options.boot ? known.readyIds : known.formerIds;
      if (!ids.includes(readyId)) ids.push(readyId);
    }
  }

  /** By their last entries; by the one before where that says only who came too late to take the job over. */
  private async statesOf(jobIds: readonly string[]): Promise<Map<string, LogState>> {
    const states = new Map<string, LogState>();
    let unknown = [...new Set(jobIds)].map(jobId => ({ jobId, until: '+' }));
    while (unknown.length > 0) {
      const replies = await this.run(
        unknown.map(({ jobId, until }): Words => ['xrevrange', logKey(jobId), until, '-', 'COUNT', 1]),
      );
      const further: typeof unknown = [];
      for (const [i, { jobId, until }] of unknown.entries()) {
        const [last] = entriesOf(replies[i]);
        if (last === undefined) states.set(jobId, until === '+' ? 'missing' : 'open');
        else if (isAdoption(last)) further.push({ jobId, until: `(${last[0]}` });
        else states.set(jobId, endsLog(last) ? 'ended' : 'open');
      }
      unknown = further;
    }
    return states;
  }

  /**
   * A job that stands in the index without a log may be one whose router is just writing it, and was taken for dead. So
   * its entry goes when there is no log after so long that no append under way can be acknowledged any more.
   */
  private async sweepIndex(now: number): Promise<void> {
    if (this.withoutLog.size === 0) return;
    const seen = [...this.withoutLog];
    const replies = await this.run(seen.map(([, { jobId }]): Words => ['exists', logKey(jobId)]));
    const doomed: string[] = [];
    for (const [i, [readyId, entry]] of seen.entries()) {
      entry.sinceAt ??= now;
      if (Number(replies[i]?.[1]) > 0) this.withoutLog.delete(readyId);
      else if (now - entry.sinceAt >= answersWaited * this.options.answerMs) doomed.push(readyId);
    }
    if (doomed.length === 0) return;
    await this.run([['xdel', readyKey, ...doomed]]);
    for (const readyId of doomed) this.withoutLog.delete(readyId);
  }

  /** L7. */
  private async runReplicated(words: Words[], expected?: (error: Error) => boolean): Promise<BatchReply> {
    const { replicas } = this.options;
    if (replicas === 0) return this.run(words, expected);
    const replies = await this.run([...words, ['wait', replicas, replicasMs]], expected);
    const [, confirmed] = replies.pop() ?? [null, 0];
    if (Number(confirmed) < replicas)
      throw new StoreTrouble(`${confirmed} of ${replicas} replicas have confirmed a write within ${replicasMs} ms.`);
    return replies;
  }

  /** One round trip, bounded in time. Any error that `expected` does not name is trouble with the store. */
  private async run(words: Words[], expected: (error: Error) => boolean = () => false): Promise<BatchReply> {
    if (words.length === 0) return [];
    const replies = await answered(this.store.pipeline(words).exec(), this.options.answerMs);
    if (replies === null) throw new StoreTrouble('The store gave no answer to a batch.');
    for (const [error] of replies) {
      if (error !== null && !expected(error)) throw troubleOf(error);
    }
    return replies;
  }
}

const idOf = ({ epoch, sequence }: Append): string => `${epoch}-${sequence}`;

const isListed = ({ creates, adopts }: Append): boolean => creates === true || adopts === true;

function xadd(append: Append): Words {
  const key = logKey(append.jobId);
  const id = idOf(append);
  // L3.
  if (append.creates === true) return ['xadd', key, id, 'v', envelopeVersion, 'e', append.events];
  return ['xadd', key, 'NOMKSTREAM', id, 'v', envelopeVersion, 'e', append.events];
}

/** The store's own words for an id that is not above the top one, and for a key that is no stream. */
const isRefusal = ({ message }: Error): boolean =>
  message.startsWith('ERR The ID specified in XADD is equal or smaller') || message.startsWith('WRONGTYPE');

const troubleOf = (error: Error): StoreTrouble =>
  error instanceof StoreTrouble ? error : new StoreTrouble(`The store refused a command: ${error.message}`, error);

async function answered<T>(reply: Promise<T>, withinMs: number): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new StoreTrouble(`The store did not answer within ${withinMs} ms.`)), withinMs);
  });
  try {
    return await Promise.race([reply, late]);
  } catch (error) {
    throw troubleOf(error instanceof Error ? error : new Error(String(error)));
  } finally {
    clearTimeout(timer);
  }
}

/** The reply of XRANGE or XREVRANGE. Its shape is the store's promise. */
const entriesOf = (reply: readonly [Error | null, unknown] | undefined): Entry[] => (reply?.[1] ?? []) as Entry[];
