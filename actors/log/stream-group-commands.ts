/** The commands on consumer groups: make and unmake them, acknowledge, list what is pending, claim it. */
import { type Command, type Database, integer, option, type Reply, subcommands, text } from './command.ts';
import { ReplyError, syntaxError } from './reply-error.ts';
import { boundOf, endOf, entryReply, startOf } from './stream-commands.ts';
import { Group, type Pending } from './stream-group.ts';
import { compareIds, formatId, idMin, parseId, type StreamId, tryParseId } from './stream-id.ts';
import { countBelow, Stream, type Value } from './stream-value.ts';

/** As a Redis server writes claims and deliveries to its own file. */
export function wroteClaim(db: Database, key: string, group: Group, pending: Pending): void {
  const { consumer, deliveredAt, deliveries } = pending;
  const claim = ['XCLAIM', key, group.name, consumer.name, '0', formatId(pending), 'TIME', String(deliveredAt)];
  const rest = ['RETRYCOUNT', String(deliveries), 'FORCE', 'JUSTID', 'LASTID', formatId(group.lastId)];
  db.wrote([...claim, ...rest]);
}

const noGroup = (key: string, group: string): Error =>
  new ReplyError(`NOGROUP No such key '${key}' or consumer group '${group}'`);

function groupOf(db: Database, key: string, name: string): { stream: Stream; group: Group } {
  const stream = db.keys.stream(key);
  const group = stream?.groups?.get(name);
  if (stream === undefined || group === undefined) throw noGroup(key, name);
  return { stream, group };
}

export const xgroup: Command = {
  arity: -2,
  writes: true,
  check: subcommands('xgroup', { CREATE: -5, SETID: -5, DESTROY: 4, CREATECONSUMER: 5, DELCONSUMER: 5 }),
  run(db, words) {
    const sub = option(words[1]);
    const makes = groupOptions(words, sub);
    const [key, name, last] = [text(words[2]), text(words[3]), text(words[4])];
    let stream = db.keys.stream(key);
    if (stream === undefined && !makes)
      throw new ReplyError(
        'ERR The XGROUP subcommand requires the key to exist. Note that for CREATE you may want to use the MKSTREAM option to create an empty stream automatically.',
      );
    const group = stream?.groups?.get(name);
    if (sub === 'CREATE') {
      const id = last === '$' ? (stream?.lastId ?? idMin) : parseId(last, 0);
      if (stream === undefined) {
        stream = new Stream();
        db.keys.set(key, stream);
      }
      if (group !== undefined) throw new ReplyError('BUSYGROUP Consumer Group name already exists');
      stream.groups ??= new Map();
      stream.groups.set(name, new Group(name, id));
      db.wrote(['XGROUP', 'CREATE', key, name, formatId(id), 'MKSTREAM']);
      return 'OK';
    }
    if (sub === 'DESTROY') {
      if (group === undefined) return 0;
      stream?.groups?.delete(name);
      db.wrote(['XGROUP', 'DESTROY', key, name]);
      db.changed(key);
      return 1;
    }
    if (stream === undefined || group === undefined)
      throw new ReplyError(`NOGROUP No such consumer group '${name}' for key name '${key}'`);
    if (sub === 'SETID') {
      group.lastId = last === '$' ? stream.lastId : boundOf(last, 0);
      db.wrote(['XGROUP', 'SETID', key, name, formatId(group.lastId)]);
      return 'OK';
    }
    if (sub === 'CREATECONSUMER') {
      if (group.consumers.has(last)) return 0;
      group.consumer(last, db.now());
      db.wrote(['XGROUP', 'CREATECONSUMER', key, name, last]);
      return 1;
    }
    if (!group.consumers.has(last)) return 0;
    const dropped = group.removeConsumer(last);
    db.wrote(['XGROUP', 'DELCONSUMER', key, name, last]);
    return dropped;
  },
};

/** Options of CREATE and SETID; answers whether MKSTREAM is among them. ENTRIESREAD only feeds statistics that we do not keep. */
function groupOptions(words: readonly Value[], sub: string): boolean {
  let makes = false;
  if (sub !== 'CREATE' && sub !== 'SETID') return false;
  for (let at = 5; at < words.length; at++) {
    const name = option(words[at]);
    if (sub === 'CREATE' && name === 'MKSTREAM') makes = true;
    else if (name === 'ENTRIESREAD' && at + 1 < words.length) {
      if (integer(words[++at]) < -1) throw new ReplyError('ERR value for ENTRIESREAD must be positive or -1');
    } else
      throw new ReplyError(
        `ERR unknown subcommand or wrong number of arguments for '${text(words[1])}'. Try XGROUP HELP.`,
      );
  }
  return makes;
}

