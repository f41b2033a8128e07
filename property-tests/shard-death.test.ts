/**
 * Shards on real threads that really die, in the middle of a hundred streams (design §2, Threads; promise "shard thread
 * killed"). Front, pool, log and embedded store are those of a running router, put together as bin/serve.ts does;
 * callers and workers stand at the ports, so that every byte is seen.
 */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { silentDiagnostics } from '../actors/config/diagnostics.ts';
import { JobLog } from '../actors/log/job-log.ts';
import { openStore } from '../actors/log/redis.ts';
import { realClock } from '../actors/router/clock.ts';
import { Front } from '../actors/router/front.ts';
import { openShardPool } from '../actors/shard/pool.ts';
import { waitUntil } from './processes.ts';
import { rules, TestCaller, TestWorker } from './world.ts';

const shards = 2;
const encoder = new TextEncoder();

interface Router {
  readonly front: Front;
  readonly pool: ReturnType<typeof openShardPool>;
  /** Why shards died. */
  readonly deaths: string[];
  readonly failures: string[];
  ask(request?: object): TestCaller;
  worker(slots: number): Promise<TestWorker>;
  stop(): Promise<void>;
}

async function openRouter(options: { memoryMib?: number; entry?: URL } = {}): Promise<Router> {
  const store = await openStore({ redisUrl: null, dataDir: null, say: () => undefined });
  const log = new JobLog(store, {});
  const deaths: string[] = [];
  const failures: string[] = [];
  const pool = openShardPool({ shards, rules, trouble: () => undefined, ...options });
  let last = 0;
  const id = (length: number): string => {
    last += 1;
    return (last % 256).toString(16).padStart(2, '0') + String(last).padStart(length - 2, '0');
  };
  const front = new Front(
    {
      writer: { instance: 'test', boot: 'boot-1' },
      jobTimeoutMs: 60_000,
      queueTimeoutMs: 60_000,
      maxQueue: 1000,
      keepAliveMs: 60_000,
      pingMs: 10_000,
      silentMs: 0,
      modelDefault: 'm',
    },
    {
      clock: realClock,
      log,
      shards: {
        ...pool,
        start: (index, heard, dead) =>
          pool.start(index, heard, reason => {
            deaths.push(reason);
            dead(reason);
          }),
      },
      diagnostics: silentDiagnostics,
      keys: { verify: async () => 'right' },
      failed: reason => failures.push(reason),
      // The same ids in every run, so that the bytes of two runs can be compared.
      ids: { jobId: () => `chatcmpl-${id(24)}`, workerId: () => id(32) },
    },
  );
  return {
    front,
    pool,
    deaths,
    failures,
    ask(request = {}) {
      const caller = new TestCaller();
      const body = {
        stream: true,
        stream_options: { include_usage: true },
        messages: [{ role: 'user', content: 'hi' }],
      };
      const bytes = encoder.encode(JSON.stringify({ ...body, ...request }));
      caller.streamId = front.requestArrived(caller, { api: 'openai.chat', requestId: 'req_1', body: bytes });
      return caller;
    },
    async worker(slots) {
      const worker = new TestWorker(front);
      worker.hello(slots);
      await waitUntil(
        () => front.health().slots >= slots,
        20_000,
        () => 'the worker is not offered',
      );
      return worker;
    },
    async stop() {
      await front.stop(0);
      await log.close();
      store.disconnect();
    },
  };
}

const callersCount = 100;
const tokensCount = 40;

/** What every caller gets while `disturb` is called before each round of tokens. */
async function run(router: Router, disturb: (round: number) => void | Promise<void>): Promise<string[]> {
  const { front } = router;
  const worker = await router.worker(callersCount);
  const callers = Array.from({ length: callersCount }, (_, n) => router.ask(n % 10 === 9 ? { stream: false } : {}));
  await waitUntil(
    () => worker.jobs.length === callersCount,
    30_000,
    () => `only ${worker.jobs.length} jobs came`,
  );
  const jobs = [...worker.jobs].sort();
  const full = Array.from({ length: tokensCount }, (_, n) => `t${n} `).join('');
  for (let round = 0; round < tokensCount; round += 1) {
    await disturb(round);
    for (const job_id of jobs) {
      const kind = round < 5 ? { reasoning: true } : {};
      worker.say({ type: 'token', job_id, token: `t${round} `, ...kind });
    }
    // Real time, so that output, appends and deaths overlap.
    if (round % 2 === 0) await new Promise(resolve => setTimeout(resolve, 2));
  }
  const text = full.slice(full.indexOf('t5 '));
  for (const job_id of jobs)
    worker.say({ type: 'complete', job_id, full_response: text, input_tokens: 3, output_tokens: tokensCount });
  await waitUntil(
    () => callers.every(({ ended }) => ended),
    20_000,
    () => `${callers.filter(({ ended }) => !ended).length} callers have no end; ${router.failures.join()}`,
  );
  await waitUntil(
    () => front.load.jobs + front.load.callers + front.load.holders + front.load.timers === 0,
    5000,
    () => `held: ${JSON.stringify(front.load)}`,
  );
  worker.drop();
  return callers.map(caller => caller.text);
}

