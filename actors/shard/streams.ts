/**
 * The API streams of a shard. A stream shows events as they happen (live), nothing while its caller reads slowly
 * (paused), or first what it missed, read back from the log (catching). While it catches up, new events wait here, so
 * that none falls between the log's end and now: a read takes milliseconds, so that the wait is short.
 */
import {
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
import type { Effect } from '../../protocol/shard-messages.ts';

interface LiveStream {
  stream: Stream;
  readonly jobId: string;
  /** How often it was taken up again (shard-messages.ts): every effect names it, and inputs of another are late. */
  turn: number;
  mode: 'live' | 'paused' | 'catching';
  /** While catching, what the caller has: the log is shown to it from behind there. */
  sent: Position;
  /** The stream as it stood at some point that the caller has passed: catching up begins there, not at the job's start. */
  kept: Stream;
  waiting: (readonly [JobEvent, Position])[];
}

type Events = Iterable<readonly [JobEvent, Position]>;

export class Streams {
  readonly #streams = new Map<number, LiveStream>();
  readonly #ofJob = new Map<string, Set<number>>();
  /** Logs of jobs restored in the batch at hand, for the streams restored after them. */
  readonly #logs = new Map<string, (readonly [JobEvent, Position])[]>();

  get size(): number {
    return this.#streams.size;
  }

  open(streamId: number, submitted: JobSubmitted): void {
    this.#add(streamId, 0, submitted.jobId, openStream(submitted));
  }

  watched(jobId: string): boolean {
    return this.#ofJob.has(jobId);
  }

  jobOf(streamId: number): string | null {
    return this.#streams.get(streamId)?.jobId ?? null;
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

  openEarly(streamId: number): Effect[] {
    const live = this.#streams.get(streamId);
    if (live === undefined || live.mode !== 'live') return [];
    const [stream, actions] = openEarly(live.stream);
    live.stream = stream;
    return actions.map(action => effectOf(streamId, live.turn, action, stream.position));
  }

  pause(streamId: number, turn: number): void {
    const live = this.#streams.get(streamId);
    if (live === undefined || live.turn !== turn) return;
    live.mode = 'paused';
    live.waiting = [];
  }

  /** Begins a new turn behind `sent`. Returns the position to read the log from; null when that turn is over already. */
  wake(streamId: number, turn: number, sent: Position): Position | null {
    const live = this.#streams.get(streamId);
    if (live === undefined || live.turn >= turn) return null;
    live.turn = turn;
    live.mode = 'catching';
    live.waiting = [];
    live.sent = sent;
    [live.stream] = openEarly(live.kept);
    return live.kept.position;
  }

  /** Shows what the log holds, and after the last of it what has happened since: that may not be in the log yet. */
  catchUp(streamId: number, turn: number, events: Events, last: boolean): Effect[] {
    const live = this.#streams.get(streamId);
    if (live === undefined || live.mode !== 'catching' || live.turn !== turn) return [];
    const effects: Effect[] = [];
    for (const [event, position] of events) {
      if (comparePositions(position, live.sent) > 0) this.#shown(streamId, live, event, position, effects);
      else {
        [live.stream] = show(live.stream, event, position);
        live.kept = live.stream;
      }
    }
    if (!last) return effects;
    for (const [event, position] of live.waiting) this.#shown(streamId, live, event, position, effects);
    live.waiting = [];
    live.mode = 'live';
    return effects;
  }

  /** The caller is gone or has all: the job it watched, null for an unknown stream. */
  close(streamId: number): string | null {
    const live = this.#streams.get(streamId);
    if (live === undefined) return null;
    live.stream = leave(live.stream);
    this.#streams.delete(streamId);
    const ids = this.#ofJob.get(live.jobId);
    ids?.delete(streamId);
    if (ids?.size === 0) this.#ofJob.delete(live.jobId);
    return live.jobId;
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

  #add(streamId: number, turn: number, jobId: string, stream: Stream): LiveStream {
    const live: LiveStream = { stream, jobId, turn, mode: 'live', sent: origin, kept: stream, waiting: [] };
    this.#streams.set(streamId, live);
    const ids = this.#ofJob.get(jobId);
    if (ids === undefined) this.#ofJob.set(jobId, new Set([streamId]));
    else ids.add(streamId);
    return live;
  }

  #shown(streamId: number, live: LiveStream, event: JobEvent, position: Position, effects: Effect[]): void {
    if (isEnded(live.stream)) return;
    const [stream, actions] = show(live.stream, event, position);
    live.stream = stream;
    for (const action of actions) effects.push(effectOf(streamId, live.turn, action, position));
  }
}

function effectOf(streamId: number, turn: number, action: StreamAction, position: Position): Effect {
  switch (action.type) {
    case 'respond':
      return { kind: 'respond', streamId, status: action.status, headers: action.headers, body: action.body };
    case 'open':
      return { kind: 'open', streamId, status: action.status, headers: action.headers };
    case 'write':
      return { kind: 'write', streamId, turn, text: action.text, position };
    case 'end':
      return { kind: 'end', streamId, turn, position };
  }
}
