/** The commands on the entries of a stream: add, read ranges, delete, trim. Replies and refusals are a Redis server's, to the letter. */
import { type Command, type Database, integer, option, type Reply, text } from './command.ts';
import { notInteger, ReplyError, syntaxError, wrongNumber } from './reply-error.ts';
import {
  compareIds,
  formatId,
  idMax,
  idMin,
  nextId,
  parseId,
  parseU64,
  previousId,
  type StreamId,
  tryParseId,
  type U64,
  u64Max,
} from './stream-id.ts';
import { aboutLimit, Stream, type StreamEntry, type Trim, type Value } from './stream-value.ts';

const invalidId = (): Error => new ReplyError('ERR Invalid stream ID specified as stream command argument');
const notAbove = (): Error =>
  new ReplyError('ERR The ID specified in XADD is equal or smaller than the target stream top item');

export const xadd: Command = {
  arity: -5,
  writes: true,
  run(db, words) {
    const { at: idAt, asked, trim, createsNot } = addOptions(words);
    const fieldCount = words.length - idAt - 1;
    if (fieldCount < 2 || fieldCount % 2 === 1) throw wrongNumber('xadd');
    if (asked.ms === 0 && asked.seq === 0)
      throw new ReplyError('ERR The ID specified in XADD must be greater than 0-0');
    const key = text(words[1]);
    let stream = db.keys.stream(key);
    if (stream === undefined) {
      if (createsNot) return null;
      stream = new Stream();
      db.keys.set(key, stream);
    }
    const { lastId } = stream;
    if (lastId.seq === u64Max && lastId.ms === u64Max)
      throw new ReplyError('ERR The stream has exhausted the last possible ID, unable to add more items');
    const id = resolveId(asked, lastId, db);
    const fields = words.slice(idAt + 1);
    for (let i = 0; i < fields.length; i++) {
      const value = fields[i];
      if (typeof value !== 'string' && value !== undefined) fields[i] = Buffer.from(value); // the caller may reuse its bytes
    }
    stream.append({ ms: id.ms, seq: id.seq, fields });
    const idText = formatId(id);
    db.wrote(['XADD', key, idText, ...fields]);
    if (trim !== null && stream.trim(trim) > 0) db.wrote(['XTRIM', key, 'MAXLEN', String(stream.length)]);
    db.changed(key);
    return idText;
  },
};

/** What XADD was asked for: null parts are for the store to choose. */
interface WantedId {
  readonly ms: U64 | null;
  readonly seq: U64 | null;
}

function wantedId(word: Value | undefined): WantedId {
  const id = text(word);
  if (id === '*') return { ms: null, seq: null };
  if (!id.endsWith('-*')) return parseId(id, 0);
  const ms = parseU64(id.slice(0, -2));
  if (ms === null) throw invalidId();
  return { ms, seq: null };
}

function resolveId({ ms, seq }: WantedId, last: StreamId, db: Database): StreamId {
  if (ms === null) {
    const now = db.now();
    return now > last.ms ? { ms: now, seq: 0 } : (nextId(last) ?? last);
  }
  if (seq === null) {
    if (ms > last.ms) return { ms, seq: 0 };
    const next = ms === last.ms ? nextId(last) : null;
    if (next === null || next.ms !== ms) throw notAbove();
    return next;
  }
  const id = { ms, seq };
  if (compareIds(id, last) <= 0) throw notAbove();
  return id;
}

interface AddOptions {
  /** Where the id stands. */
  readonly at: number;
  readonly asked: WantedId;
  readonly trim: Trim | null;
  readonly createsNot: boolean;
}

function addOptions(words: readonly Value[]): AddOptions {
  const trimming = new TrimOptions();
  let createsNot = false;
  let at = 2;
  for (; at < words.length; at++) {
    const word = words[at];
    const first = typeof word === 'string' ? word.charCodeAt(0) : 0;
    if (first === 42 /* * */ || (first >= 48 && first <= 57)) break; // an id: the usual case, found without upper-casing it
    const read = trimming.read(words, at);
    if (read > 0) at += read - 1;
    else if (option(word) === 'NOMKSTREAM') createsNot = true;
    else break;
  }
  const asked = wantedId(words[at]); // a bad id is named before a bad combination of options
  return { at, asked, trim: trimming.result(), createsNot };
}

/** MAXLEN, MINID and LIMIT, as XADD and XTRIM have them. */
class TrimOptions {
  private by: Trim['by'] | null = null;
  private about = false;
  private limit: number | null = null;

