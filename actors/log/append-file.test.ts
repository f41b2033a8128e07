import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { appendFileName, type EmbeddedOptions, openEmbedded, openReadOnly } from './embedded-redis.ts';
import { MemoryFiles } from './file-port.fake.ts';
import { type Store, StoreTrouble } from './store.ts';

let directory = '';
let path = '';
let said: string[] = [];
const opened: Store[] = [];

test.before.each(async () => {
  directory = await mkdtemp(join(tmpdir(), 'auxot-aof-'));
  path = join(directory, appendFileName);
  said = [];
});
test.after.each(async () => {
  for (const store of opened.splice(0)) await store.quit();
  await rm(directory, { recursive: true, force: true });
});

async function open(options: Partial<EmbeddedOptions> = {}): Promise<Store> {
  const store = await openEmbedded({ directory, say: line => said.push(line), ...options });
  opened.push(store);
  return store;
}

const trouble = async (doing: Promise<unknown>): Promise<StoreTrouble> => {
  const error = await doing.then(
    reply => new Error(`it was accepted: ${JSON.stringify(reply)}`),
    (reason: unknown) => reason,
  );
  assert.instance(error, StoreTrouble, String(error));
  return error as StoreTrouble; // just asserted
};

async function within<T>(ms: number, what: () => Promise<T>, good: (value: T) => boolean): Promise<void> {
  for (const until = Date.now() + ms; Date.now() < until; ) {
    if (good(await what())) return;
    await new Promise(resolve => setTimeout(resolve, 10));
  }
  assert.unreachable(`not within ${ms} ms`);
}
const accepted = (store: Store) => () =>
  store.set('probe', '1').then(
    () => true,
    () => false,
  );

test('the changes of one tick go in one write, and those made meanwhile in the next', async () => {
  const files = new MemoryFiles();
  const store = await open({ files });
  const first = Array.from({ length: 50 }, (_, i) => store.xadd('s', `1-${i + 1}`, 'a', 'b'));
  const batch = store.pipeline(Array.from({ length: 50 }, (_, i) => ['xadd', 's', `2-${i}`, 'a', 'b'])).exec();
  await Promise.all([...first, batch]);
  assert.is(files.writes, 1);
  let letGo: () => void = () => undefined;
  files.gate = new Promise(resolve => {
    letGo = resolve;
  });
  const slow = store.set('a', '1');
  await new Promise(resolve => setTimeout(resolve, 5));
  const later = ['b', 'c', 'd'].map(key => store.set(key, '1'));
  await new Promise(resolve => setTimeout(resolve, 5));
  letGo();
  await Promise.all([slow, ...later]);
  assert.is(files.writes, 3);
});

test('no reply goes out before the file has what it tells of, also to those who only read', async () => {
  const files = new MemoryFiles();
  const store = await open({ files });
  const reader = store.duplicate();
  let letGo: () => void = () => undefined;
  files.gate = new Promise(resolve => {
    letGo = resolve;
  });
  const order: string[] = [];
  const waiting = reader.xread('BLOCK', 1000, 'STREAMS', 's', '$').then(() => order.push('blocked reader'));
  const write = store.xadd('s', '1-1', 'a', 'b').then(() => order.push('writer'));
  const read = store.xlen('s').then(length => order.push(`reader ${length}`));
  await new Promise(resolve => setTimeout(resolve, 20));
  assert.equal(order, []);
  letGo();
  await Promise.all([write, waiting, read]);
  assert.is(order.length, 3);
});

test('a full disk: what waited is rejected and has not happened, reads go on, and so does all when there is room', async () => {
  const files = new MemoryFiles();
  const store = await open({ files });
  await store.xadd('s', '1-1', 'a', 'b');
  const blocked = store.duplicate().xread('BLOCK', 5000, 'STREAMS', 's', '$');
  files.room = 30; // the next write stops half-way
  const refused = trouble(store.xadd('s', '1-2', 'a', 'b'));
  const alsoRefused = trouble(store.pipeline([['set', 'k', 'v']]).exec());
  const reader = trouble(blocked);
  const error = await refused;
  assert.is(error.code, 'store_unavailable');
  assert.is(error.retryable, true);
  assert.match(error.message, /auxot\.aof cannot be written: ENOSPC/);
  await Promise.all([alsoRefused, reader]);
  await within(
    1000,
    () => store.xrange('s', '-', '+').catch(() => null),
    entries => entries?.length === 1,
  );
  await trouble(store.set('k', 'v'));
  assert.is(await store.exists('k'), 0);
  files.room = null;
  await within(3000, accepted(store), is => is);
  assert.is(await store.xadd('s', '1-2', 'a', 'b'), '1-2', 'the same append is taken now');
  assert.match(said.join('\n'), /cannot be written: ENOSPC[\s\S]*can be written again/);
  await store.quit();
  const again = await open({ files });
  assert.equal((await again.xrange('s', '-', '+')).length, 2);
  assert.is(await again.exists('k'), 0);
});

