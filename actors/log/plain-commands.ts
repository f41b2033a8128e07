/**
 * Strings, hashes, sets and channels: ioredis-mock does them, on our keyspace.
 *
 * What it leaves out is added around it: the number of words, WRONGTYPE, options of SET, and values that are no text.
 * Its commands take effect at once and only their reply comes as a promise, so they keep their place among ours.
 * Set members and hash fields are text.
 */
import RedisMock from 'ioredis-mock';
import { type Command, type Database, integer, option, type Reply, text } from './command.ts';
import type { Keyspace, KeyType, Plain } from './keyspace.ts';
import { ReplyError, syntaxError, wrongNumber, wrongType } from './reply-error.ts';
import { Stream, type Value } from './stream-value.ts';

type MockCommand = (...args: Value[]) => Promise<Reply>;

/** An ioredis-mock instance that looks at `keys`. `name` keeps its channels apart from those of other stores in the process. */
export function openMock(keys: Keyspace, name: string): RedisMockInstance {
  const mock = new RedisMock({ host: name, lazyConnect: true });
  // Its commands reach the data through these two properties alone.
  Object.assign(mock, { data: dataPort(keys), expires: expiryPort(keys), connected: true });
  return mock;
}
export type RedisMockInstance = InstanceType<typeof RedisMock>;

function dataPort(keys: Keyspace): object {
  const port = {
    has: (key: string) => keys.get(key) !== undefined,
    get: (key: string) => keys.get(key),
    set(key: string, value: Plain) {
      keys.changes += 1;
      // A field may be called __proto__.
      const isNew = isFields(value) && Object.getPrototypeOf(value) !== null;
      keys.set(key, isNew ? Object.assign(Object.create(null), value) : value);
    },
    delete(key: string) {
      keys.changes += 1;
      keys.delete(key);
    },
    keys: () => keys.keys(),
    clear: () => keys.clear(),
    withKeyPrefix: () => port,
  };
  return port;
}

/** Expiry is ours (key-commands.ts); this keeps the rule that a value set anew has none. */
function expiryPort(keys: Keyspace): object {
  const port = {
    has: (key: string) => keys.expiries.has(key),
    get: (key: string) => keys.expiries.get(key),
    set: (key: string, at: number | string) => keys.expireAt(key, Number(at)),
    isExpired: () => false,
    delete: (key: string) => keys.persist(key),
    clear: () => undefined,
    withKeyPrefix: () => port,
  };
  return port;
}

interface Shape {
  readonly arity: number;
  readonly type: KeyType;
  readonly writes?: boolean;
  /** Words from this one on may be bytes that are no text, every second one with `step` 2. */
  readonly bytesFrom?: number;
  readonly step?: 2;
}

const shapes: Readonly<Record<string, Shape>> = {
  get: { arity: 2, type: 'string' },
  incr: { arity: 2, type: 'string', writes: true },
  incrby: { arity: 3, type: 'string', writes: true },
  hset: { arity: -4, type: 'hash', writes: true, bytesFrom: 3, step: 2 },
  hget: { arity: 3, type: 'hash' },
  hgetall: { arity: 2, type: 'hash' },
  hdel: { arity: -3, type: 'hash', writes: true },
  hlen: { arity: 2, type: 'hash' },
  hexists: { arity: 3, type: 'hash' },
  hincrby: { arity: 4, type: 'hash', writes: true },
  sadd: { arity: -3, type: 'set', writes: true },
  srem: { arity: -3, type: 'set', writes: true },
  smembers: { arity: 2, type: 'set' },
  sismember: { arity: 3, type: 'set' },
  scard: { arity: 2, type: 'set' },
};

export function plainCommands(mock: RedisMockInstance): Record<string, Command> {
  const commands: Record<string, Command> = { set: setCommand(mock) };
  for (const [name, shape] of Object.entries(shapes)) commands[name] = plainCommand(mock, name, shape);
  commands.publish = {
    arity: 3,
    writes: false,
    run: (_, words) => mockCommand(mock, 'publish')(text(words[1]), text(words[2])),
  };
  return commands;
}

