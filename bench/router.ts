/** Starts the router as its own process, with keys, a port and a data directory made for this run and removed after. */
import { randomBytes } from 'node:crypto';
import { existsSync, readdirSync, statSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import argon2 from 'argon2';
import { runCommand } from './child.ts';
import type { Target } from './target.ts';

const startMs = 30_000;
const root = fileURLToPath(new URL('..', import.meta.url));

/** With a command of the caller's own, it runs in the current directory. */
export async function startRouter(given?: readonly string[], settings: NodeJS.ProcessEnv = {}): Promise<Target> {
  const dataDir = await mkdtemp(join(tmpdir(), 'auxot-bench-'));
  // Elsewhere the router would take settings from a `.env` that happens to lie there.
  const { command, about, cwd } = given ? { command: given, about: given.join(' '), cwd: '.' } : routerCommand(dataDir);
  const port = await freePort();
  const workerKey = newKey('adm_');
  const callerKey = newKey('rtr_');
  const env = {
    PATH: process.env.PATH,
    HOME: process.env.HOME,
    AUXOT_HOST: '127.0.0.1',
    AUXOT_PORT: String(port),
    AUXOT_ADMIN_KEY_HASH: await hashOf(workerKey),
    AUXOT_API_KEY_HASH: await hashOf(callerKey),
    AUXOT_DATA_DIR: dataDir,
    AUXOT_MODEL: 'bench.gguf',
    AUXOT_MAX_QUEUE: '20000',
    AUXOT_LOG_LEVEL: 'warn',
    ...settings,
    ...settingsOf(process.env),
  };
  const child = runCommand(command, env, cwd);
  const stop = async () => {
    await child.stop();
    await rm(dataDir, { recursive: true, force: true });
  };
  const url = `http://127.0.0.1:${port}`;
  try {
    for (const deadline = performance.now() + startMs; !(await isHealthy(url)); await sleep(50)) {
      if (child.ended) throw new Error(`${child.name} ended at start: ${child.said}`);
      if (performance.now() > deadline)
        throw new Error(`${child.name} has no ${url}/health after ${startMs} ms: ${child.said}`);
    }
  } catch (error) {
    await stop();
    throw error;
  }
  return { name: 'router', about, url, callerKey, workerKey, pid: child.pid, said: () => child.said, stop };
}

/** The built program when it is not older than its sources, else the sources themselves. */
function routerCommand(cwd: string): { command: readonly string[]; about: string; cwd: string } {
  const built = join(root, 'dist/bin/router.js');
  if (existsSync(built)) {
    const folders = ['protocol', 'machines', 'registry', 'actors', 'bin'];
    const sources = folders.flatMap(folder =>
      readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' }).map(file => join(root, folder, file)),
    );
    const changedAt = Math.max(...sources.filter(isSource).map(file => statSync(file).mtimeMs));
    if (statSync(built).mtimeMs >= changedAt)
      return { command: [process.execPath, built], about: 'node dist/bin/router.js', cwd };
  }
  const command = [process.execPath, '--import', import.meta.resolve('tsx'), join(root, 'bin/router.ts')];
  return { command, about: 'node --import tsx bin/router.ts', cwd };
}

const isSource = (file: string): boolean => file.endsWith('.ts') && !file.endsWith('.test.ts');

/** `BENCH_AUXOT_…` reaches the router as `AUXOT_…`, to compare settings. Nothing else of the environment does. */
function settingsOf(env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  const given = Object.entries(env).filter(([name]) => name.startsWith('BENCH_AUXOT_'));
  return Object.fromEntries(given.map(([name, value]) => [name.slice('BENCH_'.length), value]));
}

const newKey = (prefix: string): string => prefix + randomBytes(32).toString('base64url');

/** `argon2` writes its parameters in another order than the router's format asks for, so the line is put together here. */
async function hashOf(key: string): Promise<string> {
  const salt = randomBytes(16);
  const cost = { memoryCost: 65_536, timeCost: 3, parallelism: 4, hashLength: 32 };
  const hash = await argon2.hash(key, { ...cost, type: argon2.argon2id, salt, raw: true });
  const base64 = (bytes: Buffer) => bytes.toString('base64').replace(/=+$/, '');
  return `$argon2id$v=19$m=65536,t=3,p=4$${base64(salt)}$${base64(hash)}`;
}

async function isHealthy(url: string): Promise<boolean> {
  try {
    const answer = await fetch(`${url}/health`, { signal: AbortSignal.timeout(2_000) });
    await answer.arrayBuffer();
    return answer.ok;
  } catch {
    // Not listening yet; the caller's deadline decides when that is too long.
    return false;
  }
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.on('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const address = server.address();
      server.close(() => resolve(typeof address === 'object' && address !== null ? address.port : 0));
    });
  });
}
