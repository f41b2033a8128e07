/**
 * The order in which a router's queue gives jobs out: who was there first is served first. Jobs that lost a worker come
 * before (they are not looked at), and where several routers share, whoever has a slot free takes what it gets.
 */
import type { Cluster } from './cluster.ts';
import type { JudgedJob } from './judge-logs.ts';
import type { FaultKind } from './tally.ts';

/** A match may come to nothing, and its job is back in the line a moment later. */
const momentMs = 1000;
/** A job is in the line once the store has it, and its shard has said so. */
const excuses: readonly FaultKind[] = [
  'store reply lost',
  'store command lost',
  'store down',
  'store restarted',
  'disk write failed',
  'disk write cut short',
  'shard killed',
];

export function judgeOrder(cluster: Cluster, jobs: ReadonlyMap<string, JudgedJob>): void {
  const { routers, tools, workers } = cluster.plan.shape;
  const old = workers.some(({ version }) => version === 1);
  if (routers > 1 || tools !== undefined) return;
  if (cluster.tally.had(['clock jumped'], 0, Number.POSITIVE_INFINITY)) return;
  const fresh = [...jobs.values()].flatMap(({ jobId, submitted, events, end }) => {
    // One that another boot took over has a place of its own in its line.
    if (events.some(({ type }) => type === 'job.adopted')) return [];
    // One that not every worker can run lets others go before it.
    if (old && submitted.request.embed !== undefined) return [];
    const given = events.find(({ type }) => type === 'job.assigned') ?? end;
    return [{ jobId, boot: submitted.boot, cameAt: submitted.at, given, givenAt: given.at }];
  });
  fresh.sort((a, b) => a.cameAt - b.cameAt);
  for (const [n, later] of fresh.entries()) {
    if (later.given.type !== 'job.assigned') continue;
    for (const earlier of fresh.slice(0, n)) {
      if (earlier.boot !== later.boot || earlier.cameAt + momentMs > later.cameAt) continue;
      if (earlier.givenAt <= later.givenAt + momentMs) continue;
      if (!cluster.tally.had(excuses, earlier.cameAt - momentMs, later.givenAt))
        cluster.wrong(
          `${later.jobId} came ${later.cameAt - earlier.cameAt} ms after ${earlier.jobId} and was given out ${earlier.givenAt - later.givenAt} ms before it`,
        );
    }
  }
}
