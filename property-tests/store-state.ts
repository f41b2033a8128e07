/** All that a store holds, read through its commands, as one value to compare by. */
import type { Store, Words } from '../actors/log/store.ts';
import { comparable } from './store-commands.ts';
import { replyOf } from './store-replies.ts';

/**
 * `dangling`: also the pending entries whose stream entry was deleted. A rewritten file leaves them out, as Redis does:
 * nobody can be handed them any more.
 */
export async function stateOf(store: Store, { dangling }: { dangling: boolean }): Promise<unknown> {
  const ask = async (...words: Words) => comparable(words, await replyOf(store, words));
  const [, keys] = await store.scan('0', 'COUNT', '1000');
  const state: Record<string, unknown> = {};
  for (const key of [...keys].sort()) {
    const type = await store.type(key);
    const expires = (await store.pttl(key)) >= 0;
    if (type === 'string') state[key] = { type, expires, value: await ask('get', key) };
    else if (type === 'hash') state[key] = { type, expires, value: await ask('hgetall', key) };
    else if (type === 'set') state[key] = { type, expires, value: (await store.smembers(key)).sort() };
    else state[key] = { type, expires, info: await ask('xinfo', 'STREAM', key), ...(await streamState(key)) };
  }
  return state;

  async function streamState(key: string): Promise<object> {
    const entries = (await ask('xrange', key, '-', '+')) as [string, unknown][];
    const there = new Set(entries.map(([id]) => id));
    const groups: Record<string, unknown> = {};
    for (const group of (await ask('xinfo', 'GROUPS', key)) as unknown[][]) {
      const name = String(group[1]);
      const all = (await ask('xpending', key, name, '-', '+', '1000')) as [string, string, number][];
      const pending = dangling ? all : all.filter(([id]) => there.has(id));
      const consumers = ((await ask('xinfo', 'CONSUMERS', key, name)) as unknown[][]).map(consumer => consumer[1]);
      groups[name] = { lastId: group[7], consumers, pending };
    }
    return { entries, groups };
  }
}
