/**
 * One shard: the job, stream and worker-connection machines of some hash slots, as a function of its inputs.
 *
 * `handle` takes a batch and gives back events to append and effects to carry out; it reads no clock, rolls no dice and
 * waits for nothing. So the same inputs give the same outputs, in a thread, in a simulation and after a death.
 *
 * Token frames of one batch become one event per job (group by tick): see `Draft`.
 */

import { answeredAtOnce } from '../../machines/answer.openai-responses.ts';
import { assignJob, cancelJob, expireJob, failJob } from '../../machines/job.decide.ts';
import { endPatience, type Patience, resumeJob, takeOverJob } from '../../machines/job.losses.ts';
import { isRunning, type Job, owed, replay } from '../../machines/job.ts';
import { expireRound } from '../../machines/tool-round.decide.ts';
import type { JobSubmitted } from '../../protocol/job-events.ts';
import {
  type Effect,
  type LoggedEntry,
  type ShardBatch,
  type ShardInput,
  type ShardOutput,
  type ToolInput,
  warmedBy,
} from '../../protocol/shard-messages.ts';
import { serialiseFrame } from '../../protocol/worker-frames.ts';
import { countOf } from './count.ts';
import { effectsOf } from './job-effects.ts';
import { JobFrames } from './job-frames.ts';
import { LiveJobs } from './live-jobs.ts';
import { lookAt } from './looks.ts';
import { positioned } from './positioned.ts';
import { readRequest } from './request.ts';
import { StreamInputs } from './stream-inputs.ts';
import { Streams } from './streams.ts';
import { outcomeOf, progressIn, toolDecision, toolsFor } from './tool-rounds.ts';
import { WarmUps } from './warm-ups.ts';
import type { WorkerRules } from './workers.ts';
import { Workers } from './workers.ts';

type Input<K extends ShardInput['kind']> = Extract<ShardInput, { kind: K }>;

export class Shard {
  readonly #streams = new Streams();
  readonly #jobs = new LiveJobs(this.#streams);
  readonly #streamInputs = new StreamInputs(this.#jobs, this.#streams);
  readonly #warmUps = new WarmUps(this.#jobs);
  readonly #frames: JobFrames;
  readonly #workers: Workers;
  readonly #patience: Patience;

  constructor(rules: WorkerRules) {
    this.#patience = rules.patience;
    this.#frames = new JobFrames(this.#jobs, this.#streams, rules.patience);
    this.#workers = new Workers(rules, effect => this.#jobs.out(effect));
  }

  handle(batch: ShardBatch): ShardOutput {
    for (const input of batch.inputs) this.#take(input);
    this.#warmUps.settle();
    const { chunks, effects } = this.#jobs.finish(batch.inputs.at(-1));
    this.#streams.forgetLogs();
    return { n: batch.n, chunks, effects };
  }

