/**
 * A Redis that a failover has made a replica: it answers and takes no writes. What runs is held back, what is new is refused,
 * the routers dial anew, because its name may lead to the new master by then, and all goes on, word for word.
 */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { chat, saidIn, untilHealth } from './callers.ts';
import { waitUntil } from './processes.ts';
import { startWorker } from './scripted-worker.ts';
import { second, sleep, slowly, startTwoRouters, words } from './two-routers.ts';

const here = await startTwoRouters();
const real = here === null ? test.skip : test;
test.after(() => here?.stop());

real('routers wait for a Redis that became a replica, and look for its master', async () => {
  if (here === null) return;
  const { one, two, connection } = here;
  const dialled = async (): Promise<number> =>
    Number(/total_connections_received:(\d+)/.exec(await connection.info('stats'))?.[1]);
  const worker = await startWorker(one.wsUrl, { slots: 1, script: slowly(100, 30, 1, 2), hello: second('w') });
  try {
    const asked = chat(one.url, { stream: true });
    await waitUntil(
      () => worker.jobs.length === 1,
      5000,
      () => `no job came:\n${one.output()}`,
    );
    await connection.call('REPLICAOF', '127.0.0.1', '1');
    await untilHealth(one.url, now => now.status === 'degraded', 'nobody says that it takes no writes', 5000);
    const refused = await chat(one.url, {});
    assert.is(refused.status, 503);
    assert.is(refused.json.error.code, 'store_unavailable');
    assert.match(one.output(), /READONLY/);
    const before = await dialled();
    // Longer than a lease: both live, and must not take each other's jobs when it writes again.
    await sleep(2500);
    // Two for the readers that the change of roles itself wakes.
    assert.ok((await dialled()) > before + 4, 'nobody has dialled anew');
    await connection.call('REPLICAOF', 'NO', 'ONE');
    assert.is(saidIn((await asked).text), words(100));
    assert.is(worker.jobs.length, 1);
    for (const { url } of [one, two])
      await untilHealth(url, now => now.status === 'ok', 'it does not serve again', 8000);
  } finally {
    await connection.call('REPLICAOF', 'NO', 'ONE');
    worker.close();
  }
});

test.run();