test('expiry waits while the disk is full, and comes after', async () => {
  let now = 1_000_000;
  const files = new MemoryFiles();
  const store = await open({ files, now: () => now });
  await store.set('k', 'v', 'PX', 1000);
  files.room = 0;
  await trouble(store.set('x', '1'));
  now += 5000;
  files.room = null;
  await within(3000, accepted(store), is => is);
  assert.is(await store.get('k'), null);
  await store.sadd('k', 'a');
  await store.quit();
  const again = await open({ files, now: () => now });
  assert.is(await again.type('k'), 'set');
});

test('with `always`, what could not be forced to the disk is not acknowledged', async () => {
  const files = new MemoryFiles();
  const store = await open({ files, fsync: 'always' });
  await store.set('a', '1');
  files.syncFails = true;
  await trouble(store.set('b', '2'));
  files.syncFails = false;
  await within(3000, accepted(store), is => is);
  assert.is(await store.get('b'), null);
  assert.is(await store.get('a'), '1');
});

test('with `everysec`, a failed sync leads to a new file', async () => {
  const files = new MemoryFiles();
  const store = await open({ files });
  for (let i = 0; i < 20; i++) await store.set('a', '2');
  const before = files.read(path).length;
  files.syncFails = true;
  await within(
    3000,
    async () => said.join('\n'),
    text => /could not be forced to the disk/.test(text),
  );
  files.syncFails = false;
  await within(3000, accepted(store), () => files.read(path).length < before);
  assert.is(await store.get('a'), '2');
});

test('a disk that is too slow is trouble, before memory is full', async () => {
  const files = new MemoryFiles();
  const store = await open({ files, waitingBytesMax: 1000 });
  let letGo: () => void = () => undefined;
  files.gate = new Promise(resolve => {
    letGo = resolve;
  });
  const first = store.set('a', 'x'.repeat(900));
  const second = store.set('b', 'x'.repeat(900));
  assert.match((await trouble(store.set('c', '1'))).message, /too slow/);
  letGo();
  await Promise.all([first, second]);
  assert.is(await store.set('c', '1'), 'OK');
});

test('a rewrite that fails is said, and the old file goes on', async () => {
  const files = new MemoryFiles();
  files.renameFails = true;
  const store = await open({ files, rewriteBytesMin: 100 });
  for (let i = 0; i < 20; i++) await store.set('a', String(i));
  await within(
    2000,
    async () => said.join('\n'),
    text => /rewriting .* failed/.test(text),
  );
  await store.quit();
  const again = await open({ files });
  assert.is(await again.get('a'), '19');
});

test('what comes in while the rewritten file takes the place of the old one is written, with nothing after it', async () => {
  const files = new MemoryFiles();
  let began: () => void = () => undefined;
  let release: () => void = () => undefined;
  const begun = new Promise<void>(resolve => {
    began = resolve;
  });
  files.renaming = () => {
    began();
    return new Promise(resolve => {
      release = resolve;
    });
  };
  const store = await open({ files, rewriteBytesMin: 100 });
  for (let i = 0; i < 20; i++) void store.set('a', String(i));
  await begun;
  const late = store.set('late', 'written');
  // The late write has asked for a flush while one is under way.
  await new Promise(resolve => setTimeout(resolve, 20));
  release();
  const timeout = new Promise(resolve => setTimeout(resolve, 2000, 'never acknowledged'));
  assert.is(await Promise.race([late, timeout]), 'OK');
});

