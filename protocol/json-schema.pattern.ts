/**
 * The regular expression of a schema's `pattern` as a grammar of the inside of a JSON string.
 *
 * It holds alternatives, groups, sets, the usual escapes and all quantifiers. What looks around or back is refused: a
 * grammar only goes forward. A pattern without anchors matches anywhere in the text, so the rest of the text is free.
 */
import { charSet, literal, oneOf, type Range, repeated } from './gbnf.ts';

/** Null: this pattern cannot be held. `char` is the rule for any one character of a string. */
export function patternGrammar(pattern: string, char: string): string | null {
  const reader = new PatternReader(pattern);
  try {
    const options = reader.alternatives(true, char);
    return reader.atEnd ? oneOf(options) : null;
  } catch (error) {
    if (error instanceof Unheld) return null;
    throw error;
  }
}

class Unheld extends Error {}

const all: readonly Range[] = [[0x20, 0x10ffff]];
const digitsSet: readonly Range[] = [[48, 57]];
const wordSet: readonly Range[] = [[48, 57], [65, 90], [95, 95], [97, 122]]; // biome-ignore format: a row of ranges
const spaceSet: readonly Range[] = [[9, 10], [13, 13], [32, 32]]; // biome-ignore format: a row of ranges
const controls: Readonly<Record<string, number>> = { n: 10, r: 13, t: 9, f: 12, b: 8, v: 11, '0': 0 };

class PatternReader {
  readonly #text: readonly string[];
  #at = 0;

  constructor(pattern: string) {
    this.#text = [...pattern];
  }

  get atEnd(): boolean {
    return this.#at >= this.#text.length;
  }

