/**
 * A call written with tags, a parameter in each: `<function=NAME> <parameter=KEY>VALUE</parameter>… </function>`.
 *
 * A parameter that can only be text is given out as it is written; any other when it is whole, because what it is shows
 * only then. Of a parameter that comes twice, the first counts.
 */
import {
  argumentsReader,
  broken,
  type CallReader,
  type CallSoFar,
  more,
  none,
  parseJson,
  type Reading,
  type ToolsOffered,
  type TypesOf,
} from './tool-call-text.ts';

/** The tags of a family. */
export interface CallTags {
  /** Its group is the name. */
  readonly head: RegExp;
  /** Matches what may still become a head. */
  readonly headBegun: RegExp;
  /** The beginning of a value, with its key in the group, or the end of the call. */
  readonly next: RegExp;
  readonly valueEnd: string;
  /** Ends a value whose own end was forgotten. */
  readonly ends: RegExp;
  /** The same without white space, of which a value's end may be the beginning. */
  readonly endMark: string;
  /** What stands behind arguments that were written as JSON instead. */
  readonly close: string;
}

const functionTags: CallTags = {
  head: /^\s*<function=([^>\n]{1,256})>/,
  headBegun: /^\s*<function=[^>\n]{0,256}$/,
  next: /<parameter=([^>\n]+)>|<\/function>/,
  valueEnd: '</parameter>',
  ends: /<\/parameter>|<\/function>\s*<\/tool_call>/,
  endMark: '</function></tool_call>',
  close: '</function>',
};

export const seedTags: CallTags = {
  ...functionTags,
  ends: /<\/parameter>|<\/function>\s*<\/seed:tool_call>/,
  endMark: '</function></seed:tool_call>',
};

/** `<invoke name="NAME"> <parameter name="KEY">VALUE</parameter> … </invoke>`; `prefix` stands in front of each word. */
export const invokeTags = (prefix = ''): CallTags => ({
  head: new RegExp(`^\\s*<${prefix}invoke name="([^"\n]{1,256})">`),
  headBegun: new RegExp(`^\\s*<${prefix}invoke name="[^"\n]{0,256}("|">)?$`),
  next: new RegExp(`<${prefix}parameter name="([^"\n]+)"[^>\n]*>|</${prefix}invoke>`),
  valueEnd: `</${prefix}parameter>`,
  ends: new RegExp(`</${prefix}parameter>|</${prefix}invoke>`),
  endMark: `</${prefix}invoke>`,
  close: `</${prefix}invoke>`,
});

/** `NAME <arg_key>KEY</arg_key> <arg_value>VALUE</arg_value> … </tool_call>` */
export const glmTags: CallTags = {
  head: /^\s*([\w.:-]{1,256})\s*(?=<arg_key>|<\/tool_call>)/,
  headBegun:
    /^\s*([\w.:-]{1,256}\s*(<(a|ar|arg|arg_|arg_k|arg_ke|arg_key|\/|\/t|\/to|\/too|\/tool|\/tool_|\/tool_c|\/tool_ca|\/tool_cal|\/tool_call)?)?)?$/,
  next: /<arg_key>([^<]*)<\/arg_key>\s*<arg_value>|<\/tool_call>/,
  valueEnd: '</arg_value>',
  ends: /<\/arg_value>|<\/tool_call>/,
  endMark: '</tool_call>',
  close: '</tool_call>',
};

