/**
 * A connection to the embedded store, with the methods that an ioredis connection has.
 *
 * As on a real one, replies come in the order of the commands, and a reader that waits holds back what is sent after it.
 */
import { EventEmitter } from 'node:events';
import { Blocked } from './blocked.ts';
import type { Reply } from './command.ts';
import type { Engine } from './embedded-redis.ts';
import type { RedisMockInstance } from './plain-commands.ts';
import { ReplyError } from './reply-error.ts';
import type { Arg, Batch, BatchReply, Store, Words } from './store.ts';

export class EmbeddedConnection extends EventEmitter {
  private readonly engine: Engine;
  /** The first connection's end is the store's end. */
  private readonly isFirst: boolean;
  private blocked: Blocked | null = null;
  private subscriber: RedisMockInstance | null = null;
  private ended: Promise<string> | null = null;

  private constructor(engine: Engine, isFirst: boolean) {
    super();
    this.engine = engine;
    this.isFirst = isFirst;
  }

  static first(engine: Engine): Store {
    return asStore(new EmbeddedConnection(engine, true));
  }

  duplicate(): Store {
    return asStore(new EmbeddedConnection(this.engine, false));
  }

  call(name: string, ...args: Arg[]): Promise<unknown> {
    return this.send([name, ...args], false);
  }

  pipeline(commands: Words[]): Batch {
    return { exec: () => this.after(() => this.runAll(commands)) };
  }

  multi(commands: Words[]): Batch {
    return { exec: () => this.after(() => this.transact(commands)) };
  }

  async subscribe(...channels: Arg[]): Promise<unknown> {
    if (this.subscriber === null) {
      this.subscriber = this.engine.mock.duplicate();
      this.subscriber.on('message', (channel, message) => this.emit('message', channel, message));
    }
    return this.subscriber.subscribe(...channels.map(String));
  }

  async unsubscribe(...channels: Arg[]): Promise<unknown> {
    return this.subscriber?.unsubscribe(...channels.map(String)) ?? 0;
  }

  quit(): Promise<string> {
    this.ended ??= this.end();
    return this.ended;
  }

  disconnect(): void {
    this.quit().catch(() => undefined); // whoever wants to know how it ended calls quit
  }

  send(words: Words, binary: boolean): Promise<unknown> {
    return this.after(() => {
      const reply = this.engine.run(words);
      if (reply instanceof Blocked) return this.waitFor(reply).then(late => this.answer(late, binary));
      if (reply instanceof Promise) return reply.then(late => this.answer(late, binary));
      return this.answer(reply, binary);
    });
  }

  private answer(reply: Reply, binary: boolean): Promise<unknown> {
    return this.engine.journal.acknowledged(binary ? asBuffers(reply) : asText(reply));
  }

  /** Runs `what` when nothing before it waits. */
  private after<T>(what: () => Promise<T>): Promise<T> {
    if (this.ended !== null) return Promise.reject(new Error('Connection is closed.'));
    if (this.blocked !== null) {
      const next = () => this.after(what);
      return this.blocked.reply.then(next, next);
    }
    try {
      return what();
    } catch (error) {
      return Promise.reject(error);
    }
  }

  private async waitFor(blocked: Blocked): Promise<Reply> {
    this.blocked = blocked;
    try {
      return await blocked.reply;
    } finally {
      this.blocked = null;
    }
  }

  private runAll(batch: readonly Words[]): Promise<BatchReply> {
    const replies: BatchReply = [];
    const late: Promise<void>[] = [];
    for (let at = 0; at < batch.length; at++) {
      const words = batch[at];
      if (words === undefined) break;
      const blocked = this.runOne(words, replies, late);
      if (blocked !== null) return this.runRest(batch, at, blocked, replies, late);
    }
    if (late.length === 0) return this.engine.journal.acknowledged(replies);
    return Promise.all(late).then(() => this.engine.journal.acknowledged(replies));
  }

