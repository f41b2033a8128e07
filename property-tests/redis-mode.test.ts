/** Programs that answer as Redis does and cannot hold the log: accepted at start, they would fail at the first job. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
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

test('a node of a Redis Cluster is refused at start, by name', async () => {
  const node = await startRedis(['--cluster-enabled', 'yes']);
  if (node === null) return;
  try {
    assert.match(await refusal(node.url), /AUXOT_REDIS_URL: .*a node of a Redis Cluster/);
  } finally {
    await node.stop();
  }
});

test('a Sentinel is refused at start, and its master asked for', async () => {
  const free = await startRedis();
  if (free === null) return;
  await free.stop();
  const directory = await mkdtemp(join(tmpdir(), 'auxot-sentinel-'));
  const file = join(directory, 'sentinel.conf');
  await writeFile(file, `port ${free.port}\nbind 127.0.0.1\ndir ${directory}\n`);
  const sentinel = spawn('redis-server', [file, '--sentinel'], { stdio: 'ignore' });
  try {
    assert.match(await refusal(free.url), /AUXOT_REDIS_URL: .*a Redis Sentinel.*the master/);
  } finally {
    sentinel.kill('SIGKILL');
    await once(sentinel, 'exit');
    await rm(directory, { recursive: true, force: true });
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
