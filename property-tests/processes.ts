/** Real programs as processes of their own, with keys, on free ports and in folders that go when they go. */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { hashKey } from '../actors/keys/keys.ts';

const root = fileURLToPath(new URL('..', import.meta.url));

export const apiKey = `rtr_${'A'.repeat(43)}`;
export const gpuKey = `adm_${'B'.repeat(43)}`;

export interface Program {
  readonly pid: number;
  /** Everything it has written, stdout and stderr. */
  output(): string;
  /** Resolves with status and signal when it has ended. */
  readonly ended: Promise<{ status: number | null; signal: NodeJS.Signals | null }>;
  kill(signal: NodeJS.Signals): void;
}

const running = new Set<ChildProcess>();
process.once('exit', () => {
  for (const child of running) child.kill('SIGKILL');
});

/** What of `bin/` is run: as it was built, where `npm test` says so (it starts in half the time), else as it is written. */
const built = process.env.TEST_BUILT === '1';
const loader = ['--import', import.meta.resolve('tsx')];

/** The arguments for Node that start one of the programs. */
export const programArgs = (name: string): string[] =>
  built ? [join(root, 'dist', 'bin', `${name}.js`)] : [...loader, join(root, 'bin', `${name}.ts`)];

/** Starts a program. Whatever is still running when the test file ends is killed. */
export function runProgram(name: string, args: readonly string[], env: Record<string, string>, cwd: string): Program {
  return runNode([...programArgs(name), ...args], env, cwd);
}

/** The same for a file of the tests' own. */
export function runScript(path: string, args: readonly string[], env: Record<string, string>, cwd: string): Program {
  return runNode([...loader, path, ...args], env, cwd);
}

function runNode(args: readonly string[], env: Record<string, string>, cwd: string): Program {
  const child: ChildProcess = spawn(process.execPath, args, {
    cwd,
    env: { PATH: process.env.PATH ?? '', HOME: process.env.HOME ?? '', ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr])
    stream?.on('data', (piece: Buffer) => {
      output += piece.toString();
    });
  const ended = new Promise<{ status: number | null; signal: NodeJS.Signals | null }>(resolve => {
    child.once('exit', (status, signal) => resolve({ status, signal }));
  });
  running.add(child);
  void ended.then(() => running.delete(child));
  return { pid: child.pid ?? 0, output: () => output, ended, kill: signal => void child.kill(signal) };
}

export async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise(resolve => server.close(resolve));
  return port;
}

let hashes: Promise<[string, string]> | null = null;

export interface RouterProcess extends Program {
  readonly url: string;
  readonly wsUrl: string;
  readonly port: number;
  readonly dataDir: string;
  /** SIGTERM and wait; the data directory goes too unless `keep`. */
  stop(keep?: boolean): Promise<void>;
}

/** A router that answers `/health`. `env` goes over the defaults; `dataDir` takes up an earlier one's data. */
export async function startRouter(env: Record<string, string> = {}, dataDir?: string): Promise<RouterProcess> {
  hashes ??= Promise.all([hashKey(gpuKey), hashKey(apiKey)]);
  const [adminHash, apiHash] = await hashes;
  const folder = dataDir ?? mkdtempSync(join(tmpdir(), 'auxot-test-'));
  const port = Number(env.AUXOT_PORT ?? (await freePort()));
  const program = runProgram(
    'router',
    [],
    {
      AUXOT_PORT: String(port),
      AUXOT_HOST: '127.0.0.1',
      AUXOT_ADMIN_KEY_HASH: adminHash,
      AUXOT_API_KEY_HASH: apiHash,
      AUXOT_DATA_DIR: folder,
      AUXOT_MODEL: 'test-model.gguf',
      AUXOT_LOG_LEVEL: 'info',
      ...env,
    },
    folder,
  );
  const url = `http://127.0.0.1:${port}`;
  const why = (): string => `the router did not start:\n${program.output()}`;
  let isOver = false;
  void program.ended.then(() => {
    isOver = true;
  });
  const isUp = async (): Promise<boolean> => {
    if (isOver) throw new Error(why());
    return (await fetch(`${url}/health`).catch(() => null))?.ok === true;
  };
  await waitUntil(isUp, 20_000, why);
  return {
    ...program,
    url,
    wsUrl: `ws://127.0.0.1:${port}/ws`,
    port,
    dataDir: folder,
    async stop(keep = false) {
      program.kill('SIGTERM');
      await within(15_000, program.ended, 'the router did not stop');
      if (!keep) rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** Asks until it is so; `what` tells what is missing when time is up. */
export async function waitUntil(isSo: () => boolean | Promise<boolean>, ms: number, what: () => string): Promise<void> {
  const end = Date.now() + ms;
  while (!(await isSo())) {
    if (Date.now() > end) throw new Error(what());
    await new Promise(resolve => setTimeout(resolve, 10));
  }
}

export function within<T>(ms: number, promise: Promise<T>, what: string): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what} (within ${ms} ms)`)), ms);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}
