/** What happens to callers' streams: they come, catch up, are read from the log, come back with a new shard, and go. */
import { cancelJob } from '../../machines/job.decide.ts';
import { isOver } from '../../machines/job.ts';
import { origin } from '../../protocol/position.ts';
import type { ShardInput } from '../../protocol/shard-messages.ts';
import type { LiveJob, LiveJobs } from './live-jobs.ts';
import { positioned } from './positioned.ts';
import type { Streams } from './streams.ts';

type Of<K extends ShardInput['kind']> = Extract<ShardInput, { kind: K }>;

export class StreamInputs {
  readonly #jobs: LiveJobs;
  readonly #streams: Streams;

  constructor(jobs: LiveJobs, streams: Streams) {
    this.#jobs = jobs;
    this.#streams = streams;
  }

  /** A caller wants the answer of a job that was asked for before. What this shard does not hold, the log can tell. */
  follows({ streamId, turn, jobId, follow }: Of<'streamFollows'>): void {
    // The stream of a later turn stands here already: this input was given again after a death.
    if (this.#streams.knows(streamId, turn)) return;
    const live = this.#jobs.get(jobId);
    if (live === undefined) this.#streams.awaitLog(streamId, turn, jobId, follow);
    else this.#jobs.behind(live, ...this.#streams.join(streamId, turn, live.job.submitted, follow));
    const until = live === undefined ? null : live.job.position;
    this.#jobs.out({ kind: 'read', streamId, turn, jobId, after: origin, until });
  }

  closed({ streamId, jobId, at, looked }: Of<'streamClosed'>): void {
    this.#streams.close(streamId);
    const live = this.#jobs.get(jobId);
    if (live === undefined) return;
    if (looked !== true && !isOver(live.job) && !this.#streams.watched(jobId)) this.#abandoned(live, at);
    this.#jobs.forgetIfDone(live);
  }

  /** Nobody wants the job's answer any more, unless it was asked to wait for its callers. */
  #abandoned({ job }: LiveJob, at: number): void {
    const { jobId, background = false, keepMs = 0 } = job.submitted;
    if (background) return;
    if (keepMs > 0) this.#jobs.out({ kind: 'armTimer', key: `keep:${jobId}`, at: at + keepMs });
    else this.#jobs.decided(jobId, job => cancelJob(job, 'caller_gone', at), at);
  }

  /** The time that the job was to wait for its callers has passed. */
  keptLongEnough(jobId: string, at: number): void {
    // Somebody has come back: the time starts anew when they go.
    if (!this.#streams.watched(jobId)) this.#jobs.decided(jobId, job => cancelJob(job, 'caller_gone', at), at);
  }

  entries({ streamId, turn, entries, last }: Of<'streamEntries'>): void {
    const jobId = this.#streams.jobOf(streamId);
    if (jobId === null) return;
    const live = this.#streams.tails(streamId) ? undefined : this.#jobs.get(jobId);
    const effects = this.#streams.catchUp(streamId, turn, [...positioned(entries)], last);
    if (live === undefined) this.#jobs.out(...effects);
    // The end of it tells of events that are on their way to the log: it waits for them, as if they happened now.
    else this.#jobs.behind(live, ...effects);
  }

  woken({ streamId, turn, sent }: Of<'streamWoken'>): void {
    const jobId = this.#streams.jobOf(streamId);
    if (jobId === null) return;
    const live = this.#streams.tails(streamId) ? null : this.#jobs.get(jobId);
    if (live === undefined) return;
    const after = this.#streams.wake(streamId, turn, sent);
    if (after === null) return;
    this.#jobs.out({ kind: 'read', streamId, turn, jobId, after, until: live?.job.position ?? null });
  }

  restored({ streamId, turn, jobId, sent, opened }: Of<'streamRestored'>): void {
    const live = this.#jobs.get(jobId);
    if (live === undefined) {
      const message = 'the log of this job cannot be read back';
      this.#jobs.out({ kind: 'refuse', streamId, code: 'log_corrupt', message });
      return;
    }
    this.#jobs.out(...this.#streams.restore(streamId, turn, live.job.submitted, sent, opened));
  }
}
