/** Two routers on one Redis, as processes, and what their tests say and ask. */
import { Redis } from 'ioredis';
import { JobLog, type Store } from '../actors/log/job-log.ts';
import type { JobEvent } from '../protocol/job-events.ts';
import { type RouterProcess, startRouter, waitUntil } from './processes.ts';
import { type RedisServer, startRedis } from './redis-server.ts';
import type { Script } from './scripted-worker.ts';

export const sleep = (ms: number): Promise<void> => new Promise(resolve => setTimeout(resolve, ms));
/** Routers look twice a second who else is there. */
export const lookMs = 600;

export interface TwoRouters {
  readonly redis: RedisServer;
  readonly connection: Redis;
  readonly one: RouterProcess;
  readonly two: RouterProcess;
  eventsOf(jobId: string): Promise<JobEvent[]>;
  openJobs(): Promise<string[]>;
  untilOutput(jobId: string): Promise<void>;
  untilNothingIsOpen(): Promise<void>;
  start(env?: Record<string, string>): Promise<RouterProcess>;
  stop(): Promise<void>;
}

/** Null where there is no `redis-server`. `redisUrl` may go round by a proxy. */
export async function startTwoRouters(
  redisArgs: readonly string[] = [],
  redisUrl: (redis: RedisServer) => Promise<string> = async ({ url }) => url,
  routerEnv: Record<string, string> = {},
): Promise<TwoRouters | null> {
  const redis = await startRedis(redisArgs);
  if (redis === null) return null;
  const routersUrl = await redisUrl(redis);
  const connection = new Redis(redis.url);
  connection.on('error', () => undefined);
  // An ioredis connection takes its words as they come, as the port has them.
  const log = new JobLog(connection as unknown as Store, {});
  const started: RouterProcess[] = [];
  const start = async (env: Record<string, string> = {}): Promise<RouterProcess> => {
    const router = await startRouter({ AUXOT_REDIS_URL: routersUrl, AUXOT_SHARDS: '1', ...routerEnv, ...env });
    started.push(router);
    return router;
  };
  const eventsOf = async (jobId: string): Promise<JobEvent[]> =>
    (await log.read(jobId)).flatMap(({ events }) => [...events]);
  const [one, two] = await Promise.all([start(), start()]);
  // So long that each of them may judge the other.
  await sleep(2500);
  return {
    redis,
    connection,
    one,
    two,
    eventsOf,
    start,
    openJobs: () => log.openJobs(),
    untilOutput: jobId =>
      waitUntil(
        async () => (await eventsOf(jobId)).some(({ type }) => type === 'output.appended'),
        5000,
        () => 'nothing was said',
      ),
    untilNothingIsOpen: () =>
      waitUntil(
        async () => (await log.openJobs()).length === 0,
        5000,
        () => 'a job does not end',
      ),
    async stop() {
      for (const router of started) {
        if (process.env.SHOW === '1') console.log(router.output());
        await kill(router);
      }
      connection.disconnect();
      await redis.stop();
    },
  };
}

export async function kill(router: RouterProcess): Promise<void> {
  router.kill('SIGKILL');
  await router.ended;
}

export const never: Script = () => undefined;

/** Says `count` words, one each `ms`. */
export const slowly =
  (count: number, ms: number, from = 1, protocol = 1): Script =>
  async ({ job_id, attempt }, worker) => {
    for (let seq = from; seq <= count; seq += 1) {
      if (ms > 0) await sleep(ms);
      worker.say({ type: 'token', job_id, token: `w${seq} `, ...(protocol === 2 ? { attempt, seq, ids: [seq] } : {}) });
    }
    const last = protocol === 2 ? { attempt, seq: count } : {};
    worker.say({ type: 'complete', job_id, full_response: '', input_tokens: 1, output_tokens: count, ...last });
  };
export const words = (count: number): string => Array.from({ length: count }, (_, i) => `w${i + 1} `).join('');

/** The greeting of a worker of version 2, which says who it is and what it holds. */
export const second = (instance: string, jobs: readonly object[] = []) => ({
  protocol_version: 2,
  instance_id: instance,
  ready: true,
  model_file: 'a'.repeat(64),
  ...(jobs.length === 0 ? {} : { jobs }),
});