/** `closing` may stand behind the block, and belongs to it then. */
export function functionReader(
  { typesOf, isOffered }: ToolsOffered,
  closing: string,
  tags: CallTags = functionTags,
): CallReader {
  let head: RegExpExecArray | null = null;
  let name = '';
  let at = 0;
  let args = objectWriter();
  let key: string | null = null;
  /** Of the open value: how much of it is written. */
  let given = 0;
  let start = 0;
  let over = false;
  /** Words between the tags, which belong to nothing. */
  let hasStray = false;
  let json: CallReader | null = null;

  /** Takes the next part; false when more text is needed. */
  const step = (text: string, ended: boolean): boolean => {
    if (key === null) {
      const rest = text.slice(at);
      const next = tags.next.exec(rest);
      if (next === null) {
        // White space between the tags is layout.
        const tag = rest.indexOf('<');
        const layout = tag === -1 ? rest.length : tag;
        hasStray ||= rest.slice(0, layout).trim() !== '';
        at += layout;
        if (ended) over = true;
        return false;
      }
      hasStray ||= rest.slice(0, next.index).trim() !== '';
      at += next.index + next[0].length;
      if (next[1] === undefined) over = true;
      else {
        key = next[1].trim();
        start = at;
        given = 0;
      }
      return !over;
    }
    const isText = textOnly(typesOf(name, key));
    const rest = text.slice(start);
    // A value whose end was forgotten ends with the call.
    const end = tags.ends.exec(rest);
    if (end === null && !ended) {
      if (!isText) return false;
      const sure = rest
        .slice(0, rest.length - heldBack(rest, tags))
        .replace(/^\r?\n/, '')
        .replace(/[\ud800-\udbff]$/, '');
      if (rest === '' || rest === '\r' || sure.length <= given) return false;
      if (given === 0) args.openText(key);
      args.text(sure.slice(given));
      given = sure.length;
      return false;
    }
    const raw = end === null ? rest : rest.slice(0, end.index);
    const value = raw.replace(/^\r?\n/, '').replace(/\r?\n$/, '');
    if (isText) {
      if (given === 0) args.openText(key);
      args.text(value.slice(given));
      args.closeText();
    } else args.value(key, parameterValue(value, typesOf(name, key)));
    key = null;
    at = end === null ? text.length : start + end.index + (end[0] === tags.valueEnd ? end[0].length : 0);
    return true;
  };

  return (text, ended) => {
    if (head === null) {
      head = tags.head.exec(text);
      if (head === null) return ended || !tags.headBegun.test(text) ? none(false) : more(false);
      name = (head[1] ?? '').trim();
      at = head[0].length;
      args = objectWriter();
    }
    if (name === '') return none(true);
    const offered = isOffered(name);
    if (json === null && args.written === '{' && key === null && !over) {
      const body = text.slice(head[0].length).trimStart();
      if (body === '' && !ended) return told(offered, { form: 'text', name, arguments: '' });
      if (body.startsWith('{')) json = argumentsReader('text', name, text.indexOf('{', head[0].length), [tags.close]);
    }
    if (json !== null) {
      const reading = json(text, ended);
      if (reading.kind === 'more') return offered ? reading : more(true);
      if (reading.kind === 'broken') return offered ? reading : broken(reading.length, reading.closings, reading.nexts);
      if (reading.kind !== 'call') return reading;
      const tail = text.slice(reading.length);
      const space = tail.length - tail.trimStart().length;
      if (closing === '' || !closing.startsWith(tail.trimStart().slice(0, closing.length))) return reading;
      if (tail.trimStart().startsWith(closing)) return { ...reading, length: reading.length + space + closing.length };
      return ended ? { ...reading, length: text.length } : told(offered, reading);
    }
    while (!over && step(text, ended)) {
      // Each step takes a tag.
    }
    const call = { form: 'text', name, arguments: args.written } as const;
    if (!over) return told(offered, call);
    if (hasStray && args.written === '{')
      return broken(
        at,
        [closing].filter(mark => mark !== ''),
        [],
        offered ? call : undefined,
      );
    const rest = text.slice(at);
    const space = rest.length - rest.trimStart().length;
    const after = rest.slice(space);
    const whole = { kind: 'call', ...call, arguments: `${args.written}}` } as const;
    if (after.startsWith(closing)) return { ...whole, length: at + space + closing.length };
    if (!closing.startsWith(after)) return { ...whole, length: at };
    if (ended) return { ...whole, length: text.length };
    return told(offered, call);
  };
}

/** Several calls with tags, up to `end`. `begin`: what each begins with. */
export function taggedReader(tools: ToolsOffered, tags: CallTags, begin: string, end: string): CallReader {
  let call: CallReader | null = null;
  return (text, ended) => {
    if (call === null) {
      const start = text.trimStart();
      if (start.startsWith(end)) return { kind: 'end', length: text.indexOf(end) + end.length };
      if (start === '' && ended) return { kind: 'end', length: text.length };
      if (!start.startsWith(begin))
        return !ended && (begin.startsWith(start) || end.startsWith(start)) ? more(false) : none(false);
      call = functionReader(tools, '', tags);
    }
    const reading = call(text, ended);
    if (reading.kind === 'call') return { ...reading, next: taggedReader(tools, tags, begin, end) };
    // A head that has no name is a call all the same: its marks stand in no prose.
    return reading.kind === 'none' ? broken(text.length - text.trimStart().length, [end]) : reading;
  };
}

/** A call is told of once its tool is known to have been offered. */
const told = (offered: boolean, { form, name, arguments: written }: CallSoFar): Reading =>
  more(true, offered ? { form, name, arguments: written } : undefined);

const textOnly = (types: readonly string[] | null): boolean => types?.length === 1 && types[0] === 'string';

/** Length of the end of a value that may not belong to it: the line break before its closing tags, and these. */
function heldBack(text: string, tags: CallTags): number {
  const last = text.lastIndexOf('<');
  const former = last > 0 ? text.lastIndexOf('<', last - 1) : -1;
  const from = [former, last].find(at => at !== -1 && mayEnd(text.slice(at), tags)) ?? text.length;
  return text.length - from + (/\r?\n?$/.exec(text.slice(0, from))?.[0].length ?? 0);
}

const mayEnd = (tail: string, { valueEnd, endMark }: CallTags): boolean =>
  valueEnd.startsWith(tail) || endMark.startsWith(tail.replace(/^(<\/function>)\s+/, '$1'));

/** An object, a parameter after the other. */
function objectWriter() {
  const known = new Set<string>();
  let written = '{';
  let mute = false;
  const begin = (key: string): void => {
    mute = known.has(key);
    known.add(key);
    if (!mute) written += `${written === '{' ? '' : ','}${JSON.stringify(key)}:`;
  };
  const say = (text: string): void => {
    if (!mute) written += text;
  };
  return {
    get written() {
      return written;
    },
    openText(key: string) {
      begin(key);
      say('"');
    },
    text: (text: string) => say(JSON.stringify(text).slice(1, -1)),
    closeText: () => say('"'),
    value(key: string, value: unknown) {
      begin(key);
      say(JSON.stringify(value));
    },
  };
}

/**
 * A value between tags. The line breaks beside the tags are layout; the rest is kept, indentation included. Text that the
 * schema calls a number, a boolean or null becomes one; objects and arrays are read unless the schema wants a string.
 */
export function parameterValue(text: string, types: ReturnType<TypesOf>): unknown {
  if (textOnly(types)) return text;
  const value = parseJson(text);
  if (value === undefined) return text;
  if (typeof value === 'object' && value !== null) return value;
  const type = value === null ? 'null' : typeof value;
  const allowed = types?.includes(type) || (Number.isInteger(value) && types?.includes('integer'));
  return allowed && type !== 'string' ? value : text;
}
