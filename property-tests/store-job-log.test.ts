/** The job log on a real Redis server: the same contract as on the embedded store, and connections that drop. */
import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { jobLogContract } from '../actors/log/job-log.contract.ts';
import { type Append, JobLog } from '../actors/log/job-log.ts';
import { openStore } from '../actors/log/redis.ts';
import type { Store } from '../actors/log/store.ts';
import { startRedis } from './redis-server.ts';

let opened: Store | null = null;
const close = async () => {
  await opened?.quit();
  opened = null;
};
test.after.each(close);

const server = await startRedis();
if (server === null) {
  test('there is no redis-server to test the job log on: skipped', () => undefined);
} else {
  test.after(() => server.stop());

  jobLogContract(test, 'Redis', async () => {
    opened = await openStore({ redisUrl: server.url, dataDir: null });
    await opened.flushall();
    return opened;
  });

  test('Redis: connections that drop after a command ran lose nothing and repeat nothing', async () => {
    const proxy = await dropProxy(server.port);
    opened = await openStore({ redisUrl: `redis://127.0.0.1:${proxy.port}`, dataDir: null });
    await opened.flushall();
    const log = new JobLog(opened);
    const count = 60;
    for (let i = 1; i <= count; i++) {
      if (i % 5 === 0) proxy.dropNextReply();
      const event = { type: 'output.appended', at: i, attempt: 1, kind: 'text', text: 'x', tokens: 1 };
      const append: Append = {
        ...{ jobId: 'a', epoch: 1, sequence: i, count: 1, events: JSON.stringify([event]) },
        ...(i === 1 ? { creates: true } : {}),
      };
      assert.equal(await log.append([append]), [{ kind: 'ok' }], `append ${i}`);
    }
    assert.is(proxy.dropped(), 12);
    assert.equal(
      (await log.read('a')).map(({ sequence }) => sequence),
      Array.from({ length: count }, (_, i) => i + 1),
    );
    await close();
    await proxy.stop();
  });
}

/** Passes bytes on. When told to, it lets the next command through and cuts the connection instead of passing its reply. */
async function dropProxy(port: number) {
  let isDropping = false;
  let dropped = 0;
  const sockets = new Set<Socket>();
  const proxy = createServer(client => {
    const upstream = connect(port, '127.0.0.1');
    for (const socket of [client, upstream]) {
      sockets.add(socket);
      socket.on('close', () => sockets.delete(socket));
      socket.on('error', () => undefined);
    }
    client.on('data', bytes => upstream.write(bytes));
    client.on('close', () => upstream.destroy());
    upstream.on('close', () => client.destroy());
    upstream.on('data', bytes => {
      if (!isDropping) return client.write(bytes);
      isDropping = false;
      dropped += 1;
      return client.destroy();
    });
  }).listen(0, '127.0.0.1');
  await once(proxy, 'listening');
  const address = proxy.address();
  if (address === null || typeof address === 'string') throw new Error('no port');
  return {
    port: address.port,
    dropped: () => dropped,
    dropNextReply: () => {
      isDropping = true;
    },
    stop: async () => {
      for (const socket of sockets) socket.destroy();
      proxy.close();
      await once(proxy, 'close');
    },
  };
}

test.run();
