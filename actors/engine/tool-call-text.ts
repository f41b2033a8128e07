/**
 * Reads one tool call that a model wrote as text. Three forms are known, each after its opening:
 *
 *   <tool_call>  {"name": …, "arguments": {…}}  </tool_call>
 *   <tool_call>  <function=NAME> <parameter=KEY>VALUE</parameter>… </function>  </tool_call>
 *   [Calling tool:  NAME({…})]
 *
 * A reader is asked again and again while its text grows. Its answers depend on the text alone, not on how it came: once
 * it says `none` (this is no call) or `call`, more text would not have changed that.
 */
export const openings = ['<tool_call>', '[Calling tool:'] as const;
export type Opening = (typeof openings)[number];

export type Reading =
  /** `begun`: it looks (or looked) like a call. */
  | { readonly kind: 'more'; readonly begun: boolean }
  | { readonly kind: 'none'; readonly begun: boolean }
  | {
      readonly kind: 'call';
      readonly form: 'json' | 'text';
      readonly name: string;
      readonly arguments: string;
      /** Characters it took, closing included. */
      readonly length: number;
    };

/** JSON types that a tool's schema allows for a parameter; null = the schema does not say. */
export type TypesOf = (tool: string, parameter: string) => readonly string[] | null;

/** `ended` says that no more text will come: a call that lacks only its closing is then accepted. */
export type CallReader = (text: string, ended: boolean) => Reading;

const more = (begun: boolean): Reading => ({ kind: 'more', begun });
const none = (begun: boolean): Reading => ({ kind: 'none', begun });
const closing = '</tool_call>';
const nameLengthMax = 256;

export function callReader(opening: Opening, typesOf: TypesOf): CallReader {
  if (opening === '[Calling tool:') return callingReader();
  let inner: CallReader | null = null;
  return (text, ended) => {
    if (inner !== null) return inner(text, ended);
    const from = text.length - text.trimStart().length;
    const start = text.slice(from, from + '<function='.length);
    if (start.startsWith('{')) inner = jsonReader(from);
    else if (start === '<function=') inner = functionReader(typesOf);
    else return !ended && '<function='.startsWith(start) ? more(false) : none(false);
    return inner(text, ended);
  };
}

function jsonReader(from: number): CallReader {
  const object = objectEnd(from);
  return (text, ended) => {
    const end = object(text);
    if (end === 'never') return none(true);
    if (end === 'later') return ended ? none(true) : more(true);
    const after = text.slice(end).trimStart();
    const closed = after.startsWith(closing);
    // A closing that is missing is forgiven where the call is plainly over: at the end, and before the next call.
    const cutShort = ended && closing.startsWith(after);
    if (!closed && !cutShort && !after.startsWith(openings[0])) {
      const open = closing.startsWith(after) || openings[0].startsWith(after);
      return open && !ended ? more(true) : none(true);
    }
    const call = parseObject(text.slice(from, end));
    const name = call?.name;
    const given = call?.arguments ?? call?.parameters ?? {};
    const args = typeof given === 'string' ? parseObject(given) : isObject(given) ? given : null;
    if (typeof name !== 'string' || name === '' || args === null) return none(true);
    const length = cutShort ? text.length : text.length - after.length + (closed ? closing.length : 0);
    return { kind: 'call', form: 'json', name, arguments: JSON.stringify(args), length };
  };
}

function functionReader(typesOf: TypesOf): CallReader {
  /** Where the end was looked for last; an end may straddle it by its own length at most. */
  let seen = 0;
  return (text, ended) => {
    const whole = /<\/function>(\s*<\/tool_call>)/.exec(text.slice(seen));
    const atEnd = ended ? /<\/function>(\s*)$/.exec(text.slice(seen)) : null;
    const end = whole ?? atEnd;
    if (end === null) {
      seen = Math.max(0, text.trimEnd().length - '</function></tool_call>'.length);
      const last = text.lastIndexOf('</function>');
      if (last !== -1) seen = Math.min(seen, last);
      return ended ? none(true) : more(true);
    }
    const head = /^\s*<function=([^>\n]{1,256})>/.exec(text);
    if (head === null) return none(true);
    const name = (head[1] ?? '').trim();
    const body = text.slice(head[0].length, seen + end.index);
    const args: [string, unknown][] = [];
    for (const [, key = '', value = ''] of body.matchAll(/<parameter=([^>\n]+)>([\s\S]*?)<\/parameter>/g)) {
      args.push([key.trim(), parameterValue(value, typesOf(name, key.trim()))]);
    }
    if (name === '') return none(true);
    const length = seen + end.index + end[0].length;
    return { kind: 'call', form: 'text', name, arguments: JSON.stringify(Object.fromEntries(args)), length };
  };
}

/**
 * A value between tags. The line breaks beside the tags are layout; the rest is kept, indentation included. Text that the
 * schema calls a number, a boolean or null becomes one; objects and arrays are read unless the schema wants a string.
 */
function parameterValue(raw: string, types: readonly string[] | null): unknown {
  const text = raw.replace(/^\r?\n/, '').replace(/\r?\n$/, '');
  if (types?.length === 1 && types[0] === 'string') return text;
  const value = parseJson(text);
  if (value === undefined) return text;
  if (typeof value === 'object' && value !== null) return value;
  const type = value === null ? 'null' : typeof value;
  const allowed = types?.includes(type) || (Number.isInteger(value) && types?.includes('integer'));
  return allowed && type !== 'string' ? value : text;
}

function callingReader(): CallReader {
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

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined; // Not JSON: the caller keeps the text.
  }
}

function parseObject(text: string): Record<string, unknown> | null {
  const value = parseJson(text);
  return isObject(value) ? value : null;
}
