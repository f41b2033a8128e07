/**
 * One file from the hub to the disk: in pieces, over several connections, from where an earlier try ended.
 *
 * T1. The file has its name only when it is whole: as long as the hub said and with the checksum that the hub gave.
 * T2. Pieces of two versions are never joined: every piece is asked for under the condition that the file is the same
 *     (If-Range), and what comes back is checked for its place, its length in all and its tag.
 * T3. What is there is not fetched again, after a broken connection or a killed process, unless the file has changed or
 *     proves to be corrupt. A server that cannot give out pieces has to begin at the beginning, once.
 * T4. Trouble is waited out with growing, jittered waits; `strikesMax` in a row without a new byte end it.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { type FileFacts, fileFacts, rangeOf } from './file-facts.ts';
import {
  discard,
  drop,
  fileUrl,
  type Hub,
  type HubAnswer,
  headerOf,
  numberOf,
  type openHub,
  refusalOf,
} from './hub.ts';
import { ModelError, reasonOf, stopped } from './model-error.ts';
import { openPartFile, type PartFile } from './part-file.ts';
import { bytesIn, gaps, type Span } from './spans.ts';

export interface Transfer {
  readonly repository: string;
  readonly revision: string;
  /** In the repository. */
  readonly path: string;
  /** On the disk. */
  readonly target: string;
}

export interface TransferOptions {
  readonly hub: Hub;
  readonly line: ReturnType<typeof openHub>;
  /** At once, for this file. */
  readonly connections: number;
  readonly pieceBytes: number;
  readonly retry: { readonly msMin: number; readonly msMax: number; readonly strikesMax: number };
  readonly random: () => number;
  readonly signal: AbortSignal;
  readonly onProgress: (progress: TransferProgress) => void;
  /** For a person: what went wrong and is tried again. */
  readonly onTrouble: (message: string) => void;
}

export interface TransferProgress {
  readonly phase: 'downloading' | 'verifying';
  /** Of the file; or, while it is verified, those that were read. */
  readonly bytes: number;
}

/** What is asked about a file again when it turned out to be another one, and how often. */
const versionsMax = 3;
const corruptMax = 2;

/** Fetches the file of these facts; resolves with those of the file that it became. */
export async function transfer(wanted: Transfer, first: FileFacts, options: TransferOptions): Promise<FileFacts> {
  let facts = first;
  let corrupt = 0;
  for (let version = 1; ; version++) {
    try {
      await fetchVersion(wanted, facts, options);
      return facts;
    } catch (error) {
      if (!(error instanceof ModelError)) throw error;
      if (error.code === 'file_corrupt' && ++corrupt < corruptMax) {
        options.onTrouble(`${error.message}; it is fetched again`);
      } else if (error.code === 'file_changed' && version < versionsMax) {
        options.onTrouble(error.message);
      } else throw error;
      facts = await askFacts(wanted, options);
    }
  }
}

/** The hub's facts, patiently. */
export async function askFacts({ repository, revision, path }: Transfer, options: TransferOptions): Promise<FileFacts> {
  const { hub, line, signal } = options;
  const url = fileUrl(hub, repository, revision, path);
  return patiently(options, path, () => fileFacts(line, hub, url, `${repository}/${path}`, signal));
}

/** Runs `attempt` until it works, may not be tried again, or has failed too often without getting on. */
export async function patiently<T>(
  { retry, random, signal, onTrouble }: Pick<TransferOptions, 'retry' | 'random' | 'signal' | 'onTrouble'>,
  what: string,
  attempt: (gotOn: () => void) => Promise<T>,
): Promise<T> {
  for (let strikes = 0; ; ) {
    try {
      return await attempt(() => {
        strikes = 0;
      });
    } catch (error) {
      if (signal.aborted) throw stopped();
      if (!(error instanceof ModelError) || !error.retryable) throw error;
      strikes += 1;
      if (strikes >= retry.strikesMax)
        throw new ModelError('hub_trouble', `${what}: ${error.message}; given up after ${strikes} tries`, {
          cause: error,
        });
      const longest = Math.min(retry.msMax, retry.msMin * 2 ** strikes);
      const waitMs = Math.round(Math.max(error.waitMs, retry.msMin + random() * (longest - retry.msMin)));
      onTrouble(`${what}: ${error.message}; trying again in ${waitMs} ms`);
      await sleep(waitMs, undefined, { signal }).catch(() => undefined); // an abort is seen at the next attempt
    }
  }
}