  /** How much the shard holds; all zero when everything is done. */
  get size(): { jobs: number; streams: number; workers: number } {
    return { jobs: this.#jobs.size, streams: this.#streams.size, workers: this.#workers.size };
  }

  #take(input: ShardInput): void {
    const warmed = 'jobId' in input ? warmedBy(input.jobId) : null;
    if (warmed !== null) return this.#warmUps.take(warmed, input);
    switch (input.kind) {
      case 'jobFrames':
        return this.#frames.arrived(input);
      case 'requestArrived':
        return this.#requestArrived(input);
      case 'countArrived':
        this.#jobs.out(countOf(input));
        return;
      case 'lookArrived':
        this.#jobs.out({ kind: 'looked', lookId: input.lookId, outcome: lookAt(input.look, input.entries) });
        return;
      case 'jobMatched':
        return this.#jobMatched(input);
      case 'toolMatched':
      case 'toolAnswered':
      case 'toolLost':
      case 'toolRefused':
      case 'directAnswered':
      case 'toolProgressed':
        return this.#toolTold(input);
      case 'jobOrphaned':
        return this.#frames.orphaned(input.jobId, input.workerId, input.reason, input.at);
      case 'jobLeaving':
        return this.#warmUps.leaving(input);
      case 'jobClaimed':
        return this.#jobClaimed(input);
      case 'jobAsked':
        return this.#jobAsked(input);
      case 'jobCancel':
        return this.#jobs.decided(input.jobId, job => cancelJob(job, input.reason, input.at));
      case 'jobFail':
        return this.#jobs.decided(input.jobId, job => failJob(job, input.code, input.message, input.at));
      case 'jobFenced':
        return this.#jobs.drop(input.jobId);
      case 'streamClosed':
        return this.#streamInputs.closed(input);
      case 'streamFollows':
        return this.#streamInputs.follows(input);
      case 'streamDue':
        this.#jobs.out(...this.#streams.openEarly(input.streamId));
        return;
      case 'streamPaused':
        return this.#streams.pause(input.streamId, input.turn);
      case 'streamWoken':
        this.#streamInputs.woken(input);
        return;
      case 'streamEntries':
        return this.#streamInputs.entries(input);
      case 'jobRestored':
        return this.#jobRestored(input);
      case 'streamRestored':
        return this.#streamInputs.restored(input);
      case 'timerFired':
        if (input.key.startsWith('job:'))
          return this.#jobs.decided(input.key.slice(4), job => expireJob(job, input.at));
        if (input.key.startsWith('patience:'))
          return this.#jobs.decided(input.key.slice(9), job => endPatience(job, input.at));
        if (input.key.startsWith('tools:'))
          return this.#jobs.decided(input.key.slice(6), job => expireRound(job, input.at));
        if (input.key.startsWith('keep:')) return this.#streamInputs.keptLongEnough(input.key.slice(5), input.at);
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
      this.#jobs.out({ kind: 'readHistories', input, jobIds: parsed.jobIds });
      return;
    }
    if (!parsed.ok) {
      const { status, headers, body } = parsed.answer;
      this.#jobs.out({ kind: 'respond', streamId: input.streamId, status, headers, body });
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
    if (ignored.length > 0)
      this.#jobs.note('debug', 'parts of a request have no effect', { jobId, parts: [...new Set(ignored)].join(', ') });
    this.#jobs.submit(submitted, () => this.#answerBegins(input.streamId, submitted));
  }

  /** What the caller is told at once. */
  #answerBegins(streamId: number, submitted: JobSubmitted): Effect[] {
    const effects: Effect[] = [];
    const atOnce = answeredAtOnce(submitted);
    if (atOnce === null) this.#streams.open(streamId, submitted);
    else effects.push({ kind: 'respond', streamId, status: atOnce.status, headers: atOnce.headers, body: atOnce.body });
    if (submitted.background === true) effects.push(...this.#streams.openEarly(streamId));
    return effects;
  }

  /** A worker's claim to a job that it held before its connection broke. It is answered once the log knows. */
  #jobClaimed(input: Input<'jobClaimed'>): void {
    const { jobId, workerId } = input;
    const refusal = this.#jobs.tried(jobId, job => resumeJob(job, input), input.at);
    const live = this.#jobs.get(jobId);
    if (refusal !== null || live === undefined || live.chunk === null) {
      this.#jobs.out({ kind: 'claimAnswered', workerId, jobId, mark: null });
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
    if (live === undefined) this.#jobs.out(answer);
    else this.#jobs.behind(live, answer);
  }

  /** A job that ended, or got a worker, between its match and now does not take the slot. */
  #jobMatched(input: Input<'jobMatched'>): void {
    const { jobId, workerId } = input;
    const refusal = this.#jobs.tried(jobId, job => assignJob(job, input));
    if (refusal !== null) this.#jobs.out({ kind: 'freeSlot', jobId, workerId });
  }

  /** What became of a call. A result is acknowledged once the log has it; a match that comes to nothing is taken back. */
  #toolTold(input: ToolInput): void {
    if (input.kind === 'directAnswered') {
      this.#jobs.out({ kind: 'toolResulted', callId: input.callId, outcome: outcomeOf(input.text) });
      return;
    }
    if (input.kind === 'toolProgressed') return this.#jobs.out(...progressIn(input.text, input.callId));
    const refusal = this.#jobs.tried(input.jobId, job => toolDecision(job, input));
    if (refusal !== null && input.kind === 'toolMatched' && refusal !== 'repeated')
      this.#jobs.out({ kind: 'endTool', callId: input.callId, thanks: false });
  }

  #jobRestored({ jobId, entries, adopted, at, workerId }: Input<'jobRestored'>): void {
    const job = this.#replayed(jobId, entries);
    if (job === null) return this.#letGo(jobId, workerId);
    this.#jobs.restore(job);
    this.#streams.remember(jobId, [...positioned(entries)]);
    // Nothing of this needs an event to be acknowledged first: the log it follows from is.
    const lost = adopted === 'inherited' || (adopted === 'offered' && isRunning(job));
    const again = lost && job.state.value === 'orphaned';
    for (const action of owed(job)) {
      // After a restart all workers are away: how long a lost one is waited for counts from now.
      if (!again || action.type === 'armDeadline') this.#jobs.out(...effectsOf(action, job));
    }
    // A worker lost since a shard died is no matter of this: word of it is among the inputs that come next, behind the
    // frames that it sent before.
    if (lost) this.#jobs.decided(jobId, now => takeOverJob(now, at, this.#patience), at);
  }

  /** A job whose log cannot be read back: nothing of it is held any more. Its callers are refused. */
  #letGo(jobId: string, workerId: string | undefined): void {
    if (workerId !== undefined) {
      this.#jobs.out({ kind: 'sendFrame', workerId, text: serialiseFrame({ type: 'cancel', job_id: jobId }) });
    }
    this.#jobs.out(
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
      this.#jobs.note('error', message, { jobId, code: 'log_corrupt' });
      return null;
    }
  }
}
