/** Redis servers that cannot hold the log: accepted at start, they would fail at the first job, or lose some without a word. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { openStore } from '../actors/log/redis.ts';
import { startRedis } from './redis-server.ts';

async function refusal(redisUrl: string): Promise<string> {
  const store = await openStore({ redisUrl, dataDir: null }).catch((error: Error) => error.message);
  if (typeof store === 'string') return store;
  store.disconnect();
  return 'accepted';
}

test('a Redis that forgets data when it is full is refused at start', async () => {
  const redis = await startRedis(['--maxmemory', '100mb', '--maxmemory-policy', 'allkeys-lru']);
  if (redis === null) return;
  try {
    assert.match(await refusal(redis.url), /AUXOT_REDIS_URL: .*maxmemory-policy allkeys-lru.*set noeviction/);
  } finally {
    await redis.stop();
  }
});

test('a database that the server does not have is refused at start: database 0 would be used in its place', async () => {
  const redis = await startRedis(['--databases', '4']);
  if (redis === null) return;
  try {
    assert.match(await refusal(`${redis.url}/4`), /AUXOT_REDIS_URL: .*it has no database 4/);
    assert.is(await refusal(`${redis.url}/3`), 'accepted');
  } finally {
    await redis.stop();
  }
});

test.run();
