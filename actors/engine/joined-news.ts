/**
 * What an engine has to say, in as few messages as nobody notices: every message is paid for again by the
 * worker, the socket, the log and the caller, and a small model writes thousands of tokens a second.
 *
 * N1. Nothing is lost, doubled or moved: each job's news come in its order, and its pieces joined say what they said.
 * N2. A piece goes at once when its job has said nothing for `gapMs`; so a model that is slower than that is never held.
 *     No piece waits longer than `gapMs`.
 * N3. All other news go at once, and take with them whatever waits.
 */
import type { JobNews } from './engine.messages.ts';
import type { Piece } from './engine.ts';

export interface JoinedNewsOptions {
  readonly send: (news: readonly JobNews[]) => void;
  readonly gapMs: () => number;
  /** Milliseconds, never falling. */
  readonly now: () => number;
  /** Calls back when this turn of the event loop is over, so that what all slots have to say goes together. */
  readonly soon: (then: () => void) => void;
  /** Returns how it is called off. */
  readonly after: (ms: number, then: () => void) => () => void;
}

/** The clock of this process. */
export const processClock: Pick<JoinedNewsOptions, 'now' | 'soon' | 'after'> = {
  now: () => performance.now(),
  soon: setImmediate,
  after(ms, then) {
    const timer = setTimeout(then, ms);
    return () => clearTimeout(timer);
  },
};

export function joinedNews({ send, gapMs, now, soon, after }: JoinedNewsOptions): (item: JobNews) => void {
  let waiting: JobNews[] = [];
  /** Where in `waiting` a job's last piece is, while nothing of that job stands behind it. */
  const open = new Map<number, number>();
  /** When a job was last heard of, while it runs. */
  const saidAt = new Map<number, number>();
  let isDue = false;
  let callOff: (() => void) | null = null;

  const flush = (): void => {
    isDue = false;
    callOff?.();
    callOff = null;
    const news = waiting;
    waiting = [];
    open.clear();
    const at = now();
    for (const { id, type } of news) {
      if (type === 'result' || type === 'error' || type === 'counted') saidAt.delete(id);
      else if (type === 'piece') saidAt.set(id, at);
    }
    send(news);
  };

  const goNow = (): void => {
    if (isDue) return;
    isDue = true;
    soon(flush);
  };

  return item => {
    if (item.type !== 'piece') {
      open.delete(item.id);
      waiting.push(item);
      goNow();
      return;
    }
    const place = open.get(item.id);
    const before = place === undefined ? undefined : waiting[place];
    const piece = gapMs() > 0 && before?.type === 'piece' ? joined(before.piece, item.piece) : null;
    if (place !== undefined && piece !== null) {
      waiting[place] = { id: item.id, type: 'piece', piece };
    } else {
      open.set(item.id, waiting.length);
      waiting.push(item);
    }
    const restMs = (saidAt.get(item.id) ?? Number.NEGATIVE_INFINITY) + gapMs() - now();
    if (restMs <= 0) goNow();
    else callOff ??= after(restMs, flush);
  };
}

/** One piece that says what both say; null when there is none. */
export function joined(first: Piece, then: Piece): Piece | null {
  if (first.kind !== then.kind || first.choice !== then.choice || first.isInexact !== then.isInexact) return null;
  if (first.end !== undefined || then.end !== undefined) return null;
  const call = joinedCall(first.call, then.call);
  if (call === null) return null;
  const logprobs = [...(first.logprobs ?? []), ...(then.logprobs ?? [])];
  return {
    ...first,
    text: first.text + then.text,
    ids: [...first.ids, ...then.ids],
    ...(logprobs.length === 0 ? {} : { logprobs }),
    ...(call === undefined ? {} : { call }),
  };
}

/** Undefined: neither is of a call. */
function joinedCall(first: Piece['call'], then: Piece['call']): Piece['call'] | null {
  if (first === undefined && then === undefined) return undefined;
  if (first === undefined || then === undefined) return null;
  // A piece with an id begins a call.
  if (first.index !== then.index || then.id !== undefined) return null;
  return { ...first, arguments: first.arguments + then.arguments };
}