function plainCommand(mock: RedisMockInstance, name: string, shape: Shape): Command {
  // GET of the text kind would lose bytes that are no text.
  const run = mockCommand(mock, name === 'get' ? 'getBuffer' : name);
  return {
    arity: shape.arity,
    writes: shape.writes === true,
    run(db, words) {
      if (shape.step === 2 && words.length % 2 === 1) throw wrongNumber(name);
      const args = words.slice(1).map((word, i) => {
        const from = shape.bytesFrom ?? Number.POSITIVE_INFINITY;
        const mayBeBytes = i + 1 >= from && (i + 1 - from) % (shape.step ?? 1) === 0;
        return mayBeBytes ? kept(word) : text(word);
      });
      mustBe(db, text(words[1]), shape.type);
      if (/^(h?incrby|incr)$/.test(name)) mustCount(db, name, args);
      return noting(db, [name.toUpperCase(), ...args], () => run(...args));
    },
  };
}

/** Notes in the journal what the mock did, if it did something. */
function noting(db: Database, words: readonly Value[], run: () => Promise<Reply>): Promise<Reply> {
  const before = db.keys.changes;
  const reply = run();
  if (db.keys.changes !== before) db.wrote(words);
  return reply;
}

/** The mock would count on from NaN. */
function mustCount(db: Database, name: string, args: readonly Value[]): void {
  if (name !== 'incr') integer(args.at(-1));
  const value = db.keys.get(text(args[0]));
  const isHash = name === 'hincrby';
  const held = value === undefined || value instanceof Stream ? undefined : value;
  const current = !isHash ? held : held !== undefined && isFields(held) ? held[text(args[1])] : undefined;
  if (typeof current !== 'string' && !Buffer.isBuffer(current)) return;
  const refusal = isHash ? 'ERR hash value is not an integer' : 'ERR value is not an integer or out of range';
  integer(current.toString('latin1'), () => new ReplyError(refusal));
}

const isFields = (value: Plain): value is Readonly<Record<string, Value>> =>
  typeof value === 'object' && !Buffer.isBuffer(value) && !(value instanceof Set);

function setCommand(mock: RedisMockInstance): Command {
  const run = mockCommand(mock, 'set');
  return {
    arity: -3,
    writes: true,
    run(db, words) {
      const [key, value] = [text(words[1]), kept(words[2])];
      const { only, at, keepTtl, get } = setOptions(db, words);
      const old = db.keys.get(key);
      if (get) mustBe(db, key, 'string');
      const before = get ? (typeof old === 'string' || Buffer.isBuffer(old) ? old : null) : null;
      if ((only === 'NX' && old !== undefined) || (only === 'XX' && old === undefined)) return before;
      const expiry = at ?? (keepTtl ? db.keys.expiries.get(key) : undefined);
      const reply = noting(db, ['SET', key, value], () => run(key, value));
      db.changed(key); // it may have been a stream
      if (expiry !== undefined) {
        db.keys.expireAt(key, expiry);
        db.wrote(['PEXPIREAT', key, String(expiry)]);
      }
      return get ? reply.then(() => before) : reply;
    },
  };
}

function setOptions(db: Database, words: readonly Value[]) {
  let only: 'NX' | 'XX' | null = null;
  let at: number | undefined;
  let [keepTtl, get] = [false, false];
  for (let i = 3; i < words.length; i++) {
    const name = option(words[i]);
    if ((name === 'NX' || name === 'XX') && only === null) only = name;
    else if (name === 'GET') get = true;
    else if (name === 'KEEPTTL' && at === undefined) keepTtl = true;
    else if (/^(EX|PX|EXAT|PXAT)$/.test(name) && i + 1 < words.length && at === undefined && !keepTtl) {
      const given = integer(words[++i]) * (name.startsWith('EX') ? 1000 : 1);
      if (given <= 0) throw new ReplyError("ERR invalid expire time in 'set' command");
      at = given + (name.endsWith('AT') ? 0 : db.now());
    } else throw syntaxError();
  }
  return { only, at, keepTtl, get };
}

function mustBe(db: Database, key: string, type: KeyType): void {
  const found = db.keys.type(key);
  if (found !== 'none' && found !== type) throw wrongType();
}

const kept = (word: Value | undefined): Value => (Buffer.isBuffer(word) ? Buffer.from(word) : (word ?? ''));

/** The mock's commands are functions of the instance, made when it was. */
const mockCommand = (mock: RedisMockInstance, name: string): MockCommand => {
  const command: unknown = Reflect.get(mock, name);
  if (typeof command !== 'function') throw new Error(`ioredis-mock has no command ${name}`);
  return (...args) => command.apply(mock, args);
};
