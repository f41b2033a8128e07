/**
 * The append-only file: every change, in Redis's own format, written before it is acknowledged.
 *
 * Changes of one tick go in one write; while one is under way the next gather. What a kill of the process can lose: nothing
 * acknowledged. What a power cut can lose: nothing with `always`, about the last second with `everysec`, what the operating
 * system had not written with `no`.
 *
 * A1. The file's first `size` bytes are whole, acknowledged commands. Nothing else counts.
 * A2. When a write fails, all that waits is rejected, the file is cut back to `size`, memory is rebuilt from it, and writes
 *     are refused until one works again. So a rejected change has not happened, and can be made again.
 */
import { loadCommands } from './append-file.load.ts';
import type { Files, OpenFile } from './file-port.ts';
import type { Journal } from './journal.ts';
import { RespWriter } from './resp.ts';
import { Rewrite } from './rewrite.ts';
import { StoreTrouble } from './store.ts';
import type { Value } from './stream-value.ts';

export type Fsync = 'always' | 'everysec' | 'no';

export interface AppendFileOptions {
  readonly path: string;
  readonly files: Files;
  readonly fsync: Fsync;
  /** Text for people. */
  readonly say: (message: string) => void;
  /** Rewritten when it has grown to this many bytes, and to twice what it had after the last time. */
  readonly rewriteBytesMin: number;
  /** Changes that wait for a slow disk; beyond this, more are refused. */
  readonly waitingBytesMax: number;
}

/** The memory behind the file. */
export interface Memory {
  /** Forgets all, and expects commands from the file. */
  startLoading(): void;
  apply(words: readonly Value[]): void;
  /** Changes are made again, and keys expire. */
  loaded(): void;
  /** All that is in memory as commands, a piece for each key. */
  dump(): Iterable<{ readonly key: string; readonly commands: readonly (readonly Value[])[] }>;
  dumpKey(key: string): readonly (readonly Value[])[];
  /** No reply that is still to come is true any more. */
  dropReaders(error: StoreTrouble): void;
}

/** How long after a failure writing is tried again; doubles up to the other. */
const retryMsMin = 50;
const retryMsMax = 1000;
/** A probe as long as the write that failed, but not endless. */
const probeBytesMax = 1024 * 1024;
const everysecMs = 1000;

class Gathering {
  readonly commands = new RespWriter();
  readonly waiting: { resolve: () => void; reject: (error: StoreTrouble) => void }[] = [];
}

export class AppendFile implements Journal {
  private trouble: StoreTrouble | null = null;
  /** Memory is what the file says. False from a failed write until it is rebuilt. */
  private isRebuilt = true;
  private readonly options: AppendFileOptions;
  private readonly memory: Memory;
  private file: OpenFile;
  private size: number;
  private sizeAfterRewrite: number;
  private gathering = new Gathering();
  private writing: Gathering | null = null;
  private writingBytes = 0;
  private flushing: Promise<void> | null = null;
  private scheduled = false;
  private rewrite: Rewrite | null = null;
  private rewriting: Promise<void> | null = null;
  private unsynced = false;
  /** The disk refused to keep something: until there is a new file, what was acknowledged may not be on it. */
  private mustRewrite = false;
  private syncTimer: NodeJS.Timeout | null = null;
  private syncing: Promise<void> | null = null;
  private retry: { readonly timer: NodeJS.Timeout; readonly wake: () => void } | null = null;
  private closed = false;
  private recovery: Promise<void> | null = null;

  private constructor(options: AppendFileOptions, memory: Memory, file: OpenFile, size: number) {
    this.options = options;
    this.memory = memory;
    this.file = file;
    this.size = size;
    this.sizeAfterRewrite = size;
    if (options.fsync === 'everysec') this.syncTimer = setInterval(() => this.syncNow(), everysecMs).unref();
  }

  /** Opens the file, makes it if it is not there, fills the memory from it and cuts off a torn tail. */
  static async open(options: AppendFileOptions, memory: Memory): Promise<AppendFile> {
    const { path, files, say } = options;
    await files.remove(rewritePath(path)); // left by a process that died while it rewrote
    const file = await files.openToWrite(path);
    try {
      const end = await file.size();
      const size = await load(path, file, end, memory);
      memory.loaded();
      if (size < end) {
        await file.truncate(size);
        say(`store: dropped ${end - size} bytes at the end of ${path} that were never acknowledged`);
      }
      return new AppendFile(options, memory, file, size);
    } catch (error) {
      await file.close();
      throw error;
    }
  }

