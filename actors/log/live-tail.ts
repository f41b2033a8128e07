/**
 * Follows logs as other routers write them: what is there is read in pages, what comes later is heard from the one
 * blocking read of this router (watch.ts), so that a followed job costs no connection of its own.
 */
import { isTerminal } from '../../protocol/job-events.ts';
import type { Position } from '../../protocol/position.ts';
import type { JobLog } from './job-log.ts';
import { follows, LogCorrupt, type LogEntry, parseEntry } from './log-entry.ts';
import { logKey } from './log-keys.ts';
import type { Entry } from './store.ts';
import type { Watch } from './watch.ts';

const pageEntries = 256;
/** How often it is asked whether anybody still wants to know, ms. */
const askMs = 500;
/** A log that had nothing new for this long is looked at: it may have expired, or been removed. */
const lookMs = 10_000;

export interface LogPage {
  readonly entries: readonly LogEntry[];
  readonly reachesEnd: boolean;
}

const endOf = ({ epoch, sequence, count }: LogEntry): Position => ({ epoch, number: sequence + count - 1 });
const isOver = (entries: readonly LogEntry[]): boolean =>
  entries.some(({ events }) => events.some(({ type }) => isTerminal(type)));

/** `quietMsMax`: a job that says nothing for longer has no writer. */
export async function* liveTail(
  log: JobLog,
  watch: Watch,
  quietMsMax: number,
  jobId: string,
  after: Position,
  wanted: () => boolean,
): AsyncGenerator<LogPage> {
  let from = after;
  let previous: LogEntry | null = null;
  for (let whole = false; !whole; ) {
    const entries = await log.read(jobId, from, pageEntries);
    if (!wanted()) return;
    whole = entries.length < pageEntries;
    previous = entries.at(-1) ?? previous;
    if (previous === null && (await log.read(jobId, undefined, 1)).length === 0) return;
    if (previous !== null) from = endOf(previous);
    yield { entries, reachesEnd: whole || isOver(entries) };
    if (isOver(entries)) return;
  }

  let heard: Entry[] = [];
  let ring: () => void = () => undefined;
  const stop = watch.add(logKey(jobId), `${from.epoch}-${from.number}`, entries => {
    heard.push(...entries);
    ring();
  });
  try {
    for (let quietMs = 0; wanted(); ) {
      if (heard.length === 0)
        await new Promise<void>(resolve => {
          ring = resolve;
          setTimeout(resolve, askMs);
        });
      const raw = heard;
      heard = [];
      if (raw.length === 0) {
        quietMs += askMs;
        if (quietMs % lookMs === 0 && (await log.read(jobId, undefined, 1)).length === 0)
          throw new Error('its log is gone');
        if (quietMs > quietMsMax) throw new Error(`nobody has written its log for ${quietMsMax} ms`);
        continue;
      }
      quietMs = 0;
      const entries = raw.map(entry => parseEntry(jobId, entry));
      for (const entry of entries) {
        if (previous !== null && !follows(previous, entry))
          throw new LogCorrupt(jobId, entry.epoch, entry.sequence, 'the events before it are missing');
        previous = entry;
      }
      yield { entries, reachesEnd: true };
      if (isOver(entries)) return;
    }
  } finally {
    stop();
  }
}
