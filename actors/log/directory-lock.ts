/**
 * One router a data directory: the file `lock` in it says which process, and since when.
 *
 * The lock of a process that is gone is taken over. A process id alone is not enough to tell: it may have gone to another
 * program since (in a container it nearly always does), so the lock also holds when its process started, where the system says so.
 */
import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

export interface DirectoryLock {
  release(): Promise<void>;
}

interface Holder {
  readonly pid: number;
  readonly nonce: string;
  /** When the process started, as the system counts; null where it does not say. */
  readonly started: string | null;
}

/** Locks that this process holds, by nonce: a lock with our process id and another nonce is an earlier boot's. */
const held = new Set<string>();

export async function lockDirectory(directory: string): Promise<DirectoryLock> {
  const path = join(directory, 'lock');
  const own: Holder = { pid: process.pid, nonce: randomUUID(), started: startOf(process.pid) };
  // Each round removes one stale lock at most. Two processes that start together need two.
  for (let round = 0; round < 3; round++) {
    if (await create(path, own)) {
      held.add(own.nonce);
      return { release: () => release(path, own) };
    }
    const holder = await read(path);
    if (holder === null) continue;
    if (isAlive(holder)) {
      throw new Error(
        `The data directory ${directory} is in use by the process ${holder.pid}. Stop that router, or set AUXOT_DATA_DIR to a directory of its own.`,
      );
    }
    await removeStale(path, holder);
  }
  throw new Error(`The lock of the data directory ${directory} is being taken by another process. Try again.`);
}

async function create(path: string, own: Holder): Promise<boolean> {
  try {
    await writeFile(path, JSON.stringify(own), { flag: 'wx', mode: 0o600 });
    return true;
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'EEXIST') return false;
    throw error;
  }
}

/** Null: there is no lock (any more). A lock that cannot be read was left by a machine that died while it was written. */
async function read(path: string): Promise<Holder | null> {
  const text = await readFile(path, 'utf8').catch(() => null);
  if (text === null) return null;
  try {
    const holder: unknown = JSON.parse(text);
    if (typeof holder === 'object' && holder !== null && 'pid' in holder && 'nonce' in holder) {
      const started = 'started' in holder && typeof holder.started === 'string' ? holder.started : null;
      return { pid: Number(holder.pid), nonce: String(holder.nonce), started };
    }
  } catch {
    // falls through: no lock of ours is half written for long
  }
  return { pid: 0, nonce: '', started: null };
}

function isAlive({ pid, nonce, started }: Holder): boolean {
  if (held.has(nonce)) return true;
  if (!Number.isSafeInteger(pid) || pid <= 0 || pid === process.pid) return false;
  try {
    process.kill(pid, 0);
  } catch (error) {
    // Another user's process is alive too.
    return error instanceof Error && 'code' in error && error.code === 'EPERM';
  }
  const now = startOf(pid);
  return started === null || now === null || started === now;
}

/** Moved aside first: of two processes that found the same stale lock, the second must not remove the first one's new lock. */
async function removeStale(path: string, stale: Holder): Promise<void> {
  const aside = `${path}.${randomUUID()}`;
  try {
    await rename(path, aside);
  } catch {
    return; // the other process was faster
  }
  const moved = await read(aside);
  if (moved?.nonce === stale.nonce) await rm(aside, { force: true });
  else await rename(aside, path);
}

async function release(path: string, own: Holder): Promise<void> {
  held.delete(own.nonce);
  if ((await read(path))?.nonce === own.nonce) await rm(path, { force: true });
}

/** Linux: clock ticks from the boot of the machine to the start of the process, and which boot that was. */
function startOf(pid: number): string | null {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const ticks = stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19];
    const boot = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
    return ticks === undefined ? null : `${boot} ${ticks}`;
  } catch {
    return null; // not Linux
  }
}
