/** XINFO, with the fields that a Redis 6.2 server has. */
import { type Command, type Database, option, type Reply, text } from './command.ts';
import { ReplyError, wrongNumber } from './reply-error.ts';
import { entryReply } from './stream-commands.ts';
import { inNameOrder } from './stream-group-commands.ts';
import { formatId } from './stream-id.ts';
import type { Stream, Value } from './stream-value.ts';

export const xinfo: Command = {
  arity: -2,
  writes: false,
  run(db, words) {
    const sub = option(words[1]);
    if (sub === 'STREAM') {
      if (words.length < 3) throw wrongNumber('xinfo|stream');
      if (words.length > 3) throw new ReplyError('ERR XINFO STREAM FULL needs a Redis server');
      return streamInfo(streamOf(db, words[2]));
    }
    if (sub === 'GROUPS') {
      if (words.length !== 3) throw wrongNumber('xinfo|groups');
      return groupsInfo(streamOf(db, words[2]));
    }
    if (sub === 'CONSUMERS') {
      if (words.length !== 4) throw wrongNumber('xinfo|consumers');
      return consumersInfo(db, streamOf(db, words[2]), text(words[2]), text(words[3]));
    }
    throw new ReplyError(`ERR unknown subcommand '${text(words[1])}'. Try XINFO HELP.`);
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
