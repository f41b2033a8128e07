/**
 * One shard: the job, stream and worker-connection machines of some hash slots, as a function of its inputs.
 *
 * `handle` takes a batch and gives back events to append and effects to carry out; it reads no clock, rolls no dice and
 * waits for nothing. So the same inputs give the same outputs, in a thread, in a simulation and after a death.
 *
 * Token frames of one batch become one event per job (group by tick): see `Draft`.
 */

import { answeredAtOnce } from '../../machines/answer.openai-responses.ts';
import {
  acceptToken,
  assignJob,
  cancelJob,
  completeJob,
  type Decision,
  type Draft,
  expireJob,
  failAtWorker,
  failJob,
  foreign,
  outputEvents,
  type Refusal,
  stopAtWorker,
} from '../../machines/job.decide.ts';
import {
  endPatience,
  orphanJob,
  overloadJob,
  type Patience,
  resumeJob,
  takeOverJob,
} from '../../machines/job.losses.ts';
import { type Choice, hasSaid, idsFor } from '../../machines/job.output.ts';
import { begin, evolve, isOver, isRunning, type Job, type JobAction, owed, replay } from '../../machines/job.ts';
import { expireRound } from '../../machines/tool-round.decide.ts';
import { requestNow } from '../../machines/tool-round.ts';
import { type Feature, featuresNeeded } from '../../protocol/features.ts';
import type { JobEvent, JobOrphaned, JobSubmitted } from '../../protocol/job-events.ts';
import { isTerminal } from '../../protocol/job-events.ts';
import { origin, type Position } from '../../protocol/position.ts';
import type {
  Chunk,
  Effect,
  LoggedEntry,
  ShardBatch,
  ShardInput,
  ShardOutput,
  ToolInput,
} from '../../protocol/shard-messages.ts';
import type { Resume } from '../../protocol/worker-frames.parts.ts';
import { type CompleteFrame, jobFrame, serialiseFrame, type WorkerFrame } from '../../protocol/worker-frames.ts';
import { countOf } from './count.ts';
import { framesOf } from './frames.ts';
import { lookAt } from './looks.ts';
import { positioned } from './positioned.ts';
import { readRequest } from './request.ts';
import { Streams } from './streams.ts';
import { outcomeOf, sendTool, toolDecision, toolsFor } from './tool-rounds.ts';
import type { WorkerRules } from './workers.ts';
import { Workers } from './workers.ts';

/** A job that this shard holds, and what happened to it in the batch at hand. */
interface LiveJob {
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

type Input<K extends ShardInput['kind']> = Extract<ShardInput, { kind: K }>;

export class Shard {
  readonly #jobs = new Map<string, LiveJob>();
  readonly #streams = new Streams();
  readonly #workers: Workers;
  readonly #patience: Patience;
  /** Jobs touched by the batch at hand, in the order in which they were. */
  #touched = new Set<LiveJob>();
  #effects: Effect[] = [];

  constructor(rules: WorkerRules) {
    this.#patience = rules.patience;
    this.#workers = new Workers(rules, effect => this.#effects.push(effect));
  }

  handle(batch: ShardBatch): ShardOutput {
    for (const input of batch.inputs) this.#take(input);
    const chunks: Chunk[] = [];
    for (const live of this.#touched) {
      this.#speak(live, batch.inputs.at(-1));
      if (live.chunk !== null) chunks.push(sealed(live, live.chunk));
      live.chunk = null;
      this.#forgetIfDone(live);
    }
    this.#streams.forgetLogs();
    const effects = this.#effects;
    this.#touched = new Set();
    this.#effects = [];
    return { n: batch.n, chunks, effects };
  }

