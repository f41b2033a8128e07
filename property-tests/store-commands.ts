/**
 * Random commands for the store, over few keys, ids and names, so that they meet often; and what two stores may differ in.
 */
import fc from 'fast-check';
import type { Words } from '../actors/log/store.ts';

type Word = string | Buffer;

const key = fc.constantFrom('s1', 's1', 's1', 's2', 'plain');
const group = fc.constantFrom('g1', 'g1', 'g2');
const consumer = fc.constantFrom('anna', 'bert', 'Zoe');
const value = fc.oneof(
  { weight: 4, arbitrary: fc.constantFrom<Word>('a', 'b', '', 'grüße', '1') },
  { weight: 1, arbitrary: fc.uint8Array({ maxLength: 6 }).map(bytes => Buffer.from(bytes)) },
);
const fields = fc.array(fc.tuple(value, value), { minLength: 1, maxLength: 3 }).map(pairs => pairs.flat());

const small = fc.integer({ min: 0, max: 6 });
const exactId = fc.tuple(small, small).map(([ms, seq]) => `${ms}-${seq}`);
const hugeId = fc.constantFrom(
  '18446744073709551615-18446744073709551615',
  '18446744073709551615-18446744073709551614',
  '18446744073709551615-0',
  '9007199254740993-9007199254740993',
  '9007199254740992-3',
  '3-18446744073709551615',
);
const badId = fc.constantFrom('', '-1-1', '1-', 'x', '1-1-1', '18446744073709551616-0', '(1-1', '1-x', '-', '+');
const id = fc.oneof(
  { weight: 12, arbitrary: exactId },
  { weight: 3, arbitrary: small.map(String) },
  { weight: 1, arbitrary: hugeId },
  { weight: 1, arbitrary: badId },
);
const newId = fc.oneof(
  { weight: 8, arbitrary: id },
  { weight: 3, arbitrary: small.map(ms => `${ms}-*`) },
  { weight: 1, arbitrary: fc.constantFrom('x-*', '-*', '*-1', '18446744073709551615-*') },
);
const bound = fc.oneof(
  { weight: 4, arbitrary: fc.constantFrom('-', '+') },
  { weight: 6, arbitrary: id },
  { weight: 3, arbitrary: id.map(text => `(${text}`) },
  { weight: 1, arbitrary: fc.constantFrom('(-', '(+', '(18446744073709551615-18446744073709551615', '(0-0') },
);
const count = fc.oneof({ weight: 8, arbitrary: small.map(String) }, fc.constantFrom('-1', 'x', '1.5', '', '01'));
/** Written in any case, and now and then misspelt. */
const spelt = (name: string) =>
  fc.oneof({ weight: 12, arbitrary: fc.constant(name) }, fc.constant(name.toLowerCase()), fc.constant(`${name}S`));

const some = (arbitrary: fc.Arbitrary<Word[]>) => fc.oneof(fc.constant<Word[]>([]), arbitrary);
const withCount = some(fc.tuple(spelt('COUNT'), count));
const trim = fc
  .tuple(
    fc.oneof(
      fc.tuple(spelt('MAXLEN'), fc.constantFrom('', '=', '~'), count),
      fc.tuple(spelt('MINID'), fc.constantFrom('', '=', '~'), id),
    ),
    fc.oneof({ weight: 4, arbitrary: fc.constant<Word[]>([]) }, fc.tuple(spelt('LIMIT'), count)),
  )
  .map(([[name, mark, by], limit]): Word[] => [name, ...(mark === '' ? [] : [mark]), by, ...limit]);
const streams = (ids: fc.Arbitrary<string>) =>
  fc.oneof(
    { weight: 4, arbitrary: fc.tuple(key, ids).map(([k, i]): Word[] => ['STREAMS', k, i]) },
    fc.tuple(ids, ids).map(([a, b]): Word[] => ['STREAMS', 's1', 's2', a, b]),
    fc.tuple(ids).map(([a]): Word[] => ['STREAMS', 's1', 's2', a]),
  );

const words = (...parts: fc.Arbitrary<Word | Word[]>[]): fc.Arbitrary<Words> =>
  fc.tuple(...parts).map(each => each.flat() as unknown as Words); // the first part is always the command's name

const name = (text: string) => fc.constant(text);

