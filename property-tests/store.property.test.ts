/**
 * The embedded store against a real Redis server: the same random commands on both, the same replies; and against itself
 * across restarts: whatever was acknowledged is there again, wherever its file was cut.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { appendFileName, openEmbedded, openReadOnly } from '../actors/log/embedded-redis.ts';
import { MemoryFiles } from '../actors/log/file-port.fake.ts';
import { openStore } from '../actors/log/redis.ts';
import type { Store, Words } from '../actors/log/store.ts';
import { startRedis } from './redis-server.ts';
import { command, comparable, plainCommand } from './store-commands.ts';
import { replyOf } from './store-replies.ts';
import { stateOf } from './store-state.ts';

const runs = Number(process.env.FC_RUNS ?? 150);
const seed = process.env.FC_SEED === undefined ? {} : { seed: Number(process.env.FC_SEED) };
const options = (share: number) => ({
  numRuns: Math.max(1, Math.round(runs * share)),
  includeErrorInReport: true,
  ...seed,
});

const anyCommand = fc.oneof({ weight: 5, arbitrary: command }, { weight: 1, arbitrary: plainCommand });
const commands = (most: number) => fc.array(anyCommand, { minLength: 1, maxLength: most, size: 'max' });

const shown = (words: Words): string =>
  words.map(word => (Buffer.isBuffer(word) ? `0x${word.toString('hex')}` : word)).join(' ');

function same(what: string, ours: unknown, theirs: unknown): void {
  const [embedded, redis] = [JSON.stringify(ours), JSON.stringify(theirs)];
  assert.is(embedded, redis, `${what}:\n  embedded: ${embedded}\n  redis:    ${redis}\n`);
}

const server = await startRedis();
const root = await mkdtemp(join(tmpdir(), 'auxot-store-'));
test.after(() => rm(root, { recursive: true, force: true }));
let directories = 0;
const newDirectory = (): string => join(root, String(++directories));

if (server !== null) {
  let real: Store;
  test.before(async () => {
    real = await openStore({ redisUrl: server.url, dataDir: null });
  });
  test.after(async () => {
    await real.quit();
    await server.stop();
  });

  test('any sequence of commands gets the same replies from both', async () => {
    await fc.assert(
      fc.asyncProperty(commands(60), async sequence => {
        await real.flushall();
        const embedded = await openEmbedded({ directory: null });
        try {
          for (const [i, words] of sequence.entries()) {
            const [ours, theirs] = await Promise.all([replyOf(embedded, words), replyOf(real, words)]);
            same(`command ${i}, ${shown(words)}`, comparable(words, ours), comparable(words, theirs));
          }
          same('state', await stateOf(embedded, { dangling: true }), await stateOf(real, { dangling: true }));
        } finally {
          await embedded.quit();
        }
      }),
      options(1),
    );
  });

  test('a batch and a transaction get the same replies from both', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.tuple(fc.boolean(), commands(12)), { maxLength: 4 }), async batches => {
        await real.flushall();
        const embedded = await openEmbedded({ directory: null });
        try {
          for (const [isTransaction, batch] of batches) {
            const [ours, theirs] = await Promise.all([
              batchReply(embedded, isTransaction, batch),
              batchReply(real, isTransaction, batch),
            ]);
            same(batch.map(shown).join(' | '), ours, theirs);
          }
        } finally {
          await embedded.quit();
        }
      }),
      options(0.25),
    );
  });

  test('trimming about a length or an id drops the same entries from both', async () => {
    const added = fc.integer({ min: 1, max: 350 });
    const trims = fc.array(
      fc.tuple(
        fc.array(fc.integer({ min: 1, max: 350 }), { maxLength: 60 }),
        fc.constantFrom('MAXLEN', 'MINID'),
        fc.integer({ min: 0, max: 350 }),
        fc.constantFrom<string[]>([], ['LIMIT', '0'], ['LIMIT', '100'], ['LIMIT', '150']),
      ),
      { minLength: 1, maxLength: 4 },
    );
    await fc.assert(
      fc.asyncProperty(added, trims, async (count, rounds) => {
        await real.flushall();
        const embedded = await openEmbedded({ directory: null });
        try {
          const both = async (...words: Words) => {
            const [ours, theirs] = await Promise.all([replyOf(embedded, words), replyOf(real, words)]);
            same(shown(words), ours, theirs);
          };
          const adds = Array.from({ length: count }, (_, i): Words => ['xadd', 's', `${i + 1}-0`, 'f', 'v']);
          await Promise.all([embedded.pipeline(adds).exec(), real.pipeline(adds).exec()]);
          for (const [deleted, by, value, limit] of rounds) {
            if (deleted.length > 0) await both('xdel', 's', ...deleted);
            await both('xtrim', 's', by, '~', value, ...limit);
            await both('xlen', 's');
            await both('xadd', 's', by, '~', value, ...limit, `${1000 + value}-*`, 'f', 'v');
            await both('xrange', 's', '-', '+', 'COUNT', 5);
          }
        } finally {
          await embedded.quit();
        }
      }),
      options(0.4),
    );
  });

  test('ids that the store chooses rise, and the entries read back in that order', async () => {
    for (const store of [real, await openEmbedded({ directory: null })]) {
      await store.flushall();
      const ids: (string | null)[] = [];
      for (let i = 0; i < 50; i++) ids.push(await store.xadd('s', '*', 'i', i));
      assert.equal(
        (await store.xrange('s', '-', '+')).map(([id, fields]) => [id, fields]),
        ids.map((id, i) => [id, ['i', String(i)]]),
      );
      assert.ok(Math.abs(Number.parseInt(ids[0] ?? '', 10) - Date.now()) < 60_000);
      if (store !== real) await store.quit();
    }
  });

  test('readers that wait get the same, in the same order, from both', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(command, { maxLength: 10 }),
        fc.array(blockingRead, { minLength: 1, maxLength: 4 }),
        fc.array(command, { minLength: 1, maxLength: 10 }),
        async (before, reads, after) => {
          await real.flushall();
          const embedded = await openEmbedded({ directory: null });
          try {
            const ours = await waitingReplies(embedded, before, reads, after, () => turn());
            const theirs = await waitingReplies(real, before, reads, after, isStill => quiet(real, isStill));
            same([...before, ...reads, ...after].map(shown).join(' | '), ours, theirs);
          } finally {
            await embedded.quit();
          }
        },
      ),
      options(0.25),
    );
  });

  test('a server fed with the append-only file by redis-cli --pipe holds the same data', async () => {
    await fc.assert(
      fc.asyncProperty(commands(60), fc.boolean(), async (sequence, rewrite) => {
        await real.flushall();
        const directory = newDirectory();
        const store = await openEmbedded({ directory, rewriteBytesMin: rewrite ? 1 : 1e9 });
        for (const words of sequence) await replyOf(store, words);
        const state = await stateOf(store, { dangling: false });
        await store.quit();
        await pipe(await readFile(join(directory, appendFileName)), server.port);
        same(sequence.map(shown).join(' | '), state, await stateOf(real, { dangling: false }));
      }),
      options(0.1),
    );
  });
}

test('a store opened again holds what it held', async () => {
  await fc.assert(
    fc.asyncProperty(commands(60), async sequence => {
      const directory = newDirectory();
      const store = await openEmbedded({ directory });
      for (const words of sequence) await replyOf(store, words);
      const state = await stateOf(store, { dangling: true });
      await store.quit();
      const again = await openEmbedded({ directory });
      same(sequence.map(shown).join(' | '), await stateOf(again, { dangling: true }), state);
      await again.quit();
    }),
    options(0.5),
  );
});

test('a file cut at any byte gives the state after the last command that was whole', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(anyCommand, { minLength: 5, maxLength: 14, size: 'max' }), async sequence => {
      const directory = newDirectory();
      const path = join(directory, appendFileName);
      const store = await openEmbedded({ directory });
      // Deliveries and trimming are several changes in one, and come back whole or not at all.
      const start: Words[] = [
        ...[1, 2, 3].map((ms): Words => ['xadd', 's1', `${ms}-0`, 'f', 'v']),
        ['xgroup', 'CREATE', 's1', 'g1', '0'],
        ['xreadgroup', 'GROUP', 'g1', 'anna', 'STREAMS', 's1', '>'],
        ['xadd', 's1', 'MAXLEN', '2', '4-0', 'f', 'v'],
      ];
      const states: { readonly bytes: number; readonly state: unknown }[] = [{ bytes: 0, state: {} }];
      for (const words of [...start, ...sequence]) {
        await replyOf(store, words);
        states.push({ bytes: (await stat(path)).size, state: await stateOf(store, { dangling: true }) });
      }
      await store.quit();
      const whole = await readFile(path);
      for (let cut = 0; cut <= whole.length; cut++) {
        const files = new MemoryFiles();
        files.contents.set(path, whole.subarray(0, cut));
        const reader = await openReadOnly(directory, files);
        const expected = states.findLast(({ bytes }) => bytes <= cut)?.state;
        same(`cut at ${cut} of ${whole.length}`, await stateOf(reader, { dangling: true }), expected);
        await reader.quit();
      }
      // Opened to write, the torn tail goes away, and what is appended next is found again.
      for (let cut = 20; cut < whole.length; cut += Math.ceil(whole.length / 23)) {
        await writeFile(path, whole.subarray(0, cut));
        const repaired = await openEmbedded({ directory });
        await repaired.set('after', 'the cut');
        await repaired.quit();
        const again = await openEmbedded({ directory });
        assert.is(await again.get('after'), 'the cut');
        await again.quit();
      }
    }),
    options(0.02),
  );
});

test('a file that is rewritten while commands go on gives the same state', async () => {
  await fc.assert(
    fc.asyncProperty(commands(120), async sequence => {
      const directory = newDirectory();
      const store = await openEmbedded({ directory, rewriteBytesMin: 1 });
      for (let at = 0; at < sequence.length; at += 5)
        await Promise.all(sequence.slice(at, at + 5).map(words => replyOf(store, words)));
      const state = await stateOf(store, { dangling: false });
      await store.quit();
      const again = await openEmbedded({ directory });
      same(sequence.map(shown).join(' | '), await stateOf(again, { dangling: false }), state);
      await again.quit();
    }),
    options(0.5),
  );
});

async function batchReply(store: Store, isTransaction: boolean, batch: Words[]): Promise<unknown> {
  const commandsOfBatch = batch.filter(words => words[0] !== 'hgetall'); // ioredis gives an object here, and a list there
  const replies = await (isTransaction ? store.multi(commandsOfBatch) : store.pipeline(commandsOfBatch))
    .exec()
    .catch((error: Error) => error.message.slice(0, 9));
  if (!Array.isArray(replies)) return replies;
  return replies.map(([error, reply], i) =>
    comparable(commandsOfBatch[i] ?? [''], error === null ? reply : { error: error.message }),
  );
}

const readKey = fc.constantFrom('s1', 's2');
const blockingRead: fc.Arbitrary<Words> = fc.oneof(
  fc
    .tuple(readKey, fc.constantFrom('$', '0', '3-3'), fc.constantFrom('1', '10'))
    .map(([key, id, count]): Words => ['xread', 'COUNT', count, 'BLOCK', '0', 'STREAMS', key, id]),
  fc.constant<Words>(['xread', 'BLOCK', '0', 'STREAMS', 's1', 's2', '$', '$']),
  fc
    .tuple(readKey, fc.constantFrom('anna', 'bert'))
    .map(([key, name]): Words => ['xreadgroup', 'GROUP', 'g1', name, 'BLOCK', '0', 'STREAMS', key, '>']),
);

/** Each reader on its own connection, started one after another; then the commands, noting after each who was served. */
async function waitingReplies(
  store: Store,
  before: readonly Words[],
  reads: readonly Words[],
  after: readonly Words[],
  settle: (isStill: () => number) => Promise<void>,
): Promise<unknown> {
  for (const group of ['s1', 's2']) await replyOf(store, ['xgroup', 'CREATE', group, 'g1', '0', 'MKSTREAM']);
  for (const words of before) await replyOf(store, words);
  const steps: { readonly reply: unknown; readonly served: unknown[] }[] = [];
  let served: [reader: number, reply: unknown][] = [];
  const step = (reply: unknown) => {
    // What went out on different connections at once has no order.
    steps.push({ reply, served: served.sort(([a], [b]) => a - b) });
    served = [];
  };
  let waiting = 0;
  const connections: Store[] = [];
  try {
    for (const [i, words] of reads.entries()) {
      const connection = store.duplicate();
      connections.push(connection);
      waiting += 1;
      replyOf(connection, words).then(reply => {
        waiting -= 1;
        served.push([i, comparable(words, reply)]);
      });
      await settle(() => waiting);
    }
    step(null);
    for (const words of after) {
      const reply = comparable(words, await replyOf(store, words));
      await settle(() => waiting);
      step(reply);
    }
  } finally {
    for (const connection of connections) connection.disconnect();
  }
  return steps;
}

const turn = (): Promise<void> => new Promise(resolve => setImmediate(resolve));

/** Settles when the server has as many waiting clients as there are readers without a reply. */
async function quiet(store: Store, isStill: () => number): Promise<void> {
  for (let looks = 0; looks < 500; looks++) {
    const info = String(await store.call('info', 'clients'));
    const blocked = Number(/blocked_clients:(\d+)/.exec(info)?.[1] ?? -1);
    if (blocked === isStill()) {
      await turn();
      if (blocked === isStill()) return;
    }
    await new Promise(resolve => setTimeout(resolve, 2));
  }
  throw new Error('the server did not settle');
}

async function pipe(bytes: Buffer, port: number): Promise<void> {
  const cli = spawn('redis-cli', ['-p', String(port), '--pipe'], { stdio: ['pipe', 'pipe', 'inherit'] });
  let said = '';
  cli.stdout.on('data', (chunk: Buffer) => {
    said += chunk.toString();
  });
  cli.stdin.end(bytes);
  const [code] = await once(cli, 'close');
  assert.is(code, 0, said);
  assert.match(said, /errors: 0/);
}

test.run();
