/**
 * Reads a JSON object out of text that grows, and writes it again without the white space between its parts.
 *
 * N1. `written` only ever grows, and does not depend on how the text was cut.
 * N2. `written + closing` is always JSON of an object: what was begun and has no value yet is left out of it.
 * N3. What small models get wrong without leaving a doubt is put right: line breaks inside texts, a comma behind the last
 *     part, Python's words for true, false and null, and escapes that JSON does not know.
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

type Expected = 'firstKey' | 'key' | 'colon' | 'firstItem' | 'value' | 'after' | 'inKey' | 'inText' | 'inWord';

/** `from` is where the object's brace stands. */
export function jsonObject(from: number): (text: string) => JsonSoFar {
  let at = from;
  let expected: Expected = 'value';
  const open: ('}' | ']')[] = [];
  let written = '';
  /** Comma and key of the next value: they are written when it begins. */
  let before = '';
  let key = '';
  let word = '';
  let pendingEscape: string | null = null;
  let end: number | null = null;
  let brokenAt: number | null = null;

  const begin = (text: string): void => {
    written += before + text;
    before = '';
  };

  const ended = (): void => {
    written += open.pop() ?? '';
    before = '';
    expected = 'after';
    if (open.length === 0) end = at + 1;
  };

  const say = (text: string): void => {
    if (expected === 'inKey') key += text;
    else written += text;
  };

  const inText = (c: string): void => {
    if (pendingEscape !== null) {
      pendingEscape += c;
      if (pendingEscape[0] === 'u' && pendingEscape.length < 5) return;
      say(escaped(pendingEscape));
      pendingEscape = null;
    } else if (c === '\\') pendingEscape = '';
    else if (c !== '"') say(c < ' ' ? JSON.stringify(c).slice(1, -1) : c);
    else if (expected === 'inKey') {
      before += `"${key}"`;
      expected = 'colon';
    } else {
      written += '"';
      expected = 'after';
    }
  };

  /** False when it cannot stand here. */
  const step = (c: string): boolean => {
    if (expected === 'inKey' || expected === 'inText') {
      inText(c);
      return true;
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
        if (c === '}') {
          ended();
          return true;
        }
        if (c !== '"') return false;
        key = '';
        expected = 'inKey';
        return true;
      case 'colon':
        if (c !== ':') return false;
        before += ':';
        expected = 'value';
        return true;
      case 'after':
        if (c === within) {
          ended();
          return true;
        }
        if (c !== ',') return false;
        before = ',';
        expected = within === '}' ? 'key' : 'value';
        return true;
      default:
        return value(c, within);
    }
  };

  const value = (c: string, within: string | undefined): boolean => {
    if (c === ']' && within === ']') ended();
    else if (c === '{' || c === '[') {
      begin(c);
      open.push(c === '{' ? '}' : ']');
      expected = c === '{' ? 'firstKey' : 'firstItem';
    } else if (c === '"') {
      begin(c);
      expected = 'inText';
    } else if (/[\w-]/.test(c)) {
      word = c;
      expected = 'inWord';
    } else return false;
    return true;
  };

  return text => {
    for (; end === null && brokenAt === null && at < text.length; at += 1) {
      if (!step(text[at] ?? '')) brokenAt = at;
    }
    const quote = expected === 'inText' ? '"' : '';
    return { written, closing: end === null ? quote + open.toReversed().join('') : '', end, brokenAt };
  };
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
