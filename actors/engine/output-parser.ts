/**
 * Takes a model's raw text apart as it comes: reasoning, visible text, tool calls.
 *
 *   opening ──<think>──▶ thought ──</think>──▶ resuming ──▶ answer ⇄ call ──cannot be read──▶ broken ──▶ answer
 *      └──────────────── anything else ──────────────────────▲
 *
 * P1. How the text is cut into pieces makes no difference to what comes out.
 * P2. Whatever could be the beginning of a tag is held back, so no part of a tag is given out and nothing is lost.
 * P3. What turns out to be no call is given out as text, unchanged, and so are tags in prose or code. Marks that are
 *     control tokens are never text. What names a tool that was offered is a call: its arguments are told while they are
 *     written. What begins as a call and cannot be read is told to be broken, and nothing of it is text.
 * P4. Calls are looked for only if tools were offered, and a thought only at the very beginning.
 * P5. White space around calls is dropped, but what stood between two texts is kept; one line break inside each end of
 *     a thought and all white space after it are dropped.
 */
import { common } from './dialects.table.ts';
import type { Dialect } from './dialects.ts';
import { firstOpening, type Opening, tagStart } from './openings.ts';
import { harmonyParser } from './output-parser.harmony.ts';
import { outputs } from './output-parser.outputs.ts';
import {
  type CallForm,
  type CallReader,
  marksIn,
  type Reading,
  type ToolsOffered,
  type TypesOf,
} from './tool-call-text.ts';

export type Output =
  | { readonly kind: 'text' | 'reasoning'; readonly text: string }
  /** A call begins to show (it may still turn out to be none). */
  | { readonly kind: 'callBegun' }
  /** A call, for certain. Its arguments follow in pieces, then the whole of it as `call`. */
  | { readonly kind: 'callOpened'; readonly form: CallForm; readonly name: string }
  | { readonly kind: 'callArguments'; readonly text: string }
  | { readonly kind: 'call'; readonly form: CallForm; readonly name: string; readonly arguments: string }
  /** What began as a call, and cannot be read: as far as it was written then. */
  | { readonly kind: 'callBroken'; readonly text: string };

