/** What the logs tell afterwards: how long callers waited for a moved job, and how long for another router. */
import type { Store } from '../../actors/log/job-log.ts';
import { StoredLogs } from '../../actors/replay/stored-logs.ts';
import { isTerminal, type JobEvent } from '../../protocol/job-events.ts';
import type { Done } from './faults.ts';

export interface LogFigures {
  readonly jobs: number;
  /** Of jobs that have not ended, by id: their events, one a line. */
  readonly openEvents: ReadonlyMap<string, string>;
  readonly corrupt: readonly string[];
  /** From the last word before a loss to the first behind it, ms, by what was lost and how it went on. */
  readonly gapsMs: ReadonlyMap<string, readonly number[]>;
  /** From a router's kill to the instant at which another, or its next life, had a job of its, ms. */
  readonly takeOversMs: readonly number[];
}

/** A take-over that comes later than this after a kill is some other fault's. */
const takeOverMsMax = 10_000;

export async function readLogs(store: Store, jobsMax: number, done: readonly Done[]): Promise<LogFigures> {
  const logs = new StoredLogs(store);
  const known = await logs.newest(jobsMax);
  const openEvents = new Map<string, string>();
  const corrupt: string[] = [];
  const gapsMs = new Map<string, number[]>();
  const adoptedAt: number[] = [];
  for (const { jobId } of known) {
    const events: JobEvent[] = [];
    try {
      for await (const entry of logs.entries(jobId)) events.push(...entry.events);
    } catch (error) {
      corrupt.push(`${jobId}: ${error}`);
    }
    if (!events.some(({ type }) => isTerminal(type)))
      openEvents.set(jobId, events.map(event => `${JSON.stringify(event)}\n`).join(''));
    for (const [what, ms] of gapsOf(events)) gapsMs.set(what, [...(gapsMs.get(what) ?? []), ms]);
    adoptedAt.push(...events.flatMap(({ type, at }) => (type === 'job.adopted' ? [at] : [])));
  }
  const kills = done.filter(({ kind }) => kind === 'router killed');
  const takeOversMs = kills.flatMap(({ at }, index) => {
    const before = Math.min(at + takeOverMsMax, kills[index + 1]?.at ?? Number.POSITIVE_INFINITY);
    const taken = adoptedAt.filter(instant => instant >= at && instant < before);
    return taken.length === 0 ? [] : [Math.min(...taken) - at];
  });
  return { jobs: known.length, openEvents, corrupt, gapsMs, takeOversMs };
}

function* gapsOf(events: readonly JobEvent[]): Generator<[string, number]> {
  let saidAt: number | null = null;
  let lost: { readonly reason: string; readonly saidAt: number } | null = null;
  let how = '';
  for (const event of events) {
    if (event.type === 'job.orphaned' && saidAt !== null) lost ??= { reason: event.reason, saidAt };
    else if (event.type === 'job.assigned') how = 'another worker';
    else if (event.type === 'job.resumed') how = 'the same worker';
    else if (event.type === 'output.appended' || event.type === 'job.completed') {
      if (lost !== null) yield [`${lost.reason}, on with ${how}`, event.at - lost.saidAt];
      lost = null;
      saidAt = event.at;
    }
  }
}

export const quantile = (values: readonly number[], share: number): number =>
  [...values].sort((a, b) => a - b)[Math.min(values.length - 1, Math.floor(values.length * share))] ?? 0;

export function spread(values: readonly number[]): string {
  if (values.length === 0) return 'none';
  const [half, most] = [0.5, 0.99].map(share => Math.round(quantile(values, share)));
  return `p50 ${half} ms, p99 ${most} ms (${values.length} times)`;
}
