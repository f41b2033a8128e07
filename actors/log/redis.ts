/**
 * Opens the store that the event log is kept in: a Redis server (or Valkey) when a URL is given, else the embedded store.
 *
 * What is open has answered once: a wrong address, a wrong password, a server that is too old, a cluster's node or a
 * Sentinel is an error at start, which names the variable and never shows the password.
 */
import { Redis } from 'ioredis';
import type { Fsync } from './append-file.ts';
import { openEmbedded } from './embedded-redis.ts';
import { endWhenSilent } from './silent-connection.ts';
import type { Store } from './store.ts';

export type { Store } from './store.ts';
export { StoreTrouble } from './store.ts';

export interface StoreOptions {
  /** `AUXOT_REDIS_URL`: `redis://`, `rediss://` or `unix://`. Null: the embedded store. */
  readonly redisUrl: string | null;
  /** Where the embedded store keeps its file. Null: in memory only. */
  readonly dataDir: string | null;
  /** When the embedded store's file is forced to the disk. `everysec` as in Redis: a power cut loses a second at most. */
  readonly fsync?: Fsync;
  /** Text for people: the store went into trouble, or came out of it. */
  readonly say?: (message: string) => void;
  /** The server is connected again. It may be another one. */
  readonly returned?: () => void;
}

/** Long enough for a far server's TLS handshake, short enough to wait for at a prompt. */
const firstAnswerMs = 5000;
/** Reconnects that a command waits for before it is rejected; with the delays below, about a second. */
const reconnectsPerCommand = 4;
const reconnectDelayMsMax = 1000;
/** A connection that is ended may be dead, and then it never says goodbye. */
const goodbyeMs = 100;

export async function openStore({
  redisUrl,
  dataDir,
  fsync = 'everysec',
  say = () => undefined,
  returned = () => undefined,
}: StoreOptions): Promise<Store> {
  if (redisUrl !== null) return connect(redisUrl, say, returned);
  return openEmbedded({ directory: dataDir, fsync, say });
}

async function connect(url: string, say: (message: string) => void, returned: () => void): Promise<Store> {
  const shown = masked(url);
  const redis = new Redis(target(url), {
    lazyConnect: true,
    connectTimeout: firstAnswerMs,
    disconnectTimeout: goodbyeMs,
    enableAutoPipelining: true,
    maxRetriesPerRequest: reconnectsPerCommand,
    // After a failover the name may lead to another server, but the open connection to the old one.
    reconnectOnError: error => error.message.startsWith('READONLY'),
    retryStrategy: attempt => Math.min(reconnectDelayMsMax, 50 * 2 ** Math.min(attempt, 10)),
  });
  let lastError: Error | null = null;
  let opened = false;
  let up = false;
  redis.on('error', (error: Error) => {
    lastError = error;
    if (up) say(`store: lost ${shown}: ${error.message}`);
    up = false;
  });
  redis.on('ready', () => {
    if (opened && !up) say(`store: connected to ${shown} again`);
    if (opened) returned();
    up = true;
  });
  try {
    await answers(redis);
    lastError = null; // it came up while it was dialled: what is wrong now is something else
    await mustServe(redis);
  } catch (error) {
    redis.disconnect();
    const reason = lastError ?? error;
    const detail = reason instanceof Error ? reason.message : String(reason);
    throw new Error(
      `AUXOT_REDIS_URL: ${shown} did not answer as a Redis server: ${detail}. Start Redis there, correct the URL, or unset it to use the embedded store.`,
      { cause: error },
    );
  }
  opened = true;
  endWhenSilent(redis, say);
  // ioredis types list the option orders it knows; at run time every command takes its words as they come, as the port has them.
  return redis as unknown as Store;
}

function target(url: string): string {
  if (!URL.canParse(url) || !['redis:', 'rediss:', 'unix:'].includes(new URL(url).protocol))
    throw new Error(
      `AUXOT_REDIS_URL must be redis://host:port, rediss://host:port or unix:///path/to/socket, and "${masked(url)}" is not.`,
    );
  return url;
}

/** The URL with its password hidden; a text that is no URL is hidden from its first `:` to its last `@`. */
function masked(url: string): string {
  if (!URL.canParse(url)) return url.replace(/:.*@/, ':***@');
  const parsed = new URL(url);
  if (parsed.password !== '') parsed.password = '***';
  if (parsed.searchParams.has('password')) parsed.searchParams.set('password', '***');
  return parsed.href;
}

async function answers(redis: Redis): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no answer within ${firstAnswerMs / 1000} s`)), firstAnswerMs);
  });
  try {
    // The first ping goes out when the connection stands, and is rejected after the first few reconnects.
    await Promise.race([redis.ping(), late]);
  } finally {
    clearTimeout(timer);
  }
}

async function mustServe(redis: Redis): Promise<void> {
  // ioredis only tells an error when its own SELECT is refused, and goes on in database 0, which may be another's.
  const { db = 0 } = redis.options;
  if (db !== 0)
    await redis.select(db).catch((error: Error) => {
      throw new Error(`it has no database ${db} for this user (${error.message})`, { cause: error });
    });
  const info = await redis.info('server').catch(() => ''); // some hosted servers forbid INFO, and are recent
  const mode = /^redis_mode:(\w+)/m.exec(info)?.[1];
  if (mode === 'cluster')
    throw new Error('it is a node of a Redis Cluster, which refuses most keys, and one server must take all of them');
  if (mode === 'sentinel')
    throw new Error('it is a Redis Sentinel, which keeps no data: give the URL of the master that it watches');
  const version = /^redis_version:(\d+)\.(\d+)/m.exec(info);
  if (version === null) return;
  const [major, minor] = [Number(version[1]), Number(version[2])];
  if (major < 6 || (major === 6 && minor < 2)) throw new Error(`it is version ${major}.${minor}, and 6.2 is needed`);
}
