/**
 * Reads one tool call that a model wrote as text. Three forms are known everywhere, each after its opening; those of
 * other families stand in dialects.ts:
 *
 *   <tool_call>  {"name": …, "arguments": {…}}  </tool_call>
 *   <tool_call>  <function=NAME> <parameter=KEY>VALUE</parameter>… </function>  </tool_call>
 *   [Calling tool:  NAME({…})]
 *
 * A reader is asked again and again while its text grows. Its answers depend on the text alone, not on how it came: once
 * it says `none` (this is no call), `call` or `broken`, more text would not have changed that. What is wrong with a call
 * is put right where that leaves no doubt (json-object.ts); else it is broken, and nothing of it is shown as text.
 */
import { jsonObject, readObject } from './json-object.ts';
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
  /**
   * A call that cannot be read from `length` on; it goes on up to one of the marks, and `closings` belong to it. `call`:
   * what was certain of it.
   */
  | {
      readonly kind: 'broken';
      readonly length: number;
      readonly closings: readonly string[];
      readonly nexts: readonly string[];
      readonly call?: CallSoFar;
    }
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

export const more = (begun: boolean, call?: CallSoFar): Reading =>
  call === undefined ? { kind: 'more', begun } : { kind: 'more', begun, call };
export const none = (begun: boolean): Reading => ({ kind: 'none', begun });
export const broken = (
  length: number,
  closings: readonly string[],
  nexts: readonly string[] = [],
  call?: CallSoFar,
): Reading => ({ kind: 'broken', length, closings, nexts, ...(call === undefined ? {} : { call }) });
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

