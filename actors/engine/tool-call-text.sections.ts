/**
 * Readers of calls that stand in sections or lists, and of a call that has no mark at all. In a section the marks are
 * control tokens, which no prose contains: what stands there is a call whatever its name.
 */
import {
  argumentsReader,
  type CallReader,
  jsonReader,
  more,
  none,
  type Reading,
  type ToolsOffered,
} from './tool-call-text.ts';

export interface Section {
  /** From the beginning of a call up to its arguments; one of its groups is the name. */
  readonly head: RegExp;
  readonly closings: readonly string[];
  readonly begin: string;
  /** Of the whole section. */
  readonly end: string;
}

export function sectionReader(section: Section): CallReader {
  let call: CallReader | null = null;
  return (text, ended) => {
    if (call === null) {
      const start = text.trimStart();
      if (start.startsWith(section.end)) return endAt(text, section.end);
      if (start === '' && ended) return { kind: 'end', length: text.length };
      const head = section.head.exec(text);
      const name = (head?.[1] ?? head?.[2])?.trim();
      if (head === null || name === undefined) {
        const possible =
          section.end.startsWith(start) || section.begin.startsWith(start) || start.startsWith(section.begin);
        return possible && !ended ? more(true) : none(true);
      }
      call = argumentsReader('json', name, head[0].length, section.closings, [section.begin, section.end]);
    }
    return followedBy(call(text, ended), () => sectionReader(section));
  };
}

const endAt = (text: string, mark: string): Reading => ({ kind: 'end', length: text.indexOf(mark) + mark.length });

const followedBy = (reading: Reading, next: () => CallReader): Reading =>
  reading.kind === 'call' ? { ...reading, next: next() } : reading;

/** `[{"name": …, "arguments": {…}}, …]`, or `NAME[ARGS]{…}`, or `NAME{…}`. */
export function mistralReader(tools: ToolsOffered): CallReader {
  let inner: CallReader | null = null;
  return (text, ended) => {
    if (inner === null) {
      const start = text.trimStart();
      const named = /^\s*([\w.:-]{1,256})(?:\[CALL_ID\]\w{0,64})?(?:\[ARGS\])?\s*(?=\{)/.exec(text);
      if (start.startsWith('[')) inner = listReader(tools, text.indexOf('[') + 1);
      else if (named !== null) inner = argumentsReader('json', named[1] ?? '', named[0].length, []);
      else return ended || !mayBeNamed(start) ? none(false) : more(false);
    }
    return inner(text, ended);
  };
}

/** Whether it may go on to arguments under a name. */
function mayBeNamed(text: string): boolean {
  let rest = text.replace(/^[\w.:-]{1,256}/, '');
  if (rest === text) return text === '';
  for (const [mark, value] of [
    ['[CALL_ID]', /^\w{0,64}/],
    ['[ARGS]', /^/],
  ] as const) {
    if (rest !== '' && mark.startsWith(rest)) return true;
    if (rest.startsWith(mark)) rest = rest.slice(mark.length).replace(value, '');
  }
  return rest.trim() === '';
}

/** The next call of a list, from `from`: behind its bracket, or behind a call. */
function listReader(tools: ToolsOffered, from: number): CallReader {
  let call: CallReader | null = null;
  return (text, ended) => {
    const separator = /^[\s,]*/.exec(text.slice(from))?.[0].length ?? 0;
    const start = text.slice(from + separator);
    if (call === null) {
      if (start === '') return ended ? { kind: 'end', length: text.length } : more(true);
      if (start.startsWith(']')) return { kind: 'end', length: from + separator + 1 };
      if (!start.startsWith('{')) return none(true);
      call = jsonReader(0, tools, []);
    }
    const reading = call(start, ended);
    if (reading.kind !== 'call') return reading;
    return { ...reading, length: from + separator + reading.length, next: listReader(tools, 0) };
  };
}

/** `{"name": …, "parameters": {…}}` without a mark, several parted by `;`. Only tools that were offered are called so. */
export function bareReader(tools: ToolsOffered): CallReader {
  let call: CallReader | null = null;
  return (text, ended) => {
    const separator = /^[\s;]*/.exec(text)?.[0].length ?? 0;
    const start = text.slice(separator);
    if (!mayBeCall(start, tools) || (ended && start === '')) return none(false);
    if (start === '') return more(false);
    call ??= jsonReader(0, tools, []);
    const reading = call(start, ended);
    if (reading.kind !== 'call')
      return reading.kind === 'more' ? { ...reading, begun: reading.call !== undefined } : reading;
    if (!tools.isOffered(reading.name)) return none(false);
    return { ...reading, length: separator + reading.length, next: bareReader(tools) };
  };
}

/** Other JSON is an answer, and is shown as it comes. */
function mayBeCall(text: string, { isOffered }: ToolsOffered): boolean {
  const compact = text.slice(0, 600).replace(/\s+/g, '');
  const names = /^\{(?:"type":"function",)?"name":"([^"]*)"/.exec(compact);
  if (names?.[1] !== undefined) return isOffered(names[1]);
  return ['{"name":"', '{"type":"function","name":"'].some(
    head => head.startsWith(compact) || (compact.startsWith(head) && !compact.slice(head.length).includes('"')),
  );
}