const claimOptions = fc
  .array(
    fc.oneof(
      fc.constantFrom<Word[]>(['FORCE'], ['JUSTID'], ['force'], ['WHAT']),
      fc.tuple(fc.constantFrom('IDLE', 'RETRYCOUNT'), count),
      fc.tuple(name('TIME'), fc.constantFrom('0', '1', '-5', 'x')),
      fc.tuple(name('LASTID'), id),
    ),
    { maxLength: 3 },
  )
  .map(options => options.flat());

/** Any command but those that wait, and those whose reply is an instant of the clock. */
export const command: fc.Arbitrary<Words> = fc.oneof(
  { weight: 10, arbitrary: words(name('xadd'), key, newId, fields) },
  { weight: 2, arbitrary: words(name('xadd'), key, some(fc.tuple(spelt('NOMKSTREAM'))), some(trim), newId, fields) },
  { weight: 1, arbitrary: words(name('xadd'), key, newId, value) },
  { weight: 4, arbitrary: words(fc.constantFrom('xrange', 'xrevrange'), key, bound, bound, withCount) },
  { weight: 3, arbitrary: words(name('xread'), withCount, streams(fc.oneof(id, fc.constantFrom('$', '>', '0')))) },
  { weight: 1, arbitrary: words(name('xread'), some(fc.tuple(spelt('NOACK'))), withCount, streams(id)) },
  { weight: 1, arbitrary: words(name('xlen'), key) },
  { weight: 3, arbitrary: words(name('xdel'), key, fc.array(id, { minLength: 1, maxLength: 3 })) },
  { weight: 2, arbitrary: words(name('xtrim'), key, trim) },
  { weight: 1, arbitrary: words(name('xsetid'), key, id) },
  { weight: 1, arbitrary: words(name('xinfo'), spelt('STREAM'), key) },
  { weight: 1, arbitrary: words(name('xinfo'), spelt('GROUPS'), key) },
  { weight: 1, arbitrary: words(name('xinfo'), spelt('CONSUMERS'), key, group) },
  {
    weight: 4,
    arbitrary: words(
      ...[name('xgroup'), spelt('CREATE'), key, group, fc.oneof(fc.constantFrom('0', '$'), id)],
      some(fc.oneof(fc.tuple(spelt('MKSTREAM')), fc.tuple(spelt('ENTRIESREAD'), count))),
    ),
  },
  { weight: 1, arbitrary: words(name('xgroup'), spelt('SETID'), key, group, fc.oneof(fc.constantFrom('0', '$'), id)) },
  { weight: 1, arbitrary: words(name('xgroup'), fc.constantFrom('DESTROY', 'destroy'), key, group) },
  {
    weight: 1,
    arbitrary: words(name('xgroup'), fc.constantFrom('CREATECONSUMER', 'DELCONSUMER'), key, group, consumer),
  },
  {
    weight: 6,
    arbitrary: words(
      ...[name('xreadgroup'), name('GROUP'), group, consumer, withCount, some(fc.tuple(spelt('NOACK')))],
      streams(fc.oneof({ weight: 4, arbitrary: name('>') }, id, name('$'))),
    ),
  },
  { weight: 3, arbitrary: words(name('xack'), key, group, fc.array(id, { minLength: 1, maxLength: 3 })) },
  { weight: 1, arbitrary: words(name('xpending'), key, group) },
  {
    weight: 2,
    arbitrary: words(
      ...[name('xpending'), key, group, some(fc.tuple(spelt('IDLE'), fc.constantFrom('0', '100000', 'x')))],
      ...[bound, bound, count, some(fc.tuple(consumer))],
    ),
  },
  {
    weight: 4,
    arbitrary: words(
      ...[name('xclaim'), key, group, consumer, fc.constantFrom('0', '0', '100000', '-1', 'x')],
      ...[fc.array(id, { minLength: 1, maxLength: 3 }), claimOptions],
    ),
  },
  {
    weight: 3,
    arbitrary: words(
      ...[name('xautoclaim'), key, group, consumer, fc.constantFrom('0', '0', '100000', 'x'), bound, withCount],
      some(fc.tuple(spelt('JUSTID'))),
    ),
  },
  { weight: 1, arbitrary: words(fc.constantFrom('del', 'unlink', 'exists'), key, key) },
  { weight: 1, arbitrary: words(name('type'), key) },
  { weight: 1, arbitrary: words(name('rename'), key, key) },
  { weight: 1, arbitrary: words(fc.constantFrom('pexpire', 'expire'), key, fc.constantFrom('100000', '-1', 'x')) },
  { weight: 1, arbitrary: words(name('persist'), key) },
  { weight: 1, arbitrary: words(name('ttl'), key) },
  { weight: 1, arbitrary: words(name('set'), fc.constantFrom('plain', 's2'), value) },
  { weight: 1, arbitrary: words(name('get'), key) },
  { weight: 1, arbitrary: words(fc.constantFrom('xadd', 'xrange', 'xread', 'xgroup', 'xclaim', 'xack', 'xdel'), key) },
);

