/** A file system in memory with levers: writes can fail or stop half-way, and a file can be cut anywhere. */
import type { Files, OpenFile } from './file-port.ts';

export class MemoryFiles implements Files {
  readonly contents = new Map<string, Buffer>();
  /** Bytes that the next writes may still take before they fail; null: all. */
  room: number | null = null;
  syncFails = false;
  renameFails = false;
  writes = 0;
  /** A write waits for this. */
  gate: Promise<void> = Promise.resolve();
  /** A rename waits for what this gives. */
  renaming: () => Promise<void> = () => Promise.resolve();

  async openToRead(path: string): Promise<OpenFile> {
    if (!this.contents.has(path)) throw Object.assign(new Error(`ENOENT: ${path}`), { code: 'ENOENT' });
    return this.over(path);
  }

  async openToWrite(path: string): Promise<OpenFile> {
    if (!this.contents.has(path)) this.contents.set(path, Buffer.alloc(0));
    return this.over(path);
  }

  async rename(from: string, to: string): Promise<void> {
    await this.renaming();
    if (this.renameFails) throw new Error('EIO: i/o error, rename');
    const file = this.read(from);
    this.contents.delete(from);
    this.contents.set(to, file);
    this.renamed.set(from, to);
  }

  async remove(path: string): Promise<void> {
    this.contents.delete(path);
  }

  async makeDirectory(): Promise<void> {
    // there are none
  }

  async syncDirectory(): Promise<void> {
    // nothing is lost here
  }

  read(path: string): Buffer {
    return this.contents.get(path) ?? Buffer.alloc(0);
  }

  /** An open file keeps its content over a rename. */
  private readonly renamed = new Map<string, string>();

  private over(opened: string): OpenFile {
    const path = () => (this.contents.has(opened) ? opened : (this.renamed.get(opened) ?? opened));
    return {
      read: async (buffer, position) => this.read(path()).copy(buffer, 0, position),
      write: async (buffer, position) => {
        await this.gate;
        this.writes += 1;
        const taken = this.room === null ? buffer.length : Math.min(this.room, buffer.length);
        if (this.room !== null) this.room -= taken;
        if (taken === 0) throw Object.assign(new Error('ENOSPC: no space left on device, write'), { code: 'ENOSPC' });
        const old = this.read(path());
        const grown = Buffer.alloc(Math.max(old.length, position + taken));
        old.copy(grown);
        buffer.copy(grown, position, 0, taken);
        this.contents.set(path(), grown);
        return taken;
      },
      truncate: async length => {
        this.contents.set(path(), Buffer.from(this.read(path()).subarray(0, length)));
      },
      sync: async () => {
        if (this.syncFails) throw new Error('EIO: i/o error, fdatasync');
      },
      size: async () => this.read(path()).length,
      close: async () => undefined,
    };
  }
}
