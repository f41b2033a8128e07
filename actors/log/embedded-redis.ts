/**
 * The embedded store: what a Redis server does for us, in this process.
 *
 * Stream commands, keys and expiry are ours; strings, hashes, sets and channels are ioredis-mock's (plain-commands.ts). A
 * command runs at once and whole, and its reply goes out when the journal has all that was changed before it. A pipeline
 * of our own commands is one synchronous loop and one promise.
 */
import { join } from 'node:path';
import { loadCommands } from './append-file.load.ts';
import { AppendFile, type AppendFileOptions, type Fsync, type Memory } from './append-file.ts';
import { type Blocked, Readers } from './blocked.ts';
import type { Command, Database, Reply } from './command.ts';
import { lockDirectory } from './directory-lock.ts';
import { dumpValue } from './dump.ts';
import { EmbeddedConnection } from './embedded-connection.ts';
import { type Files, nodeFiles } from './file-port.ts';
import { type Journal, noJournal } from './journal.ts';
import { keyCommands } from './key-commands.ts';
import { Keyspace } from './keyspace.ts';
import { openMock, plainCommands, type RedisMockInstance } from './plain-commands.ts';
import { ReplyError, wrongNumber } from './reply-error.ts';
import { type Arg, type Store, StoreTrouble, type Words } from './store.ts';
import { xadd, xdel, xlen, xrange, xrevrange, xsetid, xtrim } from './stream-commands.ts';
import { xack, xautoclaim, xclaim, xgroup, xpending } from './stream-group-commands.ts';
import { xinfo } from './stream-info.ts';
import { readCommands } from './stream-read.ts';
import type { Value } from './stream-value.ts';

export interface EmbeddedOptions {
  /** Where the append-only file lies; null: in memory only. */
  readonly directory: string | null;
  readonly fsync?: Fsync;
  readonly say?: (message: string) => void;
  readonly files?: Files;
  readonly now?: () => number;
  /** A file below this is not worth rewriting. */
  readonly rewriteBytesMin?: number;
  /** Several seconds of the busiest router: a disk that far behind will not catch up. */
  readonly waitingBytesMax?: number;
}

export const appendFileName = 'auxot.aof';

export async function openEmbedded({
  directory,
  fsync = 'everysec',
  say = () => undefined,
  files = nodeFiles,
  now = Date.now,
  rewriteBytesMin = 16 * 1024 * 1024,
  waitingBytesMax = 64 * 1024 * 1024,
}: EmbeddedOptions): Promise<Store> {
  const engine = new Engine(now);
  if (directory === null) return EmbeddedConnection.first(engine);
  await files.makeDirectory(directory);
  const lock = await lockDirectory(directory);
  try {
    const path = join(directory, appendFileName);
    const options: AppendFileOptions = { path, files, fsync, say, rewriteBytesMin, waitingBytesMax };
    engine.keep(await AppendFile.open(options, engine), () => lock.release());
  } catch (error) {
    await lock.release();
    throw error;
  }
  return EmbeddedConnection.first(engine);
}

/** What the file in `directory` holds now, beside a router that goes on writing it. Takes no lock and changes nothing. */
export async function openReadOnly(directory: string, files: Files = nodeFiles): Promise<Store> {
  const engine = new Engine(Date.now);
  const path = join(directory, appendFileName);
  const file = await files.openToRead(path);
  try {
    engine.startLoading();
    await loadCommands(path, file, await file.size(), words => engine.apply(words));
    engine.readOnly();
  } finally {
    await file.close();
  }
  return EmbeddedConnection.first(engine);
}

let engines = 0;

export class Engine implements Database, Memory {
  readonly keys: Keyspace;
  readonly now: () => number;
  readonly mock: RedisMockInstance;
  journal: Journal = noJournal;
  private readonly commands = new Map<string, Command>();
  private readonly readers = new Readers();
  /** What the command that runs now, or the transaction, has written so far. Null between commands. */
  private written: (readonly Value[])[] | null = null;
  /** Keys that a transaction changed: who waits for them is served after it. */
  private changedKeys: string[] | null = null;
  private isReadOnly = false;
  private release: () => Promise<void> = () => Promise.resolve();

