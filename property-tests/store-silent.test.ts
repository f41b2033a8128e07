/** A connection to Redis that is half-open: nothing passes, and neither side is told. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { openStore } from '../actors/log/redis.ts';
import { Link } from './chaos/link.ts';
import { within } from './processes.ts';
import { startRedis } from './redis-server.ts';

test('a store that answers nothing any more is dialled again, and what was asked is answered', async () => {
  const redis = await startRedis();
  if (redis === null) return;
  const link = await Link.open([redis.port]);
  const said: string[] = [];
  let returns = 0;
  const store = await openStore({
    redisUrl: `redis://127.0.0.1:${link.port}`,
    dataDir: null,
    say: message => said.push(message),
    returned: () => {
      returns += 1;
    },
  });
  try {
    await store.set('a', 'before');
    link.hang();
    assert.is(await within(8000, store.get('a'), 'an answer'), 'before');
    assert.match(said.join('\n'), 'answered nothing');
    assert.ok(returns > 0, 'nobody was told that it is there again');
  } finally {
    store.disconnect();
    await link.close();
    await redis.stop();
  }
});

test.run();
