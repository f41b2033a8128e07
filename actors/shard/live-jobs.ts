/**
 * The jobs that a shard holds, and what the batch at hand makes of them: for each, one chunk of events with the effects that
 * wait for these; and beside the chunks, the effects that depend on no event.
 *
 * L1. An effect that follows from an event travels in that event's chunk, and so is carried out when the log has it.
 * L2. What a worker said in this batch is written down before anything else happens to its job.
 */
import type { Decision, Draft, Refusal } from '../../machines/job.decide.ts';
import { outputEvents } from '../../machines/job.decide.ts';
import { begin, evolve, isOver, type Job, type JobAction } from '../../machines/job.ts';
import { roundNow } from '../../machines/tool-round.ts';
import type { JobEvent, JobSubmitted } from '../../protocol/job-events.ts';
import { isTerminal } from '../../protocol/job-events.ts';
import { origin, type Position } from '../../protocol/position.ts';
import type { Chunk, Effect, ShardInput } from '../../protocol/shard-messages.ts';
import { effectsOf } from './job-effects.ts';
import type { Streams } from './streams.ts';

/** A job that this shard holds, and what happened to it in the batch at hand. */
export interface LiveJob {
  job: Job;
  draft: Draft | null;
  chunk: OpenChunk | null;
}

interface OpenChunk {
  /** Of the first event. */
  position: Position;
  readonly events: string[];
  readonly effects: Effect[];
  creates: boolean;
  ends: boolean;
}

export class LiveJobs {
  readonly #streams: Streams;
  readonly #jobs = new Map<string, LiveJob>();
  /** Jobs touched by the batch at hand, in the order in which they were. */
  #touched = new Set<LiveJob>();
  #effects: Effect[] = [];

  constructor(streams: Streams) {
    this.#streams = streams;
  }

  get size(): number {
    return this.#jobs.size;
  }

  get(jobId: string): LiveJob | undefined {
    return this.#jobs.get(jobId);
  }

  /** A new job. `effects` says what follows from its first event, before what its machine asks for. */
  submit(submitted: JobSubmitted, effects: () => readonly Effect[]): void {
    const [job, actions] = begin(submitted);
    const live: LiveJob = { job, draft: null, chunk: null };
    this.#jobs.set(submitted.jobId, live);
    const chunk = this.#chunkWith(live, submitted);
    chunk.creates = true;
    chunk.effects.push(...effects());
    this.#carry(live, chunk, actions);
  }

  /** A job as its log has it. */
  restore(job: Job): void {
    const live: LiveJob = { job, draft: null, chunk: null };
    this.#jobs.set(job.submitted.jobId, live);
    this.#touched.add(live);
  }

  /** Effects that depend on no event. */
  out(...effects: readonly Effect[]): void {
    this.#effects.push(...effects);
  }

  note(level: 'debug' | 'warn' | 'error', message: string, fields: Record<string, string | number>): void {
    this.#effects.push({ kind: 'note', level, message, fields });
  }

  /** Effects behind all that was said of the job so far. */
  behind(live: LiveJob, ...effects: readonly Effect[]): void {
    this.#chunkOf(live).effects.push(...effects);
  }

  /** The job's worker says more. */
  says(live: LiveJob, { joins, piece }: { readonly joins: boolean; readonly piece: Draft }, at: number): void {
    if (!joins) this.#speak(live, { at });
    live.draft = piece;
    this.#touched.add(live);
  }

  decided(jobId: string, decide: (job: Job) => Decision, at?: number): void {
    this.tried(jobId, decide, at);
  }

  /** Obeys or refuses a command; what was said before it is written down first (L2). Returns the refusal. */
  tried(jobId: string, decide: (job: Job) => Decision, at?: number): Refusal['code'] | null {
    const live = this.#jobs.get(jobId);
    if (live === undefined) return 'over';
    if (live.draft !== null) this.#speak(live, { at: at ?? live.job.submitted.at });
    const decision = decide(live.job);
    if (!decision.ok) return decision.refusal.code;
    for (const event of decision.events) this.#happen(live, event);
    return null;
  }