async function fetchVersion(wanted: Transfer, facts: FileFacts, options: TransferOptions): Promise<void> {
  const file = await openPartFile(wanted.target, facts);
  try {
    let bytes = facts.bytes;
    if (bytes === null) bytes = await fetchWhole(wanted, facts, file, options);
    else if (!(await fetchPieces(wanted, facts, bytes, file, options))) await fetchWhole(wanted, facts, file, options);
    if (facts.sha256 !== null) {
      await file.save();
      let read = 0;
      const sha256 = await file.sha256(options.signal, more => {
        read += more;
        options.onProgress({ phase: 'verifying', bytes: read });
      });
      if (sha256 !== facts.sha256) {
        await file.clear();
        throw new ModelError(
          'file_corrupt',
          `${wanted.path} has the SHA-256 ${sha256}, but should have ${facts.sha256}`,
        );
      }
    }
    await file.finish(bytes);
  } catch (error) {
    if (error instanceof ModelError && error.code === 'file_changed') {
      // If it proves to be the same file after all, in another place, its checksum will tell whether pieces fit.
      file.serverTag = null;
      if (facts.sha256 === null) await file.clear();
    }
    throw error;
  } finally {
    await file.close();
  }
}

/** False: the server does not give out pieces. */
async function fetchPieces(
  wanted: Transfer,
  facts: FileFacts,
  bytes: number,
  file: PartFile,
  options: TransferOptions,
): Promise<boolean> {
  const queue = gaps(file.spans, bytes, options.pieceBytes);
  options.onProgress({ phase: 'downloading', bytes: bytesIn(file.spans) });
  const ending = new AbortController();
  const signal = AbortSignal.any([options.signal, ending.signal]);
  let whole = false;
  const run = async (): Promise<void> => {
    for (let piece = queue.shift(); piece !== undefined && !whole; piece = queue.shift()) {
      const span = piece;
      let at = span[0];
      await patiently({ ...options, signal }, wanted.path, async gotOn => {
        const kind = await fetchPiece(wanted, facts, bytes, [at, span[1]], file, { ...options, signal }, more => {
          at += more;
          gotOn();
          options.onProgress({ phase: 'downloading', bytes: bytesIn(file.spans) });
        });
        if (kind === 'whole') whole = true;
      });
    }
  };
  const runs = Array.from({ length: Math.max(1, Math.min(options.connections, queue.length)) }, async () => {
    try {
      await run();
    } catch (error) {
      ending.abort(); // the others stop at once, and this is what is told
      return error;
    }
    if (whole) ending.abort();
    return null;
  });
  const failures = (await Promise.all(runs)).filter(error => error !== null);
  if (options.signal.aborted) throw stopped();
  const real = failures.find(error => !(error instanceof ModelError && error.code === 'stopped'));
  if (real !== undefined) throw real;
  if (whole) return false;
  if (failures.length > 0) throw failures[0];
  return true;
}