/** What may differ between two runs: the instant, and where a shard's batch was cut into events. */
const saidBy = (text: string): string => {
  if (!text.startsWith('id: ') && !text.startsWith('data: ')) return text.replace(/"created":\d+/, '"created":0');
  let reasoning = '';
  let content = '';
  const rest: string[] = [];
  for (const block of text.split('\n\n')) {
    const data = /^data: (.*)$/m.exec(block)?.[1];
    if (data === undefined) continue;
    const delta = data === '[DONE]' ? undefined : JSON.parse(data).choices?.[0]?.delta;
    if (typeof delta?.content === 'string' && delta.role === undefined) content += delta.content;
    else if (typeof delta?.reasoning_content === 'string') reasoning += delta.reasoning_content;
    else rest.push(data.replace(/"created":\d+/, '"created":0'));
  }
  return JSON.stringify({ reasoning, content, rest });
};

/** Positions of a stream's frames rise, and none is there twice. */
function inOrder(text: string): void {
  let before = '';
  const seen = new Set<string>();
  for (const [, id = ''] of text.matchAll(/^id: (.*)$/gm)) {
    assert.not(seen.has(id), `frame ${id} came twice`);
    seen.add(id);
    const [epoch = 0, number = 0] = (id.split('/')[0] ?? '').split('-').map(Number);
    const key = `${String(epoch).padStart(8, '0')}-${String(number).padStart(8, '0')}`;
    assert.ok(key >= before, `frame ${id} came after ${before}`);
    before = key;
  }
}

let unbroken: string[] = [];

function isUnbroken(texts: readonly string[]): void {
  assert.is(texts.length, unbroken.length);
  for (const [n, text] of texts.entries()) {
    assert.is(saidBy(text), saidBy(unbroken[n] ?? ''), `caller ${n}`);
    inOrder(text);
  }
}

test('without a death, to compare with', async () => {
  const router = await openRouter();
  unbroken = await run(router, () => undefined);
  assert.is(new Set(unbroken.map(saidBy)).size > 1, true);
  assert.equal(router.failures, []);
  await router.stop();
});

test('threads killed in the middle of a hundred streams: every caller’s answer equals that of the unbroken run', async () => {
  const router = await openRouter();
  let kills = 0;
  const texts = await run(router, round => {
    if (round % 8 !== 3) return;
    router.pool.kill((round >> 3) % shards);
    kills += 1;
  });
  assert.is(kills, 5);
  isUnbroken(texts);
  assert.equal(router.failures, []);
  await router.stop();
});

test('both threads killed at once, twice, and again while their successors are being built', async () => {
  const router = await openRouter();
  const texts = await run(router, async round => {
    if (round !== 10 && round !== 20) return;
    router.pool.kill(0);
    router.pool.kill(1);
    if (round === 20) {
      await new Promise(resolve => setTimeout(resolve, 1));
      router.pool.kill(0);
    }
  });
  isUnbroken(texts);
  assert.equal(router.failures, []);
  await router.stop();
});

test('a caller that reads slowly while its shard dies, and its job ends, still gets everything', async () => {
  const router = await openRouter();
  const worker = await router.worker(4);
  const callers = [router.ask(), router.ask(), router.ask(), router.ask()];
  await waitUntil(
    () => worker.jobs.length === 4,
    5000,
    () => 'not all jobs came',
  );
  const piece = 'x'.repeat(100_000);
  for (const caller of callers) caller.slow = true;
  for (let n = 0; n < 8; n += 1) {
    for (const job_id of worker.jobs) worker.say({ type: 'token', job_id, token: `${n}${piece}` });
    await new Promise(resolve => setTimeout(resolve, 20));
  }
  const full = Array.from({ length: 8 }, (_, n) => `${n}${piece}`).join('');
  for (const job_id of worker.jobs.slice(0, 2))
    worker.say({ type: 'complete', job_id, full_response: full, input_tokens: 1, output_tokens: 8 });
  await waitUntil(
    () => router.front.load.jobs === 2,
    5000,
    () => `held: ${JSON.stringify(router.front.load)}`,
  );
  router.pool.kill(0);
  router.pool.kill(1);
  await new Promise(resolve => setTimeout(resolve, 300));
  for (const job_id of worker.jobs.slice(2))
    worker.say({ type: 'complete', job_id, full_response: full, input_tokens: 1, output_tokens: 8 });
  const drain = setInterval(() => {
    for (const caller of callers) if (!caller.ended) caller.drain(router.front);
  }, 20);
  try {
    await waitUntil(
      () => callers.every(({ ended }) => ended),
      10_000,
      () => `ends: ${callers.map(({ ended, said }) => `${ended} ${said.length}`)}`,
    );
  } finally {
    clearInterval(drain);
  }
  for (const caller of callers) assert.is(caller.said, full);
  assert.equal(router.front.load.callers, 0);
  await router.stop();
});