export interface OutputParser {
  push(text: string): Output[];
  /** `cut`: the answer did not end by itself. A call that is open then ends as it is. */
  finish(cut?: boolean): Output[];
  readonly inThought: boolean;
  /** Nothing is held back that may be the beginning of a tag. */
  readonly isWhole: boolean;
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
  options.dialect?.name === 'harmony'
    ? harmonyParser(channelless({ ...options, startsInThought: false, dialect: channelFree(options.dialect) }), options)
    : channelless(options);

const channelFree = (dialect: Dialect): Dialect => ({ ...dialect, thought: common.thought });

function channelless({
  toolsOffered,
  startsInThought,
  typesOf,
  toolNames = null,
  dialect = common,
}: OutputParserOptions): OutputParser {
  const tools: ToolsOffered = { typesOf, isOffered: name => toolNames?.has(name) === true };
  const { bare } = dialect;
  const [thinkOpen, thinkClose] = dialect.thought;
  const unseen = dialect.openings.filter(isControl).map(muted);
  const marks = dialect.marks.map((mark): Opening => ({ mark, reader: null }));
  let openings = [...(toolsOffered ? dialect.openings : unseen), ...marks];
  /** A call may also show in a thought that is never closed; of tags, only those that begin a line. */
  const inThought = [...(toolsOffered && toolNames !== null ? dialect.openings : unseen), ...marks];
  let phase: 'opening' | 'thought' | 'resuming' | 'answer' | 'call' | 'broken' = startsInThought
    ? 'thought'
    : 'opening';
  /** Text not decided yet. */
  let held = '';
  let thoughtIsNew = true;
  let open: { readonly opening: Opening | null; readonly read: CallReader; readonly inThought: boolean } | null = null;
  /** What ends a call that cannot be read. */
  let ends: { readonly closings: readonly string[]; readonly nexts: readonly string[] } = { closings: [], nexts: [] };
  /** White space that stood before the open call. */
  let spaceBefore = '';
  /** Whether the answer is a call without a mark was found out. */
  let bareTried = false;
  const said = outputs();

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
        const call = firstOpening(held, inThought);
        if (call !== null && (end === -1 || call.at < end)) {
          const before = held.slice(0, call.at);
          if (call.opening.reader === null) {
            said.reasoning(before);
            held = held.slice(call.at + call.opening.mark.length);
            return true;
          }
          const words = before.replace(/\n$/, '');
          const line = before.slice(before.lastIndexOf('\n') + 1);
          const begins = isControl(call.opening) || (line.trim() === '' && (before.includes('\n') || said.lineIsNew));
          said.reasoning(begins ? words : before + call.opening.mark);
          held = held.slice(call.at + call.opening.mark.length);
          if (!begins) return true;
          spaceBefore = before.slice(words.length);
          begin(call.opening, true);
          return true;
        }
        if (end !== -1) {
          said.reasoning(held.slice(0, end).replace(/\n$/, ''));
          held = held.slice(end + thinkClose.length);
          phase = 'resuming';
          return true;
        }
        const marks = [thinkClose, ...inThought.map(({ mark }) => mark)].flatMap(mark => [mark, `\n${mark}`]);
        const certain = ended ? held.length : held.length - tagStart(held, marks);
        said.reasoning(held.slice(0, certain));
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
        if (toolsOffered && bare !== null && said.isEmpty && !bareTried) {
          bareTried = true;
          spaceBefore = '';
          open = { opening: null, read: bare(tools), inThought: false };
          phase = 'call';
          return true;
        }
        const next = firstOpening(held, openings);
        if (next !== null) {
          const { at, opening } = next;
          const before = held.slice(0, at);
          held = held.slice(at + opening.mark.length);
          if (opening.reader === null) {
            said.text(before);
            return true;
          }
          const words = before.trimEnd();
          said.text(words);
          spaceBefore = before.slice(words.length);
          begin(opening, false);
          return true;
        }
        let certain = held.length;
        if (openings.length > 0 && !ended) {
          certain -= tagStart(
            held,
            openings.map(({ mark }) => mark),
          );
          if (toolsOffered) certain = held.slice(0, certain).trimEnd().length;
        }
        // White space at the end belongs to the text, unless it only follows a call.
        said.text(held.slice(0, certain));
        held = held.slice(certain);
        return false;
      }
      case 'call': {
        if (open === null) throw new Error('a call is being read, but none was opened');
        const { opening } = open;
        const mark = opening === null || isControl(opening) ? '' : opening.mark;
        const own = opening?.isPart === true ? opening.mark : '';
        const reading = open.read(own + held, ended);
        const taken = (length: number): void => {
          held = held.slice(Math.max(0, length - own.length));
        };
        if (reading.kind === 'more') {
          if (reading.begun && !open.inThought) said.callBegins();
          if (reading.call !== undefined) said.callSoFar(reading.call);
          return false;
        }
        if (isProse(reading)) {
          if ((reading.kind !== 'none' || reading.begun) && !open.inThought) said.callBegins();
          const { inThought } = open;
          open = null;
          phase = inThought ? 'thought' : 'answer';
          if (inThought) said.reasoning(spaceBefore + mark);
          else said.text(spaceBefore + mark);
          return true;
        }
        if (open.inThought) openings = [...openings, { mark: thinkClose, reader: null }];
        phase = 'answer';
        if (reading.kind === 'end' || reading.kind === 'none') {
          taken(reading.kind === 'end' ? reading.length : 0);
          open = null;
          return true;
        }
        if (reading.kind === 'broken') {
          const written = (own === '' ? mark + held : own + held).slice(0, mark.length + reading.length);
          said.callBroken(reading.call, written, spaceBefore);
          taken(reading.length);
          ends = reading;
          open = null;
          phase = 'broken';
          return true;
        }
        said.call(reading, spaceBefore);
        taken(reading.length);
        if (reading.next === undefined) open = null;
        else {
          open = { opening: null, read: reading.next, inThought: false };
          spaceBefore = '';
          phase = 'call';
        }
        return true;
      }
      case 'broken': {
        const marks = [...ends.closings, ...ends.nexts];
        const [end] = marksIn(held, 0, marks);
        if (end === undefined) {
          held = ended ? '' : held.slice(held.length - tagStart(held, marks));
          return false;
        }
        held = held.slice(end.at + (ends.closings.includes(end.mark) ? end.mark.length : 0));
        phase = 'answer';
        return true;
      }
    }
  };

  const begin = (opening: Opening, inThought: boolean): void => {
    if (opening.reader === null) throw new Error('this mark opens no call');
    open = { opening, read: opening.reader(tools), inThought };
    phase = 'call';
  };

  /** Whether it was no call after all: in code, only what can be read is one. */
  const isProse = (reading: Reading): boolean => {
    if (reading.kind === 'none') return true;
    if (reading.kind === 'broken' && reading.call !== undefined) return false;
    if (open?.inThought === true)
      return reading.kind === 'broken' || (reading.kind === 'call' && !tools.isOffered(reading.name));
    const isTag = open?.opening !== undefined && open.opening !== null && !isControl(open.opening);
    return reading.kind === 'broken' && isTag && said.isCode(spaceBefore);
  };

  /** What of a call was written when the answer was cut. */
  const cutCall = (): void => {
    const reading = open?.read((open.opening?.isPart === true ? open.opening.mark : '') + held, false);
    if (open === null || reading?.kind !== 'more') return;
    // In a thought, and without a mark, it may be anything until it is certain or has begun to be a call.
    const isOpen = open.inThought || (open.opening === null && !reading.begun);
    if (isOpen && reading.call === undefined) return;
    if (reading.call !== undefined) said.call(reading.call, spaceBefore);
    held = '';
    open = null;
    phase = 'answer';
  };

  /** Of a mark that was being written when the answer was cut, more than what text may end with is no text. */
  const cutMark = (): void => {
    const begun = tagStart(
      held,
      openings.map(({ mark }) => mark),
    );
    if (begun >= markCharsMin) held = held.slice(0, held.length - begun).trimEnd();
  };

  const run = (ended: boolean): Output[] => {
    while (step(ended)) {
      // Each step either takes text or changes phase, so this ends.
    }
    return said.take();
  };

  return {
    push(text) {
      held += text;
      return run(false);
    },
    finish(cut = false) {
      if (cut && phase === 'call') cutCall();
      if (cut && phase === 'answer') cutMark();
      return run(true);
    },
    get isWhole() {
      return held.trim() === '';
    },
    get inThought() {
      return phase === 'thought';
    },
  };
}

const markCharsMin = 4;

/** Its mark is a control token, and no text. */
const isControl = ({ isToken }: Opening): boolean => isToken === true;
const muted = ({ mark }: Opening): Opening => ({ mark, reader: null });