  /** The same from a reader that waits on: what follows it waits too. */
  private async runRest(
    batch: readonly Words[],
    from: number,
    blocked: Blocked,
    replies: BatchReply,
    late: Promise<void>[],
  ): Promise<BatchReply> {
    const at = from;
    await this.waitFor(blocked).then(
      reply => (replies[at] = [null, asText(reply)]),
      (error: Error) => (replies[at] = [error, undefined]),
    );
    await Promise.all(late);
    const rest = await this.after(() => this.runAll(batch.slice(from + 1)));
    return this.engine.journal.acknowledged([...replies, ...rest]);
  }

  /** Runs one command of a batch and puts its reply in place; answers with the reader, if it is one that must wait. */
  private runOne(words: Words, replies: BatchReply, late: Promise<void>[]): Blocked | null {
    const at = replies.length;
    const name = words[0];
    const binary = name.endsWith('Buffer');
    try {
      const reply = this.engine.run(binary ? [name.slice(0, -6), ...words.slice(1)] : words);
      if (reply instanceof Blocked) return reply;
      if (reply instanceof Promise) {
        replies.push([null, null]);
        late.push(
          reply.then(
            value => {
              replies[at] = [null, binary ? asBuffers(value) : asText(value)];
            },
            (error: Error) => {
              replies[at] = [error, undefined];
            },
          ),
        );
      } else replies.push([null, binary ? asBuffers(reply) : asText(reply)]);
    } catch (error) {
      replies.push([error instanceof Error ? error : new Error(String(error)), undefined]);
    }
    return null;
  }

  private transact(batch: readonly Words[]): Promise<BatchReply> {
    const replies: BatchReply = [];
    const late: Promise<void>[] = [];
    try {
      for (const words of batch) this.engine.find(words);
    } catch (error) {
      throw new ReplyError(`EXECABORT Transaction discarded because of previous errors. (${String(error)})`);
    }
    this.engine.transact(batch, words => {
      const blocked = this.runOne(words, replies, late);
      if (blocked === null) return;
      blocked.cancel(new Error('nothing waits in a transaction'));
      blocked.reply.catch(() => undefined);
      replies.push([null, null]);
    });
    return Promise.all(late).then(() => this.engine.journal.acknowledged(replies));
  }

  private async end(): Promise<string> {
    this.blocked?.cancel(new Error('Connection is closed.'));
    this.subscriber?.disconnect();
    if (this.isFirst) await this.engine.close();
    this.emit('end');
    return 'OK';
  }
}

const names =
  'xadd xrange xrevrange xread xlen xdel xtrim xsetid xinfo xgroup xreadgroup xack xpending xclaim xautoclaim ' +
  'set get incr incrby del unlink exists type rename expire pexpire expireat pexpireat persist ttl pttl dbsize keys scan ' +
  'hset hget hgetall hdel hlen hexists hincrby sadd srem smembers sismember scard publish flushall ping time';

for (const name of names.split(' ')) {
  for (const [suffix, binary] of [
    ['', false],
    ['Buffer', true],
  ] as const) {
    Object.defineProperty(EmbeddedConnection.prototype, name + suffix, {
      value(this: EmbeddedConnection, ...args: Arg[]) {
        return this.send([name, ...args], binary);
      },
    });
  }
}

/** The commands were put on the prototype just above, one method each. */
const asStore = (connection: EmbeddedConnection): Store => connection as unknown as Store;

/** As ioredis gives it to a text command. Arrays and Buffers are copied: the store's own are not given away. */
function asText(reply: Reply): unknown {
  if (reply === null || typeof reply === 'string' || typeof reply === 'number') return reply;
  if (Buffer.isBuffer(reply)) return reply.toString();
  if (isList(reply)) return reply.map(asText);
  if (reply instanceof Error) return reply;
  return Object.fromEntries(Object.entries(reply).map(([field, value]) => [field, asText(value)]));
}

function asBuffers(reply: Reply): unknown {
  if (reply === null || typeof reply === 'number') return reply;
  if (typeof reply === 'string' || Buffer.isBuffer(reply)) return Buffer.from(reply);
  if (isList(reply)) return reply.map(asBuffers);
  if (reply instanceof Error) return reply;
  return Object.fromEntries(Object.entries(reply).map(([field, value]) => [field, asBuffers(value)]));
}

const isList = (reply: Reply): reply is readonly Reply[] => Array.isArray(reply);
