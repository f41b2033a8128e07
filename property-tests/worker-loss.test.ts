/**
 * Nothing is lost when a worker drops: the demo model in real processes, killed, cut off, stopped and left without its
 * router in the middle of a story that is known by heart.
 *
 * `EVERY_TOKEN=1` kills a worker at every token of the story instead of at a sample of them. The test prints the gaps that
 * callers saw.
 */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { openReadOnly } from '../actors/log/embedded-redis.ts';
import { JobLog } from '../actors/log/job-log.ts';
import type { JobEvent } from '../protocol/job-events.ts';
import { bearer, chunksOf, untilHealth } from './callers.ts';
import { gpuKey, type Program, type RouterProcess, runProgram, startRouter, waitUntil, within } from './processes.ts';
import { openWorkerProxy, type WorkerProxy } from './worker-proxy.ts';

interface Golden {
  readonly behaviour: string;
  readonly messages: readonly object[];
  readonly expected_text: string;
  readonly completion_tokens: number;
}
const cases: Golden[] = JSON.parse(
  readFileSync(new URL('../registry/demo-model/golden.json', import.meta.url), 'utf8'),
);
const story = cases.find(({ behaviour }) => behaviour === 'story');
if (story === undefined) throw new Error('the demo model knows no story');

const folder = mkdtempSync(join(tmpdir(), 'auxot-loss-'));
let router: RouterProcess;
let workers: ProxiedWorker[] = [];

interface ProxiedWorker {
  readonly program: Program;
  readonly proxy: WorkerProxy;
  alive: boolean;
}

async function startWorker(): Promise<ProxiedWorker> {
  const proxy = await openWorkerProxy(router.port);
  const args = ['--router-url', proxy.url, '--model-path', 'demo'];
  const worker = { program: runProgram('worker', args, { AUXOT_GPU_KEY: gpuKey }, folder), proxy, alive: true };
  workers.push(worker);
  return worker;
}

async function end(worker: ProxiedWorker): Promise<void> {
  worker.alive = false;
  workers = workers.filter(other => other !== worker);
  worker.program.kill('SIGKILL');
  await worker.program.ended;
  await worker.proxy.close();
}

const untilWorkers = (count: number): Promise<void> =>
  untilHealth(router.url, now => now.workers === count, `there are not ${count} workers`, 30_000);

test.before(async () => {
  router = await startRouter({ AUXOT_FSYNC: 'no', AUXOT_CTX_SIZE: '2048', AUXOT_MAX_PARALLEL: '2' });
  await Promise.all([startWorker(), startWorker()]);
  await untilWorkers(2);
});
test.after(async () => {
  for (const worker of [...workers]) await end(worker);
  await router?.stop();
  rmSync(folder, { recursive: true, force: true });
});

interface Told {
  readonly id: string;
  readonly text: string;
  readonly tokens: number | undefined;
  readonly finish: string | undefined;
  /** The longest time without a chunk. */
  readonly gapMs: number;
}

async function tellStory(): Promise<Told> {
  const response = await fetch(`${router.url}/v1/chat/completions`, {
    method: 'POST',
    headers: { ...bearer, 'content-type': 'application/json' },
    body: JSON.stringify({
      messages: story?.messages,
      temperature: 0,
      stream: true,
      stream_options: { include_usage: true },
    }),
    signal: AbortSignal.timeout(30_000),
  });
  let body = '';
  let gapMs = 0;
  let last = performance.now();
  for await (const piece of response.body ?? []) {
    body += Buffer.from(piece).toString('utf8');
    gapMs = Math.max(gapMs, performance.now() - last);
    last = performance.now();
  }
  const chunks = chunksOf(body);
  const deltas = chunks.flatMap(({ choices }) => choices ?? []);
  return {
    id: chunks[0]?.id,
    text: deltas.map(({ delta }) => delta?.content ?? '').join('') + (chunks.at(-1)?.error?.message ?? ''),
    tokens: chunks.at(-1)?.usage?.completion_tokens,
    finish: deltas.at(-1)?.finish_reason,
    gapMs,
  };
}

