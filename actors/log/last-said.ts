/**
 * What a log says last. `job.adopted` may stand behind the end of a job, in entries of its own: of boots that came too
 * late to take it over. Whoever asks whether a job has ended looks behind those.
 */
import { isTerminal } from '../../protocol/job-events.ts';
import { logKey } from './log-keys.ts';
import type { Entry, Store } from './store.ts';

/** The last entry that says more than who writes; undefined: there is no log, or nothing else in it. */
export async function lastSaid(store: Pick<Store, 'xrevrange'>, jobId: string): Promise<Entry | undefined> {
  for (let until = '+'; ; ) {
    const [entry] = await store.xrevrange(logKey(jobId), until, '-', 'COUNT', 1);
    if (entry === undefined || !isAdoption(entry)) return entry;
    until = `(${entry[0]}`;
  }
}

/** Whether the last event of an entry is terminal. A broken entry is not: its job must be recovered, and fail aloud. */
export const endsLog = (entry: Entry): boolean => isTerminal(lastTypeOf(entry) ?? '');

/** Whether it says only that a boot has taken the job over. */
export const isAdoption = (entry: Entry): boolean => lastTypeOf(entry) === 'job.adopted';

function lastTypeOf([, fields]: Entry): string | null {
  try {
    const events: unknown = JSON.parse(fields[3] ?? '');
    const last: unknown = Array.isArray(events) ? events.at(-1) : null;
    return typeof last === 'object' && last !== null && 'type' in last ? String(last.type) : null;
  } catch {
    return null; // no JSON: the reader of this log says so with its position
  }
}
