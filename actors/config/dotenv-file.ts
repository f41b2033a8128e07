/**
 * The `.env` file of the current directory. The environment wins over it, even where a variable there is empty.
 *
 * The syntax is the one that operators of this software already have files in: `KEY=value` or `KEY: value`, `export`
 * before it, comments, 'literal' and "escaped" values, and `$NAME` standing for an earlier key of the same file. The
 * usual parsers for Node differ in just the places that damage a key hash without a word (they skip a line they cannot
 * read, and end a value at any `#`), so this reads the file itself, and says which line is wrong.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Env } from './env.ts';

export class DotenvError extends Error {
  override readonly name = 'DotenvError';
  readonly code = 'bad_dotenv';
  readonly retryable = false;
  readonly line: number;

  constructor(line: number, problem: string) {
    super(`line ${line}: ${problem}`);
    this.line = line;
  }
}

/**
 * The environment with `.env` beneath it. A file that cannot be read or parsed is left out as a whole, and `warning`
 * says so: half a configuration is worse than none.
 */
export function loadDotenv(env: Env, directory: string): { env: Env; warning: string | null } {
  const path = join(directory, '.env');
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return { env, warning: null };
    return { env, warning: `${path} cannot be read and is ignored: ${error instanceof Error ? error.message : error}` };
  }
  try {
    return { env: { ...Object.fromEntries(parseDotenv(text)), ...env }, warning: null };
  } catch (error) {
    if (!(error instanceof DotenvError)) throw error;
    return { env, warning: `${path} is ignored as a whole: ${error.message}` };
  }
}

/** All keys and values of a file, later ones over earlier ones. Throws DotenvError. */
export function parseDotenv(text: string): Map<string, string> {
  const source = text.replace(/^\uFEFF/, '').replace(/\r\n?/g, '\n');
  const values = new Map<string, string>();
  let at = 0;
  const line = (): number => source.slice(0, at).split('\n').length;
  const take = (pattern: RegExp): RegExpExecArray | null => {
    pattern.lastIndex = at;
    const found = pattern.exec(source);
    if (found !== null) at += found[0].length;
    return found;
  };

  for (;;) {
    take(/(?:\s+|#[^\n]*)*/y);
    if (at >= source.length) return values;
    const key = take(/(?:export[ \t]+)?([A-Za-z0-9_.]+)[ \t]*[=:][ \t]*/y)?.[1];
    if (key === undefined) throw new DotenvError(line(), 'expected NAME=value, or a comment after #');
    const quote = source[at];
    if (quote === "'" || quote === '"') {
      const body = take(quote === "'" ? /'([^']*)'/y : /"((?:[^"\\]|\\.)*)"/sy)?.[1];
      if (body === undefined) throw new DotenvError(line(), `the value of ${key} has no closing ${quote}`);
      if (take(/[ \t]*(?:#[^\n]*)?(?=\n|$)/y) === null)
        throw new DotenvError(line(), `there is text after the closing ${quote} of ${key}`);
      values.set(key, quote === "'" ? body : expand(body, values, true));
    } else {
      // A "#" begins a comment only behind a blank: passwords and colours contain it too.
      const raw = take(/[^\n]*/y)?.[0] ?? '';
      const comment = (source[at - raw.length - 1] ?? '').trim() === '' && raw.startsWith('#') ? 0 : raw.search(/\s#/);
      values.set(key, expand((comment < 0 ? raw : raw.slice(0, comment)).trim(), values, false));
    }
  }
}

/** `$NAME` and `${NAME}` in capitals become the earlier value, or nothing; `\$` is a dollar sign. */
function expand(text: string, earlier: ReadonlyMap<string, string>, escapes: boolean): string {
  return text.replace(/\\(.)|\$(?:\{([A-Z0-9_]+)\}|([A-Z0-9_]+))/gs, (whole, escaped, braced, bare) => {
    if (escaped === undefined) return earlier.get(braced ?? bare) ?? '';
    if (escaped === '$') return '$';
    if (!escapes) return whole;
    return escaped === 'n' ? '\n' : escaped === 'r' ? '\r' : escaped;
  });
}