  /** How much the shard holds; all zero when everything is done. */
  get size(): { jobs: number; streams: number; workers: number } {
    return { jobs: this.#jobs.size, streams: this.#streams.size, workers: this.#workers.size };
  }

  #take(input: ShardInput): void {
    switch (input.kind) {
      case 'jobFrames':
        return this.#framesArrived(input);
      case 'requestArrived':
        return this.#requestArrived(input);
      case 'countArrived':
        this.#effects.push(countOf(input));
        return;
      case 'lookArrived':
        this.#effects.push({ kind: 'looked', lookId: input.lookId, outcome: lookAt(input.look, input.entries) });
        return;
      case 'jobMatched':
        return this.#jobMatched(input);
      case 'toolMatched':
      case 'toolAnswered':
      case 'toolLost':
      case 'toolRefused':
      case 'directAnswered':
        return this.#toolTold(input);
      case 'jobOrphaned':
        return this.#orphaned(input.jobId, input.workerId, input.reason, input.at);
      case 'jobClaimed':
        return this.#jobClaimed(input);
      case 'jobAsked':
        return this.#jobAsked(input);
      case 'jobCancel':
        return this.#decided(input.jobId, job => cancelJob(job, input.reason, input.at));
      case 'jobFail':
        return this.#decided(input.jobId, job => failJob(job, input.code, input.message, input.at));
      case 'jobFenced':
        return this.#jobFenced(input.jobId);
      case 'streamClosed':
        return this.#streamClosed(input);
      case 'streamFollows':
        return this.#streamFollows(input);
      case 'streamDue':
        this.#effects.push(...this.#streams.openEarly(input.streamId));
        return;
      case 'streamPaused':
        return this.#streams.pause(input.streamId, input.turn);
      case 'streamWoken':
        this.#streamWoken(input);
        return;
      case 'streamEntries':
        return this.#streamEntries(input);
      case 'jobRestored':
        return this.#jobRestored(input);
      case 'streamRestored':
        return this.#streamRestored(input);
      case 'timerFired':
        if (input.key.startsWith('job:')) return this.#decided(input.key.slice(4), job => expireJob(job, input.at));
        if (input.key.startsWith('patience:'))
          return this.#decided(input.key.slice(9), job => endPatience(job, input.at));
        if (input.key.startsWith('tools:')) return this.#decided(input.key.slice(6), job => expireRound(job, input.at));
        if (input.key.startsWith('keep:')) return this.#keptLongEnough(input.key.slice(5), input.at);
        return this.#workers.take(input);
      case 'workerOpened':
      case 'workerFrame':
      case 'workerKeyChecked':
      case 'workerClaimed':
      case 'workerDrained':
      case 'workerClosed':
      case 'workerRestored':
        return this.#workers.take(input);
    }
  }

  #requestArrived(input: Input<'requestArrived'>): void {
    const parsed = readRequest(input);
    if (parsed.ok === 'later') {
      this.#effects.push({ kind: 'readHistories', input, jobIds: parsed.jobIds });
      return;
    }
    if (!parsed.ok) {
      const { status, headers, body } = parsed.answer;
      this.#effects.push({ kind: 'respond', streamId: input.streamId, status, headers, body });
      return;
    }
    const { at, jobId, writer, deadlineAt, idempotency, requestId, keepMs = 0 } = input;
    const routerTools = toolsFor(parsed, input);
    const { request, answer, background = false, ignored = [] } = parsed;
    const submitted: JobSubmitted = {
      type: 'job.submitted',
      at,
      jobId,
      instance: writer.instance,
      boot: writer.boot,
      priority: 0,
      deadlineAt,
      request,
      answer,
      requestId,
      ...(idempotency === undefined ? {} : { idempotency }),
      ...(background ? { background } : {}),
      ...(keepMs > 0 ? { keepMs } : {}),
      ...(routerTools === null ? {} : { routerTools }),
    };
    const [job, actions] = begin(submitted);
    const live: LiveJob = { job, draft: null, chunk: null };
    this.#jobs.set(jobId, live);
    const chunk = this.#chunkWith(live, submitted);
    chunk.creates = true;
    if (ignored.length > 0)
      this.#note('debug', 'parts of a request have no effect', { jobId, parts: [...new Set(ignored)].join(', ') });
    const atOnce = answeredAtOnce(submitted);
    if (atOnce === null) this.#streams.open(input.streamId, submitted);
    else {
      const { status, headers, body } = atOnce;
      chunk.effects.push({ kind: 'respond', streamId: input.streamId, status, headers, body });
    }
    if (background) chunk.effects.push(...this.#streams.openEarly(input.streamId));
    this.#carry(live, chunk, actions);
  }

