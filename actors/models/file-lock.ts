/**
 * One process at a time fetches a file: `<file>.lock` beside it says which.
 *
 * L1. The lock of a process that is gone is taken over at once; of a process on another machine, or of one that cannot be
 *     looked at, when it has not been renewed for `staleMs`.
 * L2. Of several that find the same dead lock, one removes it, and only after it has looked again.
 * L3. Whoever waits sees the end of the other's work within `lookMs`, and stops waiting when told to.
 */
import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { readFile, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { stopped } from './model-error.ts';

export interface FileLock {
  release(): Promise<void>;
}

interface Holder {
  readonly pid: number;
  readonly host: string;
  readonly nonce: string;
  readonly started: string | null;
}

const renewMs = 5000;
const staleMs = 60_000;
const lookMs = 250;
const guardMsMax = 10_000;

export async function lockFile(path: string, signal: AbortSignal, onWaiting: (pid: number) => void): Promise<FileLock> {
  const lockPath = `${path}.lock`;
  const own: Holder = { pid: process.pid, host: hostname(), nonce: randomUUID(), started: startOf(process.pid) };
  let told = false;
  while (!(await create(lockPath, own))) {
    if (signal.aborted) throw stopped();
    const holder = await read(lockPath);
    if (holder === null) continue;
    if (await isStale(lockPath, holder)) {
      await takeAway(lockPath, holder);
      continue;
    }
    if (!told) onWaiting(holder.pid);
    told = true;
    await sleep(lookMs, undefined, { signal }).catch(() => undefined); // an abort is seen above
  }
  const renew = setInterval(() => {
    const now = new Date();
    // A lock that is gone was taken over while this process was frozen: both fetch the same bytes to the same places.
    utimes(lockPath, now, now).catch(() => undefined);
  }, renewMs);
  renew.unref();
  return {
    async release() {
      clearInterval(renew);
      if ((await read(lockPath))?.nonce === own.nonce) await rm(lockPath, { force: true });
    },
  };
}

async function create(path: string, own: Holder): Promise<boolean> {
  try {
    await writeFile(path, JSON.stringify(own), { flag: 'wx' });
    return true;
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'EEXIST') return false;
    throw error;
  }
}

/** null: there is none. One that cannot be read is half written, or was left so by a machine that died. */
async function read(path: string): Promise<Holder | null> {
  const text = await readFile(path, 'utf8').catch(() => null);
  if (text === null) return null;
  try {
    const holder: unknown = JSON.parse(text);
    if (typeof holder === 'object' && holder !== null && 'pid' in holder && 'nonce' in holder) {
      const host = 'host' in holder ? String(holder.host) : '';
      const started = 'started' in holder && typeof holder.started === 'string' ? holder.started : null;
      return { pid: Number(holder.pid), nonce: String(holder.nonce), host, started };
    }
  } catch {
    // told by its age below
  }
  return { pid: 0, nonce: '', host: '', started: null };
}

async function isStale(path: string, { pid, host, started }: Holder): Promise<boolean> {
  if (host === hostname() && pid !== 0) {
    if (!isRunning(pid)) return true;
    const now = startOf(pid);
    if (started !== null && now !== null && started !== now) return true;
  }
  const renewedAt = await stat(path)
    .then(({ mtimeMs }) => mtimeMs)
    .catch(() => Number.NaN);
  return Date.now() - renewedAt > (pid === 0 ? lookMs * 8 : staleMs);
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error instanceof Error && 'code' in error && error.code === 'EPERM';
  }
}

/** Under a guard, so that of several that saw the same dead lock only one looks again and removes it. */
async function takeAway(path: string, stale: Holder): Promise<void> {
  const guard = `${path}.takeover`;
  try {
    await writeFile(guard, '', { flag: 'wx' });
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'EEXIST')) throw error;
    const madeAt = await stat(guard)
      .then(({ mtimeMs }) => mtimeMs)
      .catch(() => Date.now());
    if (Date.now() - madeAt > guardMsMax)
      await rm(guard, { force: true }); // its process was killed just there
    else await sleep(lookMs / 10);
    return;
  }
  try {
    if ((await read(path))?.nonce === stale.nonce) await rm(path, { force: true });
  } finally {
    await rm(guard, { force: true });
  }
}

/** A process id is used again; the instant at which it began is not. null where the system does not say. */
function startOf(pid: number): string | null {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const ticks = text.slice(text.lastIndexOf(')') + 2).split(' ')[19];
    return ticks === undefined ? null : `${readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()} ${ticks}`;
  } catch {
    return null; // not Linux
  }
}
