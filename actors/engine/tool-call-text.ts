/**
 * Reads one tool call that a model wrote as text. Three forms are known everywhere, each after its opening; those of
 * other families stand in dialects.ts:
 *
 *   <tool_call>  {"name": …, "arguments": {…}}  </tool_call>
 *   <tool_call>  <function=NAME> <parameter=KEY>VALUE</parameter>… </function>  </tool_call>
 *   [Calling tool:  NAME({…})]
 *
 * A reader is asked again and again while its text grows. Its answers depend on the text alone, not on how it came: once
 * it says `none` (this is no call) or `call`, more text would not have changed that. Once it has named a tool that was
 * offered, it is a call for good: what is wrong with the rest is put right, and nothing of it is shown as text.
 */
import { jsonObject } from './json-object.ts';
import { functionReader } from './tool-call-text.functions.ts';

export const toolCallOpening = '<tool_call>';

/** `json`: written as JSON; `text`: in another form, which the reference numbers differently. */
export type CallForm = 'json' | 'text';

/** What is certain of a call that is being written: `arguments` only ever grows. */
export interface CallSoFar {
  readonly form: CallForm;
  readonly name: string;
  readonly arguments: string;
}

export type Reading =
  /** `begun`: it looks (or looked) like a call. */
  | { readonly kind: 'more'; readonly begun: boolean; readonly call?: CallSoFar }
  | { readonly kind: 'none'; readonly begun: boolean }
  /** What the opening opened is over, without another call. */
  | { readonly kind: 'end'; readonly length: number }
  | (CallSoFar & {
      readonly kind: 'call';
      /** Characters it took, closing included. */
      readonly length: number;
      /** Reads what follows: another call under the same opening, or its end. */
      readonly next?: CallReader;
    });

/** JSON types that a tool's schema allows for a parameter; null = the schema does not say. */
export type TypesOf = (tool: string, parameter: string) => readonly string[] | null;

export interface ToolsOffered {
  readonly typesOf: TypesOf;
  readonly isOffered: (name: string) => boolean;
}

/** `ended` says that no more text will come: a call that lacks only its closing is then accepted. */
export type CallReader = (text: string, ended: boolean) => Reading;

export const more = (begun: boolean): Reading => ({ kind: 'more', begun });
export const none = (begun: boolean): Reading => ({ kind: 'none', begun });
const closing = '</tool_call>';
const nameLengthMax = 256;

/** JSON or function block, as the first characters say. */
export function toolCallReader(tools: ToolsOffered): CallReader {
  let inner: CallReader | null = null;
  return (text, ended) => {
    if (inner !== null) return inner(text, ended);
    const from = text.length - text.trimStart().length;
    const start = text.slice(from, from + '<function='.length);
    if (start.startsWith('{')) inner = jsonReader(from, tools, [closing], [toolCallOpening]);
    else if (start === '<function=') inner = functionReader(tools, closing);
    else return !ended && '<function='.startsWith(start) ? more(false) : none(false);
    return inner(text, ended);
  };
}

const callHead =
  /^\s*\{\s*(?:"type"\s*:\s*"function"\s*,\s*)?"name"\s*:\s*"([^"\\]{1,256})"\s*,\s*"(?:arguments|parameters)"\s*:\s*(?=\{)/;

/**
 * A call as one JSON object. `closings`: what ends it, one of them, unless there are none; `nexts`: what may follow
 * instead.
 */
export function jsonReader(
  from: number,
  { isOffered }: ToolsOffered,
  closings: readonly string[],
  nexts: readonly string[] = [],
): CallReader {
  const object = objectEnd(from);
  let known: CallReader | null = null;
  return (text, ended) => {
    if (known === null) {
      const head = callHead.exec(text);
      const name = head?.[1];
      if (head !== null && name !== undefined && isOffered(name))
        known = argumentsReader('json', name, head[0].length, closings, nexts);
    }
    if (known !== null) return known(text, ended);
    const end = object(text);
    if (end === 'never') return none(true);
    if (end === 'later') return ended ? none(true) : more(true);
    const after = text.slice(end).trimStart();
    const closed = closings.find(mark => after.startsWith(mark));
    // A closing that is missing is forgiven where the call is plainly over: at the end, and before the next call.
    const cutShort = ended && (after === '' || closings.some(mark => mark.startsWith(after)));
    if (closings.length > 0 && closed === undefined && !cutShort && !nexts.some(next => after.startsWith(next))) {
      const open = [...closings, ...nexts].some(mark => mark.startsWith(after));
      return open && !ended ? more(true) : none(true);
    }
    const call = parseObject(text.slice(from, end));
    const name = call?.name;
    const given = call?.arguments ?? call?.parameters ?? {};
    const args = typeof given === 'string' ? parseObject(given) : isObject(given) ? given : null;
    if (typeof name !== 'string' || name === '' || args === null) return none(true);
    const behind = closings.length === 0 ? end : text.length - after.length + (closed?.length ?? 0);
    return {
      kind: 'call',
      form: 'json',
      name,
      arguments: JSON.stringify(args),
      length: cutShort && closings.length > 0 ? text.length : behind,
    };
  };
}

