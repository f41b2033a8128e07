/** Who carries out what the shards ask for: one line for each kind of effect. */
import type { Effect } from '../../protocol/shard-messages.ts';
import type { Diagnostics } from '../config/diagnostics.ts';
import type { Callers } from './callers.ts';
import type { Cluster } from './cluster.ts';
import type { Drain } from './drain.ts';
import type { JobQueue } from './job-queue.ts';
import type { Looks } from './looks.ts';
import type { OwnJobs } from './own-jobs.ts';
import type { Redials } from './redials.ts';
import type { Requests } from './requests.ts';
import type { Timers } from './timers.ts';
import type { TokenCounts } from './token-counts.ts';
import type { ToolCalls } from './tool-calls.ts';
import type { WorkerSockets } from './worker-sockets.ts';
import type { WorkerTraffic } from './worker-traffic.ts';

export interface EffectsParts {
  readonly diagnostics: Diagnostics;
  readonly callers: Callers;
  readonly requests: Requests;
  readonly counts: TokenCounts;
  readonly looks: Looks;
  readonly sockets: WorkerSockets;
  readonly traffic: WorkerTraffic;
  readonly redials: Redials;
  readonly tools: ToolCalls;
  readonly queue: JobQueue;
  readonly timers: Timers;
  readonly jobs: OwnJobs;
  readonly drain: Drain;
  readonly cluster: Cluster | null;
  /** Notes that a chat completion was stored; absent where they are not listed. */
  readonly listCompletion?: (jobId: string) => Promise<void>;
}

export function carryOut(effect: Effect, parts: EffectsParts): void {
  const { callers, requests, counts, looks, sockets, traffic, redials, tools, queue, timers, cluster, drain } = parts;
  switch (effect.kind) {
    case 'write':
      return callers.write(effect);
    case 'open':
      return callers.open(effect);
    case 'listCompletion':
      return listCompletion(effect.jobId, parts);
    case 'progress':
      return callers.progressed(effect);
    case 'respond':
      requests.madeNoJob(effect.streamId);
      callers.respond(effect.streamId, effect.status, effect.headers, effect.body);
      return drain.look();
    case 'refuse':
      callers.refuse(effect.streamId, effect.code, effect.message);
      return drain.look();
    case 'end':
      callers.end(effect);
      return drain.look();
    case 'countTokens':
      return counts.ask(effect);
    case 'readHistories':
      void requests.bringHistories(effect);
      return;
    case 'looked':
      return looks.looked(effect.lookId, effect.outcome);
    case 'tokensCounted':
      return counts.counted(effect);
    case 'refuseCount':
      return counts.respond(effect);
    case 'read':
      void callers.readFor(effect);
      return;
    case 'sendFrame':
      return sockets.send(effect.workerId, effect.text);
    case 'ackFrames':
      return sockets.acknowledge(effect);
    case 'claimJobs':
      return redials.claimJobs(effect);
    case 'claimAnswered':
      return redials.answered(effect);
    case 'askAnswered':
      return cluster?.askAnswered(effect);
    case 'takeBack':
      return redials.takeBack(effect.jobId, effect.workerId);
    case 'closeWorker':
      return traffic.close(effect);
    case 'checkKey':
      void traffic.checkKey(effect);
      return;
    case 'keepWorker':
      return traffic.keep(effect);
    case 'offerWorker':
      return traffic.offer(effect);
    case 'withdrawWorker':
      return traffic.withdraw(effect.workerId);
    case 'callTool':
      return tools.call(effect);
    case 'sendTool':
      return tools.send(effect);
    case 'endTool':
      return tools.end(effect.callId, effect.thanks);
    case 'toolProgressed':
      return tools.progressed(effect);
    case 'toolResulted':
      return tools.resulted(effect);
    case 'moveJobs':
      return traffic.moveJobs(effect.workerId);
    case 'offerTools':
      return traffic.offerTools(effect);
    case 'withdrawTools':
      return tools.withdraw(effect.workerId);
    case 'enqueueJob':
      queue.enqueue(effect);
      return cluster?.arrived(effect.jobId);
    case 'dequeueJob':
      return queue.dequeue(effect.jobId);
    case 'freeSlot':
      return queue.free(effect.jobId, effect.workerId);
    case 'armTimer':
      return timers.arm(effect.key, effect.at);
    case 'disarmTimer':
      return timers.disarm(effect.key);
    case 'retireJob':
      return parts.jobs.retire(effect.jobId);
    case 'note':
      return parts.diagnostics[effect.level](effect.message, effect.fields);
  }
}

/** It can be asked for by its id, whether it is listed or not. */
function listCompletion(jobId: string, { listCompletion, diagnostics }: EffectsParts): void {
  listCompletion?.(jobId).catch(error =>
    diagnostics.warn('a stored completion could not be listed', { jobId, reason: String(error) }),
  );
}