/** What a store must get right across a restart, beside streams. */
export const plainCommand: fc.Arbitrary<Words> = fc.oneof(
  words(name('set'), fc.constantFrom('plain', 'text'), value, some(fc.constantFrom(['NX'], ['XX'], ['PX', '100000']))),
  words(fc.constantFrom('incr'), fc.constantFrom('number', 'plain')),
  words(name('hset'), fc.constantFrom('hash', 'plain'), fc.constantFrom('f', '__proto__', 'grüße'), value),
  words(name('hdel'), fc.constantFrom('hash', 'plain'), fc.constantFrom('f', '__proto__', 'none')),
  words(name('hget'), fc.constantFrom('hash', 'plain', 's1'), fc.constantFrom('f', '__proto__', 'none')),
  words(name('hgetall'), fc.constantFrom('hash', 'plain', 'none')),
  words(name('hincrby'), fc.constantFrom('hash', 'counts'), fc.constantFrom('f', 'g'), fc.constantFrom('1', '-5', 'x')),
  words(
    fc.constantFrom('sadd', 'srem'),
    fc.constantFrom('set', 'plain'),
    fc.array(fc.constantFrom('a', 'b', 'ü'), { minLength: 1 }),
  ),
  words(fc.constantFrom('scard', 'hlen'), fc.constantFrom('set', 'hash')),
  words(fc.constantFrom('sismember', 'hexists'), fc.constantFrom('set', 'hash'), fc.constantFrom('a', 'f', 'none')),
  words(fc.constantFrom('del', 'type', 'ttl', 'persist'), fc.constantFrom('hash', 'set', 'text', 'number')),
  words(name('pexpire'), fc.constantFrom('hash', 'set', 'text', 'number'), name('100000')),
  words(name('rename'), fc.constantFrom('hash', 'text', 's1'), fc.constantFrom('set', 'plain', 's2')),
);

/**
 * What differs by nature, made equal:
 * - idle times (XPENDING, XINFO CONSUMERS);
 * - numbers of the radix tree, and the fields that Redis 7 added to XINFO (the embedded store shows those of 6.2);
 * - the refusal of `XADD key <ms>-*` when that millisecond has no number left: a server's words depend on its last error.
 */
export function comparable(words: Words, reply: unknown): unknown {
  const [commandName, sub] = [String(words[0]), String(words[1]).toUpperCase()];
  if (commandName === 'xadd') return isTooLarge(reply) ? notAbove : reply;
  if (commandName === 'xinfo' && Array.isArray(reply)) {
    if (sub === 'STREAM') return withoutFields(reply, infoFields);
    return reply.map(each => (Array.isArray(each) ? withoutFields(each, infoFields) : each));
  }
  if (commandName === 'xpending' && words.length > 3 && Array.isArray(reply))
    return reply.map(each => (Array.isArray(each) ? [each[0], each[1], each[3]] : each));
  return reply;
}

const notAbove = { error: 'ERR The ID specified in XADD is equal or smaller than the target stream top item' };
const isTooLarge = (reply: unknown): boolean =>
  typeof reply === 'object' &&
  reply !== null &&
  'error' in reply &&
  /^ERR Elements are too large/.test(String(reply.error));

const infoFields = new Set([
  ...['radix-tree-keys', 'radix-tree-nodes', 'idle'],
  ...['max-deleted-entry-id', 'entries-added', 'recorded-first-entry-id', 'entries-read', 'lag'],
]);

function withoutFields(list: readonly unknown[], fieldNames: ReadonlySet<string>): unknown[] {
  return list.filter((_, i) => !fieldNames.has(String(list[i - (i % 2)])));
}
