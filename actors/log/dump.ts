/** What a key holds, as the shortest run of commands that makes it. */
import type { Plain } from './keyspace.ts';
import type { Group } from './stream-group.ts';
import { compareIds, formatId } from './stream-id.ts';
import { Stream, type Value } from './stream-value.ts';

export function dumpValue(key: string, value: Stream | Plain, expiresAt: number | undefined): Value[][] {
  const commands = value instanceof Stream ? dumpStream(key, value) : dumpPlain(key, value);
  if (expiresAt !== undefined) commands.push(['PEXPIREAT', key, String(expiresAt)]);
  return commands;
}

function dumpPlain(key: string, value: Plain): Value[][] {
  if (typeof value === 'string' || Buffer.isBuffer(value)) return [['SET', key, value]];
  if (value instanceof Set) return [['SADD', key, ...[...value].map(String)]];
  return [['HSET', key, ...Object.entries(value).flat()]];
}

function dumpStream(key: string, stream: Stream): Value[][] {
  const commands: Value[][] = [];
  for (const entry of stream) commands.push(['XADD', key, formatId(entry), ...entry.fields]);
  const groups = [...(stream.groups?.values() ?? [])];
  // Only a group can make a stream without entries.
  if (stream.length === 0) {
    commands.push(['XGROUP', 'CREATE', key, 'none', '0-0', 'MKSTREAM'], ['XGROUP', 'DESTROY', key, 'none']);
  }
  const top = stream.last();
  if (top === null ? formatId(stream.lastId) !== '0-0' : compareIds(stream.lastId, top) !== 0)
    commands.push(['XSETID', key, formatId(stream.lastId)]);
  for (const group of groups) commands.push(...dumpGroup(key, stream, group));
  return commands;
}

function dumpGroup(key: string, stream: Stream, group: Group): Value[][] {
  const commands: Value[][] = [['XGROUP', 'CREATE', key, group.name, formatId(group.lastId)]];
  for (const { name } of group.consumers.values()) commands.push(['XGROUP', 'CREATECONSUMER', key, group.name, name]);
  for (const pending of group.pending) {
    if (stream.get(pending) === null) continue; // a claim cannot make it again, nor hand it to anybody
    const claim = ['XCLAIM', key, group.name, pending.consumer.name, '0', formatId(pending)];
    const state = ['TIME', String(pending.deliveredAt), 'RETRYCOUNT', String(pending.deliveries), 'FORCE', 'JUSTID'];
    commands.push([...claim, ...state]);
  }
  return commands;
}
