/**
 * The embedded store against a real Redis server: the same random commands on both, the same replies.
 */
import fc from 'fast-check';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { openEmbedded } from '../actors/log/embedded-redis.ts';
import { openStore } from '../actors/log/redis.ts';
import type { Store, Words } from '../actors/log/store.ts';
import { startRedis } from './redis-server.ts';
import { command, comparable } from './store-commands.ts';
import { replyOf } from './store-replies.ts';

const runs = Number(process.env.FC_RUNS ?? 300);
const seed = process.env.FC_SEED === undefined ? {} : { seed: Number(process.env.FC_SEED) };

const shown = (words: Words): string =>
  words.map(word => (Buffer.isBuffer(word) ? `0x${word.toString('hex')}` : word)).join(' ');

const server = await startRedis();

if (server !== null) {
  let real: Store;
  test.before(async () => {
    real = await openStore({ redisUrl: server.url, dataDir: null });
  });
  test.after(async () => {
    await real.quit();
    await server.stop();
  });

  test('any sequence of commands gets the same replies from both', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(command, { minLength: 1, maxLength: 60 }), async commands => {
        await real.flushall();
        const embedded = await openEmbedded({ directory: null });
        try {
          for (const [i, words] of commands.entries()) {
            const [ours, theirs] = await Promise.all([replyOf(embedded, words), replyOf(real, words)]);
            assert.equal(comparable(words, ours), comparable(words, theirs), `command ${i}: ${shown(words)}`);
          }
        } finally {
          await embedded.quit();
        }
      }),
      { numRuns: runs, includeErrorInReport: true, ...seed },
    );
  });
}

test.run();
