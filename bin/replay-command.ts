/**
 * `auxot-router replay`: steps through a job's log, from the store of a running or stopped router, from Redis, or from a
 * file.
 *
 * It reads: it takes no lock, changes nothing, and needs no keys. Stdout holds what was asked for and nothing else, so
 * that it can be piped; what is wrong goes to stderr.
 */
import { resolve } from 'node:path';
import { maskUrl, type TextSink } from '../actors/config/diagnostics.ts';
import { formatDuration } from '../actors/config/duration.ts';
import { type Env, readDurationMs, readOptional, readString } from '../actors/config/env.ts';
import { type Flags, parseFlags, UsageError } from '../actors/config/flags.ts';
import { openReadOnly } from '../actors/log/embedded-redis.ts';
import { jobLogDefaults, LogCorrupt, type Store } from '../actors/log/job-log.ts';
import { openStore } from '../actors/log/redis.ts';
import { readLogFile, writeLogFile } from '../actors/replay/log-file.ts';
import { footText, headText, type JobRow, jobsText, stepJson, stepText, type Width } from '../actors/replay/print.ts';
import { Replay, type ReplayEntry, ReplayStopped, type Step } from '../actors/replay/replay.ts';
import { isMeant, type KnownJob, StoredLogs } from '../actors/replay/stored-logs.ts';
import { comparePositions, parsePosition } from '../protocol/position.ts';
import { type Output, watchOutput } from './watched-output.ts';

export interface ReplayIo {
  readonly out: Output;
  readonly err: TextSink;
}

const command = 'auxot-router replay';
const listedMax = 20;
const candidatesMax = 10;
const columnsDefault = 120;
const columnsMin = 40;

export const replayHelp = `Usage: auxot-router replay [JOB] [flags]

Steps through the log of a job: each event, the job's state before and after it, what the job's machine asked for, and
the bytes that the caller got. Nothing is sent or changed. Without JOB, the newest ${listedMax} jobs are listed.

JOB is the id of a job (the "id" of its answer), or the beginning of one.

  --json            one JSON object a line
  --bytes           exactly what the caller got, and nothing else
  --until WHERE     stop behind this many events, or behind a position such as 1-17.0
  --full            do not cut lines to the width of the terminal
  --file FILE       read the log from a file that --export wrote
  --export FILE     write the log to a file: it holds the request and the answer in plain text
  -h, --help        this text

The log is read from AUXOT_REDIS_URL if that is set, else from the embedded store in AUXOT_DATA_DIR (default .auxot),
also while a router runs on it. Logs of finished jobs are kept for AUXOT_LOG_RETENTION (default 1h).
`;

const specs = {
  json: 'switch',
  bytes: 'switch',
  until: 'value',
  full: 'switch',
  file: 'value',
  export: 'value',
  help: 'switch',
} as const;
type ReplayFlags = Flags<keyof typeof specs>;

/** Runs the command and gives the exit status: 0 done, 1 failed, 2 misused. `env` has the values of .env in it. */
export async function replayJob(args: readonly string[], env: Env, io: ReplayIo): Promise<number> {
  const out = watchOutput(io.out);
  try {
    await run(args, env, { out, err: io.err });
    await out.settled();
    return 0;
  } catch (error) {
    // Whoever read our output (`| head`) has enough.
    if (error instanceof Error && 'code' in error && error.code === 'EPIPE') return 0;
    const message = error instanceof Error ? error.message : String(error);
    io.err.write(`${message.startsWith(command) ? '' : `${command}: `}${message}\n`);
    return error instanceof UsageError ? error.exitCode : 1;
  }
}

async function run(args: readonly string[], env: Env, io: ReplayIo): Promise<void> {
  const flags = parseFlags(command, args, specs, { restMax: 1 });
  if (flags.has('help')) {
    io.out.write(replayHelp);
    return;
  }
  const [word] = flags.rest;
  checkTogether(flags, word);
  const view = viewOf(flags, env, io);
  const path = flags.value('file');
  if (path !== undefined) {
    const { jobId, entries } = await readLogFile(path);
    if (word !== undefined && !isMeant(jobId, word))
      throw new Error(`${path} holds the log of job ${jobId}, not of ${word}.`);
    await play(jobId, entries(), view, io);
    return;
  }
  const { store, name } = await openToRead(env);
  try {
    const logs = new StoredLogs(store);
    if (word === undefined) {
      await list(logs, name, flags.has('json'), view.width, io);
      return;
    }
    const jobId = await found(logs, word, name, env);
    const to = flags.value('export');
    if (to === undefined) await play(jobId, logs.entries(jobId), view, io);
    else io.err.write(`${await writeLogFile(to, jobId, logs.entries(jobId))} events of job ${jobId} are in ${to}\n`);
  } finally {
    store.disconnect();
  }
}

function checkTogether(flags: ReplayFlags, word: string | undefined): void {
  const given = (['json', 'bytes', 'until', 'full', 'file'] as const).filter(name => flags.has(name));
  if (flags.has('json') && flags.has('bytes')) throw new UsageError(`${command}: give --json or --bytes, not both`);
  if (flags.has('export') && given.length > 0) {
    throw new UsageError(`${command}: --export writes the whole log of a store; it does not go with --${given[0]}`);
  }
  if (word !== undefined || flags.has('file')) return;
  for (const name of ['bytes', 'until', 'export'] as const)
    if (flags.has(name)) throw new UsageError(`${command}: --${name} needs a JOB. Without flags, the jobs are listed.`);
}

interface View {
  readonly kind: 'text' | 'json' | 'bytes';
  readonly width: Width;
  readonly isLast: (step: Step, count: number) => boolean;
}

