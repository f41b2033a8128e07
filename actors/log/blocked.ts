/**
 * Readers that wait for something new under a key: first come, first served.
 *
 * A reader is woken while the command that changed the key is still running, so it sees the store as that command left it,
 * as on a Redis server.
 */
import type { Reply } from './command.ts';

/** A reply that is still to come. */
export class Blocked {
  readonly keys: readonly string[];
  readonly reply: Promise<Reply>;
  private readonly readers: Readers;
  /** Looks under the key; null: nothing yet. A refusal is thrown, and is then the reply. */
  private readonly look: (key: string) => Reply;
  private resolve: (reply: Reply) => void = () => undefined;
  private reject: (error: Error) => void = () => undefined;
  private timer: NodeJS.Timeout | null = null;

  constructor(readers: Readers, keys: readonly string[], blockMs: number, look: (key: string) => Reply) {
    this.readers = readers;
    this.keys = keys;
    this.look = look;
    this.reply = new Promise((resolve, reject) => {
      this.resolve = resolve;
      this.reject = reject;
    });
    if (blockMs > 0) this.timer = setTimeout(() => this.settle(() => this.resolve(null)), blockMs);
    readers.add(this);
  }

  serve(key: string): void {
    try {
      const reply = this.look(key);
      if (reply !== null) this.settle(() => this.resolve(reply));
    } catch (error) {
      this.cancel(error instanceof Error ? error : new Error(String(error)));
    }
  }

  cancel(error: Error): void {
    this.settle(() => this.reject(error));
  }

  private settle(how: () => void): void {
    if (this.timer !== null) clearTimeout(this.timer);
    this.readers.remove(this);
    how();
  }
}

export class Readers {
  private readonly waiting = new Map<string, Set<Blocked>>();

  add(reader: Blocked): void {
    for (const key of reader.keys) {
      const readers = this.waiting.get(key);
      if (readers === undefined) this.waiting.set(key, new Set([reader]));
      else readers.add(reader);
    }
  }

  remove(reader: Blocked): void {
    for (const key of reader.keys) {
      const readers = this.waiting.get(key);
      readers?.delete(reader);
      if (readers?.size === 0) this.waiting.delete(key);
    }
  }

  serve(key: string): void {
    if (this.waiting.size === 0) return;
    const readers = this.waiting.get(key);
    if (readers !== undefined) for (const reader of [...readers]) reader.serve(key);
  }

  serveAll(): void {
    for (const key of [...this.waiting.keys()]) this.serve(key);
  }

  cancelAll(error: Error): void {
    for (const readers of [...this.waiting.values()]) for (const reader of [...readers]) reader.cancel(error);
  }
}
