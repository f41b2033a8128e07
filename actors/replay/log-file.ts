/**
 * A job's log as a file, to keep it longer than the store does or to show it to somebody else: JSON, one object a line.
 * The first line is `{"auxotLog":1,"jobId":"…"}`; each further one is an entry, `{"epoch":1,"sequence":1,"events":[…]}`.
 *
 * What stays true: the events are those of the log, unchanged. A file holds what callers and models said, so only its
 * owner may read it, and no file that is there already is written over.
 */
import { open, readFile, stat } from 'node:fs/promises';
import Type from 'typebox';
import { JobEvent } from '../../protocol/job-events.ts';
import { check } from '../../protocol/schema.ts';
import type { ReplayEntry } from './replay.ts';

const format = 1;
/** Twice the cap of one job's log with the defaults of a router; more cannot come from one. */
const fileBytesMax = 256 * 2 ** 20;

const checkHeader = check(Type.Object({ auxotLog: Type.Integer(), jobId: Type.String() }));
const checkEntry = check(
  Type.Object({
    epoch: Type.Integer({ minimum: 1 }),
    sequence: Type.Integer({ minimum: 1 }),
    events: Type.Array(JobEvent, { minItems: 1 }),
  }),
);

/** What is wrong with a log file, and where. */
export class LogFileError extends Error {
  readonly code = 'log_file';
  readonly retryable = false;

  constructor(path: string, line: number, why: string) {
    super(`${path}, line ${line}: ${why}.`);
    this.name = 'LogFileError';
  }
}

export interface LogFile {
  readonly jobId: string;
  /** Throws LogFileError at the first line that is no entry. */
  entries(): Generator<ReplayEntry>;
}

export async function readLogFile(path: string): Promise<LogFile> {
  const { size } = await stat(path).catch(error => {
    throw isMissing(error) ? new Error(`There is no file ${path}.`) : error;
  });
  if (size > fileBytesMax)
    throw new LogFileError(path, 1, `a log has at most ${fileBytesMax} bytes, and this file ${size}`);
  const lines = (await readFile(path, 'utf8')).split('\n');
  const [first = ''] = lines;
  const header = checkHeader(parsed(first));
  if (!header.ok) {
    const wanted =
      'the first line must be {"auxotLog":1,"jobId":"…"}, as "auxot-router replay JOB --export FILE" writes it';
    throw new LogFileError(path, 1, `this is no exported log: ${wanted}`);
  }
  const { auxotLog, jobId } = header.value;
  if (auxotLog !== format)
    throw new LogFileError(path, 1, `its format is ${auxotLog}, and this program reads ${format}`);
  return { jobId, entries: () => entriesOf(path, lines) };
}

/** Writes a log and answers the number of its events. What was read of a damaged one stays written when its reader throws. */
export async function writeLogFile(path: string, jobId: string, entries: AsyncIterable<ReplayEntry>): Promise<number> {
  const file = await open(path, 'wx', 0o600).catch(error => {
    throw isTaken(error) ? new Error(`${path} exists already; move it away first, or name another file.`) : error;
  });
  try {
    let count = 0;
    await file.write(`${JSON.stringify({ auxotLog: format, jobId })}\n`);
    for await (const { epoch, sequence, events } of entries) {
      await file.write(`${JSON.stringify({ epoch, sequence, events })}\n`);
      count += events.length;
    }
    return count;
  } finally {
    await file.close();
  }
}

function* entriesOf(path: string, lines: readonly string[]): Generator<ReplayEntry> {
  for (const [index, line] of lines.entries()) {
    if (index === 0 || (line === '' && index === lines.length - 1)) continue;
    const value = parsed(line);
    if (value === undefined) {
      const torn = index === lines.length - 1;
      throw new LogFileError(path, index + 1, torn ? 'the line is cut off: the file is not whole' : 'this is no JSON');
    }
    const entry = checkEntry(value);
    if (!entry.ok) throw new LogFileError(path, index + 1, `${entry.path} ${entry.message}`);
    yield entry.value;
  }
}

/** Undefined for a text that is no JSON: JSON itself has no undefined. */
function parsed(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch {
    return undefined; // the caller knows the line and says what is wrong
  }
}

const isMissing = (error: unknown): boolean => error instanceof Error && 'code' in error && error.code === 'ENOENT';
const isTaken = (error: unknown): boolean => error instanceof Error && 'code' in error && error.code === 'EEXIST';
