/**
 * After the death of a shard: what its successor is given first, and who is told of an input that kills whoever handles it.
 *
 * D1. The successor gets the machines as their logs have them once the appends of the dead shard's jobs have settled, so
 *     nothing that was acknowledged is missing, and nothing that was not comes back.
 * D2. Callers get a new turn: what the dead shard still said to them comes to nothing (callers.ts C4).
 */
import { type CodeName, closeCodes } from '../../protocol/codes.ts';
import type { ShardInput } from '../../protocol/shard-messages.ts';
import type { Diagnostics } from '../config/diagnostics.ts';
import type { Appender } from './appender.ts';
import type { Callers } from './callers.ts';
import type { JobQueue } from './job-queue.ts';
import type { OwnJobs } from './own-jobs.ts';
import type { OwnLogs } from './own-logs.ts';
import type { Clock } from './ports.ts';
import type { WorkerSockets } from './worker-sockets.ts';

export interface ShardDeathsParts {
  readonly clock: Clock;
  readonly diagnostics: Diagnostics;
  readonly appender: Appender;
  readonly queue: JobQueue;
  readonly callers: Callers;
  readonly sockets: WorkerSockets;
  readonly jobs: OwnJobs;
  readonly logs: OwnLogs;
  readonly shardOf: (id: string) => number;
  readonly refuseCount: (countId: string, code: CodeName, message: string) => void;
  readonly refuseLook: (lookId: string, code: CodeName, message: string) => void;
  readonly refuseRequest: (streamId: number, code: CodeName, message: string) => void;
  readonly endCall: (callId: string) => void;
}

export class ShardDeaths {
  readonly #parts: ShardDeathsParts;

  constructor(parts: ShardDeathsParts) {
    this.#parts = parts;
  }

  /** Machines of a dead shard as they stand now, for its successor (shard-links.ts L2). */
  async rebuild(shard: number): Promise<ShardInput[]> {
    const { clock, appender, sockets, shardOf } = this.#parts;
    const mine = (id: string): boolean => shardOf(id) === shard;
    this.#parts.queue.forgetWarmUps(mine);
    const jobs = [...this.#parts.jobs].filter(mine);
    await Promise.all(jobs.map(jobId => appender.settled(jobId)));
    const at = clock.now();
    const connections: ShardInput[] = [];
    for (const { workerId, snapshot } of sockets) {
      if (mine(workerId) && snapshot !== null) connections.push({ kind: 'workerRestored', workerId, snapshot });
    }
    const open = await this.#openJobs(jobs, at);
    const ended = await this.#endedJobs(mine, new Set(open.keys()), at);
    const known = new Map([...open, ...ended]);
    // From here on without a pause: what happens to a caller now comes after what is said here.
    return [...connections, ...known.values(), ...this.#streams(mine, known)];
  }

  async #openJobs(jobIds: readonly string[], at: number): Promise<Map<string, ShardInput>> {
    const { jobs, logs, queue } = this.#parts;
    const restored = new Map<string, ShardInput>();
    for (const jobId of jobIds) {
      if (!jobs.has(jobId)) continue;
      const entries = (await logs.read(jobId)) ?? [];
      if (entries.length > 0 && !logs.areOurs(entries)) {
        jobs.fenced(jobId, 'fenced');
        continue;
      }
      const workerId = queue.holder(jobId);
      const held = workerId === undefined ? {} : { workerId };
      restored.set(jobId, { kind: 'jobRestored', at, jobId, entries, ...held });
    }
    return restored;
  }

  /** A job that has ended, and a caller that has yet to read its answer; or no log at all yet. */
  async #endedJobs(
    mine: (id: string) => boolean,
    known: ReadonlySet<string>,
    at: number,
  ): Promise<Map<string, ShardInput>> {
    const { callers, logs } = this.#parts;
    const restored = new Map<string, ShardInput>();
    for (const { jobId, opened, follow } of [...callers]) {
      if (!mine(jobId) || known.has(jobId) || restored.has(jobId) || follow !== undefined) continue;
      const entries = opened ? await logs.read(jobId) : [];
      if (entries !== null && entries.length === 0) continue;
      restored.set(jobId, { kind: 'jobRestored', at, jobId, entries: entries ?? [] });
    }
    return restored;
  }

  /** D2. */
  #streams(mine: (id: string) => boolean, known: ReadonlyMap<string, unknown>): ShardInput[] {
    const inputs: ShardInput[] = [];
    for (const caller of this.#parts.callers) {
      if (!(known.has(caller.jobId) || (caller.follow !== undefined && mine(caller.jobId)))) continue;
      caller.turn += 1;
      const { streamId, turn, jobId, sent, opened, paused, follow } = caller;
      if (follow === undefined) inputs.push({ kind: 'streamRestored', streamId, turn, jobId, sent, opened });
      else {
        const cursor = sent === null ? follow.cursor : { position: sent, frames: null };
        inputs.push({ kind: 'streamFollows', streamId, turn, jobId, follow: { ...follow, cursor } });
      }
      if (paused) inputs.push({ kind: 'streamPaused', streamId, turn });
    }
    return inputs;
  }

  /** An input has killed its shard twice and is dropped (shard-links.ts L3). */
  poisoned(input: ShardInput): void {
    const { diagnostics, callers, sockets, jobs, refuseCount, refuseLook, refuseRequest, endCall } = this.#parts;
    const code = 'poisoned_input';
    const message = 'something about this job kills the thread that handles it';
    diagnostics.error('an input killed its shard twice and is dropped', { kind: input.kind });
    const [, id = ''] = input.kind === 'timerFired' ? input.key.split(':') : [];
    if (input.kind === 'countArrived') refuseCount(input.countId, code, message);
    else if (input.kind === 'requestArrived' || input.kind === 'streamFollows')
      refuseRequest(input.streamId, code, message);
    else if (input.kind === 'lookArrived') refuseLook(input.lookId, code, message);
    else if (input.kind === 'jobRestored') jobs.fenced(input.jobId, 'poisoned');
    else if (input.kind === 'directAnswered') endCall(input.callId);
    else if ('jobId' in input) jobs.fail(input.jobId, code, message);
    else if ('streamId' in input) callers.refuse(input.streamId, code, message);
    else if (jobs.has(id)) jobs.fail(id, code, message);
    else {
      const workerId = 'workerId' in input ? input.workerId : id;
      sockets.get(workerId)?.port.close(closeCodes.internal, 'this connection cannot be handled');
    }
  }
}
