/**
 * Reading settings from the environment.
 *
 * Every reader returns a value that makes sense or throws a ConfigError that names the variable, what it holds and what
 * to write instead. Unset and empty are the same and give the default; nothing else ever does, because a default that
 * silently replaces a typing mistake is found in production.
 */
import { formatDuration, parseDuration } from './duration.ts';

export type Env = Readonly<Record<string, string | undefined>>;

export class ConfigError extends Error {
  override readonly name = 'ConfigError';
  readonly code = 'config_error';
  readonly retryable = false;
  readonly variable: string;

  /** `shown` is the value as it may be printed: pass a masked one for anything that can hold a secret. */
  constructor(variable: string, shown: string | null, problem: string, fix: string) {
    super(`${variable}${shown === null ? '' : `=${quoted(shown)}`}: ${problem}. ${fix}`);
    this.variable = variable;
  }
}

const shownCharsMax = 80;

/** A value for a message: on one line, escaped, not endless. */
const quoted = (value: string): string =>
  JSON.stringify(value.length > shownCharsMax ? `${value.slice(0, shownCharsMax)}…` : value);

export const readString = (env: Env, variable: string, fallback: string): string => env[variable] || fallback;

export const readOptional = (env: Env, variable: string): string | null => env[variable] || null;

export function readInt(
  env: Env,
  variable: string,
  { fallback, min, max }: { fallback: number; min: number; max: number },
): number {
  const text = env[variable];
  if (!text) return fallback;
  const fix = `Write a whole number from ${min} to ${max}, or leave it unset for ${fallback}.`;
  if (!/^[+-]?\d+$/.test(text)) throw new ConfigError(variable, text, 'not a whole number', fix);
  const value = Number(text);
  if (value < min || value > max) throw new ConfigError(variable, text, 'out of range', fix);
  return value + 0; // -0 becomes 0
}

/** The longest span that a Node timer can wait in one go; longer ones fire at once instead. */
export const timerMsMax = 2_147_483_647;

export function readDurationMs(
  env: Env,
  variable: string,
  { fallbackMs, minMs = 1, maxMs = timerMsMax }: { fallbackMs: number; minMs?: number; maxMs?: number },
): number {
  const text = env[variable];
  if (!text) return fallbackMs;
  const range = `from ${formatDuration(minMs)} to ${formatDuration(maxMs)}`;
  const fix = `Write a duration ${range}, such as 90s, 1h30m or 250ms, or leave it unset for ${formatDuration(fallbackMs)}.`;
  const ms = parseDuration(text);
  if (ms === null) throw new ConfigError(variable, text, 'not a duration (a number needs a unit)', fix);
  if (ms < minMs || ms > maxMs) throw new ConfigError(variable, text, 'out of range', fix);
  return Math.round(ms);
}

const unitBytes: Readonly<Record<string, number>> = {
  '': 1,
  b: 1,
  kb: 1e3,
  mb: 1e6,
  gb: 1e9,
  kib: 2 ** 10,
  mib: 2 ** 20,
  gib: 2 ** 30,
};

export function readBytes(
  env: Env,
  variable: string,
  { fallbackBytes, minBytes, maxBytes }: { fallbackBytes: number; minBytes: number; maxBytes: number },
): number {
  const text = env[variable];
  if (!text) return fallbackBytes;
  const range = `from ${formatBytes(minBytes)} to ${formatBytes(maxBytes)}`;
  const fix = `Write a size ${range}, such as 512KiB or 32MiB, or leave it unset for ${formatBytes(fallbackBytes)}.`;
  const [, amount = '', unit = ''] = /^(\d+(?:\.\d+)?) ?([kmg]?i?b)?$/i.exec(text) ?? [];
  const size = unitBytes[unit.toLowerCase()];
  if (amount === '' || size === undefined) throw new ConfigError(variable, text, 'not a size', fix);
  const bytes = Math.floor(Number(amount) * size);
  if (bytes < minBytes || bytes > maxBytes) throw new ConfigError(variable, text, 'out of range', fix);
  return bytes;
}

export function formatBytes(bytes: number): string {
  for (const [unit, size] of [
    ['GiB', 2 ** 30],
    ['MiB', 2 ** 20],
    ['KiB', 2 ** 10],
  ] as const)
    if (bytes >= size && bytes % size === 0) return `${bytes / size}${unit}`;
  return `${bytes}B`;
}

/** Items between commas, trimmed, empty ones dropped. */
export const readList = (env: Env, variable: string): readonly string[] =>
  (env[variable] ?? '')
    .split(',')
    .map(item => item.trim())
    .filter(item => item !== '');

/** On by exactly `true`; the usual words for no are off. Everything else is a mistake, `TRUE` and `yes` included. */
export function readFlag(env: Env, variable: string): boolean {
  const text = env[variable];
  if (text === 'true') return true;
  if (!text || ['false', '0', 'no', 'off'].includes(text)) return false;
  throw new ConfigError(variable, text, 'neither on nor off', 'Write true to turn it on, or leave it unset.');
}

export function readChoice<Choice extends string>(
  env: Env,
  variable: string,
  choices: readonly Choice[],
  fallback: Choice,
): Choice {
  const text = env[variable];
  if (!text) return fallback;
  const choice = choices.find(candidate => candidate === text);
  if (choice !== undefined) return choice;
  const fix = `Write one of ${choices.join(', ')}, or leave it unset for ${fallback}.`;
  throw new ConfigError(variable, text, 'not a known choice', fix);
}