  constructor(now: () => number) {
    this.now = now;
    this.keys = new Keyspace(now);
    this.keys.onExpired = key => {
      this.wrote(['DEL', key]);
      this.changed(key);
    };
    engines += 1;
    this.mock = openMock(this.keys, `embedded-${engines}`);
    const streams = { xadd, xdel, xlen, xrange, xrevrange, xsetid, xtrim, xinfo };
    const groups = { xgroup, xack, xpending, xclaim, xautoclaim, ...readCommands(this.readers) };
    const all = { ...streams, ...groups, ...keyCommands, ...plainCommands(this.mock) };
    for (const [name, command] of Object.entries(all)) this.commands.set(name, command);
  }

  keep(journal: Journal, release: () => Promise<void>): void {
    this.journal = journal;
    this.release = release;
  }

  readOnly(): void {
    this.isReadOnly = true; // and nothing expires: `loaded` is never called
  }

  /** Runs a command. A refusal is thrown. */
  run(words: readonly Arg[]): Reply | Promise<Reply> | Blocked {
    const command = this.find(words);
    if (command.writes && this.isReadOnly)
      throw new ReplyError("READONLY You can't write against a read only replica.");
    const trouble = this.journal.refusal(command.writes);
    if (trouble !== null) throw trouble;
    if (this.written !== null) return command.run(this, asValues(words));
    this.written = [];
    try {
      return command.run(this, asValues(words));
    } finally {
      this.flush(this.written);
    }
  }

  /** Runs all, with nothing in between and nothing that waits. */
  transact(batch: readonly Words[], run: (words: Words) => void): void {
    const written: Value[][] = [];
    const changedKeys: string[] = [];
    this.written = written;
    this.changedKeys = changedKeys;
    try {
      for (const words of batch) run(words);
    } finally {
      this.changedKeys = null;
      this.flush(written);
    }
    for (const key of changedKeys) this.changed(key);
  }

  /** What was written together comes back together, or not at all. */
  private flush(written: readonly (readonly Value[])[]): void {
    this.written = null;
    if (written.length > 1) this.journal.wrote(['MULTI']);
    for (const words of written) this.journal.wrote(words);
    if (written.length > 1) this.journal.wrote(['EXEC']);
  }

  /** The command that `words` name, if they are enough. */
  find(words: readonly Arg[]): Command {
    const name = String(words[0]);
    const command = this.commands.get(name) ?? this.commands.get(name.toLowerCase());
    if (command === undefined)
      throw new ReplyError(`ERR unknown command '${name}': the embedded store does not have it, a Redis server may`);
    const { arity } = command;
    if (arity < 0 ? words.length < -arity : words.length !== arity) throw wrongNumber(name.toLowerCase());
    command.check?.(asValues(words));
    return command;
  }

  wrote(words: readonly Value[]): void {
    if (this.keys.loading) return;
    if (this.written !== null) this.written.push(words);
    else this.journal.wrote(words);
  }

  changed(key: string): void {
    if (this.keys.loading) return;
    if (this.changedKeys !== null) this.changedKeys.push(key);
    else this.readers.serve(key);
  }

  startLoading(): void {
    this.keys.clear();
    this.keys.loading = true;
  }

  apply(words: readonly Value[]): void {
    if (words[0] === 'SELECT' || words[0] === 'PING') return;
    const reply = this.find(words).run(this, words);
    if (reply instanceof Promise) reply.catch(() => undefined); // took effect at once; a refused one changed nothing when it was written either
  }

  loaded(): void {
    this.keys.loaded();
  }

  *dump(): Generator<{ key: string; commands: Value[][] }> {
    for (const [key, value] of this.keys.values)
      yield { key, commands: dumpValue(key, value, this.keys.expiries.get(key)) };
  }

  dumpKey(key: string): Value[][] {
    const value = this.keys.get(key);
    return value === undefined ? [] : dumpValue(key, value, this.keys.expiries.get(key));
  }

  dropReaders(error: StoreTrouble): void {
    this.readers.cancelAll(error);
  }

  async close(): Promise<void> {
    this.keys.close();
    this.readers.cancelAll(new StoreTrouble('The store was closed.'));
    this.mock.disconnect();
    try {
      await this.journal.close();
    } finally {
      await this.release();
    }
  }
}

function asValues(words: readonly Arg[]): readonly Value[] {
  for (const word of words)
    if (typeof word === 'number') return words.map(each => (typeof each === 'number' ? String(each) : each));
  return words as readonly Value[]; // just seen: there is no number among them
}
