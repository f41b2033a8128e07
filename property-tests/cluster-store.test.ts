/**
 * What several routers do when their Redis is restarted, full, read-only, emptied, or replaced by a replica that lacks the
 * end of a log: the table in docs/operations.md, line by line, with two routers on a real server.
 */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { chat, saidIn, untilHealth } from './callers.ts';
import { waitUntil, within } from './processes.ts';
import { type Script, startWorker } from './scripted-worker.ts';
import { second, sleep, slowly, startTwoRouters, type TwoRouters, words } from './two-routers.ts';

const started = await startTwoRouters(['--appendonly', 'yes', '--appendfsync', 'always']);
// Without a redis-server no test runs.
const { one, two, redis, connection, openJobs, eventsOf, untilOutput, untilNothingIsOpen } = (started ??
  {}) as TwoRouters;

test.after(() => started?.stop());

/** A caller at the first router and a version 2 worker at the second: 100 words, one each 20 ms. */
async function story(happen: (jobId: string) => Promise<void>, script: Script = slowly(100, 20, 1, 2)) {
  const worker = await startWorker(two.wsUrl, { slots: 1, script, hello: second('w-store') });
  const asked = chat(one.url, { stream: true }).catch(() => null); // it was cut
  await waitUntil(
    () => worker.jobs.length === 1,
    5000,
    () => `no job came:\n${one.output()}`,
  );
  const jobId = worker.jobs[0]?.job_id ?? '';
  await untilOutput(jobId);
  await happen(jobId);
  const answer = await within(20_000, asked, 'the answer').finally(() => worker.close());
  return { text: answer === null ? null : saidIn(answer.text), body: answer?.text ?? '', jobId };
}

const untilBoth = async (status: string): Promise<void> => {
  for (const { url } of [one, two])
    await untilHealth(url, now => now.status === status, `a router does not become ${status}`, 10_000);
};

/** Both routers serve, and each other too. */
async function serves(): Promise<void> {
  await untilBoth('ok');
  await sleep(2500);
  const worker = await startWorker(two.wsUrl, { slots: 1, script: slowly(5, 5) });
  assert.is(saidIn((await chat(one.url, { stream: true })).text), words(5));
  worker.close();
  await untilNothingIsOpen();
}

test('restarted with its file: answers pause, and go on without a word lost', async () => {
  const { text } = await story(() => redis.restart(1000));
  assert.is(text, words(100));
  await serves();
});

test('full, or read-only: answers are held back and new jobs are refused, until it takes writes again', async () => {
  for (const [set, unset] of [
    [
      ['maxmemory', '1'],
      ['maxmemory', '0'],
    ],
    [
      ['min-replicas-to-write', '1'],
      ['min-replicas-to-write', '0'],
    ],
  ] as const) {
    const { text } = await story(async () => {
      await connection.config('SET', ...set);
      await untilHealth(two.url, now => now.status === 'degraded', 'the store fails and nobody says so', 5000);
      const refused = await chat(two.url, {});
      assert.is(refused.status, 503);
      assert.is(refused.json.error.code, 'store_unavailable');
      await sleep(2500);
      await connection.config('SET', ...unset);
    });
    assert.is(text, words(100), set[0]);
    await serves();
  }
});

test('emptied: open jobs are gone, their callers are cut, and new ones are served', async () => {
  const { text } = await story(async () => void (await connection.flushall()), thenSilent(3));
  assert.is(text, null, 'the connection was cut');
  await serves();
});

test('replaced by a replica that lacks the end of a log: that job ends in an error, and the log is whole', async () => {
  const { body, jobId } = await story(async id => {
    const key = `auxot:{${id}}:log`;
    const early = await connection.dumpBuffer(key);
    const said = async (): Promise<string> =>
      (await eventsOf(id)).map(event => (event.type === 'output.appended' ? event.text : '')).join('');
    await waitUntil(
      async () => (await said()) === words(30),
      8000,
      () => 'not all was said',
    );
    await sleep(200);
    // The connection is lost and comes back to a server that has less.
    await connection
      .multi()
      .restore(key, 0, early ?? '', 'REPLACE')
      .client('KILL', 'TYPE', 'normal')
      .exec()
      .catch(() => null);
    await waitUntil(
      async () => (await eventsOf(id)).at(-1)?.type === 'job.failed',
      8000,
      () => `the job was not ended:\n${two.output()}`,
    );
  }, thenSilent(30));
  assert.match(body, 'lost the end');
  const last = (await eventsOf(jobId)).at(-1);
  assert.is(last?.type === 'job.failed' && last.code, 'log_corrupt');
  assert.equal(await openJobs(), []);
  await serves();
});

/** Says `count` words of version 2, 10 ms apart, and then nothing more. */
function thenSilent(count: number): Script {
  return async ({ job_id, attempt }, worker) => {
    for (let seq = 1; seq <= count; seq += 1) {
      worker.say({ type: 'token', job_id, attempt, seq, ids: [seq], token: `w${seq} ` });
      await sleep(10);
    }
  };
}

if (started !== null) test.run();
