/**
 * Waits for new entries of many streams at once, on one connection of its own: a blocking read holds back all else there.
 *
 * W1. What is watched may change while the read blocks: an entry in the boot's wake stream ends it at once.
 * W2. Each entry of a stream is heard once and in order, behind where its watcher stood.
 * W3. A read that fails, or does not come back long after its time, is done again on a new connection.
 */
import type { Entry, Store, StreamReply } from './store.ts';

interface Watched {
  after: string;
  readonly heard: (entries: Entry[]) => void;
}

/** Long enough to cost nothing, short enough to notice a connection that is dead in silence. */
const blockMs = 5000;
const lateMs = 2000;
const againMs = 100;
/** Entries of one stream in one read. */
const page = 256;

export class Watch {
  readonly #store: Store;
  readonly #wakeKey: string;
  readonly #streams = new Map<string, Set<Watched>>();
  #connection: Store | null = null;
  #wokenAt = '$';
  #reading = false;
  #waking = false;
  #stopped = false;

  constructor(store: Store, wakeKey: string) {
    this.#store = store;
    this.#wakeKey = wakeKey;
  }

  /** Tells `heard` what comes behind `after` under `key`, until the returned function is called. */
  add(key: string, after: string, heard: (entries: Entry[]) => void): () => void {
    const watched: Watched = { after, heard };
    const known = this.#streams.get(key);
    if (known === undefined) this.#streams.set(key, new Set([watched]));
    else known.add(watched);
    if (this.#reading) this.#wake();
    else void this.#read();
    return () => {
      const others = this.#streams.get(key);
      others?.delete(watched);
      if (others?.size === 0) this.#streams.delete(key);
    };
  }

  stop(): void {
    this.#stopped = true;
    this.#streams.clear();
    this.#connection?.disconnect();
  }

  /** W1. All that is added in one turn needs one entry. */
  #wake(): void {
    if (this.#waking) return;
    this.#waking = true;
    queueMicrotask(() => {
      this.#waking = false;
      // If it fails, the read fails too, or ends by itself.
      this.#store.xadd(this.#wakeKey, 'MAXLEN', 1, '*', 'w', 1).catch(() => undefined);
    });
  }

  async #read(): Promise<void> {
    this.#reading = true;
    try {
      // Entries from before this boot's first read end it once, for nothing.
      if (this.#wokenAt === '$') this.#wokenAt = '0-0';
      while (this.#streams.size > 0 && !this.#stopped) await this.#readOnce();
    } finally {
      this.#reading = false;
    }
  }

  async #readOnce(): Promise<void> {
    const keys = [this.#wakeKey];
    const ids = [this.#wokenAt];
    for (const [key, watchers] of this.#streams) {
      keys.push(key);
      ids.push(lowest(watchers));
    }
    this.#connection ??= this.#connect();
    let reply: StreamReply | null;
    try {
      reply = await timed(this.#connection.xread('COUNT', page, 'BLOCK', blockMs, 'STREAMS', ...keys, ...ids));
    } catch {
      // Trouble with the store, which its writers tell (W3).
      this.#connection?.disconnect();
      this.#connection = null;
      if (!this.#stopped) await new Promise(resolve => setTimeout(resolve, againMs));
      return;
    }
    for (const [key, entries] of reply ?? []) {
      if (key === this.#wakeKey) this.#wokenAt = entries.at(-1)?.[0] ?? this.#wokenAt;
      const from = ids[keys.indexOf(key)] ?? '';
      // Who came while this was read, and stands before it, has the next read: this one lacks what is in between.
      for (const watched of [...(this.#streams.get(key) ?? [])])
        if (compareIds(watched.after, from) >= 0) tell(watched, entries);
    }
  }

  #connect(): Store {
    const connection = this.#store.duplicate();
    connection.on('error', () => undefined); // the read that it breaks says so
    return connection;
  }
}

/** W2. */
function tell(watched: Watched, entries: Entry[]): void {
  const fresh = entries.filter(([id]) => compareIds(id, watched.after) > 0);
  const last = fresh.at(-1);
  if (last === undefined) return;
  watched.after = last[0];
  watched.heard(fresh);
}

function lowest(watchers: ReadonlySet<Watched>): string {
  let least: string | null = null;
  for (const { after } of watchers) if (least === null || compareIds(after, least) < 0) least = after;
  return least ?? '0-0';
}

function compareIds(a: string, b: string): number {
  const [aHead = 0, aTail = 0] = a.split('-').map(Number);
  const [bHead = 0, bTail = 0] = b.split('-').map(Number);
  return aHead - bHead || aTail - bTail;
}

async function timed<T>(reply: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error('the blocking read did not come back')), blockMs + lateMs);
  });
  try {
    return await Promise.race([reply, late]);
  } finally {
    clearTimeout(timer);
  }
}
