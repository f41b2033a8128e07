/**
 * What the files about the HTTP surface share: two real router processes, and what their answers are held to. Cases are
 * those of spec/http-api §10.1–10.3, §10.6 and spec/worker-protocol §8.9; test names begin with their ids.
 */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type Answer, bearer, call, health, untilHealth } from './callers.ts';
import { type RouterProcess, startRouter } from './processes.ts';
import { type Job, type ScriptedWorker, startWorker } from './scripted-worker.ts';

export let router: RouterProcess;
/** A second one, with everything optional switched on and every limit small. */
export let strict: RouterProcess;

/** Runs the tests of a file with both routers, and looks afterwards whether these hold anything. */
export function runWithRouters(): void {
  test.before(async () => {
    router = await startRouter({ AUXOT_FSYNC: 'no' });
    strict = await startRouter({
      AUXOT_FSYNC: 'no',
      AUXOT_MAX_QUEUE: '1',
      AUXOT_MAX_BODY: '64KiB',
      AUXOT_JOB_TIMEOUT: '3s',
      AUXOT_STREAM_KEEPALIVE: '1s',
      AUXOT_CORS_ORIGINS: 'https://app.example.com',
      AUXOT_MODEL_ALIASES: 'gpt-4o,big/one',
    });
  });
  test.after(async () => {
    await router?.stop();
    await strict?.stop();
  });
  test('after all this, nothing is held', async () => {
    for (const { url } of [router, strict]) {
      const now = await health(url);
      assert.equal([now.active_jobs, now.queued_jobs, now.workers], [0, 0, 0]);
    }
  });
  test.run();
}

export const openai = (path: string, init: RequestInit = {}, at = router): Promise<Answer> =>
  call(`${at.url}/api/openai/${path}`, { headers: bearer, ...init });

export const send = (method: string, path: string, body?: string): Promise<Answer> =>
  call(`${router.url}${path}`, { method, headers: bearer, ...(body === undefined ? {} : { body }) });

/** An error of the OpenAI API, whole (RB7, OA36). */
export function isError(answer: Answer, status: number, type: string, code: string | null = null): void {
  assert.is(answer.status, status, answer.text);
  assert.is(answer.headers.get('content-type'), 'application/json');
  assert.match(answer.headers.get('x-request-id') ?? '', /^req_[0-9a-f]{24}$/);
  assert.equal(Object.keys(answer.json?.error ?? {}), ['message', 'type', 'param', 'code'], answer.text);
  assert.ok(answer.json.error.message.length > 0);
  assert.is(answer.json.error.type, type, answer.text);
  assert.is(answer.json.error.code, code, answer.text);
}

export function isAnthropicError(answer: Answer, status: number, type: string): void {
  assert.is(answer.status, status, answer.text);
  assert.is(answer.headers.get('content-type'), 'application/json');
  assert.is(answer.json?.type, 'error', answer.text);
  assert.is(answer.json.error.type, type);
  assert.ok(answer.json.error.message.length > 0);
  assert.match(answer.json.request_id, /^req_[0-9a-f]{24}$/);
  assert.is(answer.headers.get('request-id'), answer.json.request_id);
}

/** Runs with a worker that leaves afterwards. */
export async function withWorker<T>(
  options: Parameters<typeof startWorker>[1],
  run: (worker: ScriptedWorker) => Promise<T>,
  at = router,
): Promise<T> {
  const worker = await startWorker(at.wsUrl, options);
  try {
    await untilHealth(at.url, ({ total_slots }) => total_slots > 0, 'the worker is not offered');
    return await run(worker);
  } finally {
    worker.close();
    await untilHealth(at.url, ({ workers }) => workers === 0, 'the worker is still there');
  }
}

export const completion = (job: Job, more: object = {}): object => ({
  type: 'complete',
  job_id: job.job_id,
  full_response: '',
  duration_ms: 1,
  input_tokens: 10,
  output_tokens: 5,
  ...more,
});
