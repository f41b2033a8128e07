/** `AUXOT_REDIS_WAIT`: nothing is shown to a caller before a replica of the Redis has it. */
import { Redis } from 'ioredis';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { JobLog, type Store } from '../actors/log/job-log.ts';
import { chat, saidIn, untilHealth } from './callers.ts';
import { startRouter, waitUntil } from './processes.ts';
import { type RedisServer, startRedis } from './redis-server.ts';
import { startWorker } from './scripted-worker.ts';
import { second, sleep, slowly, words } from './two-routers.ts';

const primary = await startRedis();
const replica = primary === null ? null : await startRedis(['--replicaof', '127.0.0.1', String(primary.port)]);
const waits = primary === null ? test.skip : test;

test.after(async () => {
  await replica?.stop();
  await primary?.stop();
});

async function linked(server: RedisServer): Promise<void> {
  const asked = new Redis(server.url);
  asked.on('error', () => undefined);
  await waitUntil(
    async () => (await asked.info('replication')).includes('state=online'),
    10_000,
    () => 'the replica does not come',
  );
  asked.disconnect();
}

const setting = { AUXOT_SHARDS: '1', AUXOT_REDIS_WAIT: '1' };

waits('without its replica answers are held back and new jobs refused; with it they go on, word for word', async () => {
  const server = primary as RedisServer;
  await linked(server);
  const router = await startRouter({ ...setting, AUXOT_REDIS_URL: server.url });
  const worker = await startWorker(router.wsUrl, { slots: 1, script: slowly(100, 20, 1, 2), hello: second('w') });
  const asked = chat(router.url, { stream: true });
  await waitUntil(
    () => worker.jobs.length === 1,
    5000,
    () => `no job came:\n${router.output()}`,
  );
  await sleep(300);
  const back = (replica as RedisServer).restart(4000);
  await untilHealth(router.url, now => now.status === 'degraded', 'nobody says that the replica is missing', 5000);
  const refused = await chat(router.url, {});
  assert.is(refused.status, 503);
  assert.is(refused.json.error.code, 'store_unavailable');
  assert.match(router.output(), /0 of 1 replicas have confirmed a write/);
  await back;
  assert.is(saidIn((await asked).text), words(100));
  await untilHealth(router.url, now => now.status === 'ok', 'it does not serve again', 5000);
  worker.close();
  await router.stop();
});

waits('what a caller has been shown is in the replica when the server dies', async () => {
  const server = primary as RedisServer;
  await linked(server);
  const router = await startRouter({ ...setting, AUXOT_REDIS_URL: server.url });
  const worker = await startWorker(router.wsUrl, { slots: 1, script: slowly(400, 2, 1, 2), hello: second('w') });
  const response = await fetch(`${router.url}/v1/chat/completions`, {
    method: 'POST',
    headers: { authorization: `Bearer rtr_${'A'.repeat(43)}`, 'content-type': 'application/json' },
    body: JSON.stringify({ stream: true, messages: [{ role: 'user', content: 'hi' }] }),
  });
  let shown = '';
  const reading = (async () => {
    const decoder = new TextDecoder();
    for await (const part of response.body ?? []) shown += decoder.decode(part, { stream: true });
  })().catch(() => undefined);
  await waitUntil(
    () => saidIn(shown.slice(0, shown.lastIndexOf('\n\n') + 2)).length > 100,
    10_000,
    () => `nothing was said: ${shown}`,
  );
  await server.stop();
  await sleep(200);
  const said = saidIn(shown.slice(0, shown.lastIndexOf('\n\n') + 2));
  const copy = new Redis((replica as RedisServer).url);
  copy.on('error', () => undefined);
  const jobId = worker.jobs[0]?.job_id ?? '';
  // An ioredis connection takes its words as they come, as the port has them.
  const log = await new JobLog(copy as unknown as Store).read(jobId);
  const kept = log.flatMap(({ events }) => events.map(event => (event.type === 'output.appended' ? event.text : '')));
  assert.ok(
    kept.join('').startsWith(said),
    `shown ${said.length} characters, and the replica has ${kept.join('').length}`,
  );
  copy.disconnect();
  worker.close();
  router.kill('SIGKILL');
  await Promise.all([router.ended, reading]);
});

test.run();