  wrote(words: readonly Value[]): void {
    if (this.trouble !== null) return; // memory is about to be rebuilt without it
    this.gathering.commands.add(words);
    this.rewrite?.follow(words);
    if (this.scheduled) return;
    this.scheduled = true;
    setImmediate(() => this.flushSoon());
  }

  refusal(writes: boolean): StoreTrouble | null {
    if (this.trouble !== null) return writes || !this.isRebuilt ? this.trouble : null;
    if (!writes) return null;
    const waitingBytes = this.gathering.commands.bytes + this.writingBytes;
    if (waitingBytes <= this.options.waitingBytesMax) return null;
    return new StoreTrouble(`The disk of ${this.options.path} is too slow: ${waitingBytes} bytes wait to be written.`);
  }

  acknowledged<T>(reply: T): Promise<T> {
    const group = this.gathering.commands.bytes > 0 ? this.gathering : this.writing;
    if (group === null) return Promise.resolve(reply);
    return new Promise((resolve, reject) => {
      group.waiting.push({ resolve: () => resolve(reply), reject });
    });
  }

  async close(): Promise<void> {
    if (this.closed) return;
    this.flushSoon();
    await this.flushing;
    this.closed = true;
    this.rewrite?.abandon();
    await this.rewriting;
    this.retry?.wake();
    await this.recovery;
    if (this.syncTimer !== null) clearInterval(this.syncTimer);
    await this.syncing;
    try {
      if (this.unsynced && this.trouble === null) await this.file.sync();
    } finally {
      await this.file.close();
    }
  }

  private flushSoon(): void {
    this.scheduled = false;
    this.flushing ??= this.flush().finally(() => {
      this.flushing = null;
    });
  }

  private async flush(): Promise<void> {
    // What comes in while files are switched finds a flush under way and starts none: it is this loop's to write.
    while (this.trouble === null) {
      if (this.rewrite?.ready === true) await this.switchFiles(this.rewrite);
      else if (this.gathering.commands.bytes > 0) await this.writeGathered();
      else break;
    }
    if (this.trouble === null) this.rewriteIfGrown();
  }

  private async writeGathered(): Promise<void> {
    const group = this.gathering;
    this.gathering = new Gathering();
    this.writing = group;
    const bytes = group.commands.take();
    this.writingBytes = bytes.length;
    try {
      await writeAll(this.file, bytes, this.size);
      this.unsynced = true;
      if (this.options.fsync === 'always') await this.syncFile();
      this.size += bytes.length;
      this.writing = null;
      for (const { resolve } of group.waiting) resolve();
    } catch (error) {
      this.fail(error, bytes.length);
    } finally {
      this.writingBytes = 0;
    }
  }

  private async syncFile(): Promise<void> {
    this.unsynced = false;
    await this.file.sync();
  }

  private syncNow(): void {
    if (this.mustRewrite) this.startRewrite();
    if (!this.unsynced || this.mustRewrite || this.syncing !== null || this.trouble !== null) return;
    this.syncing = this.syncFile()
      .catch(error => {
        this.options.say(
          `store: ${this.options.path} could not be forced to the disk (${textOf(error)}), rewriting it`,
        );
        this.mustRewrite = true;
        this.startRewrite();
      })
      .finally(() => {
        this.syncing = null;
      });
  }

  /** A2. */
  private fail(error: unknown, bytes: number): void {
    const { path, say } = this.options;
    const trouble = new StoreTrouble(`${path} cannot be written: ${textOf(error)}.`, error);
    this.trouble = trouble;
    this.isRebuilt = false;
    this.rewrite?.abandon();
    this.rewrite = null;
    const rejected = [...(this.writing?.waiting ?? []), ...this.gathering.waiting];
    this.writing = null;
    this.gathering = new Gathering();
    for (const { reject } of rejected) reject(trouble);
    this.memory.dropReaders(trouble);
    say(`store: ${trouble.message} New work is refused until it can.`);
    this.recovery = this.recover(Math.min(bytes, probeBytesMax)).finally(() => {
      this.recovery = null;
    });
  }

