/**
 * A rolling restart of everything, under load: two routers (one asked over HTTP, one by SIGTERM) and four workers in pairs, one
 * after the other. No caller is left without the right answer.
 */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { call } from './callers.ts';
import { type Cluster, openCluster } from './chaos/cluster.ts';
import { askQuestions, newTally } from './chaos/requests.ts';
import { gpuKey } from './processes.ts';
import { seededRandom } from './simulation/random.ts';

const callersAtOnce = 6;
/** A router waits 9 s for its jobs, and a worker 10 s; neither takes longer than this in all. */
const stopMsMax = 16_000;

test('two routers and four workers are restarted one after the other, and no request is lost', async () => {
  const found: string[] = [];
  const cluster = await openCluster({ embedded: false, workers: [4, 0] }, what => found.push(what));
  if (cluster === null) return;
  const tally = newTally();
  const over = new AbortController();
  try {
    await cluster.start();
    const asking = askQuestions(cluster.url, callersAtOnce, seededRandom(5), over.signal, tally, what =>
      found.push(what),
    );
    await restartAll(cluster);
    over.abort();
    await asking;
  } finally {
    over.abort();
    await cluster.close();
  }
  assert.equal(found, []);
  assert.is(tally.answered, tally.requests);
  assert.ok(tally.answered > 10, `only ${tally.answered} requests`);
  console.log(`» ${tally.answered} requests, ${tally.retries} retries, ${tally.resumes} resumes`);
});

async function restartAll({ routers, workers }: Cluster): Promise<void> {
  const [first, second] = routers;
  if (first === undefined || second === undefined) throw new Error('two routers are needed');
  const asked = await call(`http://127.0.0.1:${first.port}/api/admin/drain`, {
    method: 'POST',
    headers: { authorization: `Bearer ${gpuKey}` },
  });
  assert.equal([asked.status, asked.json], [202, { status: 'draining' }]);
  await first.leaves(stopMsMax);
  await first.start();
  await second.end(stopMsMax);
  await second.start();
  for (const pair of [workers.slice(0, 2), workers.slice(2)]) {
    await Promise.all(
      pair.map(async worker => {
        await worker.end(stopMsMax);
        await worker.start();
        await worker.untilConnected();
      }),
    );
  }
}

test.run();
