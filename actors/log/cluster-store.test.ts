import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { origin } from '../../protocol/position.ts';
import { ClusterStore } from './cluster-store.ts';
import { openEmbedded } from './embedded-redis.ts';
import type { Letter } from './inbox.ts';
import { JobLog } from './job-log.ts';
import { offerLines } from './offers.ts';
import { StoredRequestKeys } from './request-keys.ts';
import type { Store } from './store.ts';

const sleep = (ms: number): Promise<void> => new Promise(resolve => setTimeout(resolve, ms));

async function until(isSo: () => boolean, what: string): Promise<void> {
  for (const giveUpAt = Date.now() + 3000; !isSo(); await sleep(5)) if (Date.now() > giveUpAt) throw new Error(what);
}

async function routers(): Promise<{
  store: Store;
  a: ClusterStore;
  b: ClusterStore;
  log: JobLog;
  close(): Promise<void>;
}> {
  const store = await openEmbedded({ directory: null, fsync: 'no', say: () => undefined });
  const log = new JobLog(store, { boot: 'a' });
  const [a, b] = ['a', 'b'].map(
    boot => new ClusterStore(store, log, { boot, pool: 'm', about: '', quietMsMax: 60_000 }),
  );
  if (a === undefined || b === undefined) throw new Error('two routers');
  return {
    ...{ store, a, b, log },
    async close() {
      a.close();
      b.close();
      await log.close();
      await store.quit();
    },
  };
}

const at = 1_700_000_000_000;
const submitted = {
  ...{ type: 'job.submitted', at, jobId: 'j', instance: 'i', boot: 'a', priority: 0, deadlineAt: at + 1000 },
  request: { model: 'm', messages: [] },
  answer: { api: 'openai.chat', stream: true, model: 'm' },
};
const said = (text: string) => ({ type: 'output.appended', at, attempt: 1, kind: 'text', text, tokens: 1 });
const entry = (epoch: number, sequence: number, ...events: object[]) =>
  ({ jobId: 'j', epoch, sequence, count: events.length, events: JSON.stringify(events) }) as const;

// Found by the simulation: the owner of a job that had ended was asked for it, said nothing, and a worker that held such
// a job was never greeted again.
test('a job that was taken over behind its end belongs to nobody', async () => {
  const { store, a, log, close } = await routers();
  const late = (epoch: number) => entry(epoch, 1, { type: 'job.adopted', at, instance: 'i', boot: `b${epoch}` });
  await log.append([{ ...entry(1, 1, submitted), creates: true }]);
  await log.append([late(2)]);
  assert.is(await a.ownerOf('j'), 'b2');
  await log.append([entry(2, 2, { type: 'job.cancelled', at, reason: 'requested' })]);
  await log.append([late(3)]);
  await log.append([late(4)]);
  assert.is(await a.ownerOf('j'), null);
  const ending = await new StoredRequestKeys(store, 60_000).ending('j');
  assert.is(typeof ending === 'object' && ending.type, 'job.cancelled', 'and its request key is handed on');
  await close();
});

test('an offer is given to one router, and to another one when that is gone before it is done with', async () => {
  const { a, b, close } = await routers();
  await a.offer('j', 1, 'new');
  await a.offer('k', 2, 'begun');
  const taken = [...(await b.take(1, ['begun'])), ...(await b.take(5, offerLines))];
  assert.equal(
    taken.map(({ jobId, epoch, boot, line }) => [jobId, epoch, boot, line]),
    [
      ['k', 2, 'a', 'begun'],
      ['j', 1, 'a', 'new'],
    ],
  );
  assert.equal(await a.take(5, offerLines), []);
  const [begun] = taken;
  if (begun !== undefined) await b.done(begun);
  assert.equal(await a.inherit(boot => boot === 'c'), [], 'b lives');
  const inherited = await a.inherit(boot => boot === 'b');
  assert.equal(
    inherited.map(({ jobId }) => jobId),
    ['j'],
  );
  await close();
});

test('offers outlive a store that was emptied: the group is made anew', async () => {
  const { store, a, b, close } = await routers();
  assert.equal(await b.take(1, offerLines), []);
  await store.flushall();
  await a.offer('j', 1, 'new');
  assert.is((await b.take(1, offerLines)).length, 1);
  await close();
});

test('letters, offers and logs are heard from one read, which what is added later does not wait for', async () => {
  const { a, b, log, close } = await routers();
  const letters: Letter[] = [];
  let offers = 0;
  b.onLetters(letter => letters.push(letter));
  // The read blocks by now.
  await sleep(30);
  b.onOffers(() => {
    offers += 1;
  });
  await log.append([{ ...entry(1, 1, submitted), creates: true }]);
  let heard = '';
  const tailing = (async () => {
    for await (const { entries } of b.tail('j', origin, () => true))
      for (const { events } of entries)
        for (const event of events) heard += event.type === 'output.appended' ? event.text : `<${event.type}>`;
  })();
  await sleep(30);
  const askedAt = performance.now();
  await log.append([entry(1, 2, said('x'))]);
  await a.tell('b', { kind: 'abandoned', jobId: 'j' });
  await a.offer('j', 1, 'new');
  await until(() => letters.length === 1 && offers > 0 && heard.endsWith('x'), `not heard: ${heard}`);
  assert.ok(performance.now() - askedAt < 500, 'nothing waited for the end of a read');
  await log.append([{ ...entry(2, 1, { type: 'job.adopted', at, instance: 'i', boot: 'b' }), adopts: true }]);
  assert.is(await a.ownerOf('j'), 'b');
  const end = { type: 'job.cancelled', at, reason: 'requested' };
  await log.append([{ ...entry(2, 2, said('y'), end), ends: true }]);
  await tailing;
  assert.is(heard, '<job.submitted>x<job.adopted>y<job.cancelled>');
  assert.is(await a.ownerOf('j'), null, 'the job has ended');
  await close();
});

test('a lease lapses when it is not renewed, and says so when it is taken again', async () => {
  const { store, a, close } = await routers();
  assert.is(await a.renew(), false, 'it was not there');
  assert.is(await a.renew(), true);
  assert.ok(((await a.boots()).get('a') ?? 0) > 1000);
  await store.flushall();
  assert.is(await a.renew(), false);
  await a.leave();
  assert.is((await a.boots()).get('a'), 0);
  await a.bury('a');
  assert.is((await a.boots()).size, 0);
  await close();
});

test.run();
