/** What every caller must have in the end: its whole right answer, or one clear error that has a reason. */
import { failureOf } from '../../machines/shown.ts';
import type { CallerNode } from './caller-node.ts';
import type { Cluster } from './cluster.ts';
import type { JudgedJob } from './judge-logs.ts';
import type { FaultKind } from './tally.ts';

const storeFaults: readonly FaultKind[] = [
  'store reply lost',
  'store command lost',
  'store command doubled',
  'store down',
  'store restarted',
  'disk write failed',
  'disk write cut short',
];
const routerFaults: readonly FaultKind[] = [
  'router killed',
  'router frozen',
  'router drained',
  'clock jumped',
  'shard killed',
];
const workerFaults: readonly FaultKind[] = [
  'connection cut',
  'connection half-open',
  'network partition',
  'frame lost',
  'frame doubled',
  'frame garbled',
  'worker killed',
  'worker stopped',
  'worker frozen',
  'engine failed',
  'engine crashed',
];
/** How long before a failure its cause may lie. */
const causeMs = 40_000;

export function judgeCallers(cluster: Cluster, jobs: ReadonlyMap<string, JudgedJob>): void {
  judgeKeys(cluster, jobs);
  for (const caller of cluster.callers) judge(cluster, caller, jobs.get(caller.jobId));
}

/** However often a request with a key was sent, it was answered by one job. */
function judgeKeys(cluster: Cluster, jobs: ReadonlyMap<string, JudgedJob>): void {
  const completed = new Map<string, string>();
  for (const { jobId, submitted, end } of jobs.values()) {
    const key = submitted.idempotency;
    if (key === undefined || end.type !== 'job.completed') continue;
    const other = completed.get(key);
    if (other !== undefined) cluster.wrong(`${other} and ${jobId} both answer the request with the key ${key}`);
    completed.set(key, jobId);
  }
}

function judge(cluster: Cluster, caller: CallerNode, job: JudgedJob | undefined): void {
  const { tally } = cluster;
  const end = job?.end;
  const had = (kinds: readonly FaultKind[]): boolean =>
    tally.had(kinds, caller.askedAt - causeMs, (caller.ending === null ? cluster.clock.now : caller.endedAt) + 1);
  const wrong = (what: string): void => {
    const told = end === undefined ? 'no log' : JSON.stringify(end);
    cluster.wrong(
      `${caller.name} asked ${JSON.stringify(caller.ask.prompt)}: ${what} (status ${caller.status}, ${told})`,
    );
  };
  const { heard, truth } = caller;
  switch (caller.ending) {
    case null:
      return wrong('it waits still');
    case 'left': {
      if (end === undefined || end.type === 'job.completed') return;
      // A job that goes to another router meanwhile is kept from then on, and again at the next one.
      const moves = job?.events.filter(({ type }) => type === 'job.adopted').length ?? 0;
      const keptMs = caller.ask.keepMs * (1 + moves);
      const lateMs = end.at - Math.max(caller.leftAt, caller.cutHeardAt) - keptMs;
      const excused = tally.had(
        [...storeFaults, ...routerFaults],
        caller.leftAt - 8000,
        caller.leftAt + caller.ask.keepMs + 2000,
      );
      const delayed = tally.delays.has('store slow') || tally.delays.has('disk slow') || tally.delays.has('shard slow');
      if (lateMs > 1000 && !excused && !delayed) wrong(`it left, and its job ended ${lateMs} ms later`);
      return;
    }
    case 'lost':
      return;
    case 'cut by the router':
      if (!had([...storeFaults, ...routerFaults]))
        wrong('its connection was cut, and nothing was wrong with store or router');
      return;
    case 'answered':
      break;
  }
  if (caller.status === 200 && heard.error === null) {
    if (heard.ends !== 1) return wrong(`its answer has ${heard.ends} ends`);
    if (heard.text !== truth.text || (heard.reasoning !== truth.reasoning && caller.family.textOnly !== true))
      return wrong('its answer is not whole');
    // A jump of the clock may let a finished log expire.
    if (end === undefined && tally.had(['clock jumped'], 0, Number.POSITIVE_INFINITY)) return;
    if (end?.type !== 'job.completed') return wrong('it was given a whole answer of a job that did not complete');
    return;
  }
  const code = heard.error;
  if (code === null) return wrong('neither answer nor error');
  if (caller.malformed) {
    const turned = had([...storeFaults, ...routerFaults]) || cluster.plan.shape.maxQueue < 10;
    if (caller.status !== 400 && !turned) wrong(`a malformed request was answered with ${code}`);
    return;
  }
  const failed = end?.type === 'job.failed' || end?.type === 'job.expired' || end?.type === 'job.cancelled';
  const told = failed ? failureOf(end).code : null;
  // As above: what it was told stood in the log while there was one.
  if (end === undefined && !caller.turned && tally.had(['clock jumped'], 0, Number.POSITIVE_INFINITY)) return;
  if (caller.guessed && code.startsWith('not_found')) return;
  // While no worker is there that makes vectors.
  if (code === 'not_implemented' && caller.family.api === 'openai.embeddings' && had(workerFaults)) return;
  if (end === undefined || caller.turned) {
    // Turned away, or nobody could write that it came.
    if (had([...storeFaults, ...routerFaults]) || cluster.plan.shape.maxQueue < 10) return;
    return wrong(`it was refused with ${code}, and nothing was wrong`);
  }
  if (caller.family.api === 'openai.chat' && code !== told) {
    if (code === 'store_unavailable' && had(storeFaults)) return;
    if (code === 'poisoned_input' && had(['shard killed'])) return;
    if (end.type === 'job.cancelled' && caller.resumes > 0) return;
    if (caller.resumes > 0 && had([...storeFaults, ...routerFaults])) return;
    return wrong(`it was told ${code}`);
  }
  if (end.type === 'job.completed') {
    if (had([...storeFaults, ...routerFaults])) return;
    return wrong(`it was told ${code}, and its job completed`);
  }
  if (end.type !== 'job.failed') return;
  const causes: Readonly<Record<string, readonly FaultKind[]>> = {
    worker_lost: [...workerFaults, 'router killed', 'router frozen', 'router drained'],
    shutting_down: ['router drained'],
    worker_error: ['frame garbled', 'engine failed', 'engine crashed'],
    poisoned_input: ['shard killed'],
  };
  const cause = causes[end.code];
  if (cause !== undefined && !had(cause)) return wrong(`its job failed with ${end.code}, and nobody gave it a cause`);
  if (cause === undefined && !['server_overloaded', 'queue_full', 'timeout'].includes(end.code))
    wrong(`its job failed with ${end.code}`);
}
