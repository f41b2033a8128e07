/** The commands on whole keys. They see streams and plain values alike. */
import { type Command, type Database, integer, option, text } from './command.ts';
import { ReplyError, syntaxError } from './reply-error.ts';
import type { Value } from './stream-value.ts';

function remove(db: Database, words: readonly Value[]): number {
  let removed = 0;
  for (let at = 1; at < words.length; at++) {
    const key = text(words[at]);
    if (db.keys.type(key) === 'none') continue;
    db.keys.delete(key);
    db.wrote(['DEL', key]);
    db.changed(key);
    removed += 1;
  }
  return removed;
}

/** EXPIRE and its kin: `unitMs` is what the argument counts, `from` what it counts from. */
const expiring = (name: string, unitMs: number, from: (db: Database) => number): Command => ({
  arity: -3,
  writes: true,
  run(db, words) {
    const at = integer(words[2]) * unitMs + from(db);
    if (Math.abs(at) > Number.MAX_SAFE_INTEGER) throw new ReplyError(`ERR invalid expire time in '${name}' command`);
    if (words.length > 3) throw new ReplyError(`ERR Unsupported option ${text(words[3])}`); // NX, XX, GT and LT are newer than Redis 6.2
    const key = text(words[1]);
    if (db.keys.type(key) === 'none') return 0;
    if (at <= db.now() && !db.keys.loading) {
      remove(db, ['DEL', key]);
      return 1;
    }
    db.keys.expireAt(key, at);
    db.wrote(['PEXPIREAT', key, String(at)]);
    return 1;
  },
});

const fromNow = (db: Database): number => db.now();
const fromEpoch = (): number => 0;

function remainingMs(db: Database, words: readonly Value[]): number {
  const key = text(words[1]);
  if (db.keys.type(key) === 'none') return -2;
  const at = db.keys.expiries.get(key);
  return at === undefined ? -1 : Math.max(0, at - db.now());
}

export const keyCommands: Readonly<Record<string, Command>> = {
  del: { arity: -2, writes: true, run: remove },
  unlink: { arity: -2, writes: true, run: remove },
  exists: {
    arity: -2,
    writes: false,
    run: (db, words) => words.slice(1).filter(key => db.keys.type(text(key)) !== 'none').length,
  },
  type: { arity: 2, writes: false, run: (db, words) => db.keys.type(text(words[1])) },
  rename: {
    arity: 3,
    writes: true,
    run(db, words) {
      const [from, to] = [text(words[1]), text(words[2])];
      const value = db.keys.get(from);
      if (value === undefined) throw new ReplyError('ERR no such key');
      if (from === to) return 'OK';
      const at = db.keys.expiries.get(from);
      db.keys.delete(from);
      db.keys.delete(to);
      db.keys.set(to, value);
      if (at !== undefined) db.keys.expireAt(to, at);
      db.wrote(['RENAME', from, to]);
      db.changed(from);
      db.changed(to);
      return 'OK';
    },
  },
  expire: expiring('expire', 1000, fromNow),
  pexpire: expiring('pexpire', 1, fromNow),
  expireat: expiring('expireat', 1000, fromEpoch),
  pexpireat: expiring('pexpireat', 1, fromEpoch),
  persist: {
    arity: 2,
    writes: true,
    run(db, words) {
      const key = text(words[1]);
      if (db.keys.type(key) === 'none' || !db.keys.persist(key)) return 0;
      db.wrote(['PERSIST', key]);
      return 1;
    },
  },
  ttl: {
    arity: 2,
    writes: false,
    run(db, words) {
      const ms = remainingMs(db, words);
      return ms < 0 ? ms : Math.round(ms / 1000);
    },
  },
  pttl: { arity: 2, writes: false, run: remainingMs },
  dbsize: { arity: 1, writes: false, run: db => db.keys.keys().length },
  keys: {
    arity: 2,
    writes: false,
    run: (db, words) => db.keys.keys().filter(matcher(text(words[1]))),
  },
  /** Answers all at once, so that nothing that stays is ever missed. COUNT is only a hint, on a server too. */
  scan: {
    arity: -2,
    writes: false,
    run(db, words) {
      if (!/^\d+$/.test(text(words[1]))) throw new ReplyError('ERR invalid cursor');
      let found = db.keys.keys();
      for (let at = 2; at < words.length; at += 2) {
        const name = option(words[at]);
        if (at + 1 >= words.length) throw syntaxError();
        if (name === 'MATCH') found = found.filter(matcher(text(words[at + 1])));
        else if (name === 'TYPE') found = found.filter(key => db.keys.type(key) === text(words[at + 1]));
        else if (name !== 'COUNT' || integer(words[at + 1]) < 1) throw syntaxError();
      }
      return ['0', found];
    },
  },
  flushall: {
    arity: -1,
    writes: true,
    run(db) {
      const keys = db.keys.keys();
      db.keys.clear();
      db.wrote(['FLUSHALL']);
      for (const key of keys) db.changed(key);
      return 'OK';
    },
  },
  time: {
    arity: 1,
    writes: false,
    run(db) {
      const now = db.now();
      return [String(Math.floor(now / 1000)), String((now % 1000) * 1000)];
    },
  },
  ping: { arity: -1, writes: false, run: (_, words) => words[1] ?? 'PONG' },
};

/** A glob as Redis has it: `*`, `?`, `[abc]`, `[^a]`, `[a-z]`, and `\` before a character that means itself. */
export function matcher(glob: string): (key: string) => boolean {
  let pattern = '';
  for (let at = 0; at < glob.length; at++) {
    const char = glob.charAt(at);
    const close = char === '[' ? glob.indexOf(']', at + 1) : -1;
    if (char === '*') pattern += '.*';
    else if (char === '?') pattern += '.';
    else if (close > 0) {
      pattern += `[${glob.slice(at + 1, close).replace(/[\\\]]/g, '\\$&')}]`;
      at = close;
    } else pattern += (char === '\\' ? glob.charAt(++at) : char).replace(/[\\^$.*+?()[\]{}|/-]/g, '\\$&');
  }
  const regExp = new RegExp(`^${pattern}$`, 's');
  return key => regExp.test(key);
}
