/**
 * The port of the event log's store: the part of the ioredis API that we use, and the one error that means "try again".
 *
 * A real `Redis` connection and the embedded store (embedded-redis.ts) both fit it. Arguments go in as the words of the
 * command, as ioredis takes them. Text commands answer strings, `…Buffer` variants answer Buffers.
 */
export type Arg = string | number | Buffer;
export type Words = readonly [name: string, ...args: Arg[]];

/** One stream entry; fields and values alternate. */
export type Entry<Text = string> = [id: string, fields: Text[]];
/** As a group's history has it: an entry that was deleted since has no fields. */
export type PendingEntry<Text = string> = [id: string, fields: Text[] | null];
export type StreamReply<Text = string> = [key: string, entries: Entry<Text>[]][];

export type BatchReply = [error: Error | null, reply: unknown][];

/** Commands sent together. `exec` answers each of them, in order. */
export interface Batch {
  exec(): Promise<BatchReply | null>;
}

type Command<Reply> = (...args: Arg[]) => Promise<Reply>;

export interface Store {
  readonly xadd: Command<string | null>;
  readonly xrange: Command<Entry[]>;
  readonly xrangeBuffer: Command<[id: Buffer, fields: Buffer[]][]>;
  readonly xrevrange: Command<Entry[]>;
  readonly xrevrangeBuffer: Command<[id: Buffer, fields: Buffer[]][]>;
  readonly xread: Command<StreamReply | null>;
  readonly xreadBuffer: Command<[key: Buffer, entries: [id: Buffer, fields: Buffer[]][]][] | null>;
  readonly xlen: Command<number>;
  readonly xdel: Command<number>;
  readonly xtrim: Command<number>;
  readonly xinfo: Command<unknown>;
  readonly xgroup: Command<unknown>;
  readonly xreadgroup: Command<[key: string, entries: PendingEntry[]][] | null>;
  readonly xreadgroupBuffer: Command<unknown>;
  readonly xack: Command<number>;
  readonly xpending: Command<unknown>;
  readonly xclaim: Command<unknown>;
  readonly xautoclaim: Command<unknown>;

  readonly set: Command<string | null>;
  readonly get: Command<string | null>;
  readonly getBuffer: Command<Buffer | null>;
  readonly del: Command<number>;
  readonly unlink: Command<number>;
  readonly exists: Command<number>;
  readonly type: Command<string>;
  readonly rename: Command<string>;
  readonly expire: Command<number>;
  readonly pexpire: Command<number>;
  readonly pexpireat: Command<number>;
  readonly persist: Command<number>;
  readonly ttl: Command<number>;
  readonly pttl: Command<number>;
  readonly hset: Command<number>;
  readonly hget: Command<string | null>;
  readonly hgetall: Command<Record<string, string>>;
  readonly hdel: Command<number>;
  readonly sadd: Command<number>;
  readonly srem: Command<number>;
  readonly smembers: Command<string[]>;
  readonly scan: Command<[cursor: string, keys: string[]]>;
  readonly flushall: Command<string>;
  readonly ping: Command<string>;
  readonly time: Command<[seconds: string, microseconds: string]>;
  readonly publish: Command<number>;
  readonly subscribe: Command<unknown>;
  readonly unsubscribe: Command<unknown>;

  /** Any other command by its name. */
  call(name: string, ...args: Arg[]): Promise<unknown>;
  pipeline(commands: Words[]): Batch;
  /** As `pipeline`, and no other command comes in between. */
  multi(commands: Words[]): Batch;

  /** A connection of its own: a blocking read holds back all else on the one it uses. */
  duplicate(): Store;
  on(event: 'message', listener: (channel: string, message: string) => void): unknown;
  on(event: 'error', listener: (error: Error) => void): unknown;
  off(event: 'message', listener: (channel: string, message: string) => void): unknown;
  /** Ends after the commands already sent. The embedded store writes and closes its file. */
  quit(): Promise<unknown>;
  /** Ends now. A blocking read on this connection is rejected. */
  disconnect(): void;
}

/** The store is down, slow, full or read-only. Trying the same thing again may help, and is safe. */
export class StoreTrouble extends Error {
  readonly code = 'store_unavailable';
  readonly retryable = true;

  constructor(message: string, cause?: unknown) {
    super(message, cause === undefined ? {} : { cause });
    this.name = 'StoreTrouble';
  }
}
