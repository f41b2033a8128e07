/** XREAD and XREADGROUP: what is new in many streams at once, at once or as soon as there is something. */
import { Blocked, type Readers } from './blocked.ts';
import { type Command, type Database, integer, option, type Reply, text } from './command.ts';
import { ReplyError, syntaxError } from './reply-error.ts';
import { entryReply } from './stream-commands.ts';
import type { Consumer, Group } from './stream-group.ts';
import { wroteClaim } from './stream-group-commands.ts';
import { compareIds, formatId, idMax, idMin, nextId, parseId, type StreamId } from './stream-id.ts';
import { Stream, type StreamEntry, type Value } from './stream-value.ts';

/** A blocked reader without COUNT gets no more than this: its id may turn out to be far behind. */
const blockedCount = 1000;

interface Reading {
  readonly command: 'xread' | 'xreadgroup';
  readonly keys: readonly string[];
  readonly ids: readonly string[];
  /** 0: all. */
  readonly count: number;
  /** Null: do not wait. 0: without end. */
  readonly blockMs: number | null;
  readonly group: { readonly name: string; readonly consumer: string; readonly unacknowledged: boolean } | null;
}

export const readCommands = (readers: Readers): Record<'xread' | 'xreadgroup', Command> => ({
  xread: { arity: -4, writes: false, run: (db, words) => read(db, readers, parse(words, 'xread')) },
  xreadgroup: { arity: -7, writes: true, run: (db, words) => read(db, readers, parse(words, 'xreadgroup')) },
});

function parse(words: readonly Value[], command: 'xread' | 'xreadgroup'): Reading {
  let [count, blockMs]: [number, number | null] = [0, null];
  let group: { name: string; consumer: string } | null = null;
  let unacknowledged = false;
  for (let at = 1; at < words.length; at++) {
    const name = option(words[at]);
    const more = words.length - 1 - at;
    if (name === 'BLOCK' && more > 0) blockMs = timeout(words[++at]);
    else if (name === 'COUNT' && more > 0) count = Math.max(0, integer(words[++at]));
    else if (name === 'GROUP' && more > 1) {
      mustBeGroupRead(command, 'GROUP');
      group = { name: text(words[++at]), consumer: text(words[++at]) };
    } else if (name === 'NOACK') {
      mustBeGroupRead(command, 'NOACK');
      unacknowledged = true;
    } else if (name === 'STREAMS' && more > 0) {
      const rest = words.slice(at + 1).map(text);
      if (rest.length % 2 !== 0)
        throw new ReplyError(
          "ERR Unbalanced XREAD list of streams: for each stream key an ID or '$' must be specified.",
        );
      if (command === 'xreadgroup' && group === null) throw new ReplyError('ERR Missing GROUP option for XREADGROUP');
      const half = rest.length / 2;
      const reading = { command, keys: rest.slice(0, half), ids: rest.slice(half), count, blockMs };
      return { ...reading, group: group === null ? null : { ...group, unacknowledged } };
    } else throw syntaxError();
  }
  throw syntaxError();
}

function timeout(word: Value | undefined): number {
  const blockMs = integer(word, () => new ReplyError('ERR timeout is not an integer or out of range'));
  if (blockMs < 0) throw new ReplyError('ERR timeout is negative');
  return blockMs;
}

function mustBeGroupRead(command: string, name: string): void {
  if (command === 'xread')
    throw new ReplyError(`ERR The ${name} option is only supported by XREADGROUP. You called XREAD instead.`);
}

function read(db: Database, readers: Readers, reading: Reading): Reply | Blocked {
  const { keys, count, blockMs } = reading;
  const starts = keys.map((key, i) => startOf(db, reading, key, reading.ids[i] ?? ''));
  const found: Reply[] = [];
  for (const [i, key] of keys.entries()) {
    const stream = db.keys.stream(key);
    const after = starts[i];
    if (stream === undefined || after === undefined) continue;
    const entries = look(db, reading, key, stream, after, count);
    if (entries !== null) found.push([key, entries]);
  }
  if (found.length > 0) return found;
  if (blockMs === null) return null;
  return new Blocked(readers, keys, blockMs, key => {
    const stream = db.keys.get(key);
    if (!(stream instanceof Stream)) {
      if (reading.group !== null) throw new ReplyError('UNBLOCKED the stream key no longer exists');
      return null;
    }
    if (reading.group !== null && stream.groups?.has(reading.group.name) !== true)
      throw new ReplyError('NOGROUP the consumer group this client was blocked on no longer exists');
    const after = starts[keys.indexOf(key)];
    if (after === undefined || !hasMoved(reading, stream, after)) return null;
    return [[key, look(db, reading, key, stream, after, count || blockedCount, true) ?? []]];
  });
}

/** `new`: what the group has not delivered yet. */
type Start = { readonly kind: 'after' | 'history'; readonly id: StreamId } | { readonly kind: 'new' };

