/**
 * One run: everything is started, broken for as long as told, and looked at afterwards. Whatever happens, what was started
 * is gone at the end.
 */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Redis } from 'ioredis';
import { openReadOnly } from '../../actors/log/embedded-redis.ts';
import type { Store } from '../../actors/log/job-log.ts';
import { health, untilHealth } from '../callers.ts';
import { freePort } from '../processes.ts';
import { type RedisServer, startRedis } from '../redis-server.ts';
import { seededRandom } from '../simulation/random.ts';
import { breakThings, type Done } from './faults.ts';
import { type LogFigures, readLogs } from './figures.ts';
import { Link } from './link.ts';
import { ChaosRouter, ChaosWorker } from './programs.ts';
import { askQuestions, newTally, type Tally } from './requests.ts';

export interface ChaosOptions {
  readonly seed: number;
  readonly ms: number;
  readonly embedded: boolean;
  /** Faults a second. */
  readonly rate: number;
  readonly callers: number;
  /** Workers on scripts, and on the demo model. */
  readonly workers: readonly [number, number];
  /** Fires to end the run early. */
  readonly stop: AbortSignal;
  readonly progress: (tally: Tally, done: readonly Done[], seconds: number) => void;
}

export interface Outcome {
  readonly tally: Tally;
  readonly done: readonly Done[];
  readonly logs: LogFigures | null;
  readonly found: readonly string[];
  /** Where the programs' diagnostics are, if something was found. */
  readonly evidence: string | null;
}

const progressMs = 10_000;
/** Until the last jobs have ended, of those whose callers have left and of the others. */
const settleMs = 30_000;
const wordMs = 25;

export async function runChaos(options: ChaosOptions): Promise<Outcome | null> {
  const random = seededRandom(options.seed);
  const folder = mkdtempSync(join(tmpdir(), 'auxot-chaos-'));
  const [links, done, found]: [Link[], Done[], string[]] = [[], [], []];
  const routers: ChaosRouter[] = [];
  const workers: ChaosWorker[] = [];
  let redis: RedisServer | null = null;
  const tally = newTally();
  let logs: LogFigures | null = null;
  const note = (what: string): void => {
    found.push(`${new Date().toISOString()} ${what}`);
  };
  const link = async (targets: readonly number[]): Promise<Link> => {
    const opened = await Link.open(targets);
    links.push(opened);
    return opened;
  };
  try {
    if (!options.embedded) {
      redis = await startRedis(['--appendonly', 'yes', '--appendfsync', 'always']);
      if (redis === null) return null;
    }
    const ports = await Promise.all((options.embedded ? [1] : [1, 2]).map(() => freePort()));
    for (const [index, port] of ports.entries()) {
      const store = redis === null ? null : await link([redis.port]);
      const dataDir = join(folder, `router-${index}`);
      mkdirSync(dataDir);
      routers.push(new ChaosRouter(`router ${index + 1}`, port, store, dataDir, routerEnv, note));
    }
    const [scripted, demo] = options.workers;
    for (let n = 0; n < scripted + demo; n += 1) {
      const own = await Promise.all(ports.map(port => link([port])));
      workers.push(new ChaosWorker(`worker ${n + 1}`, own, n < scripted ? wordMs : null, folder, note));
    }
    const callers = await link(ports);
    const url = `http://127.0.0.1:${callers.port}`;

    await Promise.all(routers.map(router => router.start()));
    for (const worker of workers) await worker.start();
    await Promise.all(workers.map(worker => worker.untilConnected()));

    const startedAt = performance.now();
    const over = AbortSignal.any([options.stop, AbortSignal.timeout(options.ms)]);
    const ticks = setInterval(
      () => options.progress(tally, done, Math.round((performance.now() - startedAt) / 1000)),
      progressMs,
    );
    try {
      const asking = askQuestions(url, options.callers, random, over, tally, note);
      await breakThings({ routers, workers, callers, redis }, random, options.rate, over, one => done.push(one));
      await Promise.race([asking, aborted(options.stop)]);
    } finally {
      clearInterval(ticks);
    }
    if (!options.stop.aborted) logs = await settled(routers, redis, folder, tally, done, note);
  } catch (error) {
    note(error instanceof Error ? (error.stack ?? error.message) : String(error));
  } finally {
    for (const each of [...workers, ...routers]) await each.finish();
    for (const each of links) await each.close();
    await redis?.stop();
    rmSync(folder, { recursive: true, force: true });
  }
  const evidence = found.length === 0 ? null : keep(found, done, [...routers, ...workers], logs);
  return { tally, done, logs, found, evidence };
}

const routerEnv = {
  AUXOT_SHARDS: '1',
  AUXOT_FSYNC: 'no',
  AUXOT_CTX_SIZE: '2048',
  AUXOT_MAX_PARALLEL: '2',
  // So that callers can tell a connection that is lost from a line that is long.
  AUXOT_STREAM_KEEPALIVE: '2s',
};

/** Every job has ended, and every log can be read. */
async function settled(
  routers: readonly ChaosRouter[],
  redis: RedisServer | null,
  folder: string,
  tally: Tally,
  done: readonly Done[],
  note: (what: string) => void,
): Promise<LogFigures> {
  for (const { port, name } of routers) {
    const idle = (now: { active_jobs: number; queued_jobs: number }): boolean =>
      now.active_jobs === 0 && now.queued_jobs === 0;
    const url = `http://127.0.0.1:${port}`;
    await untilHealth(url, idle, `${name} still has jobs`, settleMs).catch(async error =>
      note(`${error}: ${JSON.stringify(await health(url).catch(() => 'no health'))}`),
    );
  }
  await sleep(500);
  const jobsMax = 4 * tally.requests + 100;
  let logs: LogFigures;
  if (redis === null) {
    const store = await openReadOnly(join(folder, 'router-0'));
    logs = await readLogs(store, jobsMax, done).finally(() => store.disconnect());
  } else {
    const connection = new Redis(redis.url);
    // An ioredis connection takes its words as they come, as the port has them.
    logs = await readLogs(connection as unknown as Store, jobsMax, done).finally(() => connection.disconnect());
  }
  for (const jobId of logs.openEvents.keys()) note(`job ${jobId} has not ended`);
  for (const what of logs.corrupt) note(`a log cannot be read: ${what}`);
  return logs;
}

function keep(
  found: readonly string[],
  done: readonly Done[],
  programs: readonly { readonly name: string; output(): string }[],
  logs: LogFigures | null,
): string {
  const folder = mkdtempSync(join(tmpdir(), 'auxot-chaos-found-'));
  writeFileSync(join(folder, 'found.txt'), `${found.join('\n\n')}\n`);
  const lines = done.map(({ at, kind, target }) => `${new Date(at).toISOString()} ${target}: ${kind}`);
  writeFileSync(join(folder, 'faults.txt'), `${lines.join('\n')}\n`);
  for (const program of programs)
    writeFileSync(join(folder, `${program.name.replace(' ', '-')}.log`), program.output());
  for (const [jobId, events] of logs?.openEvents ?? []) writeFileSync(join(folder, `${jobId}.jsonl`), events);
  return folder;
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise(resolve => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
  });
}
