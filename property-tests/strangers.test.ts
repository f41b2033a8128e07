/**
 * How many connections that have not said who they are one address may have (spec/worker-protocol §7.5 S1): a number of
 * our own. What the contract says of sockets is asked by the cases of conformance/.
 */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { untilHealth } from './callers.ts';
import { type RouterProcess, startRouter, within } from './processes.ts';
import { openRaw } from './raw-socket.ts';
import { startWorker } from './scripted-worker.ts';

let router: RouterProcess;
test.before(async () => {
  router = await startRouter({ AUXOT_FSYNC: 'no' });
});
test.after(() => router?.stop());

test('64 strangers of one address are enough, and a worker among them is let in when they are gone', async () => {
  const strangers = await Promise.all(Array.from({ length: 64 }, () => openRaw(router.port)));
  const oneMore = await openRaw(router.port);
  assert.is(await within(2000, oneMore.ended, 'the socket was not closed'), 4429);
  for (const raw of strangers) raw.close();
  await Promise.all(strangers.map(({ ended: end }) => end));
  const worker = await startWorker(router.wsUrl);
  worker.close();
  await untilHealth(router.url, ({ workers }) => workers === 0, 'the worker is still there');
});

test('workers whose key is right are no strangers, however many come from one address', async () => {
  const workers = [];
  for (let n = 0; n < 70; n += 1) workers.push(await startWorker(router.wsUrl));
  await untilHealth(router.url, ({ workers: now }) => now === 70, 'not all are workers');
  for (const worker of workers) worker.close();
});

test.run();