export const xack: Command = {
  arity: -4,
  writes: true,
  run(db, words) {
    const [key, name] = [text(words[1]), text(words[2])];
    const group = db.keys.stream(key)?.groups?.get(name);
    if (group === undefined) return 0;
    const ids = words.slice(3).map(word => parseId(text(word), 0));
    const acknowledged = ids.filter(id => {
      const pending = group.find(id);
      if (pending !== null) group.remove(pending);
      return pending !== null;
    });
    if (acknowledged.length > 0) db.wrote(['XACK', key, name, ...acknowledged.map(formatId)]);
    return acknowledged.length;
  },
};

export const xpending: Command = {
  arity: -3,
  writes: false,
  run(db, words) {
    const { length } = words;
    if (length !== 3 && (length < 6 || length > 9)) throw syntaxError();
    const [key, name] = [text(words[1]), text(words[2])];
    if (length === 3) return pendingSummary(groupOf(db, key, name).group);
    let at = 3;
    let idleMs = 0;
    if (option(words[3]) === 'IDLE') {
      idleMs = integer(words[4]);
      if (length < 8) throw syntaxError();
      at = 5;
    }
    const count = Math.max(0, integer(words[at + 2]));
    const [from, to] = [startOf(words[at]), endOf(words[at + 1])];
    const { group } = groupOf(db, key, name);
    const consumer = at + 3 < length ? group.consumers.get(text(words[at + 3])) : null;
    if (consumer === undefined) return [];
    const now = db.now();
    const list = consumer?.pending ?? group.pending;
    const found: Reply[] = [];
    for (let i = countBelow(list, from); i < list.length && found.length < count; i++) {
      const entry = list[i];
      if (entry === undefined || compareIds(entry, to) > 0) break;
      if (now - entry.deliveredAt < idleMs) continue;
      const idle = Math.max(0, now - entry.deliveredAt);
      found.push([formatId(entry), entry.consumer.name, idle, entry.deliveries]);
    }
    return found;
  },
};

function pendingSummary({ pending, consumers }: Group): Reply {
  const [first, last] = [pending[0], pending.at(-1)];
  if (first === undefined || last === undefined) return [0, null, null, null];
  const counts = inNameOrder(consumers).filter(consumer => consumer.pending.length > 0);
  return [
    pending.length,
    formatId(first),
    formatId(last),
    counts.map(consumer => [consumer.name, String(consumer.pending.length)]),
  ];
}

/** By the bytes of the name, as a Redis server lists groups and consumers. */
export const inNameOrder = <T extends { readonly name: string }>(named: ReadonlyMap<string, T>): T[] =>
  [...named.values()].sort((a, b) => Buffer.compare(Buffer.from(a.name), Buffer.from(b.name)));

export const xclaim: Command = {
  arity: -6,
  writes: true,
  run(db, words) {
    const key = text(words[1]);
    const { stream, group } = groupOf(db, key, text(words[2]));
    const idleMs = Math.max(0, claimInteger(words[4], 'min-idle-time argument'));
    const ids: StreamId[] = [];
    let at = 5;
    for (; at < words.length; at++) {
      const id = tryParseId(text(words[at]), 0);
      if (id === null) break;
      ids.push(id);
    }
    const options = claimOptions(words, at, db.now());
    const { now } = options;
    if (options.lastId !== null && compareIds(options.lastId, group.lastId) > 0) {
      group.lastId = options.lastId;
      db.wrote(['XGROUP', 'SETID', key, group.name, formatId(group.lastId)]);
    }
    const claimed: Reply[] = [];
    for (const id of ids) {
      let pending = group.find(id);
      const entry = stream.get(id);
      if (entry === null) {
        if (pending !== null) dropPending(db, key, group, pending);
        continue;
      }
      if (pending === null) {
        if (!options.force) continue;
        const consumer = claimant(db, key, group, text(words[3]));
        pending = { ...id, consumer, deliveredAt: options.deliveredAt, deliveries: 1 };
        group.add(pending);
      } else if (now - pending.deliveredAt < idleMs) continue;
      group.move(pending, claimant(db, key, group, text(words[3])));
      pending.deliveredAt = options.deliveredAt;
      if (options.deliveries !== null) pending.deliveries = options.deliveries;
      else if (!options.justId) pending.deliveries += 1;
      wroteClaim(db, key, group, pending);
      claimed.push(options.justId ? formatId(id) : entryReply(entry));
    }
    return claimed;
  },
};

