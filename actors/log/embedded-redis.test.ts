import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { openEmbedded } from './embedded-redis.ts';
import type { Store } from './store.ts';

let now = 1_000_000;
let store: Store;

test.before.each(async () => {
  now = 1_000_000;
  store = await openEmbedded({ directory: null, now: () => now });
});
test.after.each(async () => {
  await store.quit();
});

const later = (ms: number): Promise<void> => new Promise(resolve => setTimeout(resolve, ms));

test('a key is gone when its time has come, a stream as well as a value', async () => {
  await store.xadd('s', '1-1', 'a', 'b');
  await store.set('k', 'v', 'PX', 500);
  await store.pexpire('s', 1000);
  assert.equal([await store.pttl('s'), await store.pttl('k'), await store.ttl('s')], [1000, 500, 1]);
  now += 999;
  assert.equal([await store.exists('s'), await store.exists('k')], [1, 0]);
  now += 1;
  assert.is(await store.xadd('s', 'NOMKSTREAM', '1-2', 'a', 'b'), null);
  assert.equal(await store.scan('0'), ['0', []]);
});

test('keys that nobody looks at expire too', async () => {
  const real = await openEmbedded({ directory: null });
  for (let i = 0; i < 50; i++) await real.set(`k${i}`, 'v', 'PX', 20 + (i % 7));
  await real.set('stays', 'v');
  const woken = real.duplicate().xread('BLOCK', 300, 'STREAMS', 's', '$');
  assert.is(await woken, null, 'a reader that waits gives up in time');
  assert.is(await real.call('dbsize'), 1);
  await real.quit();
});

test('a message reaches those who subscribed, on this store only', async () => {
  const other = await openEmbedded({ directory: null });
  const heard: string[] = [];
  for (const [name, from] of [
    ['here', store],
    ['there', other],
  ] as const) {
    const subscriber = from.duplicate();
    subscriber.on('message', (channel, message) => heard.push(`${name} ${channel} ${message}`));
    await subscriber.subscribe('news');
  }
  assert.is(await store.publish('news', 'rain'), 1);
  await later(5);
  assert.equal(heard, ['here news rain']);
  await other.quit();
});

test('a reader that waits holds back what follows on its connection, and nothing on others', async () => {
  const own = store.duplicate();
  const order: string[] = [];
  const read = own.xread('BLOCK', 0, 'STREAMS', 's', '$').then(() => order.push('read'));
  const behind = own.set('a', '1').then(() => order.push('behind it'));
  await store.set('b', '1').then(() => order.push('elsewhere'));
  await store.xadd('s', '1-1', 'x', 'y');
  await Promise.all([read, behind]);
  assert.equal(order, ['elsewhere', 'read', 'behind it']);
});

test('a connection that ends rejects its waiting reader, and takes no more commands', async () => {
  const own = store.duplicate();
  const read = own.xread('BLOCK', 0, 'STREAMS', 's', '$').then(
    () => 'served',
    error => String(error),
  );
  own.disconnect();
  assert.match(await read, /Connection is closed/);
  assert.match(String(await own.get('a').catch((error: unknown) => error)), /Connection is closed/);
  assert.is(await store.get('a'), null, 'the store goes on');
});

test('what a caller gave or got can be changed without changing the store', async () => {
  const value = Buffer.from([1, 2, 255]);
  await store.xadd('s', '1-1', 'f', value);
  await store.set('k', value);
  value.fill(0);
  const [entry] = await store.xrangeBuffer('s', '-', '+');
  assert.equal(entry?.[1][1], Buffer.from([1, 2, 255]));
  entry?.[1][1]?.fill(7);
  assert.equal((await store.xrangeBuffer('s', '-', '+'))[0]?.[1][1], Buffer.from([1, 2, 255]));
  assert.equal(await store.getBuffer('k'), Buffer.from([1, 2, 255]));
});

test('a command that is not there is refused by name', async () => {
  assert.match(String(await store.call('LPUSH', 'a', 'b').catch((error: unknown) => error)), /unknown command 'LPUSH'/);
});

test('a hundred thousand appends take less than 5 µs of CPU each, and a batch of them one turn', async () => {
  const json = JSON.stringify([
    { type: 'output.appended', at: 1, attempt: 1, kind: 'text', text: 'x'.repeat(120), tokens: 1 },
  ]);
  for (let job = 0; job < 200; job++) await store.xadd(`auxot:{${job}}:log`, '1-1', 'v', '1', 'e', '[]');
  let best = Number.POSITIVE_INFINITY;
  for (let sequence = 2; sequence < 502; sequence++) {
    const from = process.cpuUsage();
    await store
      .pipeline(
        Array.from({ length: 200 }, (_, job) => [
          'xadd',
          `auxot:{${job}}:log`,
          'NOMKSTREAM',
          `1-${sequence}`,
          'v',
          '1',
          'e',
          json,
        ]),
      )
      .exec();
    const { user, system } = process.cpuUsage(from);
    best = Math.min(best, (user + system) / 200);
  }
  assert.ok(best < 5, `${best} µs`);
});

test.run();
