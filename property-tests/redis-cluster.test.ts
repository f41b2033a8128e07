/**
 * Routers on a real Redis Cluster and behind a real Sentinel: whichever node the URL names, the one that has the data is
 * found, and found again after a failover, asked for or forced, with every answer whole. (Each write waits for one of two
 * replicas: without that, a master that dies takes with it what no replica had.)
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { openStore } from '../actors/log/redis.ts';
import { clusterPrefix } from '../actors/log/redis-cluster.ts';
import { chat, saidIn, untilHealth } from './callers.ts';
import { type RouterProcess, startRouter, waitUntil } from './processes.ts';
import { freePort, type RedisServer, startRedis } from './redis-server.ts';
import { startWorker } from './scripted-worker.ts';
import { kill, second, sleep, slowly, words } from './two-routers.ts';

/** How long a silent node is waited for, ms. */
const silentMs = 1000;
const failoverMsMax = 15_000;
/** A new replica is given the data at once, and not after 5 s in which others might come. */
const soon = ['--repl-diskless-sync-delay', '0'];
/** Replicas stay with their master: one of two would go over to a master that has none. */
const faithful = ['--cluster-migration-barrier', '5'];

interface Node {
  readonly server: RedisServer;
  readonly redis: Redis;
  readonly busPort: number;
}

async function startNode(): Promise<Node | null> {
  const busPort = await freePort();
  const cluster = ['--cluster-enabled', 'yes', '--cluster-node-timeout', String(silentMs)];
  const port = ['--cluster-port', String(busPort)];
  const server = await startRedis([...cluster, ...soon, ...faithful, ...port, '--appendonly', 'yes']);
  if (server === null) return null;
  const redis = new Redis(server.url);
  redis.on('error', () => undefined);
  return { server, redis, busPort };
}

/** Three masters, and two replicas of the one that has our keys. The first has none of them. */
async function startCluster() {
  const nodes: Node[] = [];
  for (let n = 0; n < 5; n += 1) {
    const node = await startNode();
    if (node === null) return null;
    nodes.push(node);
  }
  const [first, ...others] = nodes;
  const replicas = others.slice(2);
  if (first === undefined) throw new Error('nodes are needed');
  const slot = Number(await first.redis.cluster('KEYSLOT', clusterPrefix));
  const masters = [first, ...others.slice(0, 2)];
  const ranges = [0, 5461, 10_923, 16_384];
  // The nodes turned, so that the first has another range than the one with our slot.
  const turn = ranges.findIndex((from, i) => slot >= from && slot < (ranges[i + 1] ?? 0)) + 2;
  const rangeOf = (n: number): number => (n + turn) % 3;
  for (const [n, { redis }] of masters.entries())
    await redis.call('CLUSTER', 'ADDSLOTSRANGE', ranges[rangeOf(n)] ?? 0, (ranges[rangeOf(n) + 1] ?? 0) - 1);
  for (const { server, busPort } of others)
    await first.redis.call('CLUSTER', 'MEET', '127.0.0.1', server.port, busPort);
  const owner = masters.find((_, n) => slot >= (ranges[rangeOf(n)] ?? 0) && slot < (ranges[rangeOf(n) + 1] ?? 0));
  if (owner === undefined || owner === first) throw new Error('the first node must not have our keys');
  const all = async (holds: (info: string) => boolean): Promise<boolean> =>
    (await Promise.all(nodes.map(({ redis }) => redis.cluster('INFO')))).every(info => holds(String(info)));
  await waitUntil(
    () => all(info => info.includes('cluster_known_nodes:5')),
    failoverMsMax,
    () => 'the nodes do not meet',
  );
  const ownerId = String(await owner.redis.cluster('MYID'));
  for (const { redis } of replicas) {
    const follows = (): Promise<boolean> =>
      redis.call('CLUSTER', 'REPLICATE', ownerId).then(
        () => true,
        () => false,
      );
    await waitUntil(follows, failoverMsMax, () => 'a replica does not know its master');
  }
  await waitUntil(
    async () => (await all(info => info.includes('cluster_state:ok'))) && (await followers(owner)) === 2,
    failoverMsMax,
    () => 'the cluster does not become ready',
  );
  return {
    url: first.server.url,
    owner,
    replicas,
    async stop() {
      for (const { redis, server } of nodes) {
        redis.disconnect();
        await server.stop();
      }
    },
  };
}

/** Replicas of this master that have caught up. */
const followers = async ({ redis }: Pick<Node, 'redis'>): Promise<number> =>
  (await redis.info('replication')).match(/state=online/g)?.length ?? 0;

const becomesMaster = async (...nodes: readonly Pick<Node, 'redis'>[]): Promise<void> => {
  const isMaster = async ({ redis }: Pick<Node, 'redis'>): Promise<boolean> =>
    /role:master/.test(await redis.info('replication')) && (await followers({ redis })) > 0;
  await waitUntil(
    async () => (await Promise.all(nodes.map(isMaster))).includes(true),
    failoverMsMax,
    () => 'no replica becomes the master, with one of its own',
  );
};

/** Asks at one router for what a worker at the other says, and lets `happen` befall the store in the middle. */
async function answeredThrough(one: RouterProcess, two: RouterProcess, happen: () => Promise<void>): Promise<void> {
  const worker = await startWorker(two.wsUrl, { slots: 1, script: slowly(100, 30, 1, 2), hello: second('w') });
  try {
    const asked = chat(one.url, { stream: true });
    asked.catch(() => undefined); // awaited below, unless something else goes wrong before
    await waitUntil(
      () => worker.jobs.length === 1,
      8000,
      () => `no job came:\n${one.output()}\n${two.output()}`,
    );
    await sleep(500);
    await happen();
    const { text } = await asked;
    assert.is(saidIn(text), words(100), one.output());
    assert.is(worker.jobs.length, 1);
    for (const { url } of [one, two])
      await untilHealth(url, now => now.status === 'ok', 'a router does not serve again', failoverMsMax);
    assert.is(saidIn((await chat(two.url, { stream: true })).text), words(100));
  } finally {
    worker.close();
  }
}

