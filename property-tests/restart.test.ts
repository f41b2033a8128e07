/** `kill -9` on the router, embedded store: every acknowledged event is there after the next start. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { openReadOnly } from '../actors/log/embedded-redis.ts';
import { JobLog } from '../actors/log/job-log.ts';
import { apiKey, startRouter, waitUntil, within } from './processes.ts';
import { startWorker } from './scripted-worker.ts';

const health = async (url: string): Promise<Record<string, unknown>> => {
  const value: unknown = await (await fetch(`${url}/health`)).json();
  return { ...(value as Record<string, unknown>) };
};

let asked = 0;

const chat = (url: string, body: object) =>
  fetch(`${url}/v1/chat/completions`, {
    method: 'POST',
    headers: {
      authorization: `Bearer ${apiKey}`,
      'content-type': 'application/json',
      // One each: a second request under the key of the first would follow the first one's job.
      'idempotency-key': `secret-looking-key-${asked++}`,
    },
    body: JSON.stringify(body),
  });

test('what a caller has got is in the log of a router that was killed, and a waiting job runs after the restart', async () => {
  const first = await startRouter({ AUXOT_FSYNC: 'no' });
  const worker = await startWorker(first.wsUrl, {
    slots: 1,
    script: ({ job_id }, self) => {
      for (let n = 0; n < 50; n += 1) self.say({ type: 'token', job_id, token: `t${n} ` });
    },
  });
  const response = await chat(first.url, { stream: true, messages: [{ role: 'user', content: 'speak' }] });
  const reader = response.body?.getReader();
  let got = '';
  while (!got.includes('t49 '))
    got += new TextDecoder().decode((await within(5000, reader?.read() ?? Promise.reject(), 'tokens'))?.value);
  const waiting = chat(first.url, { messages: [{ role: 'user', content: 'wait' }] }).catch(() => null);
  await waitUntil(
    async () => (await health(first.url)).queued_jobs === 1,
    5000,
    () => 'the second job is not queued',
  );
  first.kill('SIGKILL');
  await first.ended;
  await waiting;
  worker.close();

  const readOnly = await openReadOnly(first.dataDir);
  const log = new JobLog(readOnly);
  const [spoken = '', queued = ''] = await log.openJobs();
  const said = (await log.read(spoken))
    .flatMap(({ events }) => events)
    .map(event => (event.type === 'output.appended' ? event.text : ''))
    .join('');
  assert.is(said, Array.from({ length: 50 }, (_, n) => `t${n} `).join(''));
  const [submitted] = (await log.read(spoken)).flatMap(({ events }) => events);
  assert.match(submitted?.type === 'job.submitted' ? (submitted.idempotency ?? '') : '', /^[\w-]{43}$/);
  assert.not.match(JSON.stringify(await log.read(spoken)), /secret-looking-key/);
  readOnly.disconnect();

  const second = await startRouter({}, first.dataDir);
  const again = await startWorker(second.wsUrl);
  await waitUntil(
    () => again.jobs.length > 0,
    5000,
    () => `the queued job did not run again:\n${second.output()}`,
  );
  assert.is(again.jobs[0]?.job_id, queued);
  await waitUntil(
    async () => (await health(second.url)).active_jobs === 0,
    5000,
    () => 'still active',
  );
  again.close();
  await second.stop();
});

test.run();
