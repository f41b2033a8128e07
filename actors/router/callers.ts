/**
 * The answers on their way: which caller waits for which job, how far it has got, and whether it keeps up.
 *
 * C1. Bytes go out in order, each once. What a paused caller misses is read back from the log, never kept here.
 * C2. A caller that takes nothing for `pauseBytes` is paused; when its connection has drained it is woken, and cut when
 *     it has not for `stalledMsMax`.
 * C3. Each caller is told of its end once, and forgotten then.
 * C4. Waking begins a new turn of the stream, and so does a shard's successor. What was said in an earlier turn and still
 *     comes (held until an append is acknowledged, or read from the log) is dropped: it would repeat bytes or leave some out.
 */
import { openAfterMs } from '../../machines/stream.ts';
import type { CodeName } from '../../protocol/codes.ts';
import { isTerminal } from '../../protocol/job-events.ts';
import { comparePositions, type Position } from '../../protocol/position.ts';
import type { Effect, Follow, ShardInput } from '../../protocol/shard-messages.ts';
import type { ToolProgressFrame } from '../../protocol/worker-frames.tools.ts';
import type { Diagnostics } from '../config/diagnostics.ts';
import { LogCorrupt, type LogEntry } from '../log/job-log.ts';
import type { Appender } from './appender.ts';
import { logged } from './own-logs.ts';
import { patiently } from './patiently.ts';
import type { CallerPort, Clock, LogPort, TailPort } from './ports.ts';

export interface Caller {
  readonly streamId: number;
  readonly jobId: string;
  readonly port: CallerPort;
  readonly arrivedAt: number;
  readonly deadlineAt: number;
  opened: boolean;
  paused: boolean;
  /** Since when, while it is. */
  pausedAt: number;
  /** C4. */
  turn: number;
  /** Of the last bytes given to the connection. */
  sent: Position | null;
  lastWriteAt: number;
  /** How far its job's prompt is, or its tools are, while nothing is said. */
  progress: string | null;
  /** Of a caller that did not submit the job itself. */
  follow?: Follow;
}

export interface CallersParts {
  readonly clock: Clock;
  readonly log: LogPort;
  readonly tail: TailPort;
  readonly appender: Appender;
  readonly diagnostics: Diagnostics;
  readonly post: (jobId: string, input: ShardInput) => void;
  /** The jobs that wait for a worker, with their places in the line. */
  readonly places: () => ReadonlyMap<string, number>;
  /** Callers of another router read the job's answer. */
  readonly readElsewhere: (jobId: string) => boolean;
  /** For what nobody waits for. */
  readonly postLazily: (jobId: string, input: ShardInput) => void;
}

export interface CallersTimes {
  readonly keepAliveMs: number;
}

/** Unsent bytes at which a caller is paused: hundreds of chunks, and little when a thousand callers are slow. */
const pauseBytes = 256 * 1024;
/** A caller that takes nothing for so long is not coming back, ms. */
const stalledMsMax = 5 * 60_000;
/** Entries read from the log at a time for a caller that catches up. */
const pageEntries = 256;

/** What a quiet stream says: a comment that tells why it is quiet, and the event that clients of some APIs wait for. */
function stillThere({ jobId, port, progress }: Caller, places: ReadonlyMap<string, number>): string {
  const place = places.get(jobId);
  const why = place === undefined ? progress : `queued ${place} of ${places.size}`;
  if (port.keepAlive === undefined) return `: ${why ?? 'keep-alive'}\n\n`;
  return why === null ? port.keepAlive : `: ${why}\n${port.keepAlive}`;
}

type Read = Extract<Effect, { kind: 'read' }>;

const endOf = ({ epoch, sequence, count }: LogEntry): Position => ({ epoch, number: sequence + count - 1 });

export class Callers {
  readonly #times: CallersTimes;
  readonly #parts: CallersParts;
  readonly #callers = new Map<number, Caller>();
  #last = 0;

  constructor(times: CallersTimes, parts: CallersParts) {
    this.#times = times;
    this.#parts = parts;
  }

  get size(): number {
    return this.#callers.size;
  }

  /** Whether the caller still waits. */
  has(streamId: number): boolean {
    return this.#callers.has(streamId);
  }

  [Symbol.iterator](): IterableIterator<Caller> {
    return this.#callers.values();
  }

  jobOf(streamId: number): string | null {
    return this.#callers.get(streamId)?.jobId ?? null;
  }

