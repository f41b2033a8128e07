/**
 * A real redis-server for a test: on a free port of this machine, with nothing kept, and gone when `stop` has settled.
 * Null, after a loud line, where there is no `redis-server` program.
 */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export interface RedisServer {
  readonly port: number;
  readonly url: string;
  /** `kill -9`, and again on the same port with what it has kept. */
  restart(afterMs: number): Promise<void>;
  stop(): Promise<void>;
}

const startMs = 5000;

export async function startRedis(args: readonly string[] = []): Promise<RedisServer | null> {
  if (spawnSync('redis-server', ['--version']).status !== 0) {
    console.log('SKIPPED (no redis-server): install Redis 6.2 or later to compare the embedded store with it');
    return null;
  }
  const directory = await mkdtemp(join(tmpdir(), 'auxot-redis-'));
  const port = await freePort();
  const options = ['--port', String(port), '--bind', '127.0.0.1', '--dir', directory, '--save', '', ...args];
  let server = spawn('redis-server', options, { stdio: ['ignore', 'pipe', 'pipe'] });
  const kill = async () => {
    if (server.exitCode !== null || server.signalCode !== null) return;
    const exit = once(server, 'exit');
    server.kill('SIGKILL');
    await exit;
  };
  const restart = async (afterMs: number) => {
    await kill();
    await new Promise(resolve => setTimeout(resolve, afterMs));
    server = spawn('redis-server', options, { stdio: ['ignore', 'pipe', 'pipe'] });
    await ready(server);
  };
  const stop = async () => {
    await kill();
    await rm(directory, { recursive: true, force: true });
  };
  try {
    await ready(server);
  } catch (error) {
    await stop();
    throw error;
  }
  return { port, url: `redis://127.0.0.1:${port}`, restart, stop };
}

function ready(server: ChildProcess): Promise<void> {
  return new Promise((resolve, reject) => {
    let said = '';
    const fail = (why: string) => reject(new Error(`redis-server ${why}: ${said}`));
    const timer = setTimeout(() => fail(`was not ready within ${startMs} ms`), startMs);
    server.once('exit', () => {
      clearTimeout(timer);
      fail('ended');
    });
    server.stdout?.on('data', (chunk: Buffer) => {
      said += chunk.toString();
      if (!said.includes('Ready to accept connections')) return;
      clearTimeout(timer);
      resolve();
    });
  });
}

export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  server.close();
  await once(server, 'close');
  if (address === null || typeof address === 'string') throw new Error('no free port');
  return address.port;
}
