/** XINFO, with the fields that a Redis 6.2 server has. */
import { type Command, type Database, option, type Reply, subcommands, text } from './command.ts';
import { ReplyError } from './reply-error.ts';
import { entryReply } from './stream-commands.ts';
import { inNameOrder } from './stream-group-commands.ts';
import { formatId } from './stream-id.ts';
import type { Stream, Value } from './stream-value.ts';

export const xinfo: Command = {
  arity: -2,
  writes: false,
  check: subcommands('xinfo', { STREAM: -3, GROUPS: 3, CONSUMERS: 4 }),
  run(db, words) {
    const stream = streamOf(db, words[2]);
    const sub = option(words[1]);
    if (sub === 'GROUPS') return groupsInfo(stream);
    if (sub === 'CONSUMERS') return consumersInfo(db, stream, text(words[2]), text(words[3]));
    if (words.length > 3) throw new ReplyError('ERR XINFO STREAM FULL needs a Redis server');
    return streamInfo(stream);
  },
};

function streamOf(db: Database, word: Value | undefined): Stream {
  const stream = db.keys.stream(text(word));
  if (stream === undefined) throw new ReplyError('ERR no such key');
  return stream;
}

function streamInfo(stream: Stream): Reply {
  const [first, last] = [stream.first(), stream.last()];
  return [
    ...['length', stream.length],
    ...['radix-tree-keys', stream.nodeCount],
    ...['radix-tree-nodes', stream.nodeCount + 1],
    ...['last-generated-id', formatId(stream.lastId)],
    ...['groups', stream.groups?.size ?? 0],
    ...['first-entry', first === null ? null : entryReply(first)],
    ...['last-entry', last === null ? null : entryReply(last)],
  ];
}

const groupsInfo = (stream: Stream): Reply =>
  inNameOrder(stream.groups ?? new Map()).map(group => [
    ...['name', group.name],
    ...['consumers', group.consumers.size],
    ...['pending', group.pending.length],
    ...['last-delivered-id', formatId(group.lastId)],
  ]);

function consumersInfo(db: Database, stream: Stream, key: string, name: string): Reply {
  const group = stream.groups?.get(name);
  if (group === undefined) throw new ReplyError(`NOGROUP No such consumer group '${name}' for key name '${key}'`);
  return inNameOrder(group.consumers).map(consumer => [
    ...['name', consumer.name],
    ...['pending', consumer.pending.length],
    ...['idle', Math.max(0, db.now() - consumer.seenAt)],
  ]);
}