/** What a call as an object begins with when its tool is told first; a value of another kind is read with the whole. */
const callHead =
  /^\s*\{\s*(?:(["']?)(?:type|id|tool_call_id)\1\s*:\s*(["'])[^"']{0,64}\2\s*,\s*){0,2}(["']?)(?:tool_)?name\3\s*:\s*(["'])([^"'\\]{1,256})\4\s*,\s*(["']?)(?:arguments|parameters)\6\s*:\s*(?=\{)/;

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
  const object = jsonObject(from);
  let known: CallReader | null = null;
  return (text, ended) => {
    if (known === null) {
      const head = callHead.exec(text);
      const name = head?.[5];
      if (head !== null && name !== undefined && isOffered(name))
        known = argumentsReader('json', name, head[0].length, closings, nexts);
    }
    if (known !== null) return known(text, ended);
    const { written, closing: missing, end, brokenAt } = object(text);
    if (brokenAt !== null) {
      const rest = text.slice(brokenAt);
      const marks = [...closings, ...nexts];
      if (!marks.some(mark => rest.startsWith(mark))) {
        const open = marks.some(mark => mark.startsWith(rest));
        return open && !ended ? more(true) : broken(brokenAt, closings, nexts);
      }
    }
    if (end === null && brokenAt === null && !ended) return more(true);
    const call = callIn(written + missing);
    const at = end ?? brokenAt ?? text.length;
    if (call === null || (end === null && !call.whole && !isOffered(call.name))) return broken(at, closings, nexts);
    return enclosed({ form: 'json', name: call.name, arguments: call.arguments }, at, closings, nexts)(text, ended);
  };
}

/** The call in a JSON text; null when it holds none. `whole`: its arguments are there. */
function callIn(text: string): { readonly name: string; readonly arguments: string; readonly whole: boolean } | null {
  const outer = parseObject(text) ?? {};
  const call = isObject(outer.function) ? outer.function : outer;
  const name = call.name ?? call.tool_name ?? call.function;
  const given = call.arguments ?? call.parameters;
  const args = typeof given === 'string' ? readObject(given) : isObject(given) ? given : null;
  if (typeof name !== 'string' || name === '') return null;
  if (given === undefined || given === null || given === '') return { name, arguments: '{}', whole: false };
  return args === null ? null : { name, arguments: JSON.stringify(args), whole: true };
}

/** What stands behind a call whose text ends at `at`: its closing, or another beginning in its place, or nothing. */
function enclosed(call: CallSoFar, at: number, closings: readonly string[], nexts: readonly string[]): CallReader {
  return (text, ended) => {
    const space = /^[\s}]*/.exec(text.slice(at))?.[0].length ?? 0;
    const after = text.slice(at + space);
    const closed = closings.find(mark => after.startsWith(mark));
    if (closed !== undefined) return { kind: 'call', ...call, length: at + space + closed.length };
    // White space behind it belongs to what follows.
    const behind = at + text.slice(at, at + space).lastIndexOf('}') + 1;
    if (after === '' || closings.some(mark => mark.startsWith(after))) {
      if (!ended) return more(true);
      return { kind: 'call', ...call, length: after === '' ? behind : text.length };
    }
    // A closing that is missing is forgiven.
    if (!after.startsWith(',') || closings.length === 0) return { kind: 'call', ...call, length: behind };
    // Further fields of the object around it.
    const [first] = marksIn(text, at, [...closings, ...nexts]);
    if (first === undefined) return ended ? { kind: 'call', ...call, length: text.length } : more(true);
    return { kind: 'call', ...call, length: first.at + (closings.includes(first.mark) ? first.mark.length : 0) };
  };
}

/** The marks that stand in a text from `from` on, the first one first. */
export const marksIn = (
  text: string,
  from: number,
  marks: readonly string[],
): readonly { readonly mark: string; readonly at: number }[] =>
  marks
    .map(mark => ({ mark, at: text.indexOf(mark, from) }))
    .filter(({ at }) => at !== -1)
    .sort((a, b) => a.at - b.at);

/**
 * The arguments of a call that is known to be one, and what is left of it behind them: braces too many or too few, further
 * fields, a closing or none. `quote`: what parts texts in them, unless quotes do.
 */
export function argumentsReader(
  form: CallForm,
  name: string,
  from: number,
  closings: readonly string[],
  nexts: readonly string[] = [],
  quote: string | null = null,
): CallReader {
  const object = jsonObject(from, quote);
  return (text, ended) => {
    const { written, closing, end, brokenAt } = object(text);
    const call = { form, name, arguments: written };
    const whole = { form, name, arguments: written + closing };
    if (end === null && brokenAt === null)
      return ended ? { kind: 'call', ...whole, length: text.length } : more(true, call);
    if (brokenAt !== null) {
      const rest = text.slice(brokenAt);
      const marks = [...closings, ...nexts];
      if (!marks.some(mark => rest.startsWith(mark))) {
        if (!marks.some(mark => mark.startsWith(rest))) return broken(brokenAt, closings, nexts, call);
        return ended ? { kind: 'call', ...whole, length: text.length } : more(true, call);
      }
    }
    const reading = enclosed(whole, end ?? brokenAt ?? text.length, closings, nexts)(text, ended);
    return reading.kind === 'more' ? more(true, call) : reading;
  };
}

/** `[Calling tool: NAME({…})]` */
export function callingReader(): CallReader {
  let object: ReturnType<typeof jsonObject> | null = null;
  let name = '';
  return (text, ended) => {
    if (object === null) {
      const head = /^\s*([\w.:-]{1,256})\s*\(\s*(?=\S)/.exec(text);
      if (head === null) {
        const begun = /^\s*[\w.:-]{1,256}\s*\(\s*$/.test(text);
        const possible = begun || (text.length <= nameLengthMax && /^\s*[\w.:-]*\s*$/.test(text));
        return possible && !ended ? more(begun) : none(begun);
      }
      name = head[1] ?? '';
      if (text[head[0].length] !== '{') return none(true);
      object = jsonObject(head[0].length);
    }
    const { written, closing, end, brokenAt } = object(text);
    if (brokenAt !== null) return broken(brokenAt, [')]', ']'], []);
    if (end === null && !ended) return more(true);
    const tail = /^\s*\)\s*\]/.exec(text.slice(end ?? text.length));
    if (tail === null && !/^\s*(\)\s*)?$/.test(text.slice(end ?? text.length))) return none(true);
    if (tail === null && !ended) return more(true);
    const length = tail === null ? text.length : (end ?? 0) + tail[0].length;
    return { kind: 'call', form: 'text', name, arguments: written + closing, length };
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