  /** The job is another's. What it said in this batch is no news any more either. */
  drop(jobId: string): void {
    const live = this.#jobs.get(jobId);
    if (live === undefined) return;
    this.#jobs.delete(jobId);
    this.#touched.delete(live);
  }

  forgetIfDone(live: LiveJob): void {
    const { jobId } = live.job.submitted;
    if (isOver(live.job) && live.chunk === null && !this.#streams.watched(jobId)) this.#jobs.delete(jobId);
  }

  /** The end of the batch; `last` is its last input. */
  finish(last: ShardInput | undefined): { readonly chunks: Chunk[]; readonly effects: Effect[] } {
    const chunks: Chunk[] = [];
    for (const live of this.#touched) {
      this.#speak(live, last);
      if (live.chunk !== null) chunks.push(sealed(live, live.chunk));
      live.chunk = null;
      this.forgetIfDone(live);
    }
    const effects = this.#effects;
    this.#touched = new Set();
    this.#effects = [];
    return { chunks, effects };
  }

  /** Turns what the worker said in this batch into an event. */
  #speak(live: LiveJob, input: { readonly at?: number } | ShardInput | undefined): void {
    const { draft } = live;
    if (draft === null) return;
    live.draft = null;
    const at = input !== undefined && 'at' in input && input.at !== undefined ? input.at : live.job.submitted.at;
    const { jobId, workerId, protocol, attempt } = live.job.state.context;
    for (const event of outputEvents(live.job, draft, at)) this.#happen(live, event);
    if (protocol < 2 || workerId === null || draft.seq === 0) return;
    live.chunk?.effects.push({ kind: 'ackFrames', workerId, jobId, attempt, seq: draft.seq });
  }

  #happen(live: LiveJob, event: JobEvent): void {
    const [job, actions] = evolve(live.job, event);
    live.job = job;
    const chunk = this.#chunkWith(live, event);
    if (isTerminal(event.type)) chunk.ends = true;
    const { answer, jobId } = job.submitted;
    if (event.type === 'job.completed' && answer.api === 'openai.chat' && answer.store === true)
      chunk.effects.push({ kind: 'listCompletion', jobId });
    chunk.effects.push(...this.#streams.show(job.submitted.jobId, event, job.position));
    const round = roundNow(job.tools);
    if (round !== null && (event.type === 'toolRound.started' || event.type === 'toolCall.finished')) {
      const done = round.calls.filter(({ state }) => state === 'finished').length;
      chunk.effects.push(...this.#streams.progress(jobId, 'tools', done, round.calls.length));
    }
    this.#carry(live, chunk, actions);
  }

  #carry(live: LiveJob, chunk: OpenChunk, actions: readonly JobAction[]): void {
    for (const action of actions) chunk.effects.push(...effectsOf(action, live.job));
  }

  #chunkOf(live: LiveJob): OpenChunk {
    this.#touched.add(live);
    live.chunk ??= { position: origin, events: [], effects: [], creates: false, ends: false };
    return live.chunk;
  }

  /** The chunk with the event that has just happened. */
  #chunkWith(live: LiveJob, event: JobEvent): OpenChunk {
    const chunk = this.#chunkOf(live);
    if (chunk.events.length === 0) chunk.position = live.job.position;
    chunk.events.push(JSON.stringify(event));
    return chunk;
  }
}

function sealed(live: LiveJob, chunk: OpenChunk): Chunk {
  return {
    jobId: live.job.submitted.jobId,
    epoch: chunk.position.epoch,
    sequence: chunk.position.number,
    count: chunk.events.length,
    events: chunk.events.join(','),
    creates: chunk.creates,
    ends: chunk.ends,
    effects: chunk.effects,
  };
}