function startOf(db: Database, { command, group }: Reading, key: string, id: string): Start {
  const stream = db.keys.stream(key);
  if (group !== null && stream?.groups?.has(group.name) !== true)
    throw new ReplyError(
      `NOGROUP No such key '${key}' or consumer group '${group.name}' in XREADGROUP with GROUP option`,
    );
  if (id === '$') {
    if (command === 'xreadgroup')
      throw new ReplyError(
        'ERR The $ ID is meaningless in the context of XREADGROUP: you want to read the history of this consumer by specifying a proper ID, or use the > ID to get new messages. The $ ID would just return an empty result set.',
      );
    return { kind: 'after', id: stream?.lastId ?? idMin };
  }
  if (id === '>') {
    if (command === 'xread')
      throw new ReplyError(
        'ERR The > ID can be specified only when calling XREADGROUP using the GROUP <group> <consumer> option.',
      );
    return { kind: 'new' };
  }
  const after = parseId(id, 0);
  if (group === null) return { kind: 'after', id: after };
  // Nothing is behind the last id; a server takes it for `>`.
  return compareIds(after, idMax) === 0 ? { kind: 'new' } : { kind: 'history', id: after };
}

/**
 * Whether something was added behind `start`. It may be gone already (added and trimmed by one command); a server wakes
 * its readers even then, with nothing to show.
 */
function hasMoved({ group: wanted }: Reading, stream: Stream, start: Start): boolean {
  const group = wanted === null ? undefined : stream.groups?.get(wanted.name);
  const from = start.kind === 'new' ? group?.lastId : start.id;
  return from !== undefined && compareIds(stream.lastId, from) > 0;
}

/** The entries to answer with; null: nothing here. */
function look(
  db: Database,
  { group: wanted }: Reading,
  key: string,
  stream: Stream,
  start: Start,
  count: number,
  isWaiting = false,
): Reply | null {
  const most = count === 0 ? Number.POSITIVE_INFINITY : count;
  if (start.kind === 'after') {
    const entries = behind(stream, start.id, most);
    return entries.length === 0 ? null : entries.map(entryReply);
  }
  const group = wanted === null ? undefined : stream.groups?.get(wanted.name);
  if (wanted === null || group === undefined) return null;
  if (start.kind === 'history') {
    const consumer = consumerOf(db, key, group, wanted.consumer);
    return history(db, key, stream, group, consumer, start.id, most);
  }
  const entries = behind(stream, group.lastId, most);
  if (entries.length === 0 && !isWaiting) return null;
  const consumer = consumerOf(db, key, group, wanted.consumer);
  deliver(db, key, group, consumer, entries, wanted.unacknowledged);
  return entries.map(entryReply);
}

function behind(stream: Stream, id: StreamId, count: number): StreamEntry[] {
  const last = stream.last();
  if (last === null || compareIds(last, id) <= 0) return [];
  const from = nextId(id);
  return from === null ? [] : stream.range(from, idMax, count);
}

function consumerOf(db: Database, key: string, group: Group, name: string): Consumer {
  const isNew = !group.consumers.has(name);
  const consumer = group.consumer(name, db.now());
  consumer.seenAt = db.now();
  if (isNew) db.wrote(['XGROUP', 'CREATECONSUMER', key, group.name, name]);
  return consumer;
}

/** What was delivered to this consumer before, and is not acknowledged. An entry that is gone from the stream has no fields. */
function history(
  db: Database,
  key: string,
  stream: Stream,
  group: Group,
  consumer: Consumer,
  after: StreamId,
  count: number,
): Reply {
  const pending = consumer.pending.filter(entry => compareIds(entry, after) > 0).slice(0, count);
  return pending.map(entry => {
    const found = stream.get(entry);
    if (found === null) return [formatId(entry), null];
    entry.deliveredAt = db.now();
    entry.deliveries += 1;
    wroteClaim(db, key, group, entry);
    return entryReply(found);
  });
}

function deliver(
  db: Database,
  key: string,
  group: Group,
  consumer: Consumer,
  entries: readonly StreamEntry[],
  unacknowledged: boolean,
): void {
  const deliveredAt = db.now();
  for (const { ms, seq } of entries) {
    if (compareIds({ ms, seq }, group.lastId) > 0) group.lastId = { ms, seq };
    if (unacknowledged) continue;
    let pending = group.find({ ms, seq });
    if (pending === null) {
      pending = { ms, seq, consumer, deliveredAt, deliveries: 1 };
      group.add(pending);
    } else {
      group.move(pending, consumer); // the group was set back, and delivers it anew
      pending.deliveredAt = deliveredAt;
      pending.deliveries = 1;
    }
    wroteClaim(db, key, group, pending);
  }
  if (unacknowledged) db.wrote(['XGROUP', 'SETID', key, group.name, formatId(group.lastId)]);
}
