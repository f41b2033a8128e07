/**
 * The router's queue: jobs that wait for a slot, and workers with the jobs they hold.
 *
 *              enqueued            matched             slot freed
 *   unknown ────────────▶ waiting ────────▶ held by W ────────────▶ unknown ──claimed──▶ held by W
 *      ▲                     │                  │
 *      └─────dequeued────────┴─── worker left ──┘        (the job's own machine then asks again)
 *
 *   worker:  joined ──▶ open ⇄ withdrawn ──left──▶ gone      (changed: new slots or model; opens again)
 *   queue:   open ──closed──▶ closed: no new jobs, those it has go on
 *
 * Q1. A job is waiting, or held by exactly one worker, or unknown.
 * Q2. A worker never gets a job beyond its slots. After its slots were lowered it holds more, and gets none until below.
 *     So does one that comes back with jobs that it never stopped.
 * Q3. Only an open worker gets jobs; a withdrawn one keeps those it holds.
 * Q4. Jobs are matched by priority (greater first), then those queued again, then in the order they came.
 * Q5. Jobs that would have to wait are never more than `waitingMax`, but for jobs queued again: those were accepted.
 * Q6. No job waits while an open worker that suits it has a free slot, once `matchJobs` has been obeyed.
 * Q7. `free` holds exactly the open workers with a free slot, the best first.
 *
 * Plain values and no XState: there is one state to speak of (open or closed), and this runs for every job. Every
 * change makes a new value; what it copies is short (queue.test.ts measures it).
 */
import { type Feature, mayServe } from '../protocol/features.ts';
import type { WorkerOffer } from '../protocol/shard-messages.ts';
import { PersistentMap } from './persistent-map.ts';

export interface WaitingJob {
  readonly jobId: string;
  readonly model: string;
  /** Greater goes first. */
  readonly priority: number;
  /** Has been queued before, and lost its worker. */
  readonly again: boolean;
  /** Something was said already: only a worker that can be told so (version 2) may have it. */
  readonly continues: boolean;
  /** The model file of what was said: a worker with the same one goes on exactly. */
  readonly modelFile: string | null;
  /** A worker that lacks any of these may not have it. */
  readonly needs: readonly Feature[];
  /** Id of the worker that it goes to if that one is free when its turn comes. */
  readonly prefers?: string;
  readonly enqueuedAt: number;
  /** Order of arrival. */
  readonly number: number;
}

export interface QueueWorker {
  readonly workerId: string;
  readonly offer: WorkerOffer;
  /** May get jobs (Q3). */
  readonly open: boolean;
  /** Job ids, in the order they were matched. */
  readonly held: readonly string[];
  /** Number of the last match, 0 before the first: the worker with the smallest has rested longest. */
  readonly lastMatch: number;
}

export interface Queue {
  readonly closed: boolean;
  readonly waitingMax: number;
  /** In the order of Q4. */
  readonly waiting: readonly WaitingJob[];
  readonly workers: PersistentMap<QueueWorker>;
  /** Where each known job is: the id of the worker that holds it, or null while it waits. */
  readonly jobs: PersistentMap<string | null>;
  /** Q7. */
  readonly free: readonly QueueWorker[];
  /** Slots that could take a job now, over all open workers. */
  readonly freeSlots: number;
  /** Open workers, and their slots. */
  readonly openWorkers: number;
  readonly openSlots: number;
  readonly heldCount: number;
  /** Jobs enqueued so far, and matches made so far. */
  readonly arrivals: number;
  readonly matches: number;
}

