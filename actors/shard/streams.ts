/**
 * The API streams of a shard. A stream shows events as they happen (live), nothing while its caller reads slowly
 * (paused), or first what it missed, read back from the log (catching). While it catches up, new events wait here, so
 * that none falls between the log's end and now: a read takes milliseconds, so that the wait is short.
 *
 * A caller may also follow a job that this shard does not hold (tailing): one that has ended, or another router's. All
 * that such a stream shows comes from the log.
 */

import { answeredAtOnce } from '../../machines/answer.openai-responses.ts';
import { streamHeaders } from '../../machines/shown.ts';
import {
  followStream,
  isEnded,
  leave,
  openEarly,
  openStream,
  restoreStream,
  type Stream,
  type StreamAction,
  show,
} from '../../machines/stream.ts';
import type { JobEvent, JobSubmitted } from '../../protocol/job-events.ts';
import { comparePositions, origin, type Position } from '../../protocol/position.ts';
import type { Effect, Follow } from '../../protocol/shard-messages.ts';
import { jobStanding, type Standing, standingAfter } from './standing.ts';

interface LiveStream {
  stream: Stream;
  readonly jobId: string;
  /** How often it was taken up again (shard-messages.ts): every effect names it, and inputs of another are late. */
  turn: number;
  mode: 'live' | 'paused' | 'catching' | 'tailing';
  /** All it shows comes from the log: it never is live. */
  readonly tails: boolean;
  /** While catching, what the caller has: the log is shown to it from behind there. */
  sent: Position;
  /** Of the event at `sent`, how many frames it has; null: all. */
  sentFrames: number | null;
  /** The stream as it stood at some point that the caller has passed: catching up begins there, not at the job's start. */
  kept: Stream;
  waiting: (readonly [JobEvent, Position])[];
  /** False until the head of a resumed answer is out: it waits for the job to prove that there is something to say. */
  opened: boolean;
  readonly waits: boolean;
  /** How the job stands, as far as it was shown; null for who does not ask. */
  standing: Standing | null;
  /** That is all that the caller wants to know. */
  readonly onlyStanding: boolean;
}

type Events = readonly (readonly [JobEvent, Position])[];

interface Awaited {
  readonly jobId: string;
  readonly turn: number;
  readonly follow: Follow;
}

export class Streams {
  readonly #streams = new Map<number, LiveStream>();
  readonly #ofJob = new Map<string, Set<number>>();
  /** Streams that wait for the first entry of their job's log: it says what was asked. */
  readonly #awaited = new Map<number, Awaited>();
  /** Logs of jobs restored in the batch at hand, for the streams restored after them. */
  readonly #logs = new Map<string, (readonly [JobEvent, Position])[]>();

  get size(): number {
    return this.#streams.size + this.#awaited.size;
  }

  open(streamId: number, submitted: JobSubmitted): void {
    this.#add(streamId, 0, submitted.jobId, openStream(submitted));
  }

  watched(jobId: string): boolean {
    return this.#ofJob.has(jobId);
  }