  /** Reads an option that starts at `at`; answers how many words it has, 0 if there is none. */
  read(words: readonly Value[], at: number): number {
    const more = words.length - 1 - at;
    if (more < 1) return 0;
    const name = option(words[at]);
    if (name === 'LIMIT') {
      this.limit = integer(words[at + 1]);
      if (this.limit < 0) throw new ReplyError('ERR The LIMIT argument must be >= 0.');
      return 2;
    }
    if (name !== 'MAXLEN' && name !== 'MINID') return 0;
    if (this.by !== null)
      throw new ReplyError('ERR syntax error, MAXLEN and MINID options at the same time are not compatible');
    const mark = more >= 2 ? text(words[at + 1]) : '';
    this.about = mark === '~';
    const valueAt = mark === '~' || mark === '=' ? at + 2 : at + 1;
    if (name === 'MINID') this.by = { idMin: parseId(text(words[valueAt]), 0) };
    else {
      const lengthMax = integer(words[valueAt]);
      if (lengthMax < 0) throw new ReplyError('ERR The MAXLEN argument must be >= 0.');
      this.by = { lengthMax };
    }
    return valueAt - at + 1;
  }

  result(): Trim | null {
    const { by, about, limit } = this;
    if (by === null) {
      if (limit !== null && limit > 0)
        throw new ReplyError('ERR syntax error, LIMIT cannot be used without specifying a trimming strategy');
      return null;
    }
    if (limit !== null && !about)
      throw new ReplyError('ERR syntax error, LIMIT cannot be used without the special ~ option');
    if (!about) return { by, about, limit: null };
    return { by, about, limit: limit === null ? aboutLimit : limit === 0 ? null : limit };
  }
}

export const xtrim: Command = {
  arity: -4,
  writes: true,
  run(db, words) {
    const trimming = new TrimOptions();
    for (let at = 2; at < words.length; ) {
      const read = trimming.read(words, at);
      if (read === 0) throw syntaxError();
      at += read;
    }
    const trim = trimming.result();
    if (trim === null) throw new ReplyError('ERR syntax error, XTRIM must be called with a trimming strategy');
    const key = text(words[1]);
    const stream = db.keys.stream(key);
    if (stream === undefined) return 0;
    const dropped = stream.trim(trim);
    if (dropped > 0) db.wrote(['XTRIM', key, 'MAXLEN', String(stream.length)]);
    return dropped;
  },
};

export const xlen: Command = {
  arity: 2,
  writes: false,
  run: (db, words) => db.keys.stream(text(words[1]))?.length ?? 0,
};

export const xdel: Command = {
  arity: -3,
  writes: true,
  run(db, words) {
    const key = text(words[1]);
    const stream = db.keys.stream(key);
    if (stream === undefined) return 0;
    const ids = words.slice(2).map(word => parseId(text(word), 0));
    const deleted = ids.filter(id => stream.delete(id));
    if (deleted.length > 0) db.wrote(['XDEL', key, ...deleted.map(formatId)]);
    return deleted.length;
  },
};

export const xsetid: Command = {
  arity: -3,
  writes: true,
  run(db, words) {
    const key = text(words[1]);
    const id = parseId(text(words[2]), 0);
    const stream = db.keys.stream(key);
    if (stream === undefined) throw new ReplyError('ERR no such key');
    const top = stream.last();
    if (top !== null && compareIds(id, top) < 0)
      throw new ReplyError('ERR The ID specified in XSETID is smaller than the target stream top item');
    stream.lastId = id;
    db.wrote(['XSETID', key, formatId(id)]);
    return 'OK';
  },
};

export const xrange: Command = { arity: -4, writes: false, run: (db, words) => range(db, words, false) };
export const xrevrange: Command = { arity: -4, writes: false, run: (db, words) => range(db, words, true) };

function range(db: Database, words: readonly Value[], back: boolean): Reply {
  const start = startOf(words[back ? 3 : 2]);
  const end = endOf(words[back ? 2 : 3]);
  let count = Number.POSITIVE_INFINITY;
  for (let at = 4; at < words.length; at += 2) {
    if (option(words[at]) !== 'COUNT' || at + 1 >= words.length) throw syntaxError();
    count = Math.max(0, integer(words[at + 1], notInteger));
  }
  const stream = db.keys.stream(text(words[1]));
  if (stream === undefined) return [];
  if (count === 0) return null;
  return (back ? stream.rangeBack(end, start, count) : stream.range(start, end, count)).map(entryReply);
}

/** The first id of an interval: `-`, an id, or `(` and an id to leave out. */
export function startOf(word: Value | undefined): StreamId {
  const bound = text(word);
  if (!bound.startsWith('(')) return boundOf(bound, 0);
  const id = nextId(parseId(bound.slice(1), 0));
  if (id === null) throw new ReplyError('ERR invalid start ID for the interval');
  return id;
}

/** The last id of an interval. */
export function endOf(word: Value | undefined): StreamId {
  const bound = text(word);
  if (!bound.startsWith('(')) return boundOf(bound, u64Max);
  const id = previousId(parseId(bound.slice(1), u64Max));
  if (id === null) throw new ReplyError('ERR invalid end ID for the interval');
  return id;
}

/** An id, `-` or `+`. */
export function boundOf(bound: string, seqIfMissing: U64): StreamId {
  if (bound === '-') return idMin;
  if (bound === '+') return idMax;
  const id = tryParseId(bound, seqIfMissing);
  if (id === null) throw invalidId();
  return id;
}

export const entryReply = (entry: StreamEntry): Reply => [formatId(entry), entry.fields];
