/** Two routers on one Redis: the second is refused while the first lives, and takes over when it is dead. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { openStore } from '../actors/log/redis.ts';
import { takeWriterLease } from '../actors/log/writer-lease.ts';
import { startRedis } from './redis-server.ts';

const times = { lapseMs: 400, renewMs: 100 };
const redis = await startRedis();

if (redis === null) {
  process.stdout.write('SKIPPED (no redis-server): two routers on one Redis\n');
  test('without a redis-server there is nothing to try', () => assert.is(redis, null));
} else {
  test('a living writer keeps others out, a dead one does not', async () => {
    const store = await openStore({ redisUrl: redis.url, dataDir: null });
    const first = await takeWriterLease(store, 'one', times);
    try {
      await takeWriterLease(store, 'two', times);
      assert.unreachable('a second writer was let in');
    } catch (error) {
      assert.match(String(error), /AUXOT_REDIS_URL: another router \(boot one\)/);
    }
    await first.release();
    const second = await takeWriterLease(store, 'two', times);
    await second.release();
    // A writer that was killed: it neither renews nor releases.
    await store.set('auxot:writer', 'killed', 'PX', 300);
    const third = await takeWriterLease(store, 'three', times);
    await store.set('auxot:writer', 'usurper');
    assert.match(await third.lost, /another router/);
    await third.release();
    assert.is(await store.get('auxot:writer'), 'usurper');
    await store.flushall();
    const fourth = await takeWriterLease(store, 'four', times);
    await store.flushall();
    await new Promise(resolve => setTimeout(resolve, 300));
    assert.is(await store.get('auxot:writer'), 'four');
    await fourth.release();
    await store.quit();
  });
  test.after(() => redis.stop());
}

test.run();
