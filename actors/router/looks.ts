/**
 * Callers who ask for stored responses by their ids, or want something done with them: their jobs' logs go to a shard,
 * which says what there is to tell or to do.
 *
 * K1. Every look is answered, in bounded time.
 * K2. No more than `looksMax` are on their way: each may hold a whole log in memory.
 */
import type { CodeName } from '../../protocol/codes.ts';
import type { Cursor } from '../../protocol/position.ts';
import type { JobHistory, LoggedEntry, Look, LookOutcome } from '../../protocol/shard-messages.ts';
import { LogCorrupt } from '../log/job-log.ts';
import type { Appender } from './appender.ts';
import { logged } from './own-logs.ts';
import type { Clock, LogPort } from './ports.ts';

/** The caller's connection. */
export interface LookPort {
  respond(status: number, headers: Readonly<Record<string, string>>, body: string): void;
  refuse(code: CodeName, message: string): void;
  /** The response is to be streamed from here on. */
  follow(cursor: Cursor | null): void;
}

export interface LooksParts {
  readonly clock: Clock;
  readonly log: LogPort;
  readonly appender: Appender;
  /** Asks a shard. */
  readonly post: (lookId: string, look: Look, entries: readonly LoggedEntry[]) => void;
  /** Ends the job; resolves when it has ended, or cannot be. */
  readonly end: (jobId: string) => Promise<void>;
}

interface Open {
  readonly port: LookPort;
  readonly look: Look;
  readonly callOff: () => void;
}

/** For the log, the shard and the end of a job: twice what a redialling worker may take. */
const giveUpMs = 30_000;
const looksMax = 64;

export class Looks {
  readonly #parts: LooksParts;
  readonly #looks = new Map<string, Open>();
  #last = 0;

  constructor(parts: LooksParts) {
    this.#parts = parts;
  }

  get size(): number {
    return this.#looks.size;
  }

  /** The caller's connection is in `port`; nothing more is said to it after its answer. */
  begin(port: LookPort, look: Look): void {
    if (this.#looks.size >= looksMax) {
      port.refuse('rate_limit_exceeded', 'too many stored responses are asked for at once');
      return;
    }
    this.#last += 1;
    const lookId = String(this.#last);
    const late = (): void => this.refuse(lookId, 'timeout', 'the log of this response could not be read in time');
    this.#looks.set(lookId, { port, look, callOff: this.#parts.clock.after(giveUpMs, late) });
    void this.#read(lookId, look);
  }

  /** A shard has read the log. */
  looked(lookId: string, outcome: LookOutcome): void {
    const open = this.#looks.get(lookId);
    if (open === undefined) return;
    const { jobId } = open.look;
    switch (outcome.do) {
      case 'answer':
        this.#close(lookId);
        return open.port.respond(outcome.status, outcome.headers, outcome.body);
      case 'follow':
        this.#close(lookId);
        return open.port.follow(outcome.cursor);
      case 'end':
        void this.#endAndLookAgain(lookId, open.look);
        return;
      case 'remove':
        void this.#parts.log.remove(jobId).then(
          () => this.looked(lookId, { ...outcome, do: 'answer' }),
          () => this.refuse(lookId, 'store_unavailable', 'the log of this response cannot be removed now'),
        );
    }
  }

  refuse(lookId: string, code: CodeName, message: string): void {
    const open = this.#looks.get(lookId);
    this.#close(lookId);
    open?.port.refuse(code, message);
  }

  stop(): void {
    for (const { callOff } of this.#looks.values()) callOff();
    this.#looks.clear();
  }

  /** Logs of jobs that a request goes on from; a log that is not there is empty. Rejects when the store is in trouble. */
  histories(jobIds: readonly string[]): Promise<JobHistory[]> {
    return Promise.all(jobIds.map(async jobId => ({ jobId, entries: await this.#entries(jobId) })));
  }

  async #entries(jobId: string): Promise<LoggedEntry[]> {
    const { log, appender } = this.#parts;
    // Its last word may be on its way there.
    await appender.settled(jobId);
    return (await log.read(jobId)).map(logged);
  }

  async #read(lookId: string, look: Look): Promise<void> {
    try {
      const entries = await this.#entries(look.jobId);
      if (this.#looks.has(lookId)) this.#parts.post(lookId, look, entries);
    } catch (error) {
      if (error instanceof LogCorrupt)
        this.refuse(lookId, 'log_corrupt', 'the log of this response cannot be read back');
      else this.refuse(lookId, 'store_unavailable', 'the log of this response cannot be read now');
    }
  }

  async #endAndLookAgain(lookId: string, look: Look): Promise<void> {
    await this.#parts.end(look.jobId);
    const again: Look = look.what === 'delete' ? { ...look, ended: true } : { what: 'response', jobId: look.jobId };
    await this.#read(lookId, again);
  }

  #close(lookId: string): void {
    this.#looks.get(lookId)?.callOff();
    this.#looks.delete(lookId);
  }
}