/** Throws when it ends early, whatever was written before then is kept. */
async function fetchPiece(
  wanted: Transfer,
  facts: FileFacts,
  bytes: number,
  [from, to]: Span,
  file: PartFile,
  options: TransferOptions,
  onWritten: (bytes: number) => void,
): Promise<'piece' | 'whole'> {
  if (from >= to) return 'piece';
  const { hub, line, signal } = options;
  const url = fileUrl(hub, wanted.repository, wanted.revision, wanted.path);
  const answer = await line.ask(url, {
    method: 'GET',
    headers: {
      range: `bytes=${from}-${to - 1}`,
      ...(file.serverTag === null ? {} : { 'if-range': file.serverTag }),
    },
    signal,
  });
  if (answer.status === 200) {
    drop(answer);
    // Either it knows no pieces, or what it has now is another file.
    const now = await fileFacts(line, hub, url, wanted.path, signal);
    if (now.tag === facts.tag && now.bytes === facts.bytes && file.serverTag === null) return 'whole';
    throw changed(wanted);
  }
  if (answer.status === 416) {
    await discard(answer.body);
    throw changed(wanted);
  }
  if (answer.status !== 206) {
    await discard(answer.body);
    throw refusalOf(answer, hub, `${wanted.repository}/${wanted.path}`);
  }
  const range = rangeOf(answer);
  const tag = strongTag(answer);
  const isOther = range === null || range.from !== from || (range.total !== null && range.total !== bytes);
  if (isOther || (file.serverTag !== null && tag !== null && tag !== file.serverTag)) {
    drop(answer);
    throw changed(wanted);
  }
  file.serverTag ??= tag;
  await pour(answer, from, to, file, options, onWritten);
  return 'piece';
}

const changed = ({ path }: Transfer): ModelError =>
  new ModelError('file_changed', `${path} has changed on the hub while it was fetched; it is asked for anew`);

/** A weak tag promises too little for joining pieces. */
function strongTag({ headers }: HubAnswer): string | null {
  const tag = headerOf(headers, 'etag');
  return tag?.startsWith('"') ? tag : null;
}

/** From the first byte to the last over one connection, and again from the first when it breaks. */
async function fetchWhole(
  wanted: Transfer,
  facts: FileFacts,
  file: PartFile,
  options: TransferOptions,
): Promise<number> {
  const { hub, line, signal } = options;
  const url = fileUrl(hub, wanted.repository, wanted.revision, wanted.path);
  return patiently(options, wanted.path, async () => {
    const answer = await line.ask(url, { method: 'GET', signal });
    if (answer.status !== 200) {
      await discard(answer.body);
      throw refusalOf(answer, hub, `${wanted.repository}/${wanted.path}`);
    }
    const promised = facts.bytes ?? numberOf(headerOf(answer.headers, 'content-length'));
    let at = 0;
    await pour(answer, 0, promised, file, options, more => {
      at += more;
      options.onProgress({ phase: 'downloading', bytes: at });
    });
    return at;
  });
}

/** Writes a body to its place. `to` null: the sender alone knows where it ends, and says so properly. */
async function pour(
  { body }: HubAnswer,
  from: number,
  to: number | null,
  file: PartFile,
  { signal, hub }: Pick<TransferOptions, 'signal' | 'hub'>,
  onWritten: (bytes: number) => void,
): Promise<void> {
  let at = from;
  try {
    for await (const chunk of body) {
      const piece: Uint8Array = chunk;
      const fits = to === null ? piece : piece.subarray(0, to - at);
      await file.write(at, fits);
      at += fits.length;
      onWritten(fits.length);
      if (fits.length < piece.length) throw new Error('more came than was announced');
    }
  } catch (error) {
    if (signal.aborted) throw stopped();
    if (isDiskTrouble(error))
      throw new ModelError('disk_full', `cannot be written: ${reasonOf(error)}`, { cause: error });
    const message = `the connection to ${new URL(hub.endpoint).host} broke: ${reasonOf(error)}`;
    throw new ModelError('hub_trouble', message, { retryable: true, cause: error });
  }
  if (to !== null && at < to)
    throw new ModelError('hub_trouble', `only ${at - from} of ${to - from} bytes came`, { retryable: true });
}

const isDiskTrouble = (error: unknown): boolean =>
  error instanceof Error &&
  'code' in error &&
  ['ENOSPC', 'EDQUOT', 'EIO', 'EROFS', 'EFBIG'].includes(String(error.code));