  add(jobId: string, port: CallerPort, arrivedAt: number, deadlineAt: number, follow?: Follow): Caller {
    this.#last += 1;
    const streamId = this.#last;
    const caller: Caller = {
      streamId,
      jobId,
      port,
      arrivedAt,
      deadlineAt,
      opened: false,
      paused: false,
      turn: 0,
      pausedAt: 0,
      sent: null,
      lastWriteAt: arrivedAt,
      progress: null,
      ...(follow === undefined ? {} : { follow }),
    };
    this.#callers.set(streamId, caller);
    return caller;
  }

  respond(streamId: number, status: number, headers: Readonly<Record<string, string>>, body: string): void {
    const caller = this.#callers.get(streamId);
    if (caller === undefined) return;
    caller.port.respond(status, headers, body);
    this.#forget(caller);
  }

  /** Like `respond`, for what no machine can say. */
  refuse(streamId: number, code: CodeName, message: string): void {
    const caller = this.#callers.get(streamId);
    if (caller === undefined) return;
    if (caller.opened) return this.cut(caller);
    caller.port.refuse(code, message);
    this.#forget(caller);
  }

  open({ streamId, status, headers }: Extract<Effect, { kind: 'open' }>): void {
    const caller = this.#callers.get(streamId);
    if (caller === undefined || caller.opened) return;
    caller.opened = true;
    caller.port.open(status, headers);
  }

  write({ streamId, turn, text, position }: Extract<Effect, { kind: 'write' }>): void {
    const caller = this.#callers.get(streamId);
    // A paused caller gets this from the log later (C1).
    if (caller === undefined || caller.paused || caller.turn !== turn) return;
    caller.port.write(text);
    // The head, which may go out before there is anything to say, ends no wait.
    if (caller.sent !== null) caller.progress = null;
    caller.sent = position;
    caller.lastWriteAt = this.#parts.clock.now();
    if (caller.port.bufferedBytes <= pauseBytes) return;
    caller.paused = true;
    caller.pausedAt = this.#parts.clock.now();
    this.#parts.post(caller.jobId, { kind: 'streamPaused', streamId, turn });
  }

  progressed({ streamId, what, processed, total }: Extract<Effect, { kind: 'progress' }>): void {
    const caller = this.#callers.get(streamId);
    if (caller !== undefined) caller.progress = `${what} ${processed}/${total}`;
  }

  /** How far one of its job's tool calls is, behind how many have answered. */
  toolProgressed(jobId: string, name: string, { progress, total }: ToolProgressFrame): void {
    const far = `${name.replace(/[^\w-]/g, '_')} ${total === undefined ? progress : `${progress}/${total}`}`;
    for (const caller of this.#callers.values()) {
      const [round = ''] = caller.jobId === jobId ? (caller.progress ?? '').split(', ', 1) : [];
      if (round.startsWith('tools ')) caller.progress = `${round}, ${far}`;
    }
  }

  end({ streamId, turn, position }: Extract<Effect, { kind: 'end' }>): void {
    const caller = this.#callers.get(streamId);
    if (caller === undefined || caller.turn !== turn) return;
    // Paused by its very last bytes: it needs nothing more from us.
    if (caller.paused && (caller.sent === null || comparePositions(caller.sent, position) < 0)) return;
    caller.port.end();
    this.#forget(caller);
  }

  /** The caller is gone. Returns it, unless its answer was over. */
  close(streamId: number): Caller | undefined {
    const caller = this.#callers.get(streamId);
    if (caller === undefined) return undefined;
    this.#callers.delete(streamId);
    this.#parts.post(caller.jobId, this.#closed(caller));
    return caller;
  }

  /** Whether anybody reads the job's answer. */
  watch(jobId: string): boolean {
    for (const caller of this.#callers.values()) if (caller.jobId === jobId) return true;
    return false;
  }

  /** The job is another router's from now on: the caller is to be shown its log, in a new turn behind what it has. */
  follow(caller: Caller): Caller & { readonly follow: Follow } {
    const { sent, follow = { cursor: null, shape: 'asked', waits: true } } = caller;
    caller.turn += 1;
    return Object.assign(caller, {
      follow: { ...follow, cursor: sent === null ? follow.cursor : { position: sent, frames: null } },
    });
  }

  /** The answer is over: its shard may forget the stream some time. */
  #forget(caller: Caller): void {
    this.#callers.delete(caller.streamId);
    this.#parts.postLazily(caller.jobId, this.#closed(caller));
  }

  #closed({ streamId, jobId, follow }: Caller): ShardInput {
    const isMissed = follow?.waits !== false && !this.#parts.readElsewhere(jobId);
    const looked = isMissed ? {} : ({ looked: true } as const);
    return { kind: 'streamClosed', at: this.#parts.clock.now(), streamId, jobId, ...looked };
  }

