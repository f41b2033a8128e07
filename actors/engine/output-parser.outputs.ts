/**
 * What a parser has found so far, in order: text with the right space between its parts, thoughts, and calls that are told
 * while they are written.
 */
import type { Output } from './output-parser.ts';
import type { CallSoFar } from './tool-call-text.ts';

export interface Outputs {
  /** What came since the last time. */
  take(): Output[];
  /** What another parser has found. */
  add(more: readonly Output[]): void;
  /** White space at the edge of a call is dropped, and put back where text follows text. */
  text(text: string): void;
  reasoning(text: string): void;
  /** A call begins to show. */
  callBegins(): void;
  callSoFar(call: CallSoFar): void;
  /** `space` stood before it. */
  call(call: CallSoFar, space: string): void;
  callBroken(call: CallSoFar | undefined, written: string, space: string): void;
  /** Neither text nor a call has come. */
  readonly isEmpty: boolean;
  /** What follows now would stand in code: in a block, or, if no `space` does, right behind a backtick. */
  isCode(space: string): boolean;
  /** Nothing but white space stands on the last line of the thought. */
  readonly lineIsNew: boolean;
}

const fence = '```';

export function outputs(): Outputs {
  let out: Output[] = [];
  let begun = false;
  /** Characters of the open call's arguments that are told; null before it is certain. */
  let told: number | null = null;
  /** White space to put between the text before the last call and the text after it; null = no call since. */
  let gap: string | null = null;
  let hasText = false;
  let inFence = false;
  /** The end of the text so far. */
  let tail = '';
  let lineIsNew = true;

  const give = (kind: 'text' | 'reasoning', text: string): void => {
    if (text === '') return;
    const last = out.at(-1);
    if (last?.kind === kind) out[out.length - 1] = { kind, text: last.text + text };
    else out.push({ kind, text });
  };

  const callBegins = (): void => {
    if (!begun) out.push({ kind: 'callBegun' });
    begun = true;
  };

  const callSoFar = ({ form, name, arguments: written }: CallSoFar): void => {
    callBegins();
    if (told === null) out.push({ kind: 'callOpened', form, name });
    const text = written.slice(told ?? 0);
    if (text !== '') out.push({ kind: 'callArguments', text });
    told = written.length;
  };

  return {
    take() {
      const done = out;
      out = [];
      return done;
    },
    add: more => void out.push(...more),
    text(text) {
      if (text === '') return;
      let whole = text;
      if (gap !== null) {
        const words = text.trimStart();
        if (words === '') return;
        whole = hasText ? (gap || text.slice(0, text.length - words.length)) + words : words;
        gap = null;
      }
      hasText = true;
      const parts = (tail + whole).split(fence);
      if (parts.length % 2 === 0) inFence = !inFence;
      tail = (parts.at(-1) ?? '').slice(1 - fence.length);
      give('text', whole);
    },
    reasoning(text) {
      if (text === '') return;
      lineIsNew = text.slice(text.lastIndexOf('\n') + 1).trim() === '' && (text.includes('\n') || lineIsNew);
      give('reasoning', text);
    },
    callBegins,
    callSoFar,
    call(call, space) {
      callSoFar(call);
      out.push({ kind: 'call', form: call.form, name: call.name, arguments: call.arguments });
      told = null;
      gap ??= space;
    },
    callBroken(call, written, space) {
      if (call === undefined) callBegins();
      else callSoFar(call);
      out.push({ kind: 'callBroken', text: written });
      told = null;
      gap ??= space;
    },
    get isEmpty() {
      return !hasText && gap === null;
    },
    isCode: space => inFence || (space === '' && tail.endsWith('`')),
    get lineIsNew() {
      return lineIsNew;
    },
  };
}