  private async recover(probeBytes: number): Promise<void> {
    for (let waitMs = retryMsMin; !this.closed; waitMs = Math.min(2 * waitMs, retryMsMax)) {
      try {
        await this.file.truncate(this.size);
        if (!this.isRebuilt) await load(this.options.path, this.file, this.size, this.memory);
        this.isRebuilt = true;
        await writeAll(this.file, probe(probeBytes), this.size);
        await this.file.sync();
        await this.file.truncate(this.size);
        this.memory.loaded();
        this.trouble = null;
        this.options.say(`store: ${this.options.path} can be written again`);
        return;
      } catch (error) {
        this.trouble = new StoreTrouble(`${this.options.path} cannot be written: ${textOf(error)}.`, error);
      }
      await this.pause(waitMs);
    }
  }

  private pause(ms: number): Promise<void> {
    return new Promise(resolve => {
      const wake = () => {
        clearTimeout(timer);
        this.retry = null;
        resolve();
      };
      const timer = setTimeout(wake, ms);
      this.retry = { timer, wake };
    });
  }

  private rewriteIfGrown(): void {
    const { rewriteBytesMin } = this.options;
    if (this.size >= rewriteBytesMin && this.size >= 2 * this.sizeAfterRewrite) this.startRewrite();
  }

  private startRewrite(): void {
    if (this.rewrite !== null || this.closed || this.trouble !== null) return;
    const { path, files, say } = this.options;
    const rewrite = new Rewrite(rewritePath(path), files, this.memory);
    this.rewrite = rewrite;
    this.rewriting = rewrite.run().then(
      () => this.flushSoon(),
      error =>
        this.giveUp(rewrite, `store: rewriting ${path} failed (${textOf(error)}), going on with the old file`, say),
    );
  }

  private giveUp(rewrite: Rewrite, message: string, say: (message: string) => void): void {
    if (this.rewrite !== rewrite || this.closed) return;
    this.rewrite = null;
    this.sizeAfterRewrite = this.size; // not again at once
    say(message);
  }

  /** Makes the rewritten file the file. It holds all that was gathered so far, written to the old file or not. */
  private async switchFiles(rewrite: Rewrite): Promise<void> {
    const { path, files, say } = this.options;
    const group = this.gathering;
    this.gathering = new Gathering();
    this.writing = group;
    this.rewrite = null;
    try {
      const { file, size } = await rewrite.finish(path);
      const old = this.file;
      this.file = file;
      this.size = size;
      this.sizeAfterRewrite = size;
      this.unsynced = false;
      this.mustRewrite = false;
      this.writing = null;
      for (const { resolve } of group.waiting) resolve();
      await this.syncing;
      await old.close();
    } catch (error) {
      this.sizeAfterRewrite = this.size;
      say(`store: rewriting ${path} failed (${textOf(error)}), going on with the old file`);
      await files.remove(rewritePath(path)).catch(() => undefined); // the next start removes it
      this.writing = null;
      this.takeBack(group);
    }
  }

  /** Puts a group back in front of what was gathered since. */
  private takeBack(group: Gathering): void {
    const later = this.gathering;
    group.commands.join(later.commands);
    group.waiting.push(...later.waiting);
    this.gathering = group;
  }
}

const rewritePath = (path: string): string => `${path}.rewrite`;

async function load(path: string, file: OpenFile, end: number, memory: Memory): Promise<number> {
  memory.startLoading();
  return loadCommands(path, file, end, words => memory.apply(words));
}

async function writeAll(file: OpenFile, bytes: Buffer, position: number): Promise<void> {
  for (let written = 0; written < bytes.length; ) {
    const count = await file.write(bytes.subarray(written), position + written);
    if (count === 0) throw new Error('nothing was written');
    written += count;
  }
}

/** Commands that change nothing, should the process be killed before they are cut off again. */
function probe(bytes: number): Buffer {
  const writer = new RespWriter();
  do writer.add(['SELECT', '0']);
  while (writer.bytes < bytes);
  return writer.take();
}

const textOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));