  cut(caller: Caller): void {
    caller.port.destroy();
    this.close(caller.streamId);
  }

  drained(streamId: number): void {
    const caller = this.#callers.get(streamId);
    if (caller?.paused !== true || caller.sent === null) return;
    caller.paused = false;
    caller.turn += 1;
    this.#parts.post(caller.jobId, { kind: 'streamWoken', streamId, turn: caller.turn, sent: caller.sent });
  }

  /** Gives a caller that catches up the log, page by page, until it stands where it wanted to or is too slow again. */
  async readFor(read: Extract<Effect, { kind: 'read' }>): Promise<void> {
    const { streamId, turn, jobId } = read;
    const current = (): boolean => {
      const caller = this.#callers.get(streamId);
      return caller !== undefined && !caller.paused && caller.turn === turn;
    };
    try {
      await (read.until === null ? this.#tailFor(read, current) : this.#pagesFor(read, read.until, current));
    } catch (error) {
      this.#parts.diagnostics.error('a caller cannot be given its answer', { jobId, reason: String(error) });
      if (error instanceof LogCorrupt) this.refuse(streamId, 'log_corrupt', 'the log of this job cannot be read back');
      else this.refuse(streamId, 'store_unavailable', 'the log of this job cannot be read now');
    }
  }

  async #pagesFor({ streamId, turn, jobId, after }: Read, until: Position, current: () => boolean): Promise<void> {
    const { log, appender, clock, post } = this.#parts;
    const giveUpAt = clock.now() + stalledMsMax;
    const read = (from: Position): Promise<readonly LogEntry[]> => {
      if (clock.now() > giveUpAt) throw new Error('the store was down for too long');
      return log.read(jobId, from, pageEntries);
    };
    await appender.reached(jobId, until);
    for (let from = after; ; ) {
      const entries = await patiently(clock, current, () => read(from));
      if (entries === null) return;
      const end = entries.at(-1);
      if (end === undefined && comparePositions(from, until) < 0) throw new Error('its log is gone');
      const last = end === undefined || comparePositions(endOf(end), until) >= 0;
      post(jobId, { kind: 'streamEntries', streamId, turn, entries: entries.map(logged), last });
      if (last) return;
      from = endOf(end);
      await new Promise<void>(resolve => clock.defer(resolve));
    }
  }

  /** Of a job that has ended, or that another router runs: its log is all there is. */
  async #tailFor({ streamId, turn, jobId, after }: Read, current: () => boolean): Promise<void> {
    const { tail, appender, clock, post } = this.#parts;
    const waits = this.#callers.get(streamId)?.follow?.waits ?? true;
    // Its last word may be on its way there.
    await appender.settled(jobId);
    for await (const { entries, reachesEnd } of tail.tail(jobId, after, current)) {
      post(jobId, { kind: 'streamEntries', streamId, turn, entries: entries.map(logged), last: reachesEnd });
      if (reachesEnd && !waits) return;
      if (entries.some(({ events }) => events.some(({ type }) => isTerminal(type)))) return;
      await new Promise<void>(resolve => clock.defer(resolve));
    }
    if (!current()) return;
    // There is no log, or it was removed while its caller read slowly.
    this.refuse(
      streamId,
      'object_not_found',
      'there is no such job, or its log is not kept any more (AUXOT_LOG_RETENTION)',
    );
  }

  /** Once a second: heads that are due, comments that keep quiet connections alive, and deadlines the log cannot tell. */
  sweep(now: number): void {
    const { appender, post } = this.#parts;
    const { keepAliveMs } = this.#times;
    let places: ReadonlyMap<string, number> | null = null;
    for (const caller of [...this.#callers.values()]) {
      if (caller.paused && now - caller.pausedAt > stalledMsMax) this.cut(caller);
      else if (!appender.working && now > caller.deadlineAt) this.#tooLate(caller);
      else if (!caller.opened) {
        if (now - caller.arrivedAt < openAfterMs) continue;
        post(caller.jobId, { kind: 'streamDue', at: now, streamId: caller.streamId });
      } else if (!caller.paused && now - caller.lastWriteAt >= keepAliveMs) {
        caller.lastWriteAt = now;
        places ??= this.#parts.places();
        caller.port.write(stillThere(caller, places));
      }
    }
  }

  /** The deadline passed while the log could not be written: the caller is told without an event (design §2a.12). */
  #tooLate(caller: Caller): void {
    if (caller.opened) return this.cut(caller);
    this.refuse(caller.streamId, 'store_unavailable', 'the event log could not be written before the deadline');
  }
}
