/**
 * A program as a child process in a process group of its own: lines in, lines out, and an end that leaves nothing behind.
 *
 * N1. Lines of its output may have any length up to `lineCharsMax`; a longer one ends it with an error (C6).
 * N2. Its end is its exit, and nothing of its group lives on (C23): what it started is killed with it, and all of it with
 *     this program, also when that is ended by SIGKILL (worker/group-watchdog.ts).
 * N3. It is read only as fast as it is listened to, and its error output is kept up to a cap.
 */
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { GroupWatchdog } from '../worker/group-watchdog.ts';
import { killGroup } from './places.ts';

export interface ChildOptions {
  readonly command: string;
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly cwd: string;
  readonly onLine: (line: string) => void;
}

export interface ChildEnd {
  readonly status: number | null;
  readonly signal: NodeJS.Signals | null;
  /** The last of what it wrote to its error output, or why it could not be started. */
  readonly errors: string;
}

export interface Child {
  readonly pid: number;
  readonly ended: Promise<ChildEnd>;
  write(line: string): void;
  closeInput(): void;
  kill(): void;
}

const lineCharsMax = 64 * 2 ** 20;
const errorCharsMax = 16 * 1024;
const watchdog = new GroupWatchdog();

export function startChild({ command, args, env, cwd, onLine }: ChildOptions): Child {
  const child = spawn(command, [...args], { cwd, env: { ...env }, stdio: ['pipe', 'pipe', 'pipe'], detached: true });
  const pid = child.pid ?? 0;
  if (pid > 0) watchdog.watch(pid);
  let errors = '';
  const complain = (text: string): void => {
    errors = (errors + text).slice(-errorCharsMax);
  };
  let charsSinceBreak = 0;
  child.stdout.on('data', (piece: Buffer) => {
    const lastBreak = piece.lastIndexOf(0x0a);
    charsSinceBreak = lastBreak < 0 ? charsSinceBreak + piece.length : piece.length - lastBreak;
    if (charsSinceBreak <= lineCharsMax) return;
    complain(`a line of its output is longer than ${lineCharsMax} bytes`);
    kill();
  });
  const lines = createInterface({ input: child.stdout, crlfDelay: Number.POSITIVE_INFINITY });
  lines.on('line', onLine);
  child.stderr.on('data', (piece: Buffer) => complain(piece.toString()));
  // It may end before it has read its input.
  child.stdin.on('error', () => undefined);
  const kill = (): void => {
    if (pid > 0) killGroup(pid);
  };
  const ended = new Promise<ChildEnd>(resolve => {
    child.once('error', error => {
      complain(error.message);
      if (pid === 0) resolve({ status: null, signal: null, errors });
    });
    child.once('exit', () => {
      kill();
      watchdog.release(pid);
    });
    child.once('close', (status, signal) => resolve({ status, signal, errors }));
  });
  return {
    pid,
    ended,
    write: line => void child.stdin.write(`${line}\n`),
    closeInput: () => void child.stdin.end(),
    kill,
  };
}
