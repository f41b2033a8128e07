/**
 * A disk in memory under virtual time. A write takes a moment; a process killed meanwhile leaves any part of it behind,
 * and never less than what was acknowledged. Writes may fail, or take a part and then fail.
 */
import type { Files, OpenFile } from '../../actors/log/file-port.ts';
import type { VirtualClock } from './clock.ts';
import type { Random } from './random.ts';
import type { Tally } from './tally.ts';
import type { Timeline } from './timeline.ts';

export type DiskFault = 'disk write failed' | 'disk write cut short';

class Content {
  bytes = Buffer.alloc(4096);
  length = 0;
  /** A write under way. */
  writing: { readonly bytes: Buffer; readonly position: number } | null = null;

  put(bytes: Buffer, position: number): void {
    const end = position + bytes.length;
    if (end > this.bytes.length) {
      const grown = Buffer.alloc(2 * end);
      this.bytes.copy(grown, 0, 0, this.length);
      this.bytes = grown;
    }
    if (position > this.length) this.bytes.fill(0, this.length, position);
    bytes.copy(this.bytes, position);
    this.length = Math.max(this.length, end);
  }
}

export interface DiskParts {
  readonly clock: VirtualClock;
  readonly random: Random;
  readonly tally: Tally;
  readonly timeline: Timeline | null;
}

export class SimDisk implements Files {
  readonly #parts: DiskParts;
  readonly #files = new Map<string, Content>();
  readonly #armed: { fault: DiskFault; at: number }[] = [];
  /** How long a write takes, at most. */
  writeMs = 1;

  constructor(parts: DiskParts) {
    this.#parts = parts;
  }

  arm(fault: DiskFault): void {
    this.#armed.push({ fault, at: this.#parts.clock.now });
  }

  /** The process that wrote is killed: of writes under way any part is there. */
  killed(): void {
    const { random, tally, timeline, clock } = this.#parts;
    for (const [path, content] of this.#files) {
      const { writing } = content;
      content.writing = null;
      if (writing === null) continue;
      const kept = random.below(writing.bytes.length + 1);
      content.put(writing.bytes.subarray(0, kept), writing.position);
      tally.fault('append file cut', clock.now);
      timeline?.fault('append file cut', `${path} at byte ${kept} of ${writing.bytes.length} not acknowledged`);
    }
  }

  async openToRead(path: string): Promise<OpenFile> {
    const content = this.#files.get(path);
    if (content === undefined) throw Object.assign(new Error(`ENOENT: ${path}`), { code: 'ENOENT' });
    return this.#over(content, path);
  }

  async openToWrite(path: string): Promise<OpenFile> {
    let content = this.#files.get(path);
    if (content === undefined) {
      content = new Content();
      this.#files.set(path, content);
    }
    return this.#over(content, path);
  }

  async rename(from: string, to: string): Promise<void> {
    const content = this.#files.get(from);
    if (content === undefined) throw new Error(`ENOENT: ${from}`);
    this.#files.delete(from);
    this.#files.set(to, content);
  }

  async remove(path: string): Promise<void> {
    this.#files.delete(path);
  }

  async makeDirectory(): Promise<void> {
    // There are none.
  }

  async syncDirectory(): Promise<void> {
    // No power is cut here.
  }

  #over(content: Content, path: string): OpenFile {
    const { clock, random, tally, timeline } = this.#parts;
    const hit = (): DiskFault | null => {
      while (this.#armed[0] !== undefined && this.#armed[0].at < clock.now - 3000) this.#armed.shift();
      const first = this.#armed.shift();
      if (first === undefined) return null;
      tally.fault(first.fault, clock.now);
      timeline?.fault(first.fault, path);
      return first.fault;
    };
    return {
      read: async (buffer, position) => content.bytes.copy(buffer, 0, position, content.length),
      write: (buffer, position) =>
        new Promise((resolve, reject) => {
          const bytes = Buffer.from(buffer);
          const fault = hit();
          content.writing = { bytes, position };
          const ms = random.next() * this.writeMs;
          clock.after(ms, clock.node, () => {
            content.writing = null;
            if (fault === 'disk write failed') return reject(new Error('ENOSPC: no space left on device, write'));
            const taken = fault === null ? bytes.length : Math.ceil(bytes.length * random.next());
            content.put(bytes.subarray(0, taken), position);
            resolve(taken);
          });
        }),
      truncate: async length => {
        content.length = Math.min(content.length, length);
      },
      sync: async () => undefined,
      size: async () => content.length,
      close: async () => undefined,
    };
  }
}