function claimOptions(words: readonly Value[], from: number, now: number) {
  let [force, justId] = [false, false];
  let deliveredAt: number | null = null;
  let deliveries: number | null = null;
  let lastId: StreamId | null = null;
  for (let at = from; at < words.length; at++) {
    const name = option(words[at]);
    const more = at + 1 < words.length;
    if (name === 'FORCE') force = true;
    else if (name === 'JUSTID') justId = true;
    else if (name === 'IDLE' && more) deliveredAt = now - claimInteger(words[++at], 'IDLE option argument');
    else if (name === 'TIME' && more) deliveredAt = claimInteger(words[++at], 'TIME option argument');
    else if (name === 'RETRYCOUNT' && more) deliveries = claimInteger(words[++at], 'RETRYCOUNT option argument');
    else if (name === 'LASTID' && more) lastId = parseId(text(words[++at]), 0);
    else throw new ReplyError(`ERR Unrecognized XCLAIM option '${text(words[at])}'`);
  }
  // A clock that is a little ahead is no reason to refuse.
  if (deliveredAt === null || deliveredAt < 0 || deliveredAt > now) deliveredAt = now;
  if (deliveries !== null && deliveries < 0) deliveries = null;
  return { now, force, justId, deliveredAt, deliveries, lastId };
}

const claimInteger = (word: Value | undefined, what: string): number =>
  integer(word, () => new ReplyError(`ERR Invalid ${what} for XCLAIM`));

function claimant(db: Database, key: string, group: Group, name: string) {
  const isNew = !group.consumers.has(name);
  const consumer = group.consumer(name, db.now());
  consumer.seenAt = db.now();
  if (isNew) db.wrote(['XGROUP', 'CREATECONSUMER', key, group.name, name]);
  return consumer;
}

/** Its entry was deleted from the stream: nobody can work on it any more. */
function dropPending(db: Database, key: string, group: Group, pending: Pending): void {
  group.remove(pending);
  db.wrote(['XACK', key, group.name, formatId(pending)]);
}

/** Pending entries looked at, for each that may be claimed. */
const looksPerClaim = 10;

export const xautoclaim: Command = {
  arity: -6,
  writes: true,
  run(db, words) {
    const idleMs = Math.max(
      0,
      integer(words[4], () => new ReplyError('ERR Invalid min-idle-time argument for XAUTOCLAIM')),
    );
    const from = startOf(words[5]);
    let count = 100;
    let justId = false;
    for (let at = 6; at < words.length; at++) {
      const name = option(words[at]);
      if (name === 'COUNT' && at + 1 < words.length) {
        const refusal = () => new ReplyError('ERR COUNT must be > 0');
        count = integer(words[++at], refusal);
        if (count < 1) throw refusal();
      } else if (name === 'JUSTID') justId = true;
      else throw syntaxError();
    }
    const key = text(words[1]);
    const { stream, group } = groupOf(db, key, text(words[2]));
    const now = db.now();
    const claimed: Reply[] = [];
    const deleted: string[] = [];
    const list = group.pending;
    let at = countBelow(list, from);
    for (let looks = count * looksPerClaim; looks > 0 && claimed.length + deleted.length < count; looks--) {
      const pending = list[at];
      if (pending === undefined) break;
      const entry = stream.get(pending);
      if (entry === null) {
        dropPending(db, key, group, pending); // the next one moves up to its place
        deleted.push(formatId(pending));
        continue;
      }
      at += 1;
      if (now - pending.deliveredAt < idleMs) continue;
      group.move(pending, claimant(db, key, group, text(words[3])));
      pending.deliveredAt = now;
      if (!justId) pending.deliveries += 1;
      wroteClaim(db, key, group, pending);
      claimed.push(justId ? formatId(pending) : entryReply(entry));
    }
    const next = list[at];
    return [next === undefined ? '0-0' : formatId(next), claimed, deleted];
  },
};
