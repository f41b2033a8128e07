/**
 * The folders that programs run in: private, one a job, and gone with it.
 *
 * P1. Below a base folder that only this user can enter, each worker process has one folder, named by its process id.
 * P2. A job's folder holds the program's home, its configuration and its working directory, and who runs in it.
 * P3. What a worker left that was killed (folders, and programs that still run in them) goes at the next start.
 */
import fs from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';

export interface Place {
  readonly path: string;
  readonly home: string;
  readonly config: string;
  readonly work: string;
  readonly temp: string;
  /** Says that a program, the leader of a process group of its own, runs here. */
  occupied(pid: number): void;
  remove(): void;
}

export interface Places {
  open(): Place;
  /** Removes everything of this process. */
  close(): void;
}

const ownerOnly = 0o700;
const occupantFile = 'occupant';

export const placesFolder = (env: Readonly<Record<string, string | undefined>>): string =>
  join(env.XDG_STATE_HOME ?? join(env.HOME ?? homedir(), '.local', 'state'), 'auxot', 'cli');

/** @throws when the folder cannot be made, or others could write to it. */
export function openPlaces(base: string): Places {
  fs.mkdirSync(base, { recursive: true, mode: ownerOnly });
  const { uid, mode } = fs.statSync(base);
  if (process.getuid !== undefined && uid !== process.getuid())
    throw new Error(`the folder ${base} belongs to somebody else; remove it, or set XDG_STATE_HOME to one of your own`);
  if ((mode & 0o077) !== 0) fs.chmodSync(base, ownerOnly);
  clearLeftovers(base);
  const own = fs.mkdtempSync(join(base, `${process.pid}.${startOf(process.pid) ?? ''}-`));
  return {
    open: () => openPlace(fs.mkdtempSync(join(own, 'job-'))),
    close: () => remove(own),
  };
}

function openPlace(path: string): Place {
  const inside = (name: string): string => {
    fs.mkdirSync(join(path, name), { mode: ownerOnly });
    return fs.realpathSync(join(path, name));
  };
  return {
    path,
    home: inside('home'),
    config: inside('config'),
    work: inside('work'),
    temp: inside('temp'),
    occupied: pid => fs.writeFileSync(join(path, occupantFile), `${pid}.${startOf(pid) ?? ''}`, { mode: 0o600 }),
    remove: () => remove(path),
  };
}

/** P3. */
function clearLeftovers(base: string): void {
  for (const name of fs.readdirSync(base)) {
    const folder = join(base, name);
    if (isAlive(name.slice(0, name.indexOf('-')))) continue;
    for (const job of fs.readdirSync(folder)) {
      let occupant = '';
      try {
        occupant = fs.readFileSync(join(folder, job, occupantFile), 'utf8');
      } catch {
        continue; // nothing was started there
      }
      if (isAlive(occupant)) killGroup(Number.parseInt(occupant, 10));
    }
    remove(folder);
  }
}

export function killGroup(pid: number): void {
  try {
    process.kill(-pid, 'SIGKILL');
  } catch {
    // Gone already.
  }
}

/** `<pid>.<start>`: the very process that was meant, and not another that has got its number since. */
function isAlive(mark: string): boolean {
  const [pid = '', start = ''] = mark.split('.');
  const now = startOf(Number(pid));
  if (now !== null) return now === start;
  if (start !== '') return false;
  try {
    process.kill(Number(pid), 0);
    return Number(pid) > 0;
  } catch {
    return false;
  }
}

/** When a process started, in the kernel's own count; null when there is none, or the system does not tell. */
function startOf(pid: number): string | null {
  try {
    const stat = fs.readFileSync(`/proc/${pid}/stat`, 'utf8');
    // The name in brackets may hold anything; the start is the 22nd field, the 20th behind it.
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19] ?? null;
  } catch {
    return null;
  }
}

function remove(path: string): void {
  fs.rmSync(path, { recursive: true, force: true, maxRetries: 5, retryDelay: 20 });
}