function viewOf(flags: ReplayFlags, env: Env, { out }: ReplayIo): View {
  const columns = out.columns ?? (Number(env.COLUMNS) || columnsDefault);
  return {
    kind: flags.has('json') ? 'json' : flags.has('bytes') ? 'bytes' : 'text',
    width: flags.has('full') ? null : Math.max(columns, columnsMin),
    isLast: untilOf(flags.value('until')),
  };
}

function untilOf(text: string | undefined): View['isLast'] {
  if (text === undefined) return () => false;
  const until = parsePosition(text);
  if (until !== null) return ({ position }) => comparePositions(position, until) >= 0;
  if (/^[1-9]\d{0,14}$/.test(text)) return (_, count) => count >= Number(text);
  const fix = 'write a number of events from 1, or a position such as 1-17.0';
  throw new UsageError(`${command}: --until ${JSON.stringify(text)} is neither a count nor a position: ${fix}`);
}

/** Where jobs are kept: what a router with these settings would open. Its keys are not asked for. */
async function openToRead(env: Env): Promise<{ store: Store; name: string }> {
  const redisUrl = readOptional(env, 'AUXOT_REDIS_URL');
  if (redisUrl !== null)
    return { store: await openStore({ redisUrl, dataDir: null }), name: `Redis at ${maskUrl(redisUrl)}` };
  const dataDir = readString(env, 'AUXOT_DATA_DIR', '.auxot');
  if (dataDir === ':memory:') {
    throw new Error(
      'AUXOT_DATA_DIR=:memory: keeps nothing that another program can read. Set it to a folder, or use Redis.',
    );
  }
  const directory = resolve(dataDir);
  const store = await openReadOnly(directory).catch(error => {
    if (!(error instanceof Error && 'code' in error && error.code === 'ENOENT')) throw error;
    const fix = 'Run this where the router was started, or set AUXOT_DATA_DIR or AUXOT_REDIS_URL to what it uses.';
    throw new Error(`there is no store in ${directory}. ${fix}`);
  });
  return { store, name: `the embedded store in ${directory}` };
}

async function found(logs: StoredLogs, word: string, name: string, env: Env): Promise<string> {
  const match = await logs.find(word);
  switch (match.kind) {
    case 'one':
      return match.jobId;
    case 'many': {
      const shown = match.jobIds.slice(0, candidatesMax);
      const more = match.jobIds.length - shown.length;
      const rest = more > 0 ? `\n  and ${more} more` : '';
      throw new Error(
        `${match.jobIds.length} jobs begin with ${word}:\n${shown.map(id => `  ${id}`).join('\n')}${rest}`,
      );
    }
    case 'none': {
      const retentionMs = readDurationMs(env, 'AUXOT_LOG_RETENTION', { fallbackMs: jobLogDefaults.retentionMs });
      const hint = match.near === null ? `"${command}" lists the newest.` : `Did you mean ${match.near}?`;
      const kept = `Logs are kept for ${formatDuration(retentionMs)} after the end of a job (AUXOT_LOG_RETENTION), and the oldest less long when space is short.`;
      throw new Error(`there is no job ${JSON.stringify(word)} in ${name}. ${kept} ${hint}`);
    }
  }
}

async function play(
  jobId: string,
  entries: AsyncIterable<ReplayEntry> | Iterable<ReplayEntry>,
  { kind, width, isLast }: View,
  { out }: ReplayIo,
): Promise<void> {
  const replay = new Replay({ jobId });
  let last: Step | null = null;
  let events = 0;
  let bytes = 0;
  reading: for await (const entry of entries)
    for (const step of replay.take(entry)) {
      if (kind === 'json') out.write(stepJson(step));
      else if (kind === 'bytes') out.write(step.caller.bytes);
      else {
        if (step.event.type === 'job.submitted') out.write(headText(step.event, width));
        out.write(stepText(step, width));
      }
      last = step;
      events += 1;
      bytes += Buffer.byteLength(step.caller.bytes);
      if (isLast(step, events)) break reading;
    }
  const { job } = replay;
  if (job === null || last === null) throw new Error(`the log of job ${jobId} is empty.`);
  if (kind === 'text') out.write(footText(job, last, events, bytes, width));
}

async function list(logs: StoredLogs, name: string, json: boolean, width: Width, { out }: ReplayIo): Promise<void> {
  const rows: JobRow[] = [];
  for (const job of await logs.newest(listedMax)) rows.push(await rowOf(logs, job));
  if (json) for (const row of rows) out.write(`${JSON.stringify(row)}\n`);
  else out.write(rows.length === 0 ? `There are no jobs in ${name}.\n` : jobsText(rows, width));
}

/** A job as its log tells of it: as far as that can be replayed. */
async function rowOf(logs: StoredLogs, { jobId, sinceAt }: KnownJob): Promise<JobRow> {
  const replay = new Replay({ jobId });
  let events = 0;
  let damaged = false;
  try {
    for await (const entry of logs.entries(jobId)) for (const _ of replay.take(entry)) events += 1;
  } catch (error) {
    if (!(error instanceof LogCorrupt || error instanceof ReplayStopped)) throw error;
    damaged = true;
  }
  const { job } = replay;
  const ageMs = Math.max(0, Date.now() - (job?.submitted.at ?? sinceAt));
  const state = damaged ? 'corrupt' : job === null ? 'expired' : String(job.state.value);
  return { jobId, state, ageMs, events, tokens: job?.output.tokens ?? 0, model: job?.submitted.answer.model ?? '' };
}
