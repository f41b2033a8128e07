/**
 * A Redis Cluster, used as one server: all our keys carry one hash tag and so live in one slot. A connection leads to the
 * master of that slot, wherever it is now.
 *
 * C1. Whoever dials asks the nodes that are known, one after the other, which of them has the slot; each answer names them
 *     all. So one node that answers is enough to find the others, and a failover is found by dialling again.
 * C2. What the store's users say and hear is keys without the tag.
 */
import { connect as connectTcp, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { AbstractConnector, Redis, type RedisOptions } from 'ioredis';

/** The tag comes first in every key, so that the braces in our own names mean nothing. */
const tag = 'auxot';
export const clusterPrefix = `{${tag}}:`;

const askMs = 2000;
/** A connection that is ended may be dead, and then it never says goodbye. */
export const goodbyeMs = 100;
/** A server's error that says: not here (any more). */
export const isElsewhere = (error: Error): boolean => /^(MOVED|READONLY)/.test(error.message);

interface Address {
  readonly host: string;
  readonly port: number;
}

/** How the nodes are reached: what the URL said of one of them holds for all. */
export type NodeOptions = Pick<RedisOptions, 'host' | 'port' | 'family' | 'username' | 'password' | 'tls'>;

/** A class of connectors, as ioredis makes one for each connection; they share the nodes that they know. */
export function clusterConnector(options: NodeOptions) {
  const first: Address = { host: options.host ?? '127.0.0.1', port: options.port ?? 6379 };
  let known: readonly Address[] = [first];
  const find = async (): Promise<Address> => {
    let trouble: unknown = null;
    for (const address of known) {
      try {
        const { owner, nodes } = await slotIn(await slotsBy(address, options), address);
        // The one of the URL stays: a name may lead elsewhere later.
        known = [...nodes, ...(nodes.some(node => isSame(node, first)) ? [] : [first])];
        return owner;
      } catch (error) {
        trouble = error;
      }
    }
    throw trouble instanceof Error ? trouble : new Error('no node of the Redis Cluster answers');
  };
  return class ClusterConnector extends AbstractConnector {
    constructor() {
      super(goodbyeMs);
    }

    /** A replica that was a master a moment ago. */
    override check(info: { readonly role?: string }): boolean {
      return info.role === undefined || info.role === 'master';
    }

    override async connect(): Promise<Socket> {
      this.connecting = true;
      const { host, port } = await find();
      if (!this.connecting) throw new Error('Connection is closed.');
      const { family } = options;
      const where = { host, port, ...(family === undefined ? {} : { family }) };
      const stream = options.tls === undefined ? connectTcp(where) : connectTls({ ...where, ...options.tls });
      this.stream = stream;
      return stream;
    }
  };
}

/** First and last slot, then the nodes that have these, the master first: host, port, id. */
type Node = readonly [host: string | null, port: number, ...unknown[]];
type Slots = readonly (readonly [from: number, to: number, ...nodes: Node[]])[];

async function slotsBy({ host, port }: Address, options: NodeOptions): Promise<{ slot: number; slots: Slots }> {
  const node = new Redis({
    ...options,
    host,
    port,
    lazyConnect: true,
    connectTimeout: askMs,
    commandTimeout: askMs,
    retryStrategy: () => null,
    maxRetriesPerRequest: 0,
  });
  let trouble: Error | null = null;
  node.on('error', (error: Error) => {
    trouble = error;
  });
  try {
    const [slot, slots] = await Promise.all([node.cluster('KEYSLOT', tag), node.cluster('SLOTS')]);
    return { slot: Number(slot), slots };
  } catch (error) {
    throw trouble ?? error;
  } finally {
    node.disconnect();
  }
}

function slotIn({ slot, slots }: { readonly slot: number; readonly slots: Slots }, asked: Address) {
  // A node that does not know its own name means the one by which it was asked.
  const addressOf = ([host, port]: Node): Address => ({
    host: host === null || host === '' || host === '?' ? asked.host : host,
    port,
  });
  const range = slots.find(([from, to]) => from <= slot && slot <= to);
  const [, , master] = range ?? [];
  if (master === undefined)
    throw new Error(`no node of the Redis Cluster has slot ${slot}, in which the router's keys are`);
  return { owner: addressOf(master), nodes: slots.flatMap(([, , ...nodes]) => nodes.map(addressOf)) };
}

const isSame = (a: Address, b: Address): boolean => a.host === b.host && a.port === b.port;

/**
 * C2. ioredis puts the prefix before most keys. It leaves it in replies that name them, and knows no keys of commands that
 * have subcommands.
 */
export function withoutPrefix(redis: Redis): Redis {
  type Named = [key: string, entries: unknown][] | null;
  const untagged = (reply: Named): Named =>
    reply?.map(([key, entries]) => [key.slice(clusterPrefix.length), entries]) ?? null;
  const tagged = ([subcommand, key, ...rest]: unknown[]): unknown[] => [subcommand, `${clusterPrefix}${key}`, ...rest];
  // The overloads list the orders of options that ioredis knows; the words go through as they came.
  type Command = (...words: unknown[]) => Promise<Named>;
  const { xread, xreadgroup, xgroup, xinfo } = redis as unknown as Record<string, Command>;
  const { duplicate } = redis;
  return Object.assign(redis, {
    xread: (...words: unknown[]) => xread?.apply(redis, words).then(untagged),
    xreadgroup: (...words: unknown[]) => xreadgroup?.apply(redis, words).then(untagged),
    xgroup: (...words: unknown[]) => xgroup?.apply(redis, tagged(words)),
    xinfo: (...words: unknown[]) => xinfo?.apply(redis, tagged(words)),
    duplicate: (override?: RedisOptions) => withoutPrefix(duplicate.call(redis, override)),
  });
}
