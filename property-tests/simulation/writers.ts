/**
 * Who wrote what: every entry that a router sends to the log is noted with the boot that sent it, so that what stands there
 * in the end can be laid at somebody's door.
 */
import { type Append, type AppendResult, JobLog, type JobLogOptions, type Store } from '../../actors/log/job-log.ts';

export class Writers {
  /** Boots by entry: `<job> <epoch>-<sequence> <events>`. */
  readonly #sent = new Map<string, Set<string>>();

  note(boot: string, { jobId, epoch, sequence, events }: Append): void {
    const entry = `${jobId} ${epoch}-${sequence} ${events}`;
    const boots = this.#sent.get(entry);
    if (boots === undefined) this.#sent.set(entry, new Set([boot]));
    else boots.add(boot);
  }

  of(jobId: string, epoch: number, sequence: number, events: string): ReadonlySet<string> {
    return this.#sent.get(`${jobId} ${epoch}-${sequence} ${events}`) ?? new Set();
  }
}

/** The real log, with a note of everything that is sent to it. */
export class NotedLog extends JobLog {
  readonly #boot: string;
  readonly #writers: Writers;

  constructor(store: Store, options: Partial<JobLogOptions> & { readonly boot: string }, writers: Writers) {
    super(store, options);
    this.#boot = options.boot;
    this.#writers = writers;
  }

  override append(batch: readonly Append[]): Promise<AppendResult[]> {
    for (const append of batch) this.#writers.note(this.#boot, append);
    return super.append(batch);
  }
}
