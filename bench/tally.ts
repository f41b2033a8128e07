/**
 * Counts what the callers of one round see. Everything is checked from the first answer on; only what arrives while
 * the window is open is counted.
 */
import type { AnswerEnd } from './answer-reader.ts';
import { Histogram } from './histogram.ts';
import { type Expected, textOf } from './script.ts';

const examplesMax = 5;

export class Tally {
  readonly firstToken = new Histogram();
  readonly gap = new Histogram();
  readonly examples: string[] = [];
  tokens = 0;
  requests = 0;
  arrivals = 0;
  answers = 0;
  failures = 0;
  open = false;

  fail(reason: string): void {
    this.failures += 1;
    if (this.examples.length < examplesMax) this.examples.push(reason);
  }
}

/** One answer under way, measured when its bytes arrive and compared with what the worker said. */
export class Answer {
  readonly #tally: Tally;
  readonly #expected: Expected;
  readonly #streamed: boolean;
  readonly #askedAt = performance.now();
  #text = '';
  #known = 0;
  #lastAt = 0;

  constructor(tally: Tally, expected: Expected, streamed: boolean) {
    this.#tally = tally;
    this.#expected = expected;
    this.#streamed = streamed;
  }

  get hasText(): boolean {
    return this.#text !== '';
  }

  add(bytes: string): void {
    this.#text += bytes;
  }

  /** To be called once for each socket read, after all that it brought was added. */
  arrived(now: number): void {
    const known = this.#expected.tokensIn(this.#text.length, this.#known);
    const fresh = known - this.#known;
    if (fresh === 0) return;
    const tally = this.#tally;
    if (tally.open) {
      tally.tokens += fresh;
      tally.arrivals += 1;
      if (this.#known === 0) tally.firstToken.record(now - this.#askedAt);
      else tally.gap.record(now - this.#lastAt);
      // Tokens that came together have no gap between them.
      if (fresh > 1) tally.gap.record(0, fresh - 1);
    }
    this.#known = known;
    this.#lastAt = now;
  }

  end(end: AnswerEnd, now: number): void {
    const tally = this.#tally;
    if (!this.#streamed && end.status === 200) {
      this.#text = contentOf(end.body);
      this.arrived(now);
    }
    tally.answers += 1;
    if (tally.open) tally.requests += 1;
    const wrong = this.#wrong(end);
    if (wrong !== undefined) tally.fail(wrong);
  }

  #wrong(end: AnswerEnd): string | undefined {
    if (end.status !== 200) return `status ${end.status}: ${textOf(end.body.slice(0, 200))}`;
    if (end.oddity !== undefined) return `in the stream: ${textOf(end.oddity)}`;
    if (this.#text !== this.#expected.bytes) return difference(this.#text, this.#expected.bytes);
    if (this.#streamed && !(end.done && end.finishReason === 'stop'))
      return `a stream that ends with finish_reason ${end.finishReason} and ${end.done ? 'a' : 'no'} [DONE]`;
    return undefined;
  }
}

function contentOf(body: string): string {
  const answer: { choices?: { message?: { content?: unknown } }[] } = JSON.parse(textOf(body));
  return Buffer.from(String(answer.choices?.[0]?.message?.content), 'utf8').toString('latin1');
}

function difference(got: string, wanted: string): string {
  let at = 0;
  while (at < got.length && got[at] === wanted[at]) at++;
  // Back to where the character begins, so that it can be shown.
  while (at > 0 && ((wanted.charCodeAt(at) & 0xc0) === 0x80 || (got.charCodeAt(at) & 0xc0) === 0x80)) at--;
  const show = (text: string) => JSON.stringify(textOf(text.slice(at, at + 40)));
  return `text differs at byte ${at} of ${wanted.length}: got ${show(got)}, the worker said ${show(wanted)}`;
}