  jobOf(streamId: number): string | null {
    return (this.#streams.get(streamId) ?? this.#awaited.get(streamId))?.jobId ?? null;
  }

  /** Whether what the stream shows comes from the log alone. */
  tails(streamId: number): boolean {
    return this.#streams.get(streamId)?.tails ?? this.#awaited.has(streamId);
  }

  /** Whether this turn of the stream, or a later one, is known. */
  knows(streamId: number, turn: number): boolean {
    const known = this.#streams.get(streamId) ?? this.#awaited.get(streamId);
    return known !== undefined && known.turn >= turn;
  }

  /** A caller joins a job that this shard holds. It reads the log first, from its start. */
  join(streamId: number, turn: number, submitted: JobSubmitted, follow: Follow): Effect[] {
    return this.#follow(streamId, turn, submitted, follow, false);
  }

  /** A caller wants a job whose log alone can tell. */
  awaitLog(streamId: number, turn: number, jobId: string, follow: Follow): void {
    this.#drop(streamId);
    this.#awaited.set(streamId, { jobId, turn, follow });
  }

  /** Shows an event of the job to every stream on it. */
  show(jobId: string, event: JobEvent, position: Position): Effect[] {
    const ids = this.#ofJob.get(jobId);
    if (ids === undefined) return [];
    const effects: Effect[] = [];
    for (const streamId of ids) {
      const live = this.#streams.get(streamId);
      if (live?.mode === 'catching') live.waiting.push([event, position]);
      else if (live?.mode === 'live') this.#shown(streamId, live, event, position, effects);
    }
    return effects;
  }

  /** No event: it is gone when something is said. */
  progress(jobId: string, what: 'prompt' | 'tools', processed: number, total: number): Effect[] {
    const streams = [...(this.#ofJob.get(jobId) ?? [])];
    return streams.map(streamId => ({ kind: 'progress', streamId, what, processed, total }));
  }

  openEarly(streamId: number): Effect[] {
    const live = this.#streams.get(streamId);
    if (live === undefined || live.mode === 'paused') return [];
    if (!live.opened) return openResumed(streamId, live);
    if (live.mode === 'catching') return [];
    const [stream, actions] = openEarly(live.stream);
    live.stream = stream;
    return actions.map(action => effectOf(streamId, live, action, stream.position));
  }

  pause(streamId: number, turn: number): void {
    const live = this.#streams.get(streamId);
    if (live === undefined || live.turn !== turn) return;
    live.mode = 'paused';
    live.waiting = [];
  }

  /** Begins a new turn behind `sent`. Returns the position to read the log from; null when that turn is over already. */
  wake(streamId: number, turn: number, sent: Position): Position | null {
    const awaited = this.#awaited.get(streamId);
    if (awaited !== undefined && awaited.turn < turn) {
      // Its caller was slow when the shard was built anew, and nothing has been read for it since.
      const follow = { ...awaited.follow, cursor: { position: sent, frames: null } };
      this.#awaited.set(streamId, { ...awaited, turn, follow });
      return origin;
    }
    const live = this.#streams.get(streamId);
    if (live === undefined || live.turn >= turn) return null;
    live.turn = turn;
    live.mode = live.tails ? 'tailing' : 'catching';
    live.waiting = [];
    live.sent = sent;
    live.sentFrames = null;
    [live.stream] = openEarly(live.kept);
    return live.kept.position;
  }

  /** Shows what the log holds, and after the last of it what has happened since: that may not be in the log yet. */
  catchUp(streamId: number, turn: number, events: Events, last: boolean): Effect[] {
    const effects = this.#begun(streamId, turn, events);
    const live = this.#streams.get(streamId);
    // What was asked may have been answered by the first of its log.
    if (live === undefined || live.turn !== turn) return effects;
    if (live.mode !== 'catching' && live.mode !== 'tailing') return [];
    for (const [event, position] of events) {
      this.#shown(streamId, live, event, position, effects);
    }
    if (!last) return effects;
    for (const [event, position] of live.waiting) this.#shown(streamId, live, event, position, effects);
    live.waiting = [];
    if (live.mode === 'catching') live.mode = 'live';
    if (isEnded(live.stream)) return effects;
    if (!live.waits) effects.push(jobStanding(streamId, live.stream.answer.submitted, live.standing ?? 'queued'));
    else if (!live.opened) effects.push(...openResumed(streamId, live));
    return effects;
  }

  /** The caller is gone or has all: the job it watched, null for an unknown stream. */
  close(streamId: number): string | null {
    const jobId = this.jobOf(streamId);
    this.#drop(streamId);
    return jobId;
  }

  remember(jobId: string, log: (readonly [JobEvent, Position])[]): void {
    this.#logs.set(jobId, log);
  }

  forgetLogs(): void {
    this.#logs.clear();
  }

  /** A stream whose shard died: what the caller has not got yet is shown now. */
  restore(streamId: number, turn: number, submitted: JobSubmitted, sent: Position | null, opened: boolean): Effect[] {
    const log = this.#logs.get(submitted.jobId) ?? [];
    const live = this.#add(streamId, turn, submitted.jobId, restoreStream(submitted, log, sent, opened));
    const effects: Effect[] = [];
    for (const [event, position] of log) this.#shown(streamId, live, event, position, effects);
    return effects;
  }

  /** The first of a log that was waited for says what the caller had asked. */
  #begun(streamId: number, turn: number, events: Events): Effect[] {
    const awaited = this.#awaited.get(streamId);
    if (awaited === undefined || awaited.turn !== turn) return [];
    for (const [event] of events) {
      if (event.type !== 'job.submitted') return [];
      return this.#follow(streamId, turn, event, awaited.follow, true);
    }
    return [];
  }

  #follow(
    streamId: number,
    turn: number,
    submitted: JobSubmitted,
    { cursor, shape, waits }: Follow,
    tails: boolean,
  ): Effect[] {
    this.#drop(streamId);
    // A request that is repeated gets what it got the first time: that its job was taken in.
    const atOnce = shape === 'asked' ? answeredAtOnce(submitted) : null;
    if (atOnce !== null) {
      const { status, headers, body } = atOnce;
      return [{ kind: 'respond', streamId, status, headers, body }];
    }
    const { answer } = submitted;
    const wanted = shape === 'asked' ? answer : { ...answer, stream: shape === 'streamed' };
    const [stream, actions] = followStream({ ...submitted, answer: wanted }, cursor);
    const resumes = wanted.stream && cursor !== null;
    const live = this.#add(streamId, turn, submitted.jobId, stream, {
      mode: tails ? 'tailing' : 'catching',
      tails,
      waits,
      standing: 'queued',
      onlyStanding: shape === 'standing',
      opened: !resumes,
      ...(resumes ? { sent: cursor.position, sentFrames: cursor.frames } : {}),
    });
    const opening = actions.length > 0 ? openResumed(streamId, live) : [];
    return [...opening, ...actions.map(action => effectOf(streamId, live, action, stream.position))];
  }

  #add(
    streamId: number,
    turn: number,
    jobId: string,
    stream: Stream,
    more: Partial<
      Pick<LiveStream, 'mode' | 'tails' | 'waits' | 'standing' | 'onlyStanding' | 'opened' | 'sent' | 'sentFrames'>
    > = {},
  ): LiveStream {
    const live: LiveStream = {
      stream,
      jobId,
      turn,
      mode: 'live',
      tails: false,
      sent: origin,
      sentFrames: null,
      kept: stream,
      waiting: [],
      opened: true,
      waits: true,
      standing: null,
      onlyStanding: false,
      ...more,
    };
    this.#streams.set(streamId, live);
    const ids = this.#ofJob.get(jobId);
    if (ids === undefined) this.#ofJob.set(jobId, new Set([streamId]));
    else ids.add(streamId);
    return live;
  }

  #drop(streamId: number): void {
    this.#awaited.delete(streamId);
    const live = this.#streams.get(streamId);
    if (live === undefined) return;
    live.stream = leave(live.stream);
    this.#streams.delete(streamId);
    const ids = this.#ofJob.get(live.jobId);
    ids?.delete(streamId);
    if (ids?.size === 0) this.#ofJob.delete(live.jobId);
  }

  #shown(streamId: number, live: LiveStream, event: JobEvent, position: Position, effects: Effect[]): void {
    if (isEnded(live.stream)) return;
    const ahead = comparePositions(position, live.sent);
    const has = ahead < 0 || (ahead === 0 && live.sentFrames === null);
    const [stream, actions] = show(live.stream, event, position, ahead === 0 ? (live.sentFrames ?? 0) : 0);
    live.stream = stream;
    if (live.standing !== null) live.standing = standingAfter(live.standing, event);
    if (has) {
      live.kept = stream;
      if (isEnded(stream)) effects.push(...hasAll(streamId, live));
      return;
    }
    if (!live.opened && actions.length > 0) effects.push(...openResumed(streamId, live));
    for (const action of actions) effects.push(effectOf(streamId, live, action, position));
  }
}

