/** One command to a store, and what came of it in a form that two stores can be compared by: bytes as hex, errors as text. */
import type { Store, Words } from '../actors/log/store.ts';

export async function replyOf(store: Store, [name, ...args]: Words): Promise<unknown> {
  const method: unknown = Reflect.get(store, `${name}Buffer`);
  try {
    if (typeof method !== 'function') return plain(await store.call(name, ...args));
    return plain(await method.call(store, ...args));
  } catch (error) {
    return { error: error instanceof Error ? error.message : String(error) };
  }
}

/** Bytes that are text stay readable. */
function plain(reply: unknown): unknown {
  if (Buffer.isBuffer(reply)) {
    const text = reply.toString();
    return Buffer.from(text).equals(reply) ? text : { hex: reply.toString('hex') };
  }
  if (Array.isArray(reply)) return reply.map(plain);
  if (typeof reply === 'object' && reply !== null)
    return Object.fromEntries(Object.entries(reply).map(([field, value]) => [field, plain(value)]));
  return reply;
}
