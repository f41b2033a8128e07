/**
 * The processes that the benchmark starts. Each is ended by its own id, at the latest when this process ends; what it
 * wrote last is kept to explain its death.
 */
import { type ChildProcess, fork, type Serializable, spawn } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';

const stopMs = 10_000;
const saidCharsMax = 4_000;
const alive = new Set<ChildProcess>();

process.on('exit', () => {
  for (const child of alive) child.kill('SIGKILL');
});

export class Child {
  readonly name: string;
  readonly process: ChildProcess;
  readonly pid: number;
  /** Rejects when it reports a failure or ends, asked to or not. */
  readonly failed: Promise<never>;
  #said = '';

  constructor(name: string, child: ChildProcess) {
    this.name = name;
    this.process = child;
    this.pid = child.pid ?? 0;
    if (child.exitCode === null) alive.add(child);
    child.on('exit', () => alive.delete(child));
    child.on('error', error => this.#keep(error.message));
    child.stdout?.on('data', data => this.#keep(String(data)));
    child.stderr?.on('data', data => this.#keep(String(data)));
    this.failed = new Promise((_, reject) => {
      child.on('message', (report: Serializable) => {
        const { kind, reason } = report as { kind?: unknown; reason?: unknown };
        if (kind === 'failed') reject(new Error(String(reason)));
      });
      child.on('exit', () => reject(new Error(`${name} ended: ${this.said}`)));
    });
    // Nobody may be waiting at that moment.
    this.failed.catch(() => undefined);
  }

  /** The last of what it wrote. */
  get said(): string {
    return this.#said.trim();
  }

  get ended(): boolean {
    return this.process.exitCode !== null || this.process.signalCode !== null;
  }

  send(message: Serializable): void {
    this.process.send(message);
  }

  /** The next message it reports that `pick` accepts. Its death, a report of failure and a wait too long reject. */
  async next<T>(waitMs: number, pick: (report: unknown) => T | undefined): Promise<T> {
    let forget = (): void => undefined;
    const picked = new Promise<T>((resolve, reject) => {
      const onLate = () => reject(new Error(`${this.name} did not report in ${waitMs} ms: ${this.said}`));
      const timer = setTimeout(onLate, waitMs);
      const onMessage = (report: unknown) => {
        const found = pick(report);
        if (found !== undefined) resolve(found);
      };
      this.process.on('message', onMessage);
      forget = () => {
        clearTimeout(timer);
        this.process.off('message', onMessage);
      };
    });
    try {
      return await Promise.race([picked, this.failed]);
    } finally {
      forget();
    }
  }

  async stop(): Promise<void> {
    if (this.ended || this.pid === 0) return;
    const exited = new Promise<void>(resolve => this.process.once('exit', () => resolve()));
    this.process.kill('SIGTERM');
    const late = new AbortController();
    const patience = sleep(stopMs, 'late', { signal: late.signal }).catch(() => 'ended');
    if ((await Promise.race([exited, patience])) === 'late') this.process.kill('SIGKILL');
    await exited;
    late.abort();
  }

  #keep(text: string): void {
    this.#said = (this.#said + text).slice(-saidCharsMax);
  }
}

/** A program of this folder, with a channel to it. */
export function forkProgram(file: string, args: readonly string[] = []): Child {
  const path = new URL(file, import.meta.url).pathname;
  const execArgv = file.endsWith('.ts') ? ['--import', 'tsx'] : [];
  return new Child(file, fork(path, [...args], { execArgv, stdio: ['ignore', 'pipe', 'pipe', 'ipc'] }));
}

export function runCommand(command: readonly string[], env: NodeJS.ProcessEnv, cwd: string): Child {
  const [program = '', ...args] = command;
  return new Child(command.join(' '), spawn(program, args, { env, cwd, stdio: ['ignore', 'pipe', 'pipe'] }));
}
