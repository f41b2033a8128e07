/**
 * Pieces of grammars in GBNF, the notation that llama.cpp reads: texts, sets of characters, repetitions, and numbers
 * between two bounds. Pure; what reads a JSON Schema is json-schema.grammar.ts.
 */

/** The engine refuses more repetitions than this of one thing. */
export const repeatsMax = 1000;

const escapes: Readonly<Record<string, string>> = { '\\': '\\\\', '"': '\\"', '\n': '\\n', '\r': '\\r', '\t': '\\t' };

/** A text, exactly. */
export const literal = (text: string): string => `"${text.replace(/[\\"\n\r\t]/g, c => escapes[c] ?? c)}"`;

/** One of several. */
export const oneOf = (options: readonly string[]): string =>
  options.length === 1 ? (options[0] ?? '""') : `(${options.join(' | ')})`;

/** `item` between `min` and `max` times; `max` null means any number. `item` is one symbol or stands in brackets. */
export function repeated(item: string, min: number, max: number | null): string {
  if (max === null) return min === 0 ? `${item}*` : min === 1 ? `${item}+` : `${item}{${min},}`;
  const most = Math.min(max, Math.max(min, repeatsMax));
  return most === 0 ? '""' : `${item}{${min},${most}}`;
}

/** A range of code points, both ends included. */
export type Range = readonly [number, number];

/** A set of characters in brackets. */
export const charSet = (ranges: readonly Range[]): string =>
  `[${ranges.map(([from, to]) => (from === to ? codePoint(from) : `${codePoint(from)}-${codePoint(to)}`)).join('')}]`;

function codePoint(code: number): string {
  const isPlain = (code >= 48 && code <= 57) || (code >= 65 && code <= 90) || (code >= 97 && code <= 122);
  if (isPlain) return String.fromCodePoint(code);
  const hex = code.toString(16).toUpperCase();
  if (code <= 0xff) return `\\x${hex.padStart(2, '0')}`;
  return code <= 0xffff ? `\\u${hex.padStart(4, '0')}` : `\\U${hex.padStart(8, '0')}`;
}

/**
 * Any text up to a mark, and the mark. Its first character must stand nowhere else in it: so each character that is read
 * leads on, or back to the beginning.
 */
export function untilMark(rules: Rules, mark: string): string {
  const first = mark[0] ?? '';
  if (first === '' || mark.lastIndexOf(first) !== 0)
    throw new Error(`no text can be told from ${JSON.stringify(mark)}`);
  const states = Array.from(mark, () => rules.reserve());
  for (const [index, state] of states.entries()) {
    const here = mark[index] ?? '';
    const others = [...new Set([first, here])].map(c => codePoint(c.codePointAt(0) ?? 0)).join('');
    const on = `${literal(here)}${index + 1 < mark.length ? ` ${states[index + 1]}` : ''}`;
    const again = index === 0 ? '' : `| ${literal(first)} ${states[1]} `;
    rules.define(state, `[^${others}] ${states[0]} ${again}| ${on}`);
  }
  return states[0] ?? '';
}

/** A grammar's rules, by name. */
interface Rules {
  reserve(): string;
  define(name: string, body: string): void;
}

/** Places of a number, each with the digits it may have. */
type Places = readonly Range[];

/** Digits that a whole number has at most, so that it is read back as it was written. */
const digitsMax = 15;
const greatest = 10 ** digitsMax - 1;

/** Whole numbers of at least `min` and at most `max`; null means no bound. Null when there are none. */
export function wholeNumbers(min: number | null, max: number | null): string | null {
  const from = Math.max(min === null ? -greatest : Math.ceil(min), -greatest);
  const to = Math.min(max === null ? greatest : Math.floor(max), greatest);
  if (from > to) return null;
  const options: string[] = [];
  if (from < 0) options.push(...between(Math.max(1, -to), -from).map(places => `"-" ${digits(places)}`));
  if (to >= 0) options.push(...between(Math.max(0, from), to).map(digits));
  return oneOf(options);
}

