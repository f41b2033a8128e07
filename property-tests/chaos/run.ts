/**
 * One run: everything is started, broken for as long as told, and looked at afterwards. Whatever happens, what was started
 * is gone at the end.
 */
import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Redis } from 'ioredis';
import { openReadOnly } from '../../actors/log/embedded-redis.ts';
import type { Store } from '../../actors/log/job-log.ts';
import { health, untilHealth } from '../callers.ts';
import { seededRandom } from '../simulation/random.ts';
import { type Cluster, type ClusterOptions, openCluster } from './cluster.ts';
import { breakThings, type Done } from './faults.ts';
import { type LogFigures, readLogs } from './figures.ts';
import { askQuestions, newTally, type Tally } from './requests.ts';

export interface ChaosOptions extends ClusterOptions {
  readonly seed: number;
  readonly ms: number;
  /** Faults a second. */
  readonly rate: number;
  readonly callers: number;
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

export async function runChaos(options: ChaosOptions): Promise<Outcome | null> {
  const random = seededRandom(options.seed);
  const [done, found]: [Done[], string[]] = [[], []];
  const tally = newTally();
  let logs: LogFigures | null = null;
  const note = (what: string): void => {
    // A terminal's Ctrl-C ends the programs as well.
    if (!options.stop.aborted) found.push(`${new Date().toISOString()} ${what}`);
  };
  const cluster = await openCluster(options, note);
  if (cluster === null) return null;
  try {
    await Promise.race([cluster.start(), aborted(options.stop)]);
    const startedAt = performance.now();
    // A timeout's own signal, joined to another, may be collected as garbage before it fires.
    const ending = new AbortController();
    const endInTime = setTimeout(() => ending.abort(), options.ms);
    options.stop.addEventListener('abort', () => ending.abort(), { once: true });
    const over = ending.signal;
    const ticks = setInterval(
      () => options.progress(tally, done, Math.round((performance.now() - startedAt) / 1000)),
      progressMs,
    );
    try {
      const asking = askQuestions(cluster.url, options.callers, random, over, tally, note);
      const breaking = breakThings(cluster, random, options.rate, over, one => done.push(one));
      await Promise.race([Promise.all([asking, breaking]), aborted(options.stop)]);
    } finally {
      clearInterval(ticks);
      clearTimeout(endInTime);
    }
    if (!options.stop.aborted) logs = await settled(cluster, tally, done, note);
  } catch (error) {
    note(error instanceof Error ? (error.stack ?? error.message) : String(error));
  } finally {
    await cluster.close();
  }
  const programs = [...cluster.routers, ...cluster.workers];
  const evidence = found.length === 0 ? null : keep(found, done, programs, logs);
  return { tally, done, logs, found, evidence };
}

/** Every job has ended, and every log can be read. */
async function settled(
  { routers, redis, dataDirs: [dataDir = ''] }: Cluster,
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
    const store = await openReadOnly(dataDir);
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
