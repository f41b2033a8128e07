/** The store's clock (Redis: TIME), epoch ms with their fraction. Rejects when the store is in trouble. */
import type { Store } from './store.ts';

export async function storeTime(store: Store): Promise<number> {
  const [seconds, microseconds] = await store.time();
  return Number(seconds) * 1000 + Number(microseconds) / 1000;
}