/** Numbers with up to 15 decimals between two bounds, of which either may be excluded. Null when none can be written. */
export function numbers(
  min: number | null,
  max: number | null,
  exclusive: { readonly min: boolean; readonly max: boolean },
): string | null {
  const above = positive(Math.max(min ?? 0, 0), max, { min: exclusive.min && (min ?? -1) >= 0, max: exclusive.max });
  const below =
    min === null || min < 0
      ? positive(Math.max(-(max ?? 0), 0), min === null ? null : -min, {
          min: exclusive.max && (max ?? 1) <= 0,
          max: exclusive.min,
        })
      : null;
  const options = [
    ...((max === null || max >= 0) && above !== null ? [above] : []),
    ...(below !== null ? [`"-" ${below}`] : []),
  ];
  return options.length === 0 ? null : oneOf(options);
}

/** Numbers from `min`, not below 0, to `max`. */
function positive(
  min: number,
  max: number | null,
  exclusive: { readonly min: boolean; readonly max: boolean },
): string | null {
  const scale = Math.max(decimals(min), max === null ? 0 : decimals(max));
  if (scale > 6) return null;
  const step = 10 ** scale;
  // All bounds are whole numbers of this step; what is between two of them may have more decimals.
  const from = Math.round(min * step);
  const to = max === null ? greatest : Math.round(max * step);
  if (to > greatest || from > to) return null;
  const options: string[] = [];
  const tail = scale === 0 ? '("." [0-9]{1,15})?' : '[0-9]{0,9}';
  const open = exclusive.min ? from + 1 : from;
  if (exclusive.min && from < to) options.push(`${fixed(from, scale)} ${scale === 0 ? '"." ' : ''}[0-9]{0,6} [1-9]`);
  if (open <= to - 1) {
    options.push(...between(open, to - 1).map(places => `${pointed(places, scale)} ${tail}`));
  }
  if (!exclusive.max && open <= to) options.push(fixed(to, scale));
  return options.length === 0 ? null : oneOf(options);
}

const decimals = (value: number): number => {
  const [, exponent = '0'] = value.toExponential().split('e');
  const mantissa = value.toExponential().split('e')[0]?.split('.')[1]?.length ?? 0;
  return Math.max(0, mantissa - Number(exponent));
};

const fixed = (value: number, scale: number): string => literal((value / 10 ** scale).toFixed(scale));

/** All whole numbers from `from` to `to` (neither below 0), as few runs of digits. */
function between(from: number, to: number): Places[] {
  const runs: Places[] = [];
  for (let low = from; low <= to; ) {
    const length = String(low).length;
    const high = Math.min(to, 10 ** length - 1);
    runs.push(...sameLength(String(low), String(high)));
    low = high + 1;
  }
  return runs;
}

function sameLength(low: string, high: string): Places[] {
  const [a, b] = [Number(low[0]), Number(high[0])];
  const [lowTail, highTail] = [low.slice(1), high.slice(1)];
  if (low.length === 1) return [[[a, b]]];
  const behind = (digit: number, from: string, to: string): Places[] =>
    sameLength(from, to).map(places => [[digit, digit], ...places]);
  if (a === b) return behind(a, lowTail, highTail);
  const zeros = '0'.repeat(lowTail.length);
  const nines = '9'.repeat(lowTail.length);
  const whole = (from: number, to: number): Places[] =>
    from > to ? [] : [[[from, to], ...Array.from(zeros, (): Range => [0, 9])]];
  const first = lowTail === zeros ? [] : behind(a, lowTail, nines);
  const last = highTail === nines ? [] : behind(b, zeros, highTail);
  return [...first, ...whole(lowTail === zeros ? a : a + 1, highTail === nines ? b : b - 1), ...last];
}

const digit = ([from, to]: Range): string => (from === to ? `"${from}"` : `[${from}-${to}]`);

/** Equal places next to each other are written once. */
function digits(places: Places): string {
  const parts: string[] = [];
  for (let at = 0; at < places.length; ) {
    const one = digit(places[at] ?? [0, 9]);
    let count = 1;
    while (at + count < places.length && digit(places[at + count] ?? [0, 9]) === one) count += 1;
    parts.push(count === 1 ? one : `${one}{${count}}`);
    at += count;
  }
  return parts.join(' ');
}

/** With a decimal point before the last `scale` places. */
function pointed(places: Places, scale: number): string {
  if (scale === 0) return digits(places);
  const padded: Places = [...Array.from({ length: scale + 1 - places.length }, (): Range => [0, 0]), ...places];
  return `${digits(padded.slice(0, -scale))} "." ${digits(padded.slice(-scale))}`;
}
