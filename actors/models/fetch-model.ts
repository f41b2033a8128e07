/**
 * The port of this folder: from an entry of the registry to files on this disk.
 *
 * The files of `owner/repo` lie in `<folder>/owner_repo/`, as the reference lays them out, so either uses what the other
 * fetched. A file counts as there when it is not empty and has the size that is known of it; what was fetched by this
 * program is known by the note `<file>.fetched.json` beside it. Then no hub is asked for anything.
 */
import { mkdir, readFile, stat, statfs, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { Entry, EntryFile } from '../../registry/entry.ts';
import { partFiles } from '../../registry/parts.ts';
import type { FileFacts } from './file-facts.ts';
import { lockFile } from './file-lock.ts';
import { type Hub, openHub } from './hub.ts';
import { ModelError, stopped } from './model-error.ts';
import { askFacts, type Transfer, type TransferOptions, transfer } from './transfer.ts';

export interface ModelSource {
  readonly folder: string;
  readonly hub: Hub;
  /** Nothing is asked of the hub: the files are there, or it is an error. */
  readonly offline: boolean;
  /** At once, over all files. */
  readonly connections: number;
}

export interface FetchProgress {
  readonly phase: 'downloading' | 'verifying' | 'waiting';
  readonly doneBytes: number;
  /** null: some file's size is not known. */
  readonly totalBytes: number | null;
  /** Of the model that have to be fetched. */
  readonly files: number;
}

export interface FetchHooks {
  readonly signal: AbortSignal;
  readonly onProgress: (progress: FetchProgress) => void;
  /** For a person. */
  readonly onTrouble: (message: string) => void;
}

export interface FetchedModel {
  /** The first part, if there are several: the engine finds the others beside it. */
  readonly modelPath: string;
  readonly projectorPath: string | null;
}

const retry = { msMin: 500, msMax: 30_000, strikesMax: 10 };
const pieceBytes = 64 * 2 ** 20;
/** Left free for everybody else on this disk. */
const spareBytes = 256 * 2 ** 20;
const revisionDefault = 'main';

export const folderOf = (folder: string, repository: string): string => join(folder, repository.replaceAll('/', '_'));

export async function fetchModel(
  entry: Entry,
  source: ModelSource,
  hooks: FetchHooks,
  tuning: Partial<Pick<TransferOptions, 'retry' | 'pieceBytes' | 'random'>> = {},
): Promise<FetchedModel> {
  const folder = folderOf(source.folder, entry.repository);
  const paths = [...partFiles(entry.file), ...(entry.projector === null ? [] : [entry.projector])];
  const done: FetchedModel = {
    modelPath: join(folder, entry.file),
    projectorPath: entry.projector === null ? null : join(folder, entry.projector),
  };
  const known = (path: string): EntryFile | null => entry.files?.find(file => file.path === path) ?? null;
  const isMissing = async (path: string): Promise<boolean> => !(await isThere(join(folder, path), known(path)));
  const missing = await filter(paths, isMissing);
  if (missing.length === 0) return done;
  if (source.offline) {
    const list = missing.map(path => join(folder, path)).join(', ');
    const count = paths.length === 1 ? '' : ` (${missing.length} of ${paths.length} files)`;
    const message = `${entry.name} (${entry.quantization}) is not on this machine${count}: ${list}. Put it there, or unset AUXOT_OFFLINE.`;
    throw new ModelError('offline', message);
  }

  const line = openHub(source.hub);
  const parallel = Math.min(2, missing.length, source.connections);
  const options: TransferOptions = {
    hub: source.hub,
    line,
    connections: Math.max(1, Math.floor(source.connections / parallel)),
    pieceBytes,
    retry,
    random: Math.random,
    signal: hooks.signal,
    onProgress: () => undefined,
    onTrouble: hooks.onTrouble,
    ...tuning,
  };
  // One failure ends the others.
  const ending = new AbortController();
  const signal = AbortSignal.any([hooks.signal, ending.signal]);
  try {
    const wanted = missing.map(
      (path): Transfer => ({
        repository: entry.repository,
        revision: entry.revision ?? revisionDefault,
        path,
        target: join(folder, path),
      }),
    );
    const facts = new Map<string, FileFacts>();
    await each(wanted, source.connections, ending, async file => {
      const asked = await askFacts(file, { ...options, signal });
      checkAgainst(known(file.path), asked, entry);
      if (asked.bytes === 0) throw new ModelError('hub_answer', `${file.path} is empty on the hub`);
      facts.set(file.path, asked);
    });
    await checkSpace(folder, wanted, facts);
    const board = progressBoard(facts, hooks.onProgress);
    await each(wanted, parallel, ending, async file => {
      await mkdir(dirname(file.target), { recursive: true });
      const lock = await lockFile(file.target, signal, pid => {
        hooks.onTrouble(`${file.path} is being fetched by the process ${pid} already; waiting for it`);
        board.waiting();
      });
      try {
        const ofFile = facts.get(file.path);
        if (ofFile === undefined || (await isThere(file.target, known(file.path)))) {
          board.finished(file.path);
          return;
        }
        const got = await transfer(file, ofFile, {
          ...options,
          signal,
          onProgress: step => board.step(file.path, step),
        });
        const bytes = (await stat(file.target)).size;
        await writeFile(
          noteOf(file.target),
          JSON.stringify({ bytes, sha256: got.sha256, tag: got.tag, commit: got.commit }),
        );
        board.finished(file.path);
      } finally {
        await lock.release();
      }
    });
    return done;
  } catch (error) {
    if (hooks.signal.aborted) throw stopped();
    throw error;
  } finally {
    await line.close();
  }
}

const noteOf = (target: string): string => `${target}.fetched.json`;

async function isThere(target: string, known: EntryFile | null): Promise<boolean> {
  const bytes = await stat(target)
    .then(({ size }) => size)
    .catch(() => 0);
  if (bytes === 0) return false;
  if (known !== null) return bytes === known.bytes;
  try {
    const note: unknown = JSON.parse(await readFile(noteOf(target), 'utf8'));
    if (typeof note === 'object' && note !== null && 'bytes' in note) return note.bytes === bytes;
  } catch {
    // without a note it was put there by somebody else, who had it whole
  }
  return true;
}

function checkAgainst(known: EntryFile | null, { bytes, sha256 }: FileFacts, { name }: Entry): void {
  if (known === null) return;
  const otherSum = known.sha256 !== null && sha256 !== null && known.sha256 !== sha256;
  if (!otherSum && (bytes === null || bytes === known.bytes)) return;
  const message = `the hub's ${known.path} of ${name} is not the one that the registry describes. Run "auxot-router models refresh ${name}" to take the new one.`;
  throw new ModelError('registry_mismatch', message);
}

async function checkSpace(
  folder: string,
  wanted: readonly Transfer[],
  facts: ReadonlyMap<string, FileFacts>,
): Promise<void> {
  await mkdir(folder, { recursive: true });
  const blocks = async (path: string): Promise<number> =>
    stat(path)
      .then(({ blocks }) => blocks * 512)
      .catch(() => 0);
  let needed = 0;
  for (const { path, target } of wanted)
    needed += Math.max(
      0,
      (facts.get(path)?.bytes ?? 0) - (await blocks(`${target}.part`)) - (await blocks(`${target}.download`)),
    );
  const { bavail, bsize } = await statfs(folder);
  const free = bavail * bsize;
  if (free >= needed + spareBytes) return;
  const gib = (bytes: number): string => `${(bytes / 2 ** 30).toFixed(1)} GiB`;
  const message = `the disk of ${folder} has ${gib(free)} free, but ${gib(needed)} are still to be fetched. Make room, or set AUXOT_MODELS_DIR to a folder on another disk.`;
  throw new ModelError('disk_full', message);
}

/** All files' progress as one. */
function progressBoard(facts: ReadonlyMap<string, FileFacts>, tell: (progress: FetchProgress) => void) {
  const sizes = [...facts.values()].map(({ bytes }) => bytes);
  const totalBytes = sizes.includes(null) ? null : sizes.reduce<number>((sum, bytes) => sum + (bytes ?? 0), 0);
  const done = new Map<string, number>();
  const verifying = new Set<string>();
  const show = (phase?: 'waiting'): void => {
    const doneBytes = [...done.values()].reduce((sum, bytes) => sum + bytes, 0);
    const all = verifying.size > 0 && doneBytes === totalBytes;
    tell({ phase: phase ?? (all ? 'verifying' : 'downloading'), doneBytes, totalBytes, files: facts.size });
  };
  return {
    step(path: string, { phase, bytes }: { phase: 'downloading' | 'verifying'; bytes: number }): void {
      if (phase === 'downloading') done.set(path, bytes);
      else verifying.add(path);
      show();
    },
    finished(path: string): void {
      done.set(path, facts.get(path)?.bytes ?? done.get(path) ?? 0);
      verifying.delete(path);
      show();
    },
    waiting: () => show('waiting'),
  };
}

/** Runs `work` for all, so many at once; the first failure ends the others, and is thrown. */
async function each<T>(
  items: readonly T[],
  atOnce: number,
  ending: AbortController,
  work: (item: T) => Promise<void>,
): Promise<void> {
  const queue = [...items];
  const failures: unknown[] = [];
  await Promise.all(
    Array.from({ length: Math.min(atOnce, queue.length) }, async () => {
      for (let item = queue.shift(); item !== undefined && failures.length === 0; item = queue.shift())
        await work(item).catch(error => {
          failures.push(error);
          ending.abort();
        });
    }),
  );
  if (failures.length > 0) throw failures[0];
}

async function filter<T>(items: readonly T[], keep: (item: T) => Promise<boolean>): Promise<T[]> {
  const kept: T[] = [];
  for (const item of items) if (await keep(item)) kept.push(item);
  return kept;
}
