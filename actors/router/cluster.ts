/**
 * What this router does with the others on its store: it keeps a lease among them (membership.ts), shares jobs that wait
 * (sharing.ts), hands jobs over to where their workers are (handovers.ts), and finds out which of its own jobs others have
 * taken, or the store has lost.
 */
import { comparePositions, type Position } from '../../protocol/position.ts';
import type { ShardInput } from '../../protocol/shard-messages.ts';
import type { Diagnostics } from '../config/diagnostics.ts';
import type { ClaimLetter } from '../log/inbox.ts';
import { LogCorrupt } from '../log/job-log.ts';
import type { Appender } from './appender.ts';
import { Handovers } from './handovers.ts';
import type { JobQueue } from './job-queue.ts';
import { Membership } from './membership.ts';
import type { OwnJobs } from './own-jobs.ts';
import type { OwnLogs } from './own-logs.ts';
import { patiently } from './patiently.ts';
import type { Clock, ClusterPort, LogPort } from './ports.ts';
import { type AboutCallers, Sharing } from './sharing.ts';
import type { ToolCalls } from './tool-calls.ts';

export interface ClusterParts {
  readonly clock: Clock;
  readonly log: LogPort;
  readonly diagnostics: Diagnostics;
  readonly appender: Appender;
  readonly queue: JobQueue;
  readonly jobs: OwnJobs;
  readonly logs: OwnLogs;
  readonly tools: ToolCalls;
  readonly post: (jobId: string, input: ShardInput) => void;
}

/** Events of a job that can have been on their way to the store at once, and more. */
const lookedBack = 256;

export class Cluster {
  readonly #port: ClusterPort;
  readonly #parts: ClusterParts;
  readonly #membership: Membership;
  readonly #sharing: Sharing;
  readonly #handovers: Handovers;

