/**
 * Reads a JSON object out of text that grows, and writes it again without the white space between its parts.
 *
 * N1. `written` only ever grows, and does not depend on how the text was cut.
 * N2. `written + closing` is always JSON of an object: what was begun and has no value yet is left out of it.
 * N3. What small models get wrong without leaving a doubt is put right: line breaks inside texts, a comma behind the last
 *     part, single quotes, keys without quotes, a bracket that was forgotten within another, Python's words for true,
 *     false and null, and escapes that JSON does not know. Python's arguments, `(a=1, b='x')`, are read as an object.
 */
export interface JsonSoFar {
  readonly written: string;
  /** Ends what `written` has open; empty once the object is whole. */
  readonly closing: string;
  /** Where the text goes on behind the object; null until it is whole. */
  readonly end: number | null;
  /** Where it stopped being JSON. */
  readonly brokenAt: number | null;
}

type Closer = '}' | ']' | ')';
type Expected =
  | 'firstKey'
  | 'key'
  | 'colon'
  | 'firstItem'
  | 'value'
  | 'after'
  | 'inKey'
  | 'inBareKey'
  | 'inText'
  | 'inWord';

/**
 * `from` is where the object's brace (or Python's parenthesis) stands. `mark` parts texts instead of quotes in some families; then nothing is
 * escaped in them.
 */
export function jsonObject(from: number, mark: string | null = null): (text: string) => JsonSoFar {
  let at = from;
  let expected: Expected = 'value';
  const open: Closer[] = [];
  let written = '';
  /** Comma and key of the next value: they are written when it begins. */
  let before = '';
  let key = '';
  let word = '';
  let pendingEscape: string | null = null;
  /** What ends the open text. */
  let quote = '';
  let end: number | null = null;
  let brokenAt: number | null = null;

  const begin = (text: string): void => {
    written += before + text;
    before = '';
  };

  const ended = (): void => {
    written += closed(open.pop());
    before = '';
    expected = 'after';
    if (open.length === 0) end = at + 1;
  };

  const say = (text: string): void => {
    if (expected === 'inKey' || expected === 'inBareKey') key += text;
    else written += text;
  };

  const keyEnded = (): void => {
    before += `"${key}"`;
    expected = 'colon';
  };

  const inText = (c: string): void => {
    if (pendingEscape !== null) {
      pendingEscape += c;
      if (pendingEscape[0] === 'u' && pendingEscape.length < 5) return;
      say(escaped(pendingEscape));
      pendingEscape = null;
    } else if (c === '\\' && quote.length === 1) pendingEscape = '';
    else if (c !== quote) say(c < ' ' || c === '"' || c === '\\' ? JSON.stringify(c).slice(1, -1) : c);
    else if (expected === 'inKey') keyEnded();
    else {
      written += '"';
      expected = 'after';
    }
  };

  const isQuote = (c: string): boolean => c === '"' || c === "'" || c === mark;

  /** The next character, or the mark when it stands here; null when the text is too short to tell. */
  const quoteAt = (text: string): string | null => {
    const c = text[at] ?? '';
    if (mark !== null && (quote === '' || quote === mark) && mark.startsWith(c)) {
      const here = text.slice(at, at + mark.length);
      if (here === mark) return mark;
      if (mark.startsWith(here)) return null;
    }
    return c;
  };

  /** False when it cannot stand here. */
  const step = (c: string): boolean => {
    if (expected === 'inKey' || expected === 'inText') {
      inText(c);
      return true;
    }
    if (expected === 'inBareKey') {
      if (/[\w$-]/.test(c)) {
        key += c;
        return true;
      }
      keyEnded();
    }
    if (expected === 'inWord') {
      if (/[\w.+-]/.test(c)) {
        word += c;
        return true;
      }
      const value = wordValue(word);
      if (value === null) return false;
      begin(value);
      expected = 'after';
    }
    if (/\s/.test(c)) return true;
    const within = open.at(-1);
    switch (expected) {
      case 'firstKey':
      case 'key':
        if (c === within) {
          ended();
          return true;
        }
        key = '';
        if (isQuote(c)) {
          quote = c;
          expected = 'inKey';
          return true;
        }
        if (!/[\w$]/.test(c)) return false;
        key = c;
        expected = 'inBareKey';
        return true;
      case 'colon':
        if (c !== (within === ')' ? '=' : ':')) return false;
        before += ':';
        expected = 'value';
        return true;
      case 'after':
        if (c === within || open.some(closer => closer === c)) {
          while (open.at(-1) !== c) written += closed(open.pop());
          ended();
          return true;
        }
        if (c !== ',') return false;
        before = ',';
        expected = within === ']' ? 'value' : 'key';
        return true;
      default:
        return value(c, within);
    }
  };

  const value = (c: string, within: string | undefined): boolean => {
    if (c === ']' && within === ']') ended();
    else if (c === '[') {
      begin(c);
      open.push(']');
      expected = 'firstItem';
    } else if (c === '{' || (c === '(' && at === from)) {
      begin('{');
      open.push(c === '{' ? '}' : ')');
      expected = 'firstKey';
    } else if (isQuote(c)) {
      begin('"');
      quote = c;
      expected = 'inText';
    } else if (/[\w-]/.test(c)) {
      word = c;
      expected = 'inWord';
    } else return false;
    return true;
  };

  return text => {
    while (end === null && brokenAt === null && at < text.length) {
      const c = quoteAt(text);
      if (c === null) break;
      if (!step(c)) brokenAt = at;
      else at += c.length;
      if (expected === 'after' || expected === 'colon') quote = '';
    }
    const last = expected === 'inText' ? '"' : '';
    return { written, closing: end === null ? last + open.toReversed().map(closed).join('') : '', end, brokenAt };
  };
}

const closed = (closer: Closer | undefined): string => (closer === ')' ? '}' : (closer ?? ''));

/** What a text holds as an object, put right where that leaves no doubt; null when it holds none. */
export function readObject(text: string): Record<string, unknown> | null {
  const from = text.search(/\S/);
  if (text[from] !== '{') return null;
  const { written, closing, brokenAt } = jsonObject(from)(text);
  if (brokenAt !== null) return null;
  const value: unknown = JSON.parse(written + closing);
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? { ...value } : null;
}

/** What stands behind a backslash, as JSON has it. */
function escaped(text: string): string {
  if (/^["\\/bfnrt]$/.test(text)) return text === '/' ? '/' : `\\${text}`;
  if (/^u[0-9a-fA-F]{4}$/.test(text)) {
    const code = Number.parseInt(text.slice(1), 16);
    const half = code >= 0xd800 && code <= 0xdfff;
    return half ? `\\${text}` : JSON.stringify(String.fromCharCode(code)).slice(1, -1);
  }
  // No pendingEscape of JSON's: `\'` means the quote, anything else a backslash.
  return text === "'" ? "'" : JSON.stringify(`\\${text}`).slice(1, -1);
}

const words: Readonly<Record<string, string>> = { True: 'true', False: 'false', None: 'null', undefined: 'null' };

function wordValue(word: string): string | null {
  if (word === 'true' || word === 'false' || word === 'null') return word;
  if (/^-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?$/.test(word)) return word;
  return Object.hasOwn(words, word) ? (words[word] ?? null) : null;
}
