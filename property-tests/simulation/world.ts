/**
 * Runs one plan from start to end: the busy minute, the calm after it, the proof that the cluster works again, the end of
 * everything; and judges it.
 */

import { Cluster, slotsOfWorkers, times } from './cluster.ts';
import { inject } from './faults.ts';
import { installClock, realNow } from './globals.ts';
import { judgeCallers } from './judge-callers.ts';
import { judgeLogs } from './judge-logs.ts';
import { judgeOrder } from './judge-order.ts';
import { judgeTools, judgeToolsLoad, toolsAway } from './judge-tools.ts';
import type { Plan } from './plan.ts';
import { StoreServer } from './store.ts';
import type { DelayKind, FaultKind } from './tally.ts';

export interface Outcome {
  readonly found: string | null;
  readonly faults: ReadonlyMap<FaultKind, number>;
  readonly delays: ReadonlyMap<DelayKind, number>;
  readonly virtualMs: number;
  readonly realMs: number;
  readonly events: number;
  readonly callers: number;
  readonly satisfied: number;
  /** How callers fared, in words. */
  readonly endings: ReadonlyMap<string, number>;
  readonly timeline: readonly string[];
}

/** Nobody may need longer than this once faults have ceased: a job's whole time, and the way back to it. */
const calmMsMax = times.jobTimeoutMs + times.queueTimeoutMs + 30_000;
const probes = 4;
const takeOverMs = 8000;
/** Callers that have their answer are forgotten at leisure. */
const tidyMs = 2500;

export async function runPlan(plan: Plan, traced = false): Promise<Outcome> {
  const startedAt = realNow();
  const cluster = new Cluster(plan, traced);
  const { clock } = cluster;
  const installed = installClock(clock);
  const escaped = (error: unknown): void =>
    cluster.wrong(`an error that nobody handles: ${error instanceof Error ? error.stack : String(error)}`);
  process.on('uncaughtException', escaped);
  process.on('unhandledRejection', escaped);
  try {
    await live(cluster);
  } catch (error) {
    if (error !== cluster.found) escaped(error);
  } finally {
    process.off('uncaughtException', escaped);
    process.off('unhandledRejection', escaped);
    installed.remove();
    cluster.store.close();
  }
  return {
    found: cluster.found?.message ?? null,
    faults: cluster.tally.faults,
    delays: cluster.tally.delays,
    virtualMs: clock.now - clock.startedAt,
    realMs: realNow() - startedAt,
    events: clock.events,
    callers: cluster.callers.length,
    satisfied: cluster.callers.filter(({ satisfied }) => satisfied).length,
    endings: endingsOf(cluster),
    timeline: cluster.timeline?.lines ?? [],
  };
}

async function live(cluster: Cluster): Promise<void> {
  const { clock, plan } = cluster;
  await cluster.start();
  for (const ask of plan.asks) clock.after(ask.at, null, () => cluster.ask(ask));
  for (const fault of plan.faults) clock.after(fault.at, null, () => inject(cluster, fault));
  await clock.runUntil(clock.startedAt + plan.calmAt);
  const calmAt = clock.now;
  calmDown(cluster);
  await untilQuiet(cluster, calmAt);
  await probe(cluster);
  judgeLoad(cluster);
  judgeToolsLoad(cluster);
  // Time goes on while the store is read: what it was told last may be on its way to its file.
  const [jobs] = await Promise.all([judgeLogs(cluster, calmAt), clock.runUntil(clock.now + 5000)]);
  judgeCallers(cluster, jobs);
  judgeOrder(cluster, jobs);
  judgeTools(cluster, jobs);
  if (cluster.found === null) await endAll(cluster);
  if (cluster.found !== null) throw cluster.found;
}

/** Whatever was broken for a time is whole again; who was killed is back. */
function calmDown(cluster: Cluster): void {
  const { network, store } = cluster;
  cluster.calm = true;
  cluster.malformed = 0;
  network.partitioned.clear();
  if (store instanceof StoreServer) store.downUntil = 0;
  for (const wire of network.wires) wire.disarm();
  for (const router of cluster.routers) router.node.thaw();
  for (const worker of cluster.workers) {
    worker.node.thaw();
    worker.pace.tokenMs = worker.usualTokenMs;
    worker.pace.failWith = null;
  }
  for (const worker of cluster.toolsWorkers) {
    worker.node.thaw();
    worker.callMs = worker.usualCallMs;
    worker.nonsense = 0;
  }
  for (const caller of cluster.callers) if (caller.waits && caller.slow) caller.drain(false);
}

async function untilQuiet(cluster: Cluster, calmAt: number): Promise<void> {
  const { clock } = cluster;
  // Jobs of a router that was killed a moment ago are taken over when its lease has lapsed and all have had time.
  await clock.runUntil(calmAt + takeOverMs);
  while (clock.now < calmAt + calmMsMax) {
    await clock.runUntil(clock.now + 1000);
    const busy = cluster.callers.some(({ waits }) => waits) || cluster.routers.some(({ life }) => isBusy(life?.front));
    const away =
      cluster.routers.some(({ listening }) => !listening) ||
      free(cluster) !== cluster.workers.length ||
      toolsAway(cluster);
    const unnoticed = [...cluster.network.wires].some(({ isDead }) => isDead);
    if (!busy && !away && !unnoticed) return;
  }
}

