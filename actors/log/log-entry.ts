/**
 * One entry of a job's log, read back: the stored words become checked events, or the log is called corrupt.
 *
 * Old envelope versions are lifted here, and nowhere else.
 */
import Type from 'typebox';
import { envelopeVersion, JobEvent } from '../../protocol/job-events.ts';
import { formatPosition } from '../../protocol/position.ts';
import { check } from '../../protocol/schema.ts';
import type { Entry } from './store.ts';

export interface LogEntry {
  readonly epoch: number;
  /** Number, within the epoch, of the first event. */
  readonly sequence: number;
  readonly count: number;
  readonly events: readonly JobEvent[];
  /** `events` as JSON text. */
  readonly text: string;
  /** Length of `text` in UTF-8. */
  readonly bytes: number;
}

/** A log that cannot be what a writer wrote. Trying again does not help. */
export class LogCorrupt extends Error {
  readonly code = 'log_corrupt';
  readonly retryable = false;

  constructor(jobId: string, epoch: number, sequence: number, why: string) {
    super(`The log of job ${jobId} is corrupt at ${formatPosition({ epoch, number: sequence })}: ${why}.`);
    this.name = 'LogCorrupt';
  }
}

const checkEvents = check(Type.Array(JobEvent, { minItems: 1 }));

export function parseEntry(jobId: string, [id, fields]: Entry): LogEntry {
  const { epoch, sequence } = parseId(jobId, id);
  const corrupt = (why: string): LogCorrupt => new LogCorrupt(jobId, epoch, sequence, why);
  const [vName, version, eName, text, ...rest] = fields;
  if (vName !== 'v' || eName !== 'e' || version === undefined || text === undefined || rest.length > 0)
    throw corrupt(`its fields are ${fields.filter((_, i) => i % 2 === 0).join(', ')} instead of v, e`);
  if (version !== envelopeVersion)
    throw corrupt(`its envelope version is ${version}, and this program reads ${envelopeVersion}`);
  const parsed = checkEvents(parseJson(text, corrupt));
  if (!parsed.ok) throw corrupt(`event ${parsed.path} ${parsed.message}`);
  return { epoch, sequence, count: parsed.value.length, events: parsed.value, text, bytes: Buffer.byteLength(text) };
}

/** The rest of `entry` behind event `number` of its epoch. */
export function entryAfter(entry: LogEntry, number: number): LogEntry {
  const events = entry.events.slice(number + 1 - entry.sequence);
  const text = JSON.stringify(events);
  return {
    epoch: entry.epoch,
    sequence: number + 1,
    count: events.length,
    events,
    text,
    bytes: Buffer.byteLength(text),
  };
}

/** Whether `next` may stand right behind `before` (null: at the start of a log). */
export function follows(before: LogEntry | null, next: LogEntry): boolean {
  if (before !== null && before.epoch === next.epoch) return next.sequence === before.sequence + before.count;
  return next.sequence === 1;
}

function parseId(jobId: string, id: string): { epoch: number; sequence: number } {
  const [epoch, sequence] = id.split('-').map(Number);
  if (epoch === undefined || sequence === undefined || !Number.isSafeInteger(epoch) || !Number.isSafeInteger(sequence))
    throw new LogCorrupt(jobId, 0, 0, `it holds an entry with the id ${id}`);
  return { epoch, sequence };
}

function parseJson(text: string, corrupt: (why: string) => LogCorrupt): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw corrupt(`its events are no JSON (${error instanceof Error ? error.message : error})`);
  }
}