test('a rewritten file is as long as the data, and what the rewrite left behind goes at the next start', async () => {
  const store = await open({ rewriteBytesMin: 1000 });
  for (let i = 0; i < 200; i++) await store.set('a', `value ${i}`);
  await within(
    5000,
    async () => {
      await store.set('a', 'last value');
      return readFile(path);
    },
    ({ length }) => length < 500,
  );
  await store.quit();
  await writeFile(`${path}.rewrite`, 'half a file');
  const again = await open();
  assert.is(await again.get('a'), 'last value');
  assert.is(await readFile(`${path}.rewrite`).catch(() => null), null);
});

test('a torn tail is cut off, zeros too, and damage in the middle is an error that names the place', async () => {
  const store = await open();
  await store.set('a', '1');
  await store
    .multi([
      ['set', 'b', '1'],
      ['set', 'c', '1'],
    ])
    .exec();
  await store.quit();
  const whole = await readFile(path);
  await writeFile(path, Buffer.concat([whole, Buffer.alloc(5000)]));
  const padded = await open();
  assert.equal((await padded.call('keys', '*')) as string[], ['a', 'b', 'c']);
  assert.match(said.join('\n'), /dropped 5000 bytes at the end/);
  await padded.quit();
  assert.equal(await readFile(path), whole, 'not only passed over: what is written next may be shorter');
  await writeFile(path, whole.subarray(0, whole.length - 3)); // within EXEC
  const torn = await open();
  assert.equal((await torn.call('keys', '*')) as string[], ['a']);
  await torn.quit();
  const damaged = Buffer.from(whole);
  damaged.write('????', whole.indexOf('MULTI') + 7);
  await writeFile(path, damaged);
  const error = await open().catch((reason: unknown) => reason);
  const offset = whole.indexOf('MULTI') + 7;
  assert.match(String(error), new RegExp(`auxot\\.aof is damaged at byte ${offset}`));
  await open().catch((reason: unknown) => assert.match(String(reason), /damaged/, 'and the lock was let go'));
});

test('a file is read beside the router that writes it, torn tail and all, and is not changed', async () => {
  const store = await open();
  await store.xadd('s', '1-1', 'a', 'b');
  const reader = await openReadOnly(directory);
  assert.equal(await reader.xrange('s', '-', '+'), [['1-1', ['a', 'b']]]);
  assert.match(String(await reader.set('a', '1').catch(String)), /READONLY/);
  await reader.quit();
  await store.quit();
  await writeFile(path, (await readFile(path)).subarray(0, -3));
  const before = await readFile(path);
  const torn = await openReadOnly(directory);
  assert.equal(await torn.xrange('s', '-', '+'), []);
  await torn.quit();
  assert.equal(await readFile(path), before);
});

test('a directory in use is refused with its name and the process, in this process and in others', async () => {
  const store = await open();
  await store.set('a', '1');
  assert.match(
    String(await open().catch((reason: unknown) => reason)),
    new RegExp(`${directory} is in use by the process ${process.pid}`),
  );
  await store.quit();
  const again = await open();
  assert.is(await again.get('a'), '1');
});

test('a process killed in mid-write loses nothing it acknowledged, and its lock is taken over', async () => {
  const module = new URL('./embedded-redis.ts', import.meta.url).href;
  const script = `
    const { openEmbedded } = await import(${JSON.stringify(module)});
    const store = await openEmbedded({ directory: process.argv[1] });
    for (let i = 1; ; i++) {
      await Promise.all([store.xadd('s', i + '-1', 'n', i), store.incr('n')]);
      process.stdout.write(i + '\\n');
    }`;
  const child = spawn(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', script, '--', directory], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let out = '';
  child.stdout.on('data', (chunk: Buffer) => {
    out += chunk.toString();
    if (out.length > 2000) child.kill('SIGKILL');
  });
  await once(child, 'close');
  const acknowledged = Number(out.trimEnd().split('\n').at(-1));
  assert.ok(acknowledged > 100, out.slice(0, 200));
  const store = await open();
  const length = await store.xlen('s');
  assert.ok(
    length >= acknowledged - 1 && length <= acknowledged + 1,
    `${length} entries, ${acknowledged} acknowledged`,
  );
  assert.ok(Number(await store.get('n')) >= acknowledged - 1);
});

test('the file can be read by its owner only', async () => {
  const store = await open();
  await store.set('a', '1');
  assert.is((await stat(path)).mode & 0o777, 0o600);
});

test.run();
