/**
 * Opens the store that the event log is kept in: a Redis server (or Valkey) when a URL is given, else the embedded store.
 *
 * What is open has answered once: a wrong address, a wrong password, a server that is too old or forgets data is an error at
 * start, which names the variable and never shows the password. A node of a Redis Cluster and a Sentinel lead to the server
 * that has the data, at each dialling.
 */
import { Redis, type RedisOptions } from 'ioredis';
import type { Fsync } from './append-file.ts';
import { openEmbedded } from './embedded-redis.ts';
import {
  clusterConnector,
  clusterPrefix,
  goodbyeMs,
  isElsewhere,
  type NodeOptions,
  withoutPrefix,
} from './redis-cluster.ts';
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
  const first = new Redis(target(url), common);
  const mode = await served(first, shown);
  if (mode === 'standalone') return kept(first, shown, say, returned);
  const { db = 0 } = first.options;
  const node = nodeOf(first.options);
  first.disconnect();
  const redis =
    mode === 'cluster'
      ? withoutPrefix(new Redis({ ...common, ...node, Connector: clusterConnector(node), keyPrefix: clusterPrefix }))
      : new Redis({ ...common, ...node, db, ...watchedBy(node, mode.master) });
  await served(redis, shown);
  return kept(redis, shown, say, returned);
}

/** What the URL says of a server, and holds for its siblings, too. */
function nodeOf({ host, port, family, username, password, tls }: RedisOptions): NodeOptions {
  return {
    ...(host === undefined ? {} : { host }),
    ...(port === undefined ? {} : { port }),
    ...(family === undefined ? {} : { family }),
    ...(username === undefined || username === null ? {} : { username }),
    ...(password === undefined || password === null ? {} : { password }),
    ...(tls === undefined ? {} : { tls }),
  };
}

/** Of every connection, to whatever kind of server. */
const common: RedisOptions = {
  lazyConnect: true,
  connectTimeout: firstAnswerMs,
  disconnectTimeout: goodbyeMs,
  enableAutoPipelining: true,
  maxRetriesPerRequest: reconnectsPerCommand,
  // After a failover the name may lead to another server, but the open connection to the old one.
  reconnectOnError: isElsewhere,
  retryStrategy: attempt => Math.min(reconnectDelayMsMax, 50 * 2 ** Math.min(attempt, 10)),
};

/** The master of that name, as the Sentinels have it: it is asked for at each dialling. */
const watchedBy = ({ host, port, username, password, tls }: NodeOptions, name: string): RedisOptions => ({
  sentinels: [{ ...(host === undefined ? {} : { host }), ...(port === undefined ? {} : { port }) }],
  name,
  ...(username === undefined ? {} : { sentinelUsername: username }),
  ...(password === undefined ? {} : { sentinelPassword: password }),
  ...(tls === undefined ? {} : { sentinelTLS: tls, enableTLSForSentinelMode: true }),
});

/** Has answered once, as the server that it is. Rejects with what to do. */
async function served(redis: Redis, shown: string): Promise<Mode> {
  let lastError: Error | null = null;
  const note = (error: Error): void => {
    lastError = error;
  };
  redis.on('error', note);
  try {
    await answers(redis);
    lastError = null; // it came up while it was dialled: what is wrong now is something else
    return await modeOf(redis);
  } catch (error) {
    redis.disconnect();
    const reason = lastError ?? error;
    const detail = reason instanceof Error ? reason.message : String(reason);
    throw new Error(
      `AUXOT_REDIS_URL: ${shown} did not answer as a Redis server: ${detail}. Start Redis there, correct the URL, or unset it to use the embedded store.`,
      { cause: error },
    );
  } finally {
    redis.off('error', note);
  }
}

/** A connection that has served once, and is looked after from here on. */
function kept(redis: Redis, shown: string, say: (message: string) => void, returned: () => void): Store {
  let up = true;
  redis.on('error', (error: Error) => {
    if (up) say(`store: lost ${shown}: ${error.message}`);
    up = false;
  });
  redis.on('ready', () => {
    if (!up) say(`store: connected to ${shown} again`);
    up = true;
    returned();
  });
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

/** What answers: one server, a node of a cluster, or a Sentinel and the name of the master that it watches. */
type Mode = 'standalone' | 'cluster' | { readonly master: string };

async function modeOf(redis: Redis): Promise<Mode> {
  // ioredis only tells an error when its own SELECT is refused, and goes on in database 0, which may be another's.
  const { db = 0 } = redis.options;
  const info = await redis.info().catch(() => ''); // some hosted servers forbid INFO, and are recent
  const mode = /^redis_mode:(\w+)/m.exec(info)?.[1];
  if (mode === 'sentinel') return { master: await masterAt(redis) };
  if (db !== 0)
    await redis.select(db).catch((error: Error) => {
      throw new Error(`it has no database ${db} for this user (${error.message})`, { cause: error });
    });
  const version = /^redis_version:(\d+)\.(\d+)/m.exec(info);
  const [major, minor] = [Number(version?.[1] ?? 7), Number(version?.[2] ?? 0)];
  if (major < 6 || (major === 6 && minor < 2)) throw new Error(`it is version ${major}.${minor}, and 6.2 is needed`);
  const evicts = /^maxmemory_policy:(allkeys\S+)/m.exec(info)?.[1];
  if (evicts !== undefined && !/^maxmemory:0\b/m.test(info))
    throw new Error(
      `when its memory is full it forgets data (maxmemory-policy ${evicts}), and jobs would be lost without a word: set noeviction`,
    );
  return mode === 'cluster' ? 'cluster' : 'standalone';
}

async function masterAt(sentinel: Redis): Promise<string> {
  // One list of names and values for each master.
  const masters = (await sentinel.call('SENTINEL', 'MASTERS')) as readonly (readonly string[])[];
  const names = masters.map(fields => fields[fields.indexOf('name') + 1] ?? '');
  const { name: asked = null } = sentinel.options; // from the URL
  const [only] = names;
  if (asked !== null ? names.includes(asked) : names.length === 1 && only !== undefined) return asked ?? only ?? '';
  const known = names.length === 0 ? 'no master' : `the masters ${names.join(', ')}`;
  const fix = names.length === 0 ? '' : `: say which by ?name=${names[0]} at the end of the URL`;
  throw new Error(`it is a Redis Sentinel that watches ${known}${fix}`);
}
