/**
 * What tool rounds must have come to: nothing ran twice that may not; what the log says a worker answered was run, and is
 * the answer; and where no tools worker died, every call was run.
 */
import type { Cluster } from './cluster.ts';
import type { JudgedJob } from './judge-logs.ts';
import { resultOf } from './tool-truth.ts';
import { callMs } from './tools-plan.ts';

const deaths = ['tools worker killed', 'tools worker stopped'] as const;
/** Whoever cannot be reached for long, or does not know what time it is, is given up with reason. */
const absences = [
  ...deaths,
  'tools worker frozen',
  'network partition',
  'router frozen',
  'router killed',
  'router drained',
  'store down',
  'store restarted',
  'disk write failed',
  'disk write cut short',
  'clock jumped',
] as const;
/** How long before a call's end its cause may lie. */
const causeMs = 2 * callMs;

export function judgeTools(cluster: Cluster, jobs: ReadonlyMap<string, JudgedJob>): void {
  const { toolBook, tally, plan } = cluster;
  const { twice } = toolBook;
  if (twice !== null) cluster.wrong(`the call ${twice} was run twice`);
  for (const { jobId, events } of jobs.values()) {
    const calls = new Map<string, { name: string; key: string }>();
    for (const event of events) {
      if (event.type === 'toolRound.started')
        for (const { callId, name, arguments: json } of event.calls)
          calls.set(callId, { name, key: JSON.parse(json).key });
      if (event.type !== 'toolCall.finished') continue;
      const { key = '', name = '' } = calls.get(event.callId) ?? {};
      const times = toolBook.timesOf(jobId, key);
      const wrong = (what: string): void =>
        cluster.wrong(`the call ${event.callId} of ${jobId} (${name} ${key}) ${what}`);
      if (event.error === undefined && times === 0) wrong(`has a result and was never run`);
      if (event.error === undefined && event.result !== resultOf(key)) wrong(`has the result ${event.result}`);
      if (event.code === 'unknown_tool' && times > 0) wrong('was run, and its model is told that nobody has the tool');
      const outcome = event.code;
      if (outcome !== 'outcome_unknown') continue;
      const between: [number, number] = [event.at - causeMs, event.at];
      const causes = plan.shape.routers === 1 ? deaths : absences;
      const excused = tally.had(causes, ...between) || tally.had(['clock jumped'], 0, Number.POSITIVE_INFINITY);
      if (!excused && !isLongAway(cluster, between)) wrong('has an unknown outcome, and its tools worker lived');
    }
  }
}

/** Several absences may follow each other until the grace is over. */
function isLongAway({ tally }: Cluster, [from, until]: [number, number]): boolean {
  return tally.at.filter(({ at, kind }) => at >= from && at <= until && absences.some(one => one === kind)).length > 1;
}

/** At rest, no tools worker runs or waits for anything, and no router holds a call. */
export function judgeToolsLoad(cluster: Cluster): void {
  for (const { life, name } of cluster.routers)
    if ((life?.front.tools.size ?? 0) > 0)
      cluster.wrong(`all is done, and ${name} still holds ${life?.front.tools.size} tool calls`);
  for (const worker of cluster.toolsWorkers)
    if (worker.busy) cluster.wrong(`all is done, and ${worker.name} runs calls`);
}

/** Some tools worker is not connected anywhere. */
export function toolsAway({ routers, toolsWorkers }: Cluster): boolean {
  const known = routers.reduce((sum, { life }) => sum + (life?.front.tools.workers ?? 0), 0);
  return known !== toolsWorkers.length;
}
