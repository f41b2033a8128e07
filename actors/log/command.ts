/**
 * What a command of the embedded store is: a synchronous function from its words to a reply, which tells the journal, in
 * resolved words, what it changed (ids, claims and instants instead of `*`, idle times and durations).
 */
import { isUtf8 } from 'node:buffer';
import type { Blocked } from './blocked.ts';
import type { Keyspace } from './keyspace.ts';
import { notInteger, ReplyError, wrongNumber } from './reply-error.ts';
import type { Value } from './stream-value.ts';

export type Reply = null | string | number | Buffer | Error | readonly Reply[] | { readonly [field: string]: Reply };

export interface Database {
  readonly keys: Keyspace;
  now(): number;
  /** To the journal. Every change goes there before its reply goes out. */
  wrote(words: readonly Value[]): void;
  /** There is something new under `key`, or it is gone: serves who waits for it. */
  changed(key: string): void;
}

export interface Command {
  /** As Redis counts it: with the name; negative: at least so many. */
  readonly arity: number;
  readonly writes: boolean;
  /** Refuses an unknown subcommand, or one with too few words. A transaction asks before it starts. */
  check?(words: readonly Value[]): void;
  /** `words[0]` is the name. A refusal is thrown. */
  run(db: Database, words: readonly Value[]): Reply | Promise<Reply> | Blocked;
}

/** A word as text: keys, ids, options, names. */
export function text(word: Value | undefined): string {
  if (typeof word === 'string') return word;
  if (word === undefined) return '';
  if (!isUtf8(word)) throw new ReplyError('ERR the embedded store takes keys and names in UTF-8 only');
  return word.toString();
}

/** A check for commands of several kinds, which have the arity of their kind. */
export const subcommands =
  (command: string, arities: Readonly<Record<string, number>>) =>
  (words: readonly Value[]): void => {
    const sub = option(words[1]);
    const arity = arities[sub];
    if (arity === undefined)
      throw new ReplyError(`ERR unknown subcommand '${text(words[1])}'. Try ${command.toUpperCase()} HELP.`);
    if (arity < 0 ? words.length < -arity : words.length !== arity)
      throw wrongNumber(`${command}|${sub.toLowerCase()}`);
  };

export const option = (word: Value | undefined): string => text(word).toUpperCase();

/** A signed 64-bit integer, as far as a double holds it. */
export function integer(word: Value | undefined, refusal: () => Error = notInteger): number {
  const digits = text(word);
  const value = Number(digits);
  if (!/^(0|-?[1-9]\d{0,18})$/.test(digits) || !Number.isFinite(value)) throw refusal();
  return value;
}
