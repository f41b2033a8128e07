/** A router that is asked to stop while its Redis is away: it has lost nothing by that, so it stops as asked. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { startRouter, within } from './processes.ts';
import { startRedis } from './redis-server.ts';

/** The connection gives up at one moment of its redialling; which one a stop meets depends on how long Redis has been away. */
const awayMs = [0, 150, 300];

for (const ms of awayMs)
  test(`a router whose Redis has been gone for ${ms} ms stops with status 0`, async () => {
    const redis = await startRedis();
    if (redis === null) return;
    const router = await startRouter({ AUXOT_REDIS_URL: redis.url });
    try {
      await redis.stop();
      await new Promise(resolve => setTimeout(resolve, ms));
      router.kill('SIGTERM');
      const { status } = await within(20_000, router.ended, 'the router to end');
      assert.is(status, 0, router.output());
      assert.match(router.output(), 'router stopped');
    } finally {
      await router.stop();
    }
  });

test.run();
