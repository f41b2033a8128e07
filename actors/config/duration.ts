/**
 * Durations as operators write them: Go's syntax (`90s`, `1h30m`, `1.5m`, `250ms`), read to milliseconds.
 *
 * A bare number is no duration, except `0`: "5" could be meant in any unit, and guessing has cost people outages.
 */
const unitMs: Readonly<Record<string, number>> = {
  ns: 1e-6,
  us: 1e-3,
  µs: 1e-3, // U+00B5, the micro sign
  μs: 1e-3, // U+03BC, the Greek letter: both are typed, both are meant
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
};

/** The longest span that Go can hold (int64 nanoseconds, about 292 years). */
const longestMs = 9_223_372_036_854;

const whole = /^([+-]?)((?:\d+\.?\d*|\.\d+)(?:ns|us|µs|μs|ms|s|m|h))+$/;
const piece = /(\d+\.?\d*|\.\d+)(ns|us|µs|μs|ms|s|m|h)/g;

/** Milliseconds, possibly negative or fractional; null when the text is no duration. */
export function parseDuration(text: string): number | null {
  if (/^[+-]?0$/.test(text)) return 0;
  const shape = whole.exec(text);
  if (shape === null) return null;
  let ms = 0;
  for (const [, amount, unit] of text.matchAll(piece)) ms += Number(amount) * (unitMs[unit ?? ''] ?? Number.NaN);
  if (!(ms <= longestMs)) return null;
  return shape[1] === '-' && ms !== 0 ? -ms : ms;
}

/** The shortest exact way to write a span of whole milliseconds: `5m`, `1m30s`, `250ms`. For help texts and messages. */
export function formatDuration(ms: number): string {
  if (ms === 0) return '0s';
  let rest = Math.abs(Math.round(ms));
  let text = ms < 0 ? '-' : '';
  for (const [unit, size] of [
    ['h', 3_600_000],
    ['m', 60_000],
    ['s', 1000],
    ['ms', 1],
  ] as const) {
    const count = Math.floor(rest / size);
    if (count > 0) text += `${count}${unit}`;
    rest -= count * size;
  }
  return text;
}
