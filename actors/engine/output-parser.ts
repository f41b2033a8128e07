/**
 * Takes a model's raw text apart as it comes: reasoning, visible text, tool calls.
 *
 *   opening ──<think>──▶ thought ──</think>──▶ resuming ──▶ answer ⇄ call
 *      └──────────────── anything else ──────────────────────▲
 *
 * P1. How the text is cut into pieces makes no difference to what comes out.
 * P2. Whatever could be the beginning of a tag is held back, so no part of a tag is given out and nothing is lost.
 * P3. What turns out to be no call is given out as text, unchanged. So tags in prose or code survive. What names a tool
 *     that was offered is a call: its arguments are told while they are written, and put right if they break.
 * P4. Calls are looked for only if tools were offered, and a thought only at the very beginning.
 * P5. White space around calls is dropped, but what stood between two texts is kept; one line break inside each end of
 *     a thought and all white space after it are dropped.
 */
import { common, type Dialect, type Opening } from './dialects.ts';
import { harmonyParser } from './output-parser.harmony.ts';
import type { CallForm, CallReader, CallSoFar, ToolsOffered, TypesOf } from './tool-call-text.ts';

export type Output =
  | { readonly kind: 'text' | 'reasoning'; readonly text: string }
  /** A call begins to show (it may still turn out to be none). */
  | { readonly kind: 'callBegun' }
  /** A call, for certain. Its arguments follow in pieces, then the whole of it as `call`. */
  | { readonly kind: 'callOpened'; readonly form: CallForm; readonly name: string }
  | { readonly kind: 'callArguments'; readonly text: string }
  | { readonly kind: 'call'; readonly form: CallForm; readonly name: string; readonly arguments: string };

export interface OutputParser {
  push(text: string): Output[];
  /** `cut`: the answer did not end by itself. A call that is open then ends as it is. */
  finish(cut?: boolean): Output[];
  readonly inThought: boolean;
}

export interface OutputParserOptions {
  readonly toolsOffered: boolean;
  /** The prompt opened the thought already. */
  readonly startsInThought: boolean;
  readonly typesOf: TypesOf;
  /** Names of the tools; null: unknown, so that no call is certain before its end. */
  readonly toolNames?: ReadonlySet<string> | null;
  /** How the model's family writes; the common forms if absent. */
  readonly dialect?: Dialect;
}

/** Of the dialect's family. */
export const outputParser = (options: OutputParserOptions): OutputParser =>
  options.dialect?.name === 'harmony' ? harmonyParser(channelless(options)) : channelless(options);