const isBusy = (front: { load: Readonly<Record<string, number>> } | undefined): boolean =>
  front === undefined || Object.values(front.load).some(count => count > 0);

/** Workers that are connected somewhere, by the slots that the routers count. */
function free(cluster: Cluster): number {
  let slots = 0;
  for (const { life } of cluster.routers) slots += life?.front.health().slots ?? 0;
  return slots / slotsOfWorkers;
}

/** The cluster works again: whoever asks now is answered. */
async function probe(cluster: Cluster): Promise<void> {
  const { clock, plan } = cluster;
  if (free(cluster) !== cluster.workers.length)
    cluster.wrong(`${cluster.workers.length} workers live, and the routers know ${free(cluster)} of them`);
  const asked = Array.from({ length: probes }, (_, n) =>
    cluster.ask({
      at: 0,
      family: n,
      streamed: n < probes / 2,
      prompt: `probe${plan.seed}.${n}${n === 3 && plan.shape.tools !== undefined ? ' #calls' : ''}`,
      tokensMax: Number.POSITIVE_INFINITY,
      keepMs: 0,
      keyed: n === 1,
      pick: n / probes,
    }),
  );
  const giveUpAt = clock.now + 15_000;
  while (clock.now < giveUpAt && asked.some(caller => caller?.satisfied !== true))
    await clock.runUntil(clock.now + 500);
  // What the answered ones leave behind is seen before its own deadline takes it away: a timer above all.
  await clock.runUntil(clock.now + tidyMs);
  for (const caller of asked)
    if (caller?.satisfied !== true)
      cluster.wrong(
        `all is calm, and ${caller?.name ?? 'nobody'} has no answer (${caller?.status} ${caller?.heard.error})`,
      );
}

function judgeLoad(cluster: Cluster): void {
  for (const { life, name } of cluster.routers) {
    if (life === null) {
      cluster.wrong(`the router ${name} is not back`);
      continue;
    }
    const { front, shards } = life;
    const held = Object.entries(front.load).filter(([, count]) => count > 0);
    const waiting = cluster.callers.filter(({ waits }) => waits).map(caller => caller.name);
    if (held.length > 0)
      cluster.wrong(`all is done, and ${name} still holds ${JSON.stringify(front.load)}; ${waiting} wait`);
    for (const { jobs, streams } of shards.sizes())
      if (jobs + streams > 0)
        cluster.wrong(`all is done, and a shard of ${name} holds ${jobs} jobs, ${streams} streams`);
    for (const thrown of shards.threw)
      cluster.wrong(`a shard of ${name} threw: ${thrown instanceof Error ? thrown.stack : String(thrown)}`);
  }
  for (const { engine, node } of cluster.workers)
    if ((engine?.active ?? 0) > 0) cluster.wrong(`all is done, and ${node.name} runs ${engine?.active} jobs`);
}

const connections = ({ routers }: Cluster): number =>
  routers.reduce((sum, { life }) => {
    const { workers = 0, toolsWorkers = 0 } = life?.front.health() ?? {};
    return sum + workers + toolsWorkers;
  }, 0);

/** Routers stop in order; nothing of them is left, no machine and no timer. */
async function endAll(cluster: Cluster): Promise<void> {
  const { clock } = cluster;
  for (const worker of [...cluster.workers, ...cluster.toolsWorkers]) cluster.killWorker(worker, false);
  // Of a machine that vanished with its process, nobody tells: silence is all there is.
  for (let n = 0; n < 12 && connections(cluster) > 0; n += 1) await clock.runUntil(clock.now + 2000);
  for (const { life, name } of cluster.routers)
    for (const { workers } of life?.shards.sizes() ?? [])
      if (workers > 0) cluster.wrong(`all workers are gone, and a shard of ${name} holds ${workers} connections`);
  let stopped = 0;
  for (const router of cluster.routers) {
    clock.after(0, router.node, () => void router.life?.stop(1000).then(() => (stopped += 1)));
  }
  await clock.runUntil(clock.now + 10_000);
  if (stopped < cluster.routers.length) cluster.wrong('a router that was told to stop has not');
  for (const { node, name } of cluster.routers) {
    const left = clock.waitingOf(node);
    if (left > 0) cluster.wrong(`${name} has stopped, and ${left} of its timers run`);
  }
}

function endingsOf({ callers }: Cluster): Map<string, number> {
  const endings = new Map<string, number>();
  for (const { satisfied, ending, malformed, heard } of callers) {
    const word = satisfied
      ? 'right'
      : malformed
        ? 'malformed'
        : heard.error !== null
          ? heard.error
          : (ending ?? 'waits');
    endings.set(word, (endings.get(word) ?? 0) + 1);
  }
  return endings;
}
