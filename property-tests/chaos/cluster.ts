/** Routers, workers, callers' way to them and, if they share one, their Redis: all that is started, and its end. */
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { freePort } from '../processes.ts';
import { type RedisServer, startRedis } from '../redis-server.ts';
import { Link } from './link.ts';
import { ChaosRouter, ChaosWorker } from './programs.ts';

export interface Cluster {
  readonly routers: readonly ChaosRouter[];
  readonly workers: readonly ChaosWorker[];
  /** A plain load balancer before the routers. */
  readonly callers: Link;
  /** null: one router with the embedded store. */
  readonly redis: RedisServer | null;
  /** Where callers ask. */
  readonly url: string;
  readonly dataDirs: readonly string[];
  start(): Promise<void>;
  close(): Promise<void>;
}

export interface ClusterOptions {
  readonly embedded: boolean;
  /** Workers on scripts, and on the demo model. */
  readonly workers: readonly [number, number];
}

/** Between two words of a scripted worker. */
const wordMs = 25;

const routerEnv = {
  AUXOT_SHARDS: '1',
  AUXOT_FSYNC: 'no',
  AUXOT_CTX_SIZE: '2048',
  AUXOT_MAX_PARALLEL: '2',
  // So that callers can tell a connection that is lost from a line that is long.
  AUXOT_STREAM_KEEPALIVE: '2s',
};

/** Nothing is started yet but the network and Redis. Null where there is no `redis-server`. */
export async function openCluster(
  { embedded, workers: [scripted, demo] }: ClusterOptions,
  found: (what: string) => void,
): Promise<Cluster | null> {
  const redis = embedded ? null : await startRedis(['--appendonly', 'yes', '--appendfsync', 'always']);
  if (!embedded && redis === null) return null;
  const folder = mkdtempSync(join(tmpdir(), 'auxot-chaos-'));
  const [links, routers, workers]: [Link[], ChaosRouter[], ChaosWorker[]] = [[], [], []];
  const link = async (targets: readonly number[]): Promise<Link> => {
    const opened = await Link.open(targets);
    links.push(opened);
    return opened;
  };
  const ports = await Promise.all((embedded ? [1] : [1, 2]).map(() => freePort()));
  const dataDirs = ports.map((_, index) => join(folder, `router-${index + 1}`));
  for (const [index, port] of ports.entries()) {
    const dataDir = dataDirs[index] ?? folder;
    mkdirSync(dataDir);
    const store = redis === null ? null : await link([redis.port]);
    routers.push(new ChaosRouter(`router ${index + 1}`, port, store, dataDir, routerEnv, found));
  }
  for (let n = 0; n < scripted + demo; n += 1) {
    const own = await Promise.all(ports.map(port => link([port])));
    workers.push(new ChaosWorker(`worker ${n + 1}`, own, n < scripted ? wordMs : null, folder, found));
  }
  const callers = await link(ports);
  return {
    routers,
    workers,
    callers,
    redis,
    url: `http://127.0.0.1:${callers.port}`,
    dataDirs,
    async start() {
      await Promise.all(routers.map(router => router.start()));
      for (const worker of workers) await worker.start();
      await Promise.all(workers.map(worker => worker.untilConnected()));
    },
    async close() {
      for (const each of [...workers, ...routers]) await each.finish();
      for (const each of links) await each.close();
      await redis?.stop();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}
