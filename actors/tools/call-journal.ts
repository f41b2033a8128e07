/**
 * What this worker did for which tool job, so that a job that is sent again is not run again.
 *
 * J1. A job that was begun is known until its result is acknowledged and for `keepMs` after, or until the caps.
 * J2. What is dropped while it was not acknowledged makes the journal *incomplete*: from then on "not here" does not
 *     mean "never run".
 * J3. At the cap of bytes results go before keys do: the answer is `outcome_unknown` then, and never a second run.
 */
import type { ToolResultFrame } from '../../protocol/worker-frames.tools.ts';

export interface JournalEntry {
  readonly jobId: string;
  /** null while it runs. */
  result: ToolResultFrame | null;
  /** The router has it in its log. */
  acknowledged: boolean;
  /** It was handed to an open connection. */
  sent: boolean;
}

export interface CallJournal {
  get(jobId: string): JournalEntry | undefined;
  begin(jobId: string): JournalEntry;
  end(entry: JournalEntry, result: ToolResultFrame, now: number): void;
  acknowledge(jobId: string): void;
  /** Those that run, and those whose results are not acknowledged, in the order they began. */
  open(): readonly JournalEntry[];
  /** False once something was dropped that nobody had acknowledged. */
  readonly complete: boolean;
  readonly bytes: number;
  readonly size: number;
}

export interface JournalCaps {
  readonly entriesMax: number;
  readonly bytesMax: number;
  readonly keepMs: number;
}

export const journalCaps: JournalCaps = { entriesMax: 16_384, bytesMax: 64 * 2 ** 20, keepMs: 600_000 };

interface Kept extends JournalEntry {
  bytes: number;
  endedAt: number;
}

export function openJournal(caps: JournalCaps = journalCaps): CallJournal {
  /** In the order they began. */
  const entries = new Map<string, Kept>();
  /** In the order they ended; what is first goes first. */
  const ended = new Set<Kept>();
  let bytes = 0;
  let complete = true;

  const forget = (entry: Kept): void => {
    entries.delete(entry.jobId);
    ended.delete(entry);
    bytes -= entry.bytes;
    if (!entry.acknowledged) complete = false;
  };
  const strip = (entry: Kept): void => {
    if (entry.result === null) return;
    const { result: _, image_parts: __, ...ids } = entry.result;
    entry.result = { ...ids, error: 'the call was run, but its result is not kept any more', code: 'outcome_unknown' };
    bytes -= entry.bytes;
    entry.bytes = 0;
  };
  const keepToCaps = (now: number): void => {
    for (const entry of ended) {
      if (now - entry.endedAt < caps.keepMs && entries.size <= caps.entriesMax) break;
      forget(entry);
    }
    for (const wanted of [true, false])
      for (const entry of ended) {
        if (bytes <= caps.bytesMax) return;
        if (entry.acknowledged === wanted) strip(entry);
      }
  };

  return {
    get: jobId => entries.get(jobId),
    begin(jobId) {
      const entry: Kept = { jobId, result: null, acknowledged: false, sent: false, bytes: 0, endedAt: 0 };
      entries.set(jobId, entry);
      return entry;
    },
    end(entry, result, now) {
      const kept = entries.get(entry.jobId);
      if (kept === undefined || kept.result !== null) return;
      kept.result = result;
      kept.endedAt = now;
      kept.bytes = JSON.stringify(result).length;
      bytes += kept.bytes;
      ended.add(kept);
      keepToCaps(now);
    },
    acknowledge(jobId) {
      const entry = entries.get(jobId);
      if (entry !== undefined && entry.result !== null) entry.acknowledged = true;
    },
    open: () => [...entries.values()].filter(({ result, acknowledged }) => result === null || !acknowledged),
    get complete() {
      return complete;
    },
    get bytes() {
      return bytes;
    },
    get size() {
      return entries.size;
    },
  };
}