  #framesArrived({ jobId, workerId, lines, at }: Input<'jobFrames'>): void {
    for (const parsed of framesOf(lines)) {
      const live = this.#jobs.get(jobId);
      if (live === undefined) return;
      if (parsed.ok) this.#frameArrived(live, workerId, parsed.frame, at);
      else if (parsed.kind === 'type') this.#note('debug', 'frame of an unknown type ignored', { jobId, workerId });
      else {
        this.#note('warn', 'broken frame from a worker', { jobId, workerId, problem: parsed.kind });
        // It lost the job a moment ago, and the front has yet to hear.
        if (foreign(live.job, { workerId }) !== null) continue;
        const message = parsed.kind === 'shape' ? `: ${parsed.message}` : '';
        this.#decided(jobId, job => failJob(job, 'worker_error', `the worker sent a broken frame${message}`, at), at);
      }
    }
  }

  #frameArrived(live: LiveJob, workerId: string, frame: WorkerFrame, at: number): void {
    const { jobId } = live.job.submitted;
    switch (frame.type) {
      case 'token': {
        // A version 1 worker that says nothing says nothing: it is no sign that the job goes on (J4).
        if (frame.token === '' && frame.ids === undefined && frame.seq === undefined) return;
        const taken = acceptToken(live.job, live.draft, workerId, frame);
        if (taken.ok) {
          if (!taken.joins) this.#speak(live, { at });
          live.draft = taken.piece;
          this.#touched.add(live);
        } else if (taken.refusal.code === 'sequence_gap') {
          this.#note('warn', 'a token frame is missing', { jobId, workerId, seq: frame.seq ?? 0 });
          this.#orphaned(jobId, workerId, 'frames_lost', at);
        }
        return;
      }
      case 'complete':
        return this.#completed(live, workerId, frame, at);
      case 'error':
        // The engine is gone and the worker with it, as far as this job goes: the answer can go on elsewhere.
        if (frame.code === 'engine_crashed' && foreign(live.job, { workerId, attempt: frame.attempt }) === null)
          return this.#orphaned(jobId, workerId, 'engine_crashed', at);
        this.#ended(live, workerId, job => failAtWorker(job, workerId, frame, at), at);
        return;
      case 'cancelled':
        this.#ended(live, workerId, job => stopAtWorker(job, workerId, frame.attempt, at), at);
        return;
      case 'job.overload':
        this.#ended(live, workerId, job => overloadJob(job, workerId, frame, at, this.#patience), at);
        return;
      case 'job.tool.call.request': {
        if (foreign(live.job, { workerId, attempt: frame.attempt }) !== null) return;
        // Nobody makes calls in the middle of an answer here: the router makes those that end one (spec/workers C1).
        const result = 'calls of tools are made when the answer ends with them';
        const { call_id } = frame;
        const text = JSON.stringify({ type: 'job.tool.call.result', job_id: jobId, call_id, result, is_error: true });
        this.#effects.push({ kind: 'sendFrame', workerId, text });
        return;
      }
      case 'prompt_progress':
        if (foreign(live.job, { workerId, attempt: frame.attempt }) !== null) return;
        this.#effects.push(...this.#streams.progress(jobId, frame.processed, frame.total));
        return;
      default:
        // Display frames: proof of life, which the front has noted.
        return;
    }
  }

  #completed(live: LiveJob, workerId: string, frame: CompleteFrame, at: number): void {
    const refusal = this.#ended(live, workerId, job => completeJob(job, workerId, frame, at), at);
    // Frames before it are missing, and none will follow: what it did not say, another worker can.
    if (refusal === 'sequence_gap') this.#orphaned(live.job.submitted.jobId, workerId, 'frames_lost', at);
  }

  /** A worker's last word on a job. One of version 2 keeps it for a redial until it is told that it is safe. */
  #ended(live: LiveJob, workerId: string, decide: (job: Job) => Decision, at: number): Refusal['code'] | null {
    const { jobId } = live.job.submitted;
    const { protocol, attempt } = live.job.state.context;
    const refusal = this.#tried(jobId, decide, at);
    if (refusal === null && protocol >= 2) {
      live.chunk?.effects.push({ kind: 'ackFrames', workerId, jobId, attempt, seq: live.job.output.seq, ended: true });
    }
    return refusal;
  }

  #orphaned(jobId: string, workerId: string, reason: JobOrphaned['reason'], at: number): void {
    this.#decided(jobId, job => orphanJob(job, workerId, reason, at, this.#patience), at);
  }

  /** A worker's claim to a job that it held before its connection broke. It is answered once the log knows. */
  #jobClaimed(input: Input<'jobClaimed'>): void {
    const { jobId, workerId } = input;
    const refusal = this.#tried(jobId, job => resumeJob(job, input), input.at);
    const live = this.#jobs.get(jobId);
    if (refusal !== null || live === undefined || live.chunk === null) {
      this.#effects.push({ kind: 'claimAnswered', workerId, jobId, mark: null });
      return;
    }
    const { attempt } = live.job.state.context;
    const mark = { job_id: jobId, attempt, seq: live.job.output.seq };
    live.chunk.effects.push({ kind: 'claimAnswered', workerId, jobId, mark });
  }

  /** Decides nothing: whoever takes the job over says so in the log. */
  #jobAsked(input: Input<'jobAsked'>): void {
    const { jobId, boot } = input;
    const live = this.#jobs.get(jobId);
    const granted = live !== undefined && live.draft === null && resumeJob(live.job, input).ok;
    const answer: Effect = { kind: 'askAnswered', jobId, boot, granted };
    // Behind all that was said of the job so far.
    if (live === undefined) this.#effects.push(answer);
    else this.#chunkOf(live).effects.push(answer);
  }

  /** A job that ended, or got a worker, between its match and now does not take the slot. */
  #jobMatched(input: Input<'jobMatched'>): void {
    const { jobId, workerId } = input;
    const refusal = this.#tried(jobId, job => assignJob(job, input));
    if (refusal !== null) this.#effects.push({ kind: 'freeSlot', jobId, workerId });
  }

  #decided(jobId: string, decide: (job: Job) => Decision, at?: number): void {
    this.#tried(jobId, decide, at);
  }

  /** Obeys or refuses a command; what was said before it is written down first. Returns the refusal. */
  #tried(jobId: string, decide: (job: Job) => Decision, at?: number): Refusal['code'] | null {
    const live = this.#jobs.get(jobId);
    if (live === undefined) return 'over';
    if (live.draft !== null) this.#speak(live, { at: at ?? live.job.submitted.at });
    const decision = decide(live.job);
    if (!decision.ok) return decision.refusal.code;
    for (const event of decision.events) this.#happen(live, event);
    return null;
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

  /** What it said in this batch is no news any more either. */
  #jobFenced(jobId: string): void {
    const live = this.#jobs.get(jobId);
    if (live === undefined) return;
    this.#jobs.delete(jobId);
    this.#touched.delete(live);
  }

  /** A caller wants the answer of a job that was asked for before. What this shard does not hold, the log can tell. */
  #streamFollows({ streamId, turn, jobId, follow }: Input<'streamFollows'>): void {
    // The stream of a later turn stands here already: this input was given again after a death.
    if (this.#streams.knows(streamId, turn)) return;
    const live = this.#jobs.get(jobId);
    if (live === undefined) this.#streams.awaitLog(streamId, turn, jobId, follow);
    else this.#chunkOf(live).effects.push(...this.#streams.join(streamId, turn, live.job.submitted, follow));
    const until = live === undefined ? null : live.job.position;
    this.#effects.push({ kind: 'read', streamId, turn, jobId, after: origin, until });
  }

  /** What became of a call. A result is acknowledged once the log has it; a match that comes to nothing is taken back. */
  #toolTold(input: ToolInput): void {
    if (input.kind === 'directAnswered') {
      this.#effects.push({ kind: 'toolResulted', callId: input.callId, outcome: outcomeOf(input.text) });
      return;
    }
    const refusal = this.#tried(input.jobId, job => toolDecision(job, input));
    if (refusal !== null && input.kind === 'toolMatched' && refusal !== 'repeated')
      this.#effects.push({ kind: 'endTool', callId: input.callId, thanks: false });
  }

  #streamClosed({ streamId, jobId, at, looked }: Input<'streamClosed'>): void {
    this.#streams.close(streamId);
    const live = this.#jobs.get(jobId);
    if (live === undefined) return;
    if (looked !== true && !isOver(live.job) && !this.#streams.watched(jobId)) this.#abandoned(live, at);
    this.#forgetIfDone(live);
  }

  /** Nobody wants the job's answer any more, unless it was asked to wait for its callers. */
  #abandoned({ job }: LiveJob, at: number): void {
    const { jobId, background = false, keepMs = 0 } = job.submitted;
    if (background) return;
    if (keepMs > 0) this.#effects.push({ kind: 'armTimer', key: `keep:${jobId}`, at: at + keepMs });
    else this.#decided(jobId, job => cancelJob(job, 'caller_gone', at), at);
  }

  #keptLongEnough(jobId: string, at: number): void {
    // Somebody has come back: the time starts anew when they go.
    if (!this.#streams.watched(jobId)) this.#decided(jobId, job => cancelJob(job, 'caller_gone', at), at);
  }

  #streamEntries({ streamId, turn, entries, last }: Input<'streamEntries'>): void {
    const jobId = this.#streams.jobOf(streamId);
    if (jobId === null) return;
    const live = this.#streams.tails(streamId) ? undefined : this.#jobs.get(jobId);
    const effects = this.#streams.catchUp(streamId, turn, [...positioned(entries)], last);
    if (live === undefined) this.#effects.push(...effects);
    // The end of it tells of events that are on their way to the log: it waits for them, as if they happened now.
    else this.#chunkOf(live).effects.push(...effects);
  }

  #streamWoken({ streamId, turn, sent }: Input<'streamWoken'>): void {
    const jobId = this.#streams.jobOf(streamId);
    if (jobId === null) return;
    const live = this.#streams.tails(streamId) ? null : this.#jobs.get(jobId);
    if (live === undefined) return;
    const after = this.#streams.wake(streamId, turn, sent);
    if (after === null) return;
    this.#effects.push({ kind: 'read', streamId, turn, jobId, after, until: live?.job.position ?? null });
  }

  #jobRestored({ jobId, entries, adopted, at, workerId }: Input<'jobRestored'>): void {
    const job = this.#replayed(jobId, entries);
    if (job === null) return this.#letGo(jobId, workerId);
    const live: LiveJob = { job, draft: null, chunk: null };
    this.#jobs.set(jobId, live);
    this.#touched.add(live);
    this.#streams.remember(jobId, [...positioned(entries)]);
    // Nothing of this needs an event to be acknowledged first: the log it follows from is.
    const lost = adopted === 'inherited' || (adopted === 'offered' && isRunning(job));
    const again = lost && job.state.value === 'orphaned';
    for (const action of owed(job)) {
      // After a restart all workers are away: how long a lost one is waited for counts from now.
      if (!again || action.type === 'armDeadline') this.#effects.push(...effectsOf(action, job));
    }
    // A worker lost since a shard died is no matter of this: word of it is among the inputs that come next, behind the
    // frames that it sent before.
    if (lost) this.#decided(jobId, now => takeOverJob(now, at, this.#patience), at);
  }

  /** A job whose log cannot be read back: nothing of it is held any more. Its callers are refused. */
  #letGo(jobId: string, workerId: string | undefined): void {
    if (workerId !== undefined) {
      this.#effects.push({ kind: 'sendFrame', workerId, text: serialiseFrame({ type: 'cancel', job_id: jobId }) });
    }
    this.#effects.push(
      { kind: 'dequeueJob', jobId },
      { kind: 'disarmTimer', key: `job:${jobId}` },
      { kind: 'disarmTimer', key: `patience:${jobId}` },
      { kind: 'retireJob', jobId },
    );
  }

  #replayed(jobId: string, entries: readonly LoggedEntry[]): Job | null {
    try {
      return replay([...positioned(entries)].map(([event]) => event));
    } catch (error) {
      // A log that cannot be: this job alone stops (style §2), its callers are told, the shard goes on.
      const message = error instanceof Error ? error.message : String(error);
      this.#note('error', message, { jobId, code: 'log_corrupt' });
      return null;
    }
  }

  #streamRestored({ streamId, turn, jobId, sent, opened }: Input<'streamRestored'>): void {
    const live = this.#jobs.get(jobId);
    if (live === undefined) {
      const message = 'the log of this job cannot be read back';
      this.#effects.push({ kind: 'refuse', streamId, code: 'log_corrupt', message });
      return;
    }
    this.#effects.push(...this.#streams.restore(streamId, turn, live.job.submitted, sent, opened));
  }

  #forgetIfDone(live: LiveJob): void {
    const { jobId } = live.job.submitted;
    if (isOver(live.job) && live.chunk === null && !this.#streams.watched(jobId)) this.#jobs.delete(jobId);
  }

  #note(level: 'debug' | 'warn' | 'error', message: string, fields: Record<string, string | number>): void {
    this.#effects.push({ kind: 'note', level, message, fields });
  }
}