export type QueueEvent =
  | {
      readonly type: 'job.enqueued';
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
  /** A worker that came back has the job, which waits or is held elsewhere or is not known here. */
  | { readonly type: 'job.claimed'; readonly at: number; readonly jobId: string; readonly workerId: string }
  | { readonly type: 'job.dequeued'; readonly at: number; readonly jobId: string }
  | { readonly type: 'job.matched'; readonly at: number; readonly jobId: string; readonly workerId: string }
  | { readonly type: 'slot.freed'; readonly at: number; readonly jobId: string; readonly workerId: string }
  | { readonly type: 'worker.joined'; readonly at: number; readonly workerId: string; readonly offer: WorkerOffer }
  /** Offers something else now, or is open again. */
  | { readonly type: 'worker.changed'; readonly at: number; readonly workerId: string; readonly offer: WorkerOffer }
  | { readonly type: 'worker.withdrawn'; readonly at: number; readonly workerId: string }
  | { readonly type: 'worker.left'; readonly at: number; readonly workerId: string }
  | { readonly type: 'queue.closed'; readonly at: number };

export type QueueAction =
  /** The job is the worker's now. `waitedMs` since it was enqueued. */
  | {
      readonly type: 'giveJob';
      readonly params: {
        readonly jobId: string;
        readonly workerId: string;
        readonly offer: WorkerOffer;
        readonly waitedMs: number;
      };
    }
  /** The job was held by a worker that left. */
  | { readonly type: 'reportOrphan'; readonly params: { readonly jobId: string; readonly workerId: string } };

export const newQueue = (waitingMax: number): Queue => ({
  closed: false,
  waitingMax,
  waiting: [],
  workers: PersistentMap.empty(),
  jobs: PersistentMap.empty(),
  free: [],
  freeSlots: 0,
  openWorkers: 0,
  openSlots: 0,
  heldCount: 0,
  arrivals: 0,
  matches: 0,
});

/** Whether the worker may run the job. Any worker runs any new job: the reference ignores the request's model too. */
export function suits({ continues, needs }: WaitingJob, { protocol, features = [] }: WorkerOffer): boolean {
  return (!continues || protocol >= 2) && mayServe(features, needs);
}

/** The worker that holds the job; null while it waits, undefined when the queue does not know it. */
export const holderOf = (queue: Queue, jobId: string): string | null | undefined => queue.jobs.get(jobId);

export const freeSlotsOf = ({ open, offer, held }: QueueWorker): number =>
  open ? Math.max(0, offer.slots - held.length) : 0;

/** Applies what has happened. An event that cannot follow is a bug of the caller: decide refuses it. */
export function evolve(queue: Queue, event: QueueEvent): [Queue, QueueAction[]] {
  switch (event.type) {
    case 'job.enqueued':
      return [enqueued(queue, event), []];
    case 'job.dequeued':
      return [{ ...unwaiting(queue, event.jobId), jobs: queue.jobs.without(event.jobId) }, []];
    case 'job.matched':
      return matched(queue, event);
    case 'job.claimed': {
      const { jobId, workerId } = event;
      const worker = workerOf(queue, workerId);
      if (queue.jobs.has(jobId)) throw broken(event.type, `job ${jobId} is known already`);
      const next = replaced(queue, worker, { ...worker, held: [...worker.held, jobId] });
      return [{ ...next, jobs: next.jobs.with(jobId, workerId), heldCount: next.heldCount + 1 }, []];
    }
    case 'slot.freed': {
      const worker = workerOf(queue, event.workerId);
      const held = worker.held.filter(id => id !== event.jobId);
      if (held.length === worker.held.length)
        throw broken(event.type, `worker ${event.workerId} does not hold ${event.jobId}`);
      const jobs = queue.jobs.without(event.jobId);
      return [{ ...replaced(queue, worker, { ...worker, held }), jobs, heldCount: queue.heldCount - 1 }, []];
    }
    case 'worker.joined': {
      const { workerId, offer } = event;
      return [replaced(queue, null, { workerId, offer, open: true, held: [], lastMatch: 0 }), []];
    }
    case 'worker.changed': {
      const worker = workerOf(queue, event.workerId);
      return [replaced(queue, worker, { ...worker, offer: event.offer, open: true }), []];
    }
    case 'worker.withdrawn': {
      const worker = workerOf(queue, event.workerId);
      return [replaced(queue, worker, { ...worker, open: false }), []];
    }
    case 'worker.left':
      return left(queue, workerOf(queue, event.workerId));
    case 'queue.closed':
      return [{ ...queue, closed: true }, []];
  }
}

/** The queue that the open jobs tell of: waiting ones in order of arrival, held ones with their worker. */
export function rebuildQueue(
  waitingMax: number,
  workers: Iterable<Pick<QueueWorker, 'workerId' | 'offer' | 'open' | 'held'>>,
  waiting: Iterable<Omit<WaitingJob, 'number'>>,
): Queue {
  let queue = newQueue(waitingMax);
  for (const { workerId, offer, open, held } of workers) {
    const matches = queue.matches + held.length;
    const { jobs, heldCount } = held.reduce(
      (so, id) => ({ jobs: so.jobs.with(id, workerId), heldCount: so.heldCount + 1 }),
      { jobs: queue.jobs, heldCount: queue.heldCount },
    );
    const worker = { workerId, offer, open, held, lastMatch: held.length === 0 ? 0 : matches };
    queue = { ...replaced(queue, null, worker), jobs, heldCount, matches };
  }
  for (const { enqueuedAt: at, ...job } of waiting) queue = enqueued(queue, { type: 'job.enqueued', at, ...job });
  return queue;
}

export interface QueueCounts {
  readonly waiting: number;
  readonly workers: number;
  readonly slots: number;
  readonly held: number;
  readonly free: number;
}

/** Numbers for `/health` and the metrics; kept running, so that asking costs nothing. */
export const queueCounts = ({ waiting, openWorkers, openSlots, heldCount, freeSlots }: Queue): QueueCounts => ({
  waiting: waiting.length,
  workers: openWorkers,
  slots: openSlots,
  held: heldCount,
  free: freeSlots,
});

function enqueued(queue: Queue, event: Extract<QueueEvent, { type: 'job.enqueued' }>): Queue {
  const { at, jobId, model, priority, again, continues = false, modelFile = null, needs = [], prefers } = event;
  if (queue.jobs.has(jobId)) throw broken(event.type, `job ${jobId} is known already`);
  const number = queue.arrivals + 1;
  const known: WaitingJob = { jobId, model, priority, again, continues, modelFile, needs, enqueuedAt: at, number };
  const job = prefers === undefined ? known : { ...known, prefers };
  const waiting = inserted(queue.waiting, job, servedBefore);
  return { ...queue, waiting, jobs: queue.jobs.with(jobId, null), arrivals: number };
}

function matched(queue: Queue, event: Extract<QueueEvent, { type: 'job.matched' }>): [Queue, QueueAction[]] {
  const { at, jobId, workerId } = event;
  const worker = workerOf(queue, workerId);
  if (freeSlotsOf(worker) === 0) throw broken(event.type, `worker ${workerId} has no free slot for ${jobId}`);
  const job = queue.waiting.find(waiting => waiting.jobId === jobId);
  if (job === undefined) throw broken(event.type, `job ${jobId} does not wait`);
  const matches = queue.matches + 1;
  const next = { ...worker, held: [...worker.held, jobId], lastMatch: matches };
  const jobs = queue.jobs.with(jobId, workerId);
  const waitedMs = Math.max(0, at - job.enqueuedAt);
  return [
    { ...replaced(unwaiting(queue, jobId), worker, next), jobs, matches, heldCount: queue.heldCount + 1 },
    [{ type: 'giveJob', params: { jobId, workerId, offer: worker.offer, waitedMs } }],
  ];
}

function left(queue: Queue, worker: QueueWorker): [Queue, QueueAction[]] {
  const { workerId, held } = worker;
  const jobs = held.reduce((map, jobId) => map.without(jobId), queue.jobs);
  const shut = replaced(queue, worker, { ...worker, open: false });
  return [
    { ...shut, workers: shut.workers.without(workerId), jobs, heldCount: queue.heldCount - held.length },
    held.map(jobId => ({ type: 'reportOrphan', params: { jobId, workerId } })),
  ];
}

/** The queue with `after` in the place of `before` (null: a new worker). Keeps Q7. */
function replaced(queue: Queue, before: QueueWorker | null, after: QueueWorker): Queue {
  const slotsBefore = before === null ? 0 : freeSlotsOf(before);
  const slotsAfter = freeSlotsOf(after);
  const rest = before === null || slotsBefore === 0 ? queue.free : without(queue.free, before);
  return {
    ...queue,
    workers: queue.workers.with(after.workerId, after),
    free: slotsAfter === 0 ? rest : inserted(rest, after, preferredTo),
    freeSlots: queue.freeSlots - slotsBefore + slotsAfter,
    openWorkers: queue.openWorkers - (before?.open === true ? 1 : 0) + (after.open ? 1 : 0),
    openSlots:
      queue.openSlots - (before?.open === true ? before.offer.slots : 0) + (after.open ? after.offer.slots : 0),
  };
}

function unwaiting(queue: Queue, jobId: string): Queue {
  const index = queue.waiting.findIndex(job => job.jobId === jobId);
  if (index < 0) throw broken('job.dequeued', `job ${jobId} does not wait`);
  return { ...queue, waiting: queue.waiting.toSpliced(index, 1) };
}

function workerOf(queue: Queue, workerId: string): QueueWorker {
  const worker = queue.workers.get(workerId);
  if (worker === undefined) throw broken('worker', `worker ${workerId} is unknown`);
  return worker;
}

/** Q4. */
const servedBefore = (a: WaitingJob, b: WaitingJob): boolean => {
  if (a.priority !== b.priority) return a.priority > b.priority;
  if (a.again !== b.again) return a.again;
  return a.number < b.number;
};

/** The least loaded by the free part of its slots; then the one that rested longest; then by id, so that nothing is left to chance. */
const preferredTo = (a: QueueWorker, b: QueueWorker): boolean => {
  const load = a.held.length * b.offer.slots - b.held.length * a.offer.slots;
  if (load !== 0) return load < 0;
  if (a.lastMatch !== b.lastMatch) return a.lastMatch < b.lastMatch;
  return a.workerId < b.workerId;
};

function inserted<T>(sorted: readonly T[], item: T, before: (a: T, b: T) => boolean): readonly T[] {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    const other = sorted[middle];
    if (other !== undefined && before(other, item)) low = middle + 1;
    else high = middle;
  }
  return sorted.toSpliced(low, 0, item);
}

function without(workers: readonly QueueWorker[], worker: QueueWorker): readonly QueueWorker[] {
  return workers.toSpliced(workers.indexOf(worker), 1);
}

const broken = (event: string, why: string): Error => new Error(`the queue cannot apply ${event}: ${why}`);