  constructor(boot: string, port: ClusterPort, parts: ClusterParts) {
    this.#port = port;
    this.#parts = parts;
    const { clock, log, diagnostics, appender, queue, jobs, logs, tools, post } = parts;
    const epochOf = (jobId: string): number | null =>
      jobs.has(jobId) ? (appender.ackedOf(jobId)?.epoch ?? null) : null;
    this.#sharing = new Sharing(boot, port, clock, diagnostics, {
      others: () => this.#membership.others,
      free: () => queue.slots,
      lend: () => queue.lend(),
      putBack: jobId => queue.putBack(jobId),
      epochOf,
      take: (jobId, epoch) => logs.takeOffered(jobId, epoch),
      letGo: jobId => jobs.letGo(jobId),
      abandoned: (jobId, from) => jobs.abandoned(jobId, from),
      wanted: (jobId, from) => jobs.wantedAt(jobId, from),
      unwanted: jobId => post(jobId, { kind: 'jobCancel', at: clock.now(), jobId, reason: 'requested' }),
      tool: letter => tools.read(letter),
      handover: letter => this.#handovers.read(letter),
    });
    this.#membership = new Membership(boot, port, clock, diagnostics, {
      lapsed: () => void this.checkOwned(),
      changed: () => {
        this.#sharing.look();
        // Word of a job that was taken may have been lost with the router that took it.
        void this.checkOwned();
      },
      gone: async isGone => {
        jobs.forgetReaders(isGone);
        await logs.takeAll(isGone);
        await this.#sharing.inherit(isGone);
      },
    });
    this.#handovers = new Handovers(boot, port, clock, {
      isOurs: jobId => jobs.has(jobId),
      ask: (jobId, from, claim) => post(jobId, { kind: 'jobAsked', at: clock.now(), jobId, boot: from, ...claim }),
      letGo: async jobId => {
        await appender.settled(jobId);
        const epoch = epochOf(jobId);
        if (epoch !== null) jobs.letGo(jobId, true);
        return epoch;
      },
      claimed: jobId => log.letGo(jobId),
      take: (jobId, epoch) => logs.takeReleased(jobId, epoch),
      inherit: (jobId, isGone) => logs.inherit(jobId, isGone),
    });
  }

  /** Rejects when the store does not take our lease. */
  async start(): Promise<void> {
    await this.#membership.start();
    this.#sharing.start();
  }

  /** Takes no jobs of others any more; what waits here may still be offered to them. */
  stopTaking(): void {
    this.#sharing.stop();
  }

  /** From here on others take what is left (M3). */
  async leave(): Promise<void> {
    this.#sharing.close();
    this.#handovers.stop();
    await this.#membership.stop().catch(() => undefined); // the lease lapses by itself
  }

  get hasOthers(): boolean {
    return this.#membership.others.length > 0;
  }

  /** Jobs wait, or slots are free. */
  look(): void {
    this.#sharing.look();
  }

  /** A job has come to the queue. */
  arrived(jobId: string): void {
    this.#sharing.arrived(jobId);
  }

  /** A job that waited need not be run by anybody else any more. */
  recall(jobId: string): void {
    this.#sharing.recall(jobId);
  }

  /** A tools worker here has a call of a job that another router writes; `result`: it has ended. */
  tellOfCall(jobId: string, callId: string, workerInstance: string, result: string | null): void {
    void this.#sharing.tellOfCall(jobId, callId, workerInstance, result);
  }

  /** A call that a tools worker at the boot `boot` has is over. */
  callIsOver(boot: string, callId: string): void {
    this.#sharing.tell(boot, { kind: 'toolOver', callId });
  }

  tellWriter(kind: AboutCallers, jobId: string): void {
    void this.#sharing.tellWriter(kind, jobId);
  }

  /** Makes the job ours for a worker that has dialled in here and holds it. Resolves when it is, or will not be. */
  fetch(jobId: string, claim: ClaimLetter): Promise<void> {
    return this.#handovers.fetch(jobId, claim);
  }

  /** Another router asked for a job, and its shard has answered. */
  askAnswered(answer: { readonly jobId: string; readonly boot: string; readonly granted: boolean }): void {
    this.#handovers.answered(answer);
  }

  /**
   * Whether the logs of this router's jobs are as it knows them: others may have taken them while it was away, and a store
   * that was replaced by its replica, or emptied, may have less.
   */
  async checkOwned(): Promise<void> {
    const { clock, log, appender, jobs } = this.#parts;
    const owned = [...jobs].map(jobId => ({ jobId, acked: appender.ackedOf(jobId) }));
    const wanted = (): boolean => true;
    const read = () => this.#port.tops(owned.map(({ jobId }) => jobId));
    const tops = await patiently(clock, wanted, read).catch(() => null);
    for (const [i, { jobId, acked }] of owned.entries()) {
      const top = tops?.[i];
      if (top === undefined || acked === null || !jobs.has(jobId)) continue;
      // Since it was asked about, the job was let go and taken again: this is no news of it.
      if (appender.ackedOf(jobId)?.epoch !== acked.epoch) continue;
      if (top === null) jobs.fenced(jobId, 'gone');
      else if (top.epoch > acked.epoch) jobs.letGo(jobId);
      else if (comparePositions(top, acked) < 0) this.#cutShort(jobId);
      else if (await this.#hasGap(jobId, acked)) {
        jobs.fenced(jobId, 'cut short');
        log.letGo(jobId);
      }
    }
  }

  /** What was on its way when the store was replaced may have been appended behind what is missing. */
  async #hasGap(jobId: string, { epoch, number }: Position): Promise<boolean> {
    try {
      await this.#parts.log.read(jobId, { epoch, number: Math.max(0, number - lookedBack) });
      return false;
    } catch (error) {
      // Trouble with the store: when it is over, this is asked again.
      return error instanceof LogCorrupt;
    }
  }

  /** The store has lost the end of the job's log: what its callers have cannot be gone on from. */
  #cutShort(jobId: string): void {
    const { jobs, logs } = this.#parts;
    jobs.fenced(jobId, 'cut short');
    void logs
      .inherit(jobId, () => true)
      .then(took => took && jobs.fail(jobId, 'log_corrupt', 'the store has lost the end of this answer'));
  }
}