function channelless({
  toolsOffered,
  startsInThought,
  typesOf,
  toolNames = null,
  dialect = common,
}: OutputParserOptions): OutputParser {
  const tools: ToolsOffered = { typesOf, isOffered: name => toolNames?.has(name) === true };
  const { openings, bare } = dialect;
  const [thinkOpen, thinkClose] = dialect.thought;
  const openingMarks = openings.map(({ mark }) => mark);
  let phase: 'opening' | 'thought' | 'resuming' | 'answer' | 'call' = startsInThought ? 'thought' : 'opening';
  /** Text not decided yet. */
  let held = '';
  let thoughtIsNew = true;
  let open: { readonly opening: string; readonly read: CallReader } | null = null;
  /** Characters of the open call's arguments that are told; null before it is certain. */
  let told: number | null = null;
  /** White space that stood before the open call. */
  let spaceBefore = '';
  /** White space to put between the text before the last call and the text after it; null = no call since. */
  let gap: string | null = null;
  let hasText = false;
  /** Whether the answer is a call without a mark was found out. */
  let bareTried = false;
  let out: Output[] = [];

  const give = (kind: 'text' | 'reasoning', text: string): void => {
    if (text === '') return;
    const last = out.at(-1);
    if (last?.kind === kind) out[out.length - 1] = { kind, text: last.text + text };
    else out.push({ kind, text });
  };

  const say = (text: string): void => {
    if (text === '') return;
    let whole = text;
    if (gap !== null) {
      const words = text.trimStart();
      if (words === '') return;
      whole = hasText ? (gap || text.slice(0, text.length - words.length)) + words : words;
      gap = null;
    }
    hasText = true;
    give('text', whole);
  };

  /** One step; false when more text is needed. */
  const step = (ended: boolean): boolean => {
    switch (phase) {
      case 'opening': {
        const start = held.trimStart();
        if (start.startsWith(thinkOpen)) {
          held = start.slice(thinkOpen.length);
          phase = 'thought';
          return true;
        }
        if (!ended && thinkOpen.startsWith(start)) return false;
        phase = 'answer';
        return true;
      }
      case 'thought': {
        if (held === '') return false;
        if (thoughtIsNew && held.startsWith('\n')) held = held.slice(1);
        thoughtIsNew = false;
        const end = held.indexOf(thinkClose);
        if (end !== -1) {
          give('reasoning', held.slice(0, end).replace(/\n$/, ''));
          held = held.slice(end + thinkClose.length);
          phase = 'resuming';
          return true;
        }
        const certain = ended ? held.length : held.length - tagStart(held, [thinkClose, `\n${thinkClose}`]);
        give('reasoning', held.slice(0, certain));
        held = held.slice(certain);
        return false;
      }
      case 'resuming': {
        held = held.trimStart();
        if (held === '') return false;
        phase = 'answer';
        return true;
      }
      case 'answer': {
        if (held === '') return false;
        if (toolsOffered && bare !== null && !hasText && gap === null && !bareTried) {
          bareTried = true;
          open = { opening: '', read: bare(tools) };
          phase = 'call';
          return true;
        }
        const next = toolsOffered ? firstOpening(held, openings) : null;
        if (next !== null) {
          const before = held.slice(0, next.at);
          const words = before.trimEnd();
          say(words);
          spaceBefore = before.slice(words.length);
          held = held.slice(next.at + next.opening.mark.length);
          open = { opening: next.opening.mark, read: next.opening.reader(tools) };
          phase = 'call';
          return true;
        }
        let certain = held.length;
        if (toolsOffered && !ended)
          certain = held.slice(0, held.length - tagStart(held, openingMarks)).trimEnd().length;
        // White space at the end belongs to the text, unless it only follows a call.
        say(held.slice(0, certain));
        held = held.slice(certain);
        return false;
      }
      case 'call': {
        if (open === null) throw new Error('a call is being read, but none was opened');
        const reading = open.read(held, ended);
        if (reading.kind === 'more') {
          if (reading.begun) begin();
          if (reading.call !== undefined) tell(reading.call);
          return false;
        }
        phase = 'answer';
        if (reading.kind === 'end') {
          held = held.slice(reading.length);
          open = null;
          return true;
        }
        if (reading.kind === 'none') {
          if (reading.begun) begin();
          const opened = spaceBefore + open.opening;
          open = null;
          say(opened);
          return true;
        }
        begin();
        whole(reading);
        gap ??= spaceBefore;
        held = held.slice(reading.length);
        if (reading.next === undefined) open = null;
        else {
          open = { opening: '', read: reading.next };
          spaceBefore = '';
          phase = 'call';
        }
        return true;
      }
    }
  };

  let begun = false;
  const begin = (): void => {
    if (begun) return;
    begun = true;
    out.push({ kind: 'callBegun' });
  };

  const tell = ({ form, name, arguments: written }: CallSoFar): void => {
    if (told === null) out.push({ kind: 'callOpened', form, name });
    const text = written.slice(told ?? 0);
    if (text !== '') out.push({ kind: 'callArguments', text });
    told = written.length;
  };

  const whole = (call: CallSoFar): void => {
    tell(call);
    out.push({ kind: 'call', form: call.form, name: call.name, arguments: call.arguments });
    told = null;
  };

  /** What of a call was written when the answer was cut. */
  const cutCall = (): void => {
    const reading = open?.read(held, false);
    if (reading?.kind !== 'more' || !reading.begun) return;
    if (reading.call !== undefined) whole(reading.call);
    held = '';
    open = null;
    phase = 'answer';
  };

  const run = (ended: boolean): Output[] => {
    while (step(ended)) {
      // Each step either takes text or changes phase, so this ends.
    }
    const done = out;
    out = [];
    return done;
  };

  return {
    push(text) {
      held += text;
      return run(false);
    },
    finish(cut = false) {
      if (cut && phase === 'call') cutCall();
      return run(true);
    },
    get inThought() {
      return phase === 'thought';
    },
  };
}

/** Length of the longest end of `text` that could be the beginning of one of `tags`. */
function tagStart(text: string, tags: readonly string[]): number {
  let longest = 0;
  for (const tag of tags) {
    for (let length = Math.min(tag.length - 1, text.length); length > longest; length -= 1) {
      if (tag.startsWith(text.slice(-length))) {
        longest = length;
        break;
      }
    }
  }
  return longest;
}

function firstOpening(
  text: string,
  openings: readonly Opening[],
): { readonly at: number; readonly opening: Opening } | null {
  let first: { readonly at: number; readonly opening: Opening } | null = null;
  for (const opening of openings) {
    const at = text.indexOf(opening.mark);
    if (at !== -1 && (first === null || at < first.at)) first = { at, opening };
  }
  return first;
}
