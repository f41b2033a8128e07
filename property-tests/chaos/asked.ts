/** What every caller is given, and how it tells that an answer is not the right one. */
import type { Question } from './book.ts';

export interface Asked {
  /** Where the routers are reached. */
  readonly url: string;
  readonly question: Question;
  /** The same for every try. */
  readonly key: string;
  /** Seconds that its job should wait for it when it is gone; 0: none. */
  readonly keepS: number;
  /** No try lasts longer than this instant (ms of `performance.now`). */
  readonly until: number;
  readonly tally: { retries: number; resumes: number; compared: number };
}

/** An answer that no retry can mend. */
export class WrongAnswer extends Error {}

/** The text so far is the beginning of the answer, or all of it. */
export function check(question: Question, text: string, whole: boolean): void {
  const { answer } = question;
  if (whole ? text === answer : answer.startsWith(text)) return;
  let at = 0;
  while (at < text.length && text[at] === answer[at]) at += 1;
  const shown = (from: string): string => JSON.stringify(from.slice(Math.max(0, at - 30), at + 50));
  throw new WrongAnswer(`at character ${at} of ${answer.length}: ${shown(text)} instead of ${shown(answer)}`);
}

export const headersOf = ({ key, keepS }: Asked): Record<string, string> => ({
  'idempotency-key': key,
  ...(keepS > 0 ? { 'x-auxot-keep': String(keepS) } : {}),
});

/** Routers are told to say something on a quiet stream every 2 s; a connection that says nothing for longer is none. */
export const silentMs = 6000;
/** Until the head of an answer, which may wait for its first word. */
export const headMs = 16_000;

/** A signal that fires when nobody has called `heard` for a while. */
export function patience(): { readonly signal: AbortSignal; heard(): void; over(): void } {
  const controller = new AbortController();
  const late = (): void => controller.abort(new Error('the router has gone silent'));
  let timer = setTimeout(late, headMs);
  return {
    signal: controller.signal,
    heard() {
      clearTimeout(timer);
      timer = setTimeout(late, silentMs);
    },
    over: () => clearTimeout(timer),
  };
}