test('threads killed while jobs come in, are given out and end: nothing is lost, nothing is said twice', async () => {
  const router = await openRouter();
  const { front } = router;
  const worker = await router.worker(8);
  const rounds = new Map<string, number>();
  // Each job gets a token every few milliseconds, ten in all.
  const speak = setInterval(() => {
    for (const job_id of worker.jobs) {
      const round = rounds.get(job_id) ?? 0;
      rounds.set(job_id, round + 1);
      if (round < 10) worker.say({ type: 'token', job_id, token: `${round} ` });
      else if (round === 10)
        worker.say({
          type: 'complete',
          job_id,
          full_response: '0 1 2 3 4 5 6 7 8 9 ',
          input_tokens: 1,
          output_tokens: 10,
        });
    }
  }, 4);
  const callers: TestCaller[] = [];
  let turn = 0;
  const kill = setInterval(() => router.pool.kill(turn++ % shards), 350);
  try {
    for (let n = 0; n < 200; n += 1) {
      callers.push(router.ask(n % 5 === 4 ? { stream: false } : {}));
      await new Promise(resolve => setTimeout(resolve, 10));
    }
    clearInterval(kill);
    await waitUntil(
      () => callers.every(({ ended }) => ended),
      15_000,
      () => `${callers.filter(({ ended }) => !ended).length} callers have no end: ${JSON.stringify(front.load)}`,
    );
  } finally {
    clearInterval(kill);
    clearInterval(speak);
  }
  assert.ok(turn >= 4, `${turn} kills`);
  for (const [n, caller] of callers.entries()) {
    const said = n % 5 === 4 ? JSON.parse(caller.text).choices?.[0].message.content : caller.said;
    assert.is(said, '0 1 2 3 4 5 6 7 8 9 ', `caller ${n}: ${caller.text.slice(0, 300)}`);
    inOrder(caller.text);
  }
  assert.is(new Set(worker.jobs).size, worker.jobs.length, 'a job was given out twice');
  assert.is(worker.jobs.length, 200);
  assert.equal(front.load, { jobs: 0, callers: 0, holders: 0, timers: 0, appends: 0, batches: 0 });
  await router.stop();
});

test('a thread that runs out of memory is replaced, and the job that eats it fails alone', async () => {
  const router = await openRouter({ memoryMib: 48, entry: new URL('./hungry-thread.ts', import.meta.url) });
  const worker = await router.worker(20);
  const callers = Array.from({ length: 20 }, () => router.ask());
  await waitUntil(
    () => worker.jobs.length === 20,
    10_000,
    () => 'not all jobs came',
  );
  const [hungry = ''] = worker.jobs;
  for (const job_id of worker.jobs) worker.say({ type: 'token', job_id, token: 'one ' });
  worker.say({ type: 'token', job_id: hungry, token: 'EAT' });
  for (const job_id of worker.jobs) worker.say({ type: 'token', job_id, token: 'two' });
  for (const job_id of worker.jobs)
    worker.say({ type: 'complete', job_id, full_response: 'one two', input_tokens: 1, output_tokens: 2 });
  await waitUntil(
    () => callers.every(({ ended }) => ended),
    20_000,
    () => `${callers.filter(({ ended }) => !ended).length} callers have no end; ${router.failures.join()}`,
  );
  const failed = callers.filter(({ text }) => text.includes('poisoned_input'));
  assert.is(failed.length, 1);
  for (const caller of callers) if (caller !== failed[0]) assert.is(caller.said, 'one two');
  assert.equal(router.failures, []);
  assert.is(router.deaths.length, 2);
  for (const reason of router.deaths) assert.match(reason, /memory/);
  await router.stop();
});

test.run();
