/**
 * Processes of tools, each the head of a process group, so that it ends with all that it started.
 *
 * What stays true: a child sees exactly the environment it is given; `end` leaves nothing of its group behind, also when
 * the head is gone already; when this program ends, also by SIGKILL, no group outlives it (worker/group-watchdog.ts).
 */
import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { GroupWatchdog } from '../worker/group-watchdog.ts';

export interface ChildOptions {
  readonly command: string;
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly cwd: string | null;
}

export interface Child {
  readonly process: ChildProcessWithoutNullStreams;
  /** Settles when the head has ended or could not be started; never rejects. */
  readonly exit: Promise<{ readonly status: number | null; readonly error: string | null }>;
  /** Asks the group to end, and ends it after `graceMs`. */
  end(graceMs: number): Promise<void>;
}

const watchdog = new GroupWatchdog();
let watched = false;

export function startChild({ command, args, env, cwd }: ChildOptions): Child {
  if (!watched) {
    watched = true;
    process.on('exit', () => {
      for (const pid of watchdog.groups) kill(pid, 'SIGKILL');
    });
  }
  const child = spawn(command, args, {
    env: { ...env },
    ...(cwd === null ? {} : { cwd }),
    stdio: ['pipe', 'pipe', 'pipe'],
    detached: true,
    windowsHide: true,
  });
  const { pid } = child;
  if (pid !== undefined) watchdog.watch(pid);
  let gone = false;
  const exit = new Promise<{ status: number | null; error: string | null }>(resolve => {
    child.once('error', error => {
      gone = true;
      resolve({ status: null, error: error.message });
    });
    child.once('exit', status => {
      gone = true;
      resolve({ status, error: null });
    });
  });
  // A child that closes its input early is no failure of ours.
  child.stdin.on('error', () => undefined);

  return {
    process: child,
    exit,
    async end(graceMs) {
      if (pid === undefined) return;
      if (!gone && graceMs > 0) {
        kill(pid, 'SIGTERM');
        await Promise.race([exit, new Promise(resolve => setTimeout(resolve, graceMs))]);
      }
      kill(pid, 'SIGKILL');
      watchdog.release(pid);
      for (const stream of [child.stdin, child.stdout, child.stderr]) stream.destroy();
    },
  };
}

function kill(group: number, signal: NodeJS.Signals): void {
  try {
    process.kill(process.platform === 'win32' ? group : -group, signal);
  } catch {
    // It is gone, which is what was wanted.
  }
}

/** The last characters of a stream, for messages. */
export function tailOf(stream: NodeJS.ReadableStream, charsMax: number): () => string {
  let tail = '';
  stream.on('data', (piece: Buffer) => {
    tail = (tail + piece.toString('utf8')).slice(-charsMax);
  });
  return () => tail;
}

/** Short values are left: they would blacken half the text. */
const secretCharsMin = 6;

/** Text that a child wrote, without the secrets it was given. */
export function withoutSecrets(text: string, secrets: Readonly<Record<string, string>>): string {
  const values = Object.values(secrets).filter(({ length }) => length >= secretCharsMin);
  return values.sort((a, b) => b.length - a.length).reduce((safe, value) => safe.replaceAll(value, '***'), text);
}
