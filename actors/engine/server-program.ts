/**
 * A server program that the worker starts for itself, on a free port of this machine's own address.
 *
 * P1. It runs in a process group of its own, and nothing of the group outlives `kill`, nor the worker itself: a shell
 *     between them ends it when the worker is gone, however that happened.
 * P2. What it writes goes line by line to whoever listens; the last lines are kept, and tell why it ended.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { createServer } from 'node:net';
import { createInterface } from 'node:readline';

export interface ProgramOptions {
  readonly path: string;
  readonly args: readonly string[];
  /** Set beside what this process has, of which it gets no secrets. */
  readonly env: Readonly<Record<string, string>>;
  readonly onLine: (line: string) => void;
}

export interface Program {
  readonly pid: number | null;
  /** Settles when it has ended, with how, and what it said of it. */
  readonly ended: Promise<{ readonly how: string; readonly why: string }>;
  readonly over: boolean;
  /** Asks it to end, and makes it. */
  kill(): Promise<void>;
}

const killMsMax = 3000;
const linesMax = 50;
const lineCharsMax = 2000;
/** Of the kept lines, those that say why are told; else the last. */
const telling = /error|fail|fatal|abort|unable|cannot|can't|not found|invalid|out of memory|unknown argument/i;
const toldMax = 6;

/** The worker holds the shell's input open; when that ends, so does the program. It waits for it, however it is asked to end. */
const guard = `exec 3<&0
trap : TERM INT HUP
"$@" 3<&- </dev/null & program=$!
{ while read -r _; do :; done; kill -9 "$program"; } <&3 >/dev/null 2>&1 & watch=$!
exec 3<&-
wait "$program"; status=$?
while kill -0 "$program" 2>/dev/null; do wait "$program"; status=$?; done
kill -9 "$watch" 2>/dev/null
wait "$watch" 2>/dev/null
exit "$status"`;

export function startProgram({ path, args, env, onLine }: ProgramOptions): Program {
  const isGuarded = process.platform !== 'win32';
  const [command, all] = isGuarded ? ['/bin/sh', ['-c', guard, 'sh', path, ...args]] : [path, [...args]];
  const child = spawn(command, all, {
    env: { ...withoutSecrets(process.env), ...env },
    stdio: ['pipe', 'pipe', 'pipe'],
    detached: isGuarded,
  });
  const lines: string[] = [];
  const hear = (line: string): void => {
    const text = line.slice(0, lineCharsMax);
    if (text.trim() === '') return;
    lines.push(text);
    if (lines.length > linesMax) lines.shift();
    onLine(text);
  };
  child.stdin.on('error', () => undefined);
  for (const output of [child.stdout, child.stderr]) createInterface({ input: output }).on('line', hear);
  let over = false;
  const ended = new Promise<{ how: string; why: string }>(resolve => {
    const end = (how: string): void => {
      if (over) return;
      over = true;
      signalGroup(child, 'SIGKILL');
      const reasons = lines.filter(line => telling.test(line));
      const told = reasons.length > 0 ? reasons.slice(0, toldMax) : lines.slice(-toldMax);
      resolve({ how, why: told.join(' | ') });
    };
    child.on('error', error => end(error.message));
    // Its last words come before `close`, behind `exit`.
    child.on('close', (code, signal) => end(signal === null ? `exit code ${code}` : `signal ${signal}`));
    child.on('exit', () => signalGroup(child, 'SIGKILL'));
  });
  return {
    pid: child.pid ?? null,
    ended,
    get over() {
      return over;
    },
    async kill() {
      if (over) return;
      signalGroup(child, 'SIGTERM');
      const force = setTimeout(() => signalGroup(child, 'SIGKILL'), killMsMax);
      await ended;
      clearTimeout(force);
    },
  };
}

function signalGroup({ pid }: ChildProcess, signal: NodeJS.Signals): void {
  if (pid === undefined) return;
  try {
    process.kill(process.platform === 'win32' ? pid : -pid, signal);
  } catch {
    // Nothing of it is left.
  }
}

/** The program needs no key of ours, so it gets none. */
function withoutSecrets(env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(env).filter(([name]) => !/key|token|secret|passw/i.test(name)));
}

/** Free a moment ago; whoever takes it meanwhile makes the start fail, and the next one asks again. */
export function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const address = server.address();
      const port = typeof address === 'object' && address !== null ? address.port : 0;
      server.close(() => resolve(port));
    });
  });
}
