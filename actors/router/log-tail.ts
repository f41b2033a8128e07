/**
 * Follows a log by reading it again and again. Enough for logs that nobody writes any more, or not for long: those of
 * jobs that have ended.
 */
import { isTerminal } from '../../protocol/job-events.ts';
import type { LogEntry } from '../log/job-log.ts';
import { patiently } from './patiently.ts';
import type { Clock, LogPort, TailPort } from './ports.ts';

/** Entries in a page. */
const pageEntries = 256;
/** How soon a log that had nothing new is read again, ms. */
const againMs = 100;

/** `quietMsMax`: a job that says nothing for longer has no writer. */
export function tailByReading(log: LogPort, clock: Clock, quietMsMax: number): TailPort {
  return {
    async *tail(jobId, after, wanted) {
      let quietSince = clock.now();
      let toldEnd = false;
      for (let from = after; ; ) {
        const entries = await patiently(clock, wanted, () => log.read(jobId, from, pageEntries));
        if (entries === null) return;
        const last = entries.at(-1);
        if (last === undefined) {
          const gone = (await patiently(clock, wanted, () => log.read(jobId, undefined, 1)))?.length === 0;
          if (gone || !wanted()) return;
          if (!toldEnd) yield { entries: [], reachesEnd: true };
          toldEnd = true;
          if (clock.now() - quietSince > quietMsMax) throw new Error(`nobody has written its log for ${quietMsMax} ms`);
          await new Promise<void>(resolve => clock.after(againMs, resolve));
          continue;
        }
        quietSince = clock.now();
        from = { epoch: last.epoch, number: last.sequence + last.count - 1 };
        const over = entries.some(ends);
        toldEnd = over || entries.length < pageEntries;
        yield { entries, reachesEnd: toldEnd };
        if (over) return;
      }
    },
  };
}

const ends = ({ events }: LogEntry): boolean => events.some(({ type }) => isTerminal(type));
