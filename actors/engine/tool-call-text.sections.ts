/**
 * Readers of calls that stand in sections or lists, and of a call that has no mark at all. In a section the marks are
 * control tokens, which no prose contains: what stands there is a call whatever its name.
 */
import { pythonReader } from './tool-call-text.python.ts';
import {
  argumentsReader,
  broken,
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

/** What a call of a section may begin with, up to its arguments. */
const headCharsMax = 700;

export function sectionReader(section: Section): CallReader {
  let call: CallReader | null = null;
  return (text, ended) => {
    if (call === null) {
      const start = text.trimStart();
      if (start.startsWith(section.end)) return endAt(text, section.end);
      if (start === '' && ended) return { kind: 'end', length: text.length };
      const head = section.head.exec(text.slice(0, headCharsMax));
      const name = (head?.[1] ?? head?.[2])?.trim();
      if (head === null || name === undefined) {
        const begun = start.startsWith(section.begin);
        if (begun && (ended || text.length >= headCharsMax))
          return broken(Math.min(text.length, headCharsMax), section.closings, [section.end]);
        const possible = begun || section.end.startsWith(start) || section.begin.startsWith(start);
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

export const mistralMark = '[TOOL_CALLS]';

/** `[{"name": …, "arguments": {…}}, …]`, or `NAME[ARGS]{…}`, or `NAME{…}`. */
export function mistralReader(tools: ToolsOffered): CallReader {
  let inner: CallReader | null = null;
  return (text, ended) => {
    if (inner === null) {
      const start = text.trimStart();
      const named = /^\s*([\w.:-]{1,256})(?:\[CALL_ID\]\w{0,64})?(?:\[ARGS\])?\s*(?=\{)/.exec(text);
      if (start.startsWith('[')) inner = listReader(tools, text.indexOf('[') + 1, []);
      else if (named !== null) inner = argumentsReader('json', named[1] ?? '', named[0].length, [], [mistralMark]);
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

/** A list of calls as objects, or one of them alone, up to `end`, which may be missing. */
export function listedReader(tools: ToolsOffered, end: string): CallReader {
  let inner: CallReader | null = null;
  return (text, ended) => {
    if (inner === null) {
      const start = text.trimStart();
      if (start.startsWith('[')) inner = listReader(tools, text.indexOf('[') + 1, [end]);
      else if (start.startsWith('{')) inner = jsonReader(text.indexOf('{'), tools, [end]);
      else return start === '' && !ended ? more(false) : none(false);
    }
    return inner(text, ended);
  };
}

/** The next call of a list, from `from`: behind its bracket, or behind a call. `ends`: what may stand behind the list. */
function listReader(tools: ToolsOffered, from: number, ends: readonly string[]): CallReader {
  let call: CallReader | null = null;
  return (text, ended) => {
    if (call !== null) return call(text, ended);
    const separator = from + (/^[\s,]*/.exec(text.slice(from))?.[0].length ?? 0);
    const start = text.slice(separator);
    if (start === '') return ended ? { kind: 'end', length: text.length } : more(true);
    if (start.startsWith('{')) {
      call = behind(separator, jsonReader(0, tools, [], ends), () => listReader(tools, 0, ends));
      return call(text, ended);
    }
    const closing = /^\]\s*/.exec(start)?.[0] ?? '';
    const rest = start.slice(closing.length);
    const end = ends.find(mark => rest.startsWith(mark));
    if (end !== undefined) return { kind: 'end', length: separator + closing.length + end.length };
    if (!ended && ends.some(mark => mark.startsWith(rest))) return more(true);
    return closing === '' ? broken(separator, [], ends) : { kind: 'end', length: separator + 1 };
  };
}

/**
 * `{"name": …, "parameters": {…}}` without a mark, several parted by `;`, or Python's `[NAME(a=1), …]`. Only tools that
 * were offered are called so.
 */
export function bareReader(tools: ToolsOffered): CallReader {
  let call: CallReader | null = null;
  return (text, ended) => {
    if (call === null && text.trimStart().startsWith('[')) call = pythonReader(tools, []);
    if (call !== null) return call(text, ended);
    const separator = /^[\s;]*/.exec(text)?.[0].length ?? 0;
    const start = text.slice(separator);
    if (!mayBeCall(start, tools) || (ended && nameIn(start) === null)) return none(false);
    if (nameIn(start) === null) return more(false);
    call = behind(separator, jsonReader(0, tools, []), () => bareReader(tools));
    return call(text, ended);
  };
}

/** A call behind a separator. */
const behind =
  (separator: number, call: CallReader, next: () => CallReader): CallReader =>
  (text, ended) => {
    const reading = followedBy(call(text.slice(separator), ended), next);
    if (reading.kind !== 'call' && reading.kind !== 'broken') return reading;
    return { ...reading, length: separator + reading.length };
  };

/** Other JSON is an answer, and is shown as it comes. */
function mayBeCall(text: string, { isOffered }: ToolsOffered): boolean {
  const name = nameIn(text);
  if (name !== null) return isOffered(name);
  const compact = compacted(text);
  return ['{"name":"', '{"type":"function","name":"'].some(
    head => head.startsWith(compact) || (compact.startsWith(head) && !compact.slice(head.length).includes('"')),
  );
}

const compacted = (text: string): string => text.slice(0, 600).replace(/\s+/g, '');
const nameIn = (text: string): string | null =>
  /^\{(?:"type":"function",)?"name":"([^"]*)"/.exec(compacted(text))?.[1] ?? null;
