/**
 * The logs of the jobs that this boot writes, read back, and those that an earlier boot left open, taken over.
 *
 * O1. A log is ours while its last epoch was opened in our name (design §2a.3): a boot that finds another's name there
 *     writes nothing more, however it came to read it.
 * O2. To take a log over: open the next epoch, then read, then act. What the earlier boot still said comes before our
 *     epoch and counts; it says nothing after.
 * O3. A store in trouble is waited for, a log that cannot be read is told.
 */
import { isTerminal, type JobEvent } from '../../protocol/job-events.ts';
import type { LoggedEntry, Writer } from '../../protocol/shard-messages.ts';
import type { Diagnostics } from '../config/diagnostics.ts';
import type { LogEntry } from '../log/job-log.ts';
import type { Appender } from './appender.ts';
import { patiently } from './patiently.ts';
import type { Clock, LogPort } from './ports.ts';

export interface OwnLogsParts {
  readonly clock: Clock;
  readonly log: LogPort;
  readonly diagnostics: Diagnostics;
  readonly appender: Appender;
  /** The job is ours from here on, and its log stands so. */
  readonly taken: (jobId: string, entries: readonly LoggedEntry[], how: 'inherited' | 'offered') => void;
}

/** Jobs of an earlier boot that are taken over at a time: enough to share round trips, and few logs in memory at once. */
const takenTogether = 64;

export const logged = ({ epoch, sequence, events }: LogEntry): LoggedEntry => ({ epoch, sequence, events });

export class OwnLogs {
  readonly #writer: Writer;
  readonly #parts: OwnLogsParts;
  /** Jobs whose epoch we open just now: no shard knows them yet. */
  readonly #taking = new Set<string>();
  #stopped = false;

  constructor(writer: Writer, parts: OwnLogsParts) {
    this.#writer = writer;
    this.#parts = parts;
  }

  /** The job's log, whenever the store gives it; null when it cannot be read, or the router stops. */
  async read(jobId: string): Promise<LoggedEntry[] | null> {
    const { clock, log, diagnostics } = this.#parts;
    const wanted = (): boolean => !this.#stopped;
    try {
      const entries = await patiently(clock, wanted, () => log.read(jobId));
      return entries === null ? null : entries.map(logged);
    } catch (error) {
      diagnostics.error('the log of an open job cannot be read', { jobId, reason: String(error) });
      return null;
    }
  }

  /** O1. */
  areOurs(entries: readonly LoggedEntry[]): boolean {
    const opening = openingOf(entries);
    return opening?.instance === this.#writer.instance && opening.boot === this.#writer.boot;
  }

  /**
   * Takes over all jobs that are open and were written last by a boot that is gone. Resolves with their number when their
   * logs have been read.
   */
  async takeAll(isGone: (boot: string) => boolean = () => true): Promise<number> {
    const jobs = await this.#parts.log.openJobs(isGone);
    let taken = 0;
    for (let first = 0; first < jobs.length; first += takenTogether) {
      const together = jobs.slice(first, first + takenTogether).map(jobId => this.#inherit(jobId, isGone));
      for (const took of await Promise.all(together)) if (took) taken += 1;
    }
    return taken;
  }

  /** The log refused us. True: the job was never ours, another boot was quicker to take it. */
  lost(jobId: string): boolean {
    return this.#taking.delete(jobId);
  }

  stop(): void {
    this.#stopped = true;
  }

  /** Takes over a job that its router, which writes it in `epoch`, has offered. */
  takeOffered(jobId: string, epoch: number): Promise<boolean> {
    return this.#take(jobId, epoch + 1, 'offered');
  }

  /** Takes over one job, if it was written last by a boot that is gone. */
  inherit(jobId: string, isGone: (boot: string) => boolean): Promise<boolean> {
    return this.#inherit(jobId, isGone);
  }

  /** Takes over a job that its router, which wrote it in `epoch`, has let go for a worker of ours. */
  takeReleased(jobId: string, epoch: number): Promise<boolean> {
    return this.#take(jobId, epoch + 1, 'inherited');
  }

  async #inherit(jobId: string, isGone: (boot: string) => boolean): Promise<boolean> {
    const before = await this.read(jobId);
    const last = before?.at(-1);
    if (before === null || last === undefined || isEnded(before)) return false;
    // It stood in the index in the name of an earlier writer.
    if (!isGone(openingOf(before)?.boot ?? '')) return false;
    return this.#take(jobId, last.epoch + 1, 'inherited');
  }

  /** O2. */
  async #take(jobId: string, epoch: number, how: 'inherited' | 'offered'): Promise<boolean> {
    const { clock, log, appender, taken } = this.#parts;
    if (this.#taking.has(jobId)) return false;
    const adopted: JobEvent = { type: 'job.adopted', at: clock.now(), ...this.#writer };
    const opening = { jobId, epoch, sequence: 1, count: 1, events: JSON.stringify(adopted) };
    this.#taking.add(jobId);
    appender.add({ ...opening, creates: false, adopts: true, ends: false, effects: [] });
    appender.flush();
    await appender.settled(jobId);
    const entries = this.#taking.has(jobId) ? await this.read(jobId) : null;
    // Another boot was quicker; or the earlier one was, with the job's last word.
    if (!this.#taking.delete(jobId) || entries === null || isEnded(entries) || !this.areOurs(entries)) {
      appender.forget(jobId);
      log.letGo(jobId);
      return false;
    }
    taken(jobId, entries, how);
    return true;
  }
}

/** `job.adopted` may stand behind a terminal event: a boot that came too late. */
const isEnded = (entries: readonly LoggedEntry[]): boolean =>
  entries.some(({ events }) => events.some(({ type }) => isTerminal(type)));

const openingOf = (entries: readonly LoggedEntry[]) => entries.flatMap(({ events }) => events).findLast(opensEpoch);

const opensEpoch = (event: JobEvent): event is Extract<JobEvent, { type: 'job.submitted' | 'job.adopted' }> =>
  event.type === 'job.submitted' || event.type === 'job.adopted';