  /** `top`: not inside a group, so that anchors count. */
  alternatives(top: boolean, char: string): string[] {
    const options: string[] = [];
    do {
      const starts = top && this.#took('^');
      const items = this.#sequence();
      const ends = top && this.#took('$');
      options.push(
        [...(top && !starts ? [`${char}*`] : []), ...items, ...(top && !ends ? [`${char}*`] : [])].join(' '),
      );
    } while (this.#took('|'));
    return options.map(option => (option === '' ? '""' : option));
  }

  #sequence(): string[] {
    const items: string[] = [];
    for (let c = this.#text[this.#at]; c !== undefined && c !== '|' && c !== ')'; c = this.#text[this.#at]) {
      if (c === '$' && (this.#at + 1 >= this.#text.length || this.#text[this.#at + 1] === '|')) break;
      items.push(this.#quantified(this.#atom()));
    }
    return items;
  }

  #atom(): string {
    const c = this.#next();
    switch (c) {
      case '(': {
        if (this.#took('?') && !this.#took(':')) throw new Unheld();
        const options = this.alternatives(false, '');
        if (!this.#took(')')) throw new Unheld();
        return `(${options.join(' | ')})`;
      }
      case '[':
        return inString(this.#set());
      case '.':
        return inString(all);
      case '\\':
        return inString(this.#escape());
      case '^':
      case '$':
      case '*':
      case '+':
      case '?':
      case '{':
        throw new Unheld();
      default:
        return inString([point(c)]);
    }
  }

  #quantified(atom: string): string {
    const c = this.#text[this.#at];
    let whole = atom;
    if (c === '*' || c === '+' || c === '?') {
      this.#at += 1;
      whole = `${atom}${c}`;
    } else if (c === '{') {
      const found = /^\{(\d+)(,(\d*))?\}/.exec(this.#text.slice(this.#at, this.#at + 16).join(''));
      if (found === null) throw new Unheld();
      this.#at += found[0].length;
      const min = Number(found[1]);
      const max = found[2] === undefined ? min : found[3] === '' ? null : Number(found[3]);
      if (min > 1000 || (max !== null && (max > 1000 || max < min))) throw new Unheld();
      whole = repeated(atom, min, max);
    }
    // How eager a quantifier is makes no difference to what matches.
    this.#took('?');
    return whole;
  }

  /** Behind a backslash. */
  #escape(): readonly Range[] {
    const c = this.#next();
    switch (c) {
      case 'd':
        return digitsSet;
      case 'w':
        return wordSet;
      case 's':
        return spaceSet;
      case 'D':
        return complement(digitsSet);
      case 'W':
        return complement(wordSet);
      case 'S':
        return complement(spaceSet);
      case 'u':
      case 'x': {
        const length = c === 'u' ? 4 : 2;
        const hex = this.#text.slice(this.#at, this.#at + length).join('');
        if (!/^[0-9a-fA-F]+$/.test(hex) || hex.length !== length) throw new Unheld();
        this.#at += length;
        const code = Number.parseInt(hex, 16);
        return [[code, code]];
      }
      default: {
        const control = controls[c];
        // \b at this place is a border of words, and digits refer back.
        if (c === 'b' || c === 'B' || /[1-9pPkc]/.test(c)) throw new Unheld();
        return control === undefined ? [point(c)] : [[control, control]];
      }
    }
  }

  #set(): readonly Range[] {
    const negated = this.#took('^');
    const ranges: Range[] = [];
    while (!this.#took(']')) {
      const from = this.#member();
      const [single] = from;
      const isRange = this.#text[this.#at] === '-' && this.#text[this.#at + 1] !== ']';
      if (!isRange || from.length !== 1 || single === undefined || single[0] !== single[1]) {
        ranges.push(...from);
        continue;
      }
      this.#at += 1;
      const [to] = this.#member();
      if (to === undefined || to[0] !== to[1] || to[0] < single[0]) throw new Unheld();
      ranges.push([single[0], to[0]]);
    }
    return negated ? complement(ranges) : ranges;
  }

  #member(): readonly Range[] {
    const c = this.#next();
    if (c !== '\\') return [point(c)];
    if (this.#took('b')) return [[8, 8]];
    return this.#escape();
  }

  #next(): string {
    const c = this.#text[this.#at];
    if (c === undefined) throw new Unheld();
    this.#at += 1;
    return c;
  }

  #took(c: string): boolean {
    if (this.#text[this.#at] !== c) return false;
    this.#at += 1;
    return true;
  }
}

const point = (c: string): Range => {
  const code = c.codePointAt(0) ?? 0;
  return [code, code];
};

/** Of what a string can hold unescaped or escaped: line breaks, which `.` leaves out, are not in it. */
function complement(ranges: readonly Range[]): readonly Range[] {
  const sorted = [...ranges].sort(([a], [b]) => a - b);
  const rest: Range[] = [];
  let from = 0x20;
  for (const [low, high] of sorted) {
    if (low > from) rest.push([from, low - 1]);
    from = Math.max(from, high + 1);
  }
  if (from <= 0x10ffff) rest.push([from, 0x10ffff]);
  return rest;
}

const written: readonly (readonly [number, string])[] = [
  [0x22, '\\"'],
  [0x5c, '\\\\'],
  [0x08, '\\b'],
  [0x09, '\\t'],
  [0x0a, '\\n'],
  [0x0c, '\\f'],
  [0x0d, '\\r'],
];
/** What a JSON string holds as it is; surrogates are no characters. */
const plain: readonly Range[] = [[0x20, 0x21], [0x23, 0x5b], [0x5d, 0x7e], [0x80, 0xd7ff], [0xe000, 0x10ffff]]; // biome-ignore format: a row of ranges

/** One character of the set, as it stands in a JSON string. */
function inString(ranges: readonly Range[]): string {
  const options: string[] = [];
  const bare = ranges.flatMap(([from, to]) =>
    plain.flatMap(([low, high]): Range[] => {
      const [a, b] = [Math.max(from, low), Math.min(to, high)];
      return a <= b ? [[a, b]] : [];
    }),
  );
  const [only] = bare;
  if (bare.length === 1 && only !== undefined && only[0] === only[1])
    options.push(literal(String.fromCodePoint(only[0])));
  else if (bare.length > 0) options.push(charSet(bare));
  for (const [code, text] of written) {
    if (ranges.some(([from, to]) => from <= code && code <= to)) options.push(literal(text));
  }
  if (options.length === 0) throw new Unheld();
  return options.length === 1 ? (options[0] ?? '') : `(${options.join(' | ')})`;
}