function checkStory({ text, tokens, finish }: Told, where: string): void {
  assert.is(text, story?.expected_text, where);
  assert.is(tokens, story?.completion_tokens, `${where}: usage is counted once`);
  assert.is(finish, 'stop', where);
}

/** Asks for the story and lets `happen` befall whichever worker has said `tokens` of it. */
async function interrupted(tokens: number, happen: (worker: ProxiedWorker) => void): Promise<Told> {
  let hit = false;
  for (const worker of workers) {
    worker.proxy.after(tokens, () => {
      if (hit) return;
      hit = true;
      happen(worker);
    });
  }
  return tellStory();
}

const positions = (): number[] => {
  const every = Array.from({ length: story.completion_tokens - 1 }, (_, index) => index + 1);
  if (process.env.EVERY_TOKEN === '1') return every;
  return [1, 2, 3, 17, 60, 118, 119, 177, 201, 234, 235];
};

const quantile = (values: readonly number[], share: number): number =>
  [...values].sort((a, b) => a - b)[Math.min(values.length - 1, Math.floor(values.length * share))] ?? 0;
const show = (what: string, values: readonly number[]): void => {
  const parts = [0.5, 0.99].map(share => `p${share * 100} ${Math.round(quantile(values, share))} ms`);
  console.log(`  ${what}: ${parts.join(', ')} (${values.length} times)`);
};

test('without any loss the story is told', async () => {
  checkStory(await tellStory(), 'unbroken');
});

test('a worker killed at any token is no caller’s business: the other one finishes the story', async () => {
  const gaps: number[] = [];
  // A third, so that the next position need not wait until another program has started.
  await startWorker();
  await untilWorkers(3);
  for (const tokens of positions()) {
    let killed: ProxiedWorker | null = null;
    const told = await interrupted(tokens, worker => {
      killed = worker;
      worker.program.kill('SIGKILL');
      worker.proxy.cut();
    });
    checkStory(told, `killed after ${tokens} tokens`);
    assert.ok(killed !== null, `nobody was killed after ${tokens} tokens`);
    gaps.push(told.gapMs);
    await Promise.all([end(killed), startWorker()]);
    await untilHealth(router.url, now => now.workers >= 2, 'there are not two workers', 30_000);
  }
  await untilWorkers(3);
  for (const worker of workers.slice(2)) await end(worker);
  await untilWorkers(2);
  show('gap when a worker is killed', gaps);
});

test('a connection that is cut is dialled again, and the same worker goes on: nothing is generated twice', async () => {
  const [first, second] = workers;
  if (first === undefined || second === undefined) throw new Error('two workers are needed');
  await end(second);
  await untilWorkers(1);
  const gaps: number[] = [];
  for (const tokens of [1, 30, 100, 200]) {
    const dials = first.proxy.dials();
    const told = await interrupted(tokens, ({ proxy }) => proxy.cut());
    checkStory(told, `cut after ${tokens} tokens`);
    assert.is(first.proxy.dials(), dials + 1);
    const assigned = (await eventsOf(told.id)).filter(({ type }) => type === 'job.assigned');
    assert.is(assigned.length, 1, 'one worker had the job from beginning to end');
    gaps.push(told.gapMs);
  }
  show('gap when a connection is cut', gaps);
  await startWorker();
  await untilWorkers(2);
});