function effectsOf({ type, params }: JobAction, job: Job): Effect[] {
  switch (type) {
    case 'requestWorker':
      return [{ kind: 'enqueueJob', ...params, ...needsOf(job) }];
    case 'requestStandby': {
      const { modelFile } = job.output;
      const prefers = modelFile === null ? {} : { modelFile };
      return [
        { kind: 'enqueueJob', ...params, again: true, continues: hasSaid(job.output), ...prefers, ...needsOf(job) },
      ];
    }
    case 'withdrawRequest':
      return [{ kind: 'dequeueJob', ...params }];
    case 'sendJob': {
      const { jobId, workerId, attempt, protocol } = params;
      const version = protocol >= 2 ? 2 : 1;
      const frame = jobFrame(jobId, attempt, requestNow(job), version, hasSaid(job.output) ? resumeOf(job) : undefined);
      return [{ kind: 'sendFrame', workerId, text: serialiseFrame(frame) }];
    }
    case 'cancelAtWorker': {
      const { jobId, workerId, attempt } = params;
      const frame = { type: 'cancel', job_id: jobId, ...(job.state.context.protocol >= 2 ? { attempt } : {}) } as const;
      return [{ kind: 'sendFrame', workerId, text: serialiseFrame(frame) }];
    }
    case 'freeSlot':
      return [{ kind: 'freeSlot', ...params }];
    case 'takeBack':
      return [{ kind: 'takeBack', ...params }];
    case 'armPatience':
      return [{ kind: 'armTimer', key: `patience:${params.jobId}`, at: params.at }];
    case 'disarmPatience':
      return [{ kind: 'disarmTimer', key: `patience:${params.jobId}` }];
    case 'callTool':
      return [{ kind: 'callTool', ...params }];
    case 'sendTool':
      return sendTool(job, params);
    case 'endTool':
      return [{ kind: 'endTool', callId: params.callId, thanks: params.thanks }];
    case 'armRound':
      return [{ kind: 'armTimer', key: `tools:${params.jobId}`, at: params.at }];
    case 'disarmRound':
      return [{ kind: 'disarmTimer', key: `tools:${params.jobId}` }];
    case 'armDeadline':
      return [{ kind: 'armTimer', key: `job:${params.jobId}`, at: params.at }];
    case 'finishJob':
      return [
        { kind: 'disarmTimer', key: `job:${params.jobId}` },
        ...(job.submitted.keepMs === undefined ? [] : [{ kind: 'disarmTimer', key: `keep:${params.jobId}` } as const]),
        { kind: 'retireJob', jobId: params.jobId },
      ];
  }
}

function needsOf(job: Job): { readonly needs?: readonly Feature[] } {
  const needs = featuresNeeded(requestNow(job));
  return needs.length === 0 ? {} : { needs };
}

/** What the next worker is told of the answer so far. */
function resumeOf({ output, state: { context } }: Job): Resume {
  const resumed = (choice: Choice): Omit<Resume, 'others'> => {
    const { text, reasoning, tokens, reasoningTokens, calls, end } = choice;
    const ids = idsFor(output, context.modelFile, choice);
    return {
      text,
      reasoning,
      tokens,
      reasoning_tokens: reasoningTokens,
      ...(ids === null ? {} : { ids }),
      ...(calls.length === 0 ? {} : { calls: [...calls] }),
      ...(end === null ? {} : { ended: true }),
    };
  };
  const { others } = output;
  return { ...resumed(output), ...(others.length === 0 ? {} : { others: others.map(resumed) }) };
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
