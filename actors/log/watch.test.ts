import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { openEmbedded } from './embedded-redis.ts';
import { Watch } from './watch.ts';

const sleep = (ms: number): Promise<void> => new Promise(resolve => setTimeout(resolve, ms));

// Found by the simulation: a follower that came while another one's read was under way, and stood before it, missed what
// lay between the two, and told its caller that the log was corrupt.
test('W2: who joins behind a read under way misses nothing of what the other has already', async () => {
  const store = await openEmbedded({ directory: null, fsync: 'no', say: () => undefined });
  const watch = new Watch(store, 'wake');
  const heard: Record<'early' | 'late', string[]> = { early: [], late: [] };
  const hears = (who: 'early' | 'late') => (entries: readonly (readonly [string, unknown])[]) =>
    void heard[who].push(...entries.map(([id]) => id));
  await store.xadd('log', '1-1', 'e', 1);
  await store.xadd('log', '1-2', 'e', 2);
  const stops = [watch.add('log', '1-2', hears('early'))];
  await sleep(20);
  // The read from 1-2 is under way; its reply is on its way when the other joins at 1-1.
  const written = store.xadd('log', '1-3', 'e', 3);
  stops.push(watch.add('log', '1-1', hears('late')));
  await written;
  for (const giveUpAt = Date.now() + 2000; heard.late.length < 2 && Date.now() < giveUpAt; ) await sleep(5);
  assert.equal(heard, { early: ['1-3'], late: ['1-2', '1-3'] });
  for (const stop of stops) stop();
  watch.stop();
  await store.quit();
});

test.run();