test('a worker that is told to stop hands its job to the other, and goes: the story has no gap', async () => {
  const gaps: number[] = [];
  for (const tokens of [1, 20, 60, 120]) {
    const told: ProxiedWorker[] = [];
    let stoppedAt = 0;
    const story = await interrupted(tokens, worker => {
      told.push(worker);
      stoppedAt = performance.now();
      worker.program.kill('SIGTERM');
    });
    checkStory(story, `stopped after ${tokens} tokens`);
    const [stopped] = told;
    if (stopped === undefined) throw new Error(`nobody was stopped after ${tokens} tokens`);
    const { status } = await within(5000, stopped.program.ended, 'a worker without jobs stays');
    assert.is(status, 0);
    const tookMs = performance.now() - stoppedAt;
    assert.ok(tookMs < 3000, `it takes ${tookMs} ms to leave`);
    const types = (await eventsOf(story.id)).map(({ type }) => type);
    assert.is(types.filter(type => type === 'job.moved').length, 1, types.join(' '));
    assert.not.ok(types.includes('job.orphaned'), types.join(' '));
    gaps.push(story.gapMs);
    await Promise.all([end(stopped), startWorker()]);
    await untilWorkers(2);
  }
  show('gap when a worker is told to stop', gaps);
});

test('a stopped worker, and one behind a half-open connection, lose their jobs in less than 3 s', async () => {
  const gaps: number[] = [];
  for (const happen of ['stop', 'hang'] as const) {
    let hit: ProxiedWorker | null = null;
    const told = await interrupted(40, worker => {
      hit = worker;
      if (happen === 'stop') worker.program.kill('SIGSTOP');
      else worker.proxy.hang();
    });
    checkStory(told, happen);
    assert.ok(told.gapMs < 3000, `${happen}: ${told.gapMs} ms`);
    gaps.push(told.gapMs);
    assert.ok(hit !== null);
    (hit as ProxiedWorker).program.kill('SIGCONT');
    // It comes back, is told that the job is somebody else's, and works on.
    await untilWorkers(2);
    checkStory(await tellStory(), `after ${happen}`);
  }
  show('gap when a worker falls silent', gaps);
});

test('a router killed in mid-story starts again, and its worker hands over what it never stopped saying', async () => {
  const [, second] = workers;
  if (second !== undefined) await end(second);
  await untilWorkers(1);
  const [worker] = workers;
  let killed = Promise.resolve();
  worker?.proxy.after(50, () => {
    worker.proxy.cut();
    worker.proxy.refuse(true);
    router.kill('SIGKILL');
    killed = router.ended.then(() => undefined);
  });
  // The caller's connection breaks with the router; that it can be resumed is another test's business.
  await tellStory().catch(() => null);
  await within(5000, killed, 'the router was not killed');
  const startedAt = performance.now();
  const { port, dataDir } = router;
  router = await startRouter(
    { AUXOT_FSYNC: 'no', AUXOT_CTX_SIZE: '2048', AUXOT_MAX_PARALLEL: '2', AUXOT_PORT: String(port) },
    dataDir,
  );
  const readyMs = performance.now() - startedAt;
  const [jobId = ''] = await openJobIds();
  const letInAt = performance.now();
  worker?.proxy.refuse(false);
  await waitUntil(
    async () => (await openJobIds()).length === 0,
    20_000,
    () => `the job does not end:\n${router.output()}\n${worker?.program.output()}`,
  );
  const recoveredMs = performance.now() - letInAt;
  const events = await eventsOf(jobId);
  const said = events.map(event => (event.type === 'output.appended' ? event.text : '')).join('');
  assert.is(said, story.expected_text);
  assert.is(events.filter(({ type }) => type === 'job.assigned').length, 1, 'nothing was generated again');
  assert.is(events.filter(({ type }) => type === 'job.resumed').length, 1);
  assert.is(events.at(-1)?.type, 'job.completed');
  console.log(`  router back after ${Math.round(readyMs)} ms, its job done ${Math.round(recoveredMs)} ms later`);
});

async function withLog<T>(read: (log: JobLog) => Promise<T>): Promise<T> {
  const store = await openReadOnly(router.dataDir);
  try {
    return await read(new JobLog(store));
  } finally {
    store.disconnect();
  }
}
const openJobIds = (): Promise<readonly string[]> => withLog(log => log.openJobs());
const eventsOf = (jobId: string): Promise<JobEvent[]> =>
  withLog(async log => (await log.read(jobId)).flatMap(({ events }) => [...events]));

test.run();
