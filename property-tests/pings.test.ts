/** A worker that thinks for long and says nothing: what proves that it lives is that it answers pings. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { chat, saidIn, untilHealth } from './callers.ts';
import { gpuKey, type RouterProcess, startRouter, waitUntil } from './processes.ts';
import { openRaw, type RawSocket } from './raw-socket.ts';

let router: RouterProcess;

test.before(async () => {
  router = await startRouter({ AUXOT_FSYNC: 'no' });
});

test.after(() => router.stop());

/** Twice as long as a ping of a worker with jobs may stay without an answer. */
const quietMs = 4000;

async function dial(): Promise<RawSocket> {
  const worker = await openRaw(router.port);
  const capabilities = { backend: 'mock', model: 'mock-model', ctx_size: 4096, total_slots: 1 };
  const second = { protocol_version: 2, instance_id: `quiet-${worker.socket.localPort}`, ready: true };
  worker.say({ type: 'hello', gpu_key: gpuKey, capabilities, ...second });
  await untilHealth(router.url, ({ total_slots }) => total_slots === 1, 'the worker is not offered');
  return worker;
}

async function asked(worker: RawSocket) {
  const answer = chat(router.url, { stream: true });
  const isJob = ({ type }: { type: string }): boolean => type === 'job';
  await waitUntil(
    () => worker.heard.some(isJob),
    5000,
    () => 'no job came',
  );
  return { answer, job: worker.heard.find(isJob) };
}

test('a worker that answers pings keeps its job, however long it says nothing', async () => {
  const worker = await dial();
  const { answer, job } = await asked(worker);
  await new Promise(resolve => setTimeout(resolve, quietMs));
  assert.is(worker.closed(), null);
  const { job_id, attempt } = job;
  worker.say({ type: 'token', job_id, attempt, seq: 1, token: 'at last', ids: [1] });
  worker.say({ ...{ type: 'complete', job_id, attempt, seq: 1 }, full_response: 'at last', output_tokens: 1 });
  assert.is(saidIn((await answer).text), 'at last');
  worker.close();
  await untilHealth(router.url, ({ workers }) => workers === 0, 'the worker is still there');
});

test('one that does not is closed as silent', async () => {
  const worker = await dial();
  worker.answersPings = false;
  const leaving = new AbortController();
  void chat(router.url, { stream: true }, { signal: leaving.signal }).catch(() => undefined);
  await waitUntil(
    () => worker.closed() !== null,
    quietMs,
    () => 'it is still there',
  );
  assert.ok([4504, 1006].includes(worker.closed() ?? 0), String(worker.closed()));
  leaving.abort();
});

test.run();