/** The head of an answer that is gone on with. */
function openResumed(streamId: number, live: LiveStream): Effect[] {
  live.opened = true;
  return [effectOf(streamId, live, { type: 'open', status: 200, headers: streamHeaders }, origin)];
}

/** The caller had the whole answer before: there is nothing to come back for. */
function hasAll(streamId: number, live: LiveStream): Effect[] {
  if (live.opened) return [effectOf(streamId, live, { type: 'end' }, live.sent)];
  return [effectOf(streamId, live, { type: 'respond', status: 204, headers: {}, body: '' }, live.sent)];
}

function effectOf(streamId: number, live: LiveStream, action: StreamAction, position: Position): Effect {
  const { turn, jobId } = live;
  switch (action.type) {
    case 'respond':
      if (live.onlyStanding) return jobStanding(streamId, live.stream.answer.submitted, live.standing ?? 'queued');
      return { kind: 'respond', streamId, status: action.status, headers: named(action, jobId), body: action.body };
    case 'open':
      return { kind: 'open', streamId, status: action.status, headers: named(action, jobId) };
    case 'write':
      return { kind: 'write', streamId, turn, text: action.text, position };
    case 'end':
      return { kind: 'end', streamId, turn, position };
  }
}

/** Every answer says which job it is: by its id, it can be asked for again. */
const named = ({ headers }: Extract<StreamAction, { type: 'open' | 'respond' }>, jobId: string) => ({
  ...headers,
  'x-auxot-job': jobId,
});