async function refusal(redisUrl: string): Promise<string> {
  const store = await openStore({ redisUrl, dataDir: null }).catch((error: Error) => error.message);
  if (typeof store === 'string') return store;
  store.disconnect();
  return 'accepted';
}

async function withRouters(redisUrl: string, use: (one: RouterProcess, two: RouterProcess) => Promise<void>) {
  const env = { AUXOT_REDIS_URL: redisUrl, AUXOT_SHARDS: '1', AUXOT_REDIS_WAIT: '1' };
  const routers = await Promise.all([startRouter(env), startRouter(env)]);
  try {
    const [one, two] = routers;
    await sleep(2500);
    await use(one, two);
  } finally {
    for (const router of routers) await kill(router);
  }
}

test('a cluster is one store, by the URL of any node: also what reads many keys, and names them', async () => {
  const cluster = await startCluster();
  if (cluster === null) return;
  const store = await openStore({ redisUrl: cluster.url, dataDir: null });
  const reader = store.duplicate();
  try {
    await store
      .pipeline([
        ['xadd', 'auxot:ready', '1-1', 'a', '1'],
        ['xadd', 'auxot:{job-1}:log', '1-1', 'a', '2'],
      ])
      .exec();
    const reply = await reader.xread('BLOCK', 100, 'STREAMS', 'auxot:ready', 'auxot:{job-1}:log', '0', '0');
    assert.equal(reply, [
      ['auxot:ready', [['1-1', ['a', '1']]]],
      ['auxot:{job-1}:log', [['1-1', ['a', '2']]]],
    ]);
    await store.xgroup('CREATE', 'auxot:ready', 'g', '0');
    const given = await store.xreadgroup('GROUP', 'g', 'c', 'STREAMS', 'auxot:ready', '>');
    assert.equal(given, [['auxot:ready', [['1-1', ['a', '1']]]]]);
    assert.equal((await cluster.owner.redis.keys('*')).sort(), [
      `${clusterPrefix}auxot:ready`,
      `${clusterPrefix}auxot:{job-1}:log`,
    ]);
    const { port } = cluster.owner.server;
    assert.match(await refusal(`redis://127.0.0.1:${port}/3`), /it has no database 3/);
  } finally {
    for (const each of [reader, store]) each.disconnect();
    await cluster.stop();
  }
});

test('a failover of the cluster, asked for and forced, takes no word from an answer', async () => {
  const cluster = await startCluster();
  if (cluster === null) return;
  const { owner, replicas } = cluster;
  const [replica, other] = replicas;
  if (replica === undefined || other === undefined) throw new Error('two replicas are needed');
  try {
    await withRouters(cluster.url, async (one, two) => {
      await answeredThrough(one, two, async () => {
        await replica.redis.call('CLUSTER', 'FAILOVER');
        await becomesMaster(replica);
      });
      await waitUntil(
        async () => (await followers(replica)) === 2,
        failoverMsMax,
        () => 'the former master does not follow',
      );
      await answeredThrough(one, two, async () => {
        await replica.server.stop();
        await becomesMaster(owner, other);
      });
    });
  } finally {
    await cluster.stop();
  }
});

test('behind a Sentinel its master is found, and the next one after a failover', async () => {
  const [master, ...replicas] = [await startRedis(soon), await startRedis(soon), await startRedis(soon)];
  const sentinelPort = await freePort();
  if (master === null) return;
  const followed = replicas.flatMap(server => (server === null ? [] : [{ server, redis: new Redis(server.url) }]));
  const directory = await mkdtemp(join(tmpdir(), 'auxot-sentinel-'));
  const file = join(directory, 'sentinel.conf');
  const watch = ['monitor', 'down-after-milliseconds', 'failover-timeout'];
  const values = [`main 127.0.0.1 ${master.port} 1`, `main ${silentMs}`, 'main 5000'];
  const lines = watch.map((what, i) => `sentinel ${what} ${values[i]}`);
  await writeFile(file, [`port ${sentinelPort}`, 'bind 127.0.0.1', `dir ${directory}`, ...lines, ''].join('\n'));
  let sentinel: ChildProcess | null = null;
  const url = `redis://127.0.0.1:${sentinelPort}`;
  try {
    for (const { redis } of followed) await redis.replicaof('127.0.0.1', master.port);
    sentinel = spawn('redis-server', [file, '--sentinel'], { stdio: 'ignore' });
    const asker = new Redis(url, { retryStrategy: () => 100 });
    asker.on('error', () => undefined);
    await waitUntil(
      async () => {
        const found = String(await asker.call('SENTINEL', 'REPLICAS', 'main'));
        return followed.every(({ server }) => found.includes(String(server.port)));
      },
      failoverMsMax,
      () => 'the Sentinel does not find the replicas',
    );
    asker.disconnect();
    await withRouters(url, async (one, two) => {
      await answeredThrough(one, two, async () => {
        await master.stop();
        await becomesMaster(...followed);
      });
    });
    assert.match(
      await refusal(`${url}?name=other`),
      /a Redis Sentinel that watches the masters main: say which by \?name=main/,
    );
  } finally {
    for (const { redis } of followed) redis.disconnect();
    if (sentinel !== null) {
      sentinel.kill('SIGKILL');
      await once(sentinel, 'exit');
    }
    await rm(directory, { recursive: true, force: true });
    for (const server of [master, ...followed.map(({ server }) => server)]) await server.stop();
  }
});

test.run();
