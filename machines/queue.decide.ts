/**
 * What the queue allows: commands in, events or a refusal out. The only place that says no.
 *
 * A command that changes nothing (the same offer again, a worker that was withdrawn before) is accepted with no events:
 * effects are at least once after a recovery, and a second time must be harmless.
 */
import type { Feature } from '../protocol/features.ts';
import type { WorkerOffer } from '../protocol/shard-messages.ts';
import {
  evolve,
  type Queue,
  type QueueAction,
  type QueueEvent,
  type QueueWorker,
  suits,
  type WaitingJob,
} from './queue.ts';

export type QueueCommand =
  | {
      readonly type: 'enqueueJob';
      readonly at: number;
      readonly jobId: string;
      readonly model: string;
      readonly priority: number;
      readonly again: boolean;
      readonly continues?: boolean;
      readonly modelFile?: string | null;
      readonly needs?: readonly Feature[];
      readonly prefers?: string;
    }
  /** A worker has a job of its own back; wherever the queue has it, it is there no more. */
  | { readonly type: 'claimJob'; readonly at: number; readonly jobId: string; readonly workerId: string }
  /** The job has ended while it waited. */
  | { readonly type: 'dequeueJob'; readonly at: number; readonly jobId: string }
  | { readonly type: 'freeSlot'; readonly at: number; readonly jobId: string; readonly workerId: string }
  | { readonly type: 'offerWorker'; readonly at: number; readonly workerId: string; readonly offer: WorkerOffer }
  | { readonly type: 'withdrawWorker'; readonly at: number; readonly workerId: string }
  /** Its connection is gone. */
  | { readonly type: 'removeWorker'; readonly at: number; readonly workerId: string }
  /** Give every waiting job a slot, as far as there are any. Once a tick, after all else. */
  | { readonly type: 'matchJobs'; readonly at: number }
  | { readonly type: 'closeQueue'; readonly at: number };

export type QueueRefusal = {
  readonly code: 'queue_full' | 'shutting_down' | 'known_job' | 'unknown_job' | 'not_held' | 'unknown_worker';
};
export type QueueDecision =
  | { readonly ok: true; readonly events: readonly QueueEvent[] }
  | { readonly ok: false; readonly refusal: QueueRefusal };

const no = (code: QueueRefusal['code']): QueueDecision => ({ ok: false, refusal: { code } });
const yes = (...events: readonly QueueEvent[]): QueueDecision => ({ ok: true, events });

export function decide(queue: Queue, command: QueueCommand): QueueDecision {
  const { at } = command;
  switch (command.type) {
    case 'enqueueJob': {
      const { jobId, model, priority, again, continues = false, modelFile = null, needs = [], prefers } = command;
      if (queue.jobs.has(jobId)) return no('known_job');
      if (!again && queue.closed) return no('shutting_down');
      // Jobs that a free slot awaits do not wait: they are matched in this very tick.
      if (!again && queue.waiting.length - queue.freeSlots >= queue.waitingMax) return no('queue_full');
      const wish = prefers === undefined ? {} : { prefers };
      return yes({ type: 'job.enqueued', at, jobId, model, priority, again, continues, modelFile, needs, ...wish });
    }
    case 'claimJob': {
      const { jobId, workerId } = command;
      if (!queue.workers.has(workerId)) return no('unknown_worker');
      const holder = queue.jobs.get(jobId);
      if (holder === workerId) return yes();
      const claimed = { type: 'job.claimed', at, jobId, workerId } as const;
      if (holder === undefined) return yes(claimed);
      if (holder === null) return yes({ type: 'job.dequeued', at, jobId }, claimed);
      return yes({ type: 'slot.freed', at, jobId, workerId: holder }, claimed);
    }
    case 'dequeueJob': {
      const { jobId } = command;
      const workerId = queue.jobs.get(jobId);
      if (workerId === undefined) return no('unknown_job');
      // 1. The job ends while it waits. 2. Before word of that comes here, it is matched. 3. The job refuses the match,
      // so no worker ever hears of it, and nobody else would free the slot.
      return workerId === null
        ? yes({ type: 'job.dequeued', at, jobId })
        : yes({ type: 'slot.freed', at, jobId, workerId });
    }
    case 'freeSlot': {
      const { jobId, workerId } = command;
      return queue.jobs.get(jobId) === workerId ? yes({ type: 'slot.freed', at, jobId, workerId }) : no('not_held');
    }
    case 'offerWorker': {
      const { workerId, offer } = command;
      const worker = queue.workers.get(workerId);
      if (worker === undefined) return yes({ type: 'worker.joined', at, workerId, offer });
      return worker.open && same(worker.offer, offer) ? yes() : yes({ type: 'worker.changed', at, workerId, offer });
    }
    case 'withdrawWorker': {
      const worker = queue.workers.get(command.workerId);
      if (worker === undefined) return no('unknown_worker');
      return worker.open ? yes({ type: 'worker.withdrawn', at, workerId: command.workerId }) : yes();
    }
    case 'removeWorker':
      return queue.workers.has(command.workerId)
        ? yes({ type: 'worker.left', at, workerId: command.workerId })
        : no('unknown_worker');
    case 'matchJobs':
      return yes(...matches(queue, at));
    case 'closeQueue':
      return queue.closed ? yes() : yes({ type: 'queue.closed', at });
  }
}

/** Decides and applies: the queue after, what to do, and the refusal if there was one. */
export function obey(
  queue: Queue,
  command: QueueCommand,
): { readonly queue: Queue; readonly actions: readonly QueueAction[]; readonly refusal: QueueRefusal | null } {
  const decision = decide(queue, command);
  if (!decision.ok) return { queue, actions: [], refusal: decision.refusal };
  const actions: QueueAction[] = [];
  let next = queue;
  for (const event of decision.events) {
    const [after, asked] = evolve(next, event);
    next = after;
    actions.push(...asked);
  }
  return { queue: next, actions, refusal: null };
}

/** Plays the matches forward on a value of its own, so that each sees the slots that those before it took. */
function matches(queue: Queue, at: number): QueueEvent[] {
  const events: QueueEvent[] = [];
  let next = queue;
  for (const job of queue.waiting) {
    if (next.free.length === 0) break;
    const worker = bestFor(job, next.free);
    // Nothing suits this job: one behind it may still find its worker.
    if (worker === undefined) continue;
    const event = { type: 'job.matched', at, jobId: job.jobId, workerId: worker.workerId } as const;
    [next] = evolve(next, event);
    events.push(event);
  }
  return events;
}

/** `free` has the best first; but what was said goes on exactly only where its tokens mean the same. */
function bestFor(job: WaitingJob, free: readonly QueueWorker[]): QueueWorker | undefined {
  const exact =
    job.modelFile === null
      ? undefined
      : free.find(({ offer }) => offer.modelFile === job.modelFile && suits(job, offer));
  const own =
    job.prefers === undefined
      ? undefined
      : free.find(worker => worker.workerId === job.prefers && suits(job, worker.offer));
  return exact ?? own ?? free.find(({ offer }) => suits(job, offer));
}

const same = (a: WorkerOffer, b: WorkerOffer): boolean =>
  a.slots === b.slots &&
  a.model === b.model &&
  a.backend === b.backend &&
  a.contextSize === b.contextSize &&
  a.protocol === b.protocol &&
  a.workerInstance === b.workerInstance &&
  a.modelFile === b.modelFile &&
  String(a.features ?? []) === String(b.features ?? []);
