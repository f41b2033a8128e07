/**
 * Writes a new, shorter append-only file while the store goes on working.
 *
 * The new file is a walk over all keys, with the changes made meanwhile between: a change to a key that was already
 * written follows it, and a change to one still to come needs no mention, because the key is written as it is by then.
 * So at any moment the new file's commands, and what is still to be walked, make up the memory of that moment.
 */
import type { Memory } from './append-file.ts';
import type { Files, OpenFile } from './file-port.ts';
import { RespWriter } from './resp.ts';
import type { Value } from './stream-value.ts';

/** Written in one go before others get their turn. */
const turnBytes = 256 * 1024;

export class Rewrite {
  /** All keys are written: only `finish` is left. */
  ready = false;
  private readonly path: string;
  private readonly files: Files;
  private readonly memory: Memory;
  private readonly commands = new RespWriter();
  private readonly walked = new Set<string>();
  /** The walk is over: what is made now was not on it. */
  private isWalked = false;
  private file: OpenFile | null = null;
  private size = 0;
  private abandoned = false;

  constructor(path: string, files: Files, memory: Memory) {
    this.path = path;
    this.files = files;
    this.memory = memory;
  }

  async run(): Promise<void> {
    try {
      const file = await this.files.openToWrite(this.path);
      this.file = file;
      await file.truncate(0);
      for (const { key, commands } of this.memory.dump()) {
        if (this.abandoned) throw new Error('abandoned');
        if (this.walked.has(key)) continue;
        this.walked.add(key);
        for (const words of commands) this.commands.add(words);
        if (this.commands.bytes >= turnBytes) await this.write(file);
      }
      this.isWalked = true;
      await this.write(file);
      await file.sync(); // so that little is left to sync while others wait
      if (this.abandoned) throw new Error('abandoned');
      this.ready = true;
    } catch (error) {
      await this.discard();
      throw error;
    }
  }

  /** Takes note of a change that was just made. */
  follow(words: readonly Value[]): void {
    const name = words[0];
    if (name === 'FLUSHALL' || name === 'MULTI' || name === 'EXEC') this.commands.add(words);
    else if (name === 'RENAME') for (const key of words.slice(1)) this.restate(String(key));
    else if (this.isWalked || this.walked.has(String(name === 'XGROUP' ? words[2] : words[1])))
      this.commands.add(words);
  }

  abandon(): void {
    this.abandoned = true;
    if (this.ready) void this.discard();
  }

  /** Writes the last changes and puts the file in the place of the old one. */
  async finish(path: string): Promise<{ file: OpenFile; size: number }> {
    const { file } = this;
    if (file === null) throw new Error('the new file is not open');
    try {
      await this.write(file);
      await file.sync();
      await this.files.rename(this.path, path);
    } catch (error) {
      await this.discard();
      throw error;
    }
    // Without it the old file may be back after a power cut: still whole, but without what follows. Some systems cannot.
    await this.files.syncDirectory(path.slice(0, path.lastIndexOf('/') + 1) || '.').catch(() => undefined);
    return { file, size: this.size };
  }

  private restate(key: string): void {
    this.walked.add(key);
    this.commands.add(['DEL', key]);
    for (const words of this.memory.dumpKey(key)) this.commands.add(words);
  }

  private async write(file: OpenFile): Promise<void> {
    const bytes = this.commands.take();
    for (let written = 0; written < bytes.length; ) {
      const count = await file.write(bytes.subarray(written), this.size + written);
      if (count === 0) throw new Error('nothing was written');
      written += count;
    }
    this.size += bytes.length;
  }

  private async discard(): Promise<void> {
    const { file } = this;
    this.file = null;
    await file?.close().catch(() => undefined); // it goes away anyhow
    await this.files.remove(this.path).catch(() => undefined); // the next start removes it
  }
}
