/**
 * The command-line parser of all programs.
 *
 * `--name value` and `--name=value` mean the same, one dash or two, anywhere after the command. What is not known is an
 * error that suggests the nearest known word: an ignored flag is a setting that somebody believes to be in force.
 */

/** switch: present or not. value: takes one. optional: may be followed by a whole number. */
export type FlagKind = 'switch' | 'value' | 'optional';

export interface Flags<Name extends string> {
  has(name: Name): boolean;
  /** The last value given; undefined when the flag is absent, or was given without its optional value. */
  value(name: Name): string | undefined;
  /** What is left besides the flags, in order. */
  readonly rest: readonly string[];
}

/** The person at the command line made a mistake: say so and exit with `exitCode`. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
  readonly code = 'usage';
  readonly exitCode = 2;
}

const short: Readonly<Record<string, string>> = { h: 'help', v: 'version' };

/** `command` is how messages call it (`auxot-router setup`); `restMax` bounds the arguments that are no flags. */
export function parseFlags<const Specs extends Readonly<Record<string, FlagKind>>>(
  command: string,
  args: readonly string[],
  specs: Specs,
  { restMax = 0 }: { restMax?: number } = {},
): Flags<keyof Specs & string> {
  const given = new Map<string, string | undefined>();
  const rest: string[] = [];
  for (let at = 0; at < args.length; at++) {
    const arg = args[at] ?? '';
    if (arg === '--') {
      rest.push(...args.slice(at + 1));
      break;
    }
    if (!/^--?[^-]/.test(arg)) {
      rest.push(arg);
      continue;
    }
    const [, typed = '', inline] = /^--?([^=]*)(?:=(.*))?$/s.exec(arg) ?? [];
    const name = !Object.hasOwn(specs, typed) && short[typed] ? short[typed] : typed;
    const kind = Object.hasOwn(specs, name) ? specs[name] : undefined;
    if (kind === undefined) throw unknownFlag(command, typed, Object.keys(specs));
    if (kind === 'switch') {
      if (inline !== undefined) throw new UsageError(`${command}: --${name} takes no value`);
      given.set(name, undefined);
    } else if (inline !== undefined) {
      given.set(name, inline);
    } else if (kind === 'optional') {
      const next = args[at + 1];
      const takes = next !== undefined && /^\d+$/.test(next);
      given.set(name, takes ? next : undefined);
      if (takes) at++;
    } else {
      const next = args[++at];
      if (next === undefined || /^--?[^-]/.test(next))
        throw new UsageError(`${command}: --${name} needs a value: --${name} VALUE, or --${name}=VALUE`);
      given.set(name, next);
    }
  }
  if (rest.length > restMax) throw new UsageError(`${command}: unexpected argument ${shown(rest[restMax] ?? '')}`);
  return { has: name => given.has(name), value: name => given.get(name), rest };
}

export function unknownCommand(program: string, word: string, commands: readonly string[]): UsageError {
  if (commands.includes(word)) return new UsageError(`${program}: ${word} comes first: ${program} ${word} …`);
  const near = suggest(word, commands);
  const hint = near === null ? `Try ${program} help.` : `Did you mean ${near}?`;
  return new UsageError(`${program}: unknown command ${shown(word)}. ${hint}`);
}

/** The candidate that takes the fewest single-character edits, when those are few for its length. */
export function suggest(word: string, candidates: readonly string[]): string | null {
  let best: { candidate: string; edits: number } | null = null;
  for (const candidate of candidates) {
    const near = editsBetween(word.slice(0, 64), candidate);
    const edits = candidate.startsWith(word) && word.length > 1 ? Math.min(near, 1) : near;
    if (edits <= Math.max(1, Math.floor(candidate.length / 3)) && (best === null || edits < best.edits))
      best = { candidate, edits };
  }
  return best?.candidate ?? null;
}

function unknownFlag(command: string, name: string, known: readonly string[]): UsageError {
  const near = suggest(name, known);
  const hint = near === null ? `Try ${command} --help.` : `Did you mean --${near}?`;
  return new UsageError(`${command}: unknown flag ${shown(`--${name}`)}. ${hint}`);
}

const shown = (word: string): string => JSON.stringify(word.length > 60 ? `${word.slice(0, 60)}…` : word);

/** Optimal string alignment: insertions, deletions, replacements and swapped neighbours cost one each. */
function editsBetween(from: string, to: string): number {
  let twoAgo: number[] = [];
  let before = Array.from({ length: to.length + 1 }, (_, j) => j);
  for (let i = 1; i <= from.length; i++) {
    const row = [i];
    for (let j = 1; j <= to.length; j++) {
      const same = from[i - 1] === to[j - 1];
      let edits = Math.min((before[j] ?? 0) + 1, (row[j - 1] ?? 0) + 1, (before[j - 1] ?? 0) + (same ? 0 : 1));
      if (i > 1 && j > 1 && from[i - 1] === to[j - 2] && from[i - 2] === to[j - 1])
        edits = Math.min(edits, (twoAgo[j - 2] ?? 0) + 1);
      row.push(edits);
    }
    twoAgo = before;
    before = row;
  }
  return before[to.length] ?? 0;
}