/**
 * The arguments of a call that is known to be one, and what is left of it behind them: braces too many or too few, further
 * fields, a closing or none.
 */
export function argumentsReader(
  form: CallForm,
  name: string,
  from: number,
  closings: readonly string[],
  nexts: readonly string[] = [],
): CallReader {
  const object = jsonObject(from);
  return (text, ended) => {
    const { written, closing, end, brokenAt } = object(text);
    const call = { form, name, arguments: written };
    const whole = { kind: 'call', form, name, arguments: written + closing } as const;
    if (end === null && brokenAt === null)
      return ended ? { ...whole, length: text.length } : { kind: 'more', begun: true, call };
    const at = end ?? brokenAt ?? text.length;
    const space = /^[\s}]*/.exec(text.slice(at))?.[0].length ?? 0;
    const after = text.slice(at + space);
    const closed = closings.find(mark => after.startsWith(mark));
    if (closed !== undefined) return { ...whole, length: at + space + closed.length };
    // White space behind it belongs to what follows.
    const behind = at + text.slice(at, at + space).lastIndexOf('}') + 1;
    const open = closings.some(mark => mark.startsWith(after));
    if (after === '' || open) {
      if (ended) return { ...whole, length: after === '' ? behind : text.length };
      return { kind: 'more', begun: true, call };
    }
    if (brokenAt === null && !after.startsWith(',')) return { ...whole, length: behind };
    if (closings.length === 0 && brokenAt === null) return { ...whole, length: behind };
    const marks = [...closings, ...nexts].map(mark => ({ mark, at: text.indexOf(mark, at) })).filter(m => m.at !== -1);
    const [first] = marks.toSorted((a, b) => a.at - b.at);
    if (first === undefined) return ended ? { ...whole, length: text.length } : { kind: 'more', begun: true, call };
    return { ...whole, length: first.at + (closings.includes(first.mark) ? first.mark.length : 0) };
  };
}

/** `[Calling tool: NAME({…})]` */
export function callingReader(): CallReader {
  let object: ((text: string) => number | 'later' | 'never') | null = null;
  let name = '';
  return (text, ended) => {
    if (object === null) {
      const head = /^\s*([\w.:-]{1,256})\s*\(/.exec(text);
      if (head === null) {
        const possible = text.length <= nameLengthMax && /^\s*[\w.:-]*\s*$/.test(text);
        return possible && !ended ? more(false) : none(false);
      }
      const from = text.slice(head[0].length).search(/\S/);
      if (from === -1) return ended ? none(true) : more(true);
      name = head[1] ?? '';
      object = objectEnd(head[0].length + from);
    }
    const end = object(text);
    if (end === 'never') return none(true);
    if (end === 'later') return ended ? none(true) : more(true);
    const tail = /^\s*\)\s*\]/.exec(text.slice(end));
    if (tail === null) return !ended && /^\s*(\)\s*)?$/.test(text.slice(end)) ? more(true) : none(true);
    const from = text.indexOf('{');
    const args = parseObject(text.slice(from, end));
    if (args === null) return none(true);
    return { kind: 'call', form: 'text', name, arguments: JSON.stringify(args), length: end + tail[0].length };
  };
}

/** Finds where the JSON object that starts at `from` ends, going on from where it stopped the last time. */
function objectEnd(from: number): (text: string) => number | 'later' | 'never' {
  let at = from;
  let depth = 0;
  let inString = false;
  let escaped = false;
  let end: number | null = null;
  return text => {
    if (end !== null) return end;
    for (; at < text.length; at += 1) {
      const c = text[at] ?? '';
      if (inString) {
        if (escaped) escaped = false;
        else if (c === '\\') escaped = true;
        else if (c === '"') inString = false;
      } else if (c === '"') inString = true;
      else if (c === '{' || c === '[') depth += 1;
      else if (c === '}' || c === ']') {
        depth -= 1;
        if (depth === 0) {
          end = at + 1;
          return end;
        }
      } else if (depth === 0 || !/[\s,:0-9+\-.eEtrufalsn]/.test(c)) return 'never';
    }
    return 'later';
  };
}

export const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined; // Not JSON: the caller keeps the text.
  }
}

export function parseObject(text: string): Record<string, unknown> | null {
  const value = parseJson(text);
  return isObject(value) ? value : null;
}
