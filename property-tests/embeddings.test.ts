/**
 * Embeddings, from the request to the worker and back (spec/http-api §3.7, §10.3): the official client, a real router
 * process, and workers that do what a test says.
 */
import OpenAI from 'openai';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { bearer, call, chat, untilHealth } from './callers.ts';
import { apiKey, type RouterProcess, startRouter, waitUntil } from './processes.ts';
import { type Job, type Script, type ScriptedWorker, startWorker } from './scripted-worker.ts';

let router: RouterProcess;
let client: OpenAI;
test.before(async () => {
  router = await startRouter({ AUXOT_FSYNC: 'no' });
  client = new OpenAI({ apiKey, baseURL: `${router.url}/v1`, maxRetries: 0, timeout: 20_000 });
});
test.after(async () => {
  await router?.stop();
});

type Embed = { inputs: (string | number[])[]; dimensions?: number };
const embedOf = (job: Job): Embed => job.embed as Embed;
const base64 = (floats: readonly number[]): string => Buffer.from(Float32Array.from(floats).buffer).toString('base64');
/** As many numbers as asked for, the first of which is the length of the text. */
const vectorOf = (input: string | number[], dimensions = 4): number[] =>
  Array.from({ length: dimensions }, (_, index) => (index === 0 ? input.length : 1 / 3));

const embeds: Script = (job, worker) => {
  const { inputs, dimensions } = embedOf(job);
  const embeddings = inputs.map(input => base64(vectorOf(input, dimensions)));
  const { job_id, attempt } = job;
  worker.say({ type: 'complete', job_id, attempt, seq: 0, full_response: '', input_tokens: 7, embeddings });
};

async function withWorkers<T>(
  list: readonly { features: readonly string[]; script: Script }[],
  run: (...workers: ScriptedWorker[]) => Promise<T>,
): Promise<T> {
  const workers = await Promise.all(
    list.map(({ features, script }) =>
      startWorker(router.wsUrl, {
        script,
        hello: { protocol_version: 2, instance_id: `i-${Math.random()}`, ready: true, features },
      }),
    ),
  );
  try {
    await untilHealth(router.url, ({ total_slots }) => total_slots === list.length, 'the workers are not offered');
    return await run(...workers);
  } finally {
    for (const worker of workers) worker.close();
    await untilHealth(router.url, ({ workers }) => workers === 0, 'a worker is still there');
  }
}

const post = (body: object) =>
  call(`${router.url}/v1/embeddings`, {
    method: 'POST',
    headers: { ...bearer, 'content-type': 'application/json' },
    body: JSON.stringify(body),
  });

test('OA41: texts and tokens, as floats and as base64, in the order of the request', async () => {
  await withWorkers([{ features: ['embeddings'], script: embeds }], async worker => {
    // The client asks for base64 by itself, and decodes it.
    const usual = await client.embeddings.create({ model: 'm', input: ['a', 'bcd'] });
    assert.equal(
      usual.data.map(({ index, embedding }) => [index, embedding.length, embedding[0]]),
      [
        [0, 4, 1],
        [1, 4, 3],
      ],
    );
    assert.ok(Math.abs((usual.data[0]?.embedding[1] ?? 0) - 1 / 3) < 1e-7);
    assert.equal(usual.usage, { prompt_tokens: 7, total_tokens: 7 });
    assert.is(usual.model, 'm');
    assert.equal(worker.jobs[0]?.embed, { inputs: ['a', 'bcd'] });
    assert.equal(worker.jobs[0]?.messages, []);

    const floats = await client.embeddings.create({ model: 'm', input: 'ab', encoding_format: 'float' });
    assert.equal(floats.data[0]?.embedding, [2, 0.333333343, 0.333333343, 0.333333343]);
    const raw = await post({ input: 'ab', encoding_format: 'base64' });
    assert.is(raw.json.data[0].embedding, base64(vectorOf('ab')));
    const tokens = await client.embeddings.create({ model: 'm', input: [[1, 2], [3]], encoding_format: 'float' });
    assert.equal(
      tokens.data.map(({ embedding }) => embedding[0]),
      [2, 1],
    );
    assert.equal(worker.jobs.at(-1)?.embed, { inputs: [[1, 2], [3]] });
    assert.equal(
      embedOf((await client.embeddings.create({ model: 'm', input: [5, 6] })) && (worker.jobs.at(-1) as Job)),
      {
        inputs: [[5, 6]],
      },
    );
  });
});

test('dimensions go to a worker that can, and are refused by name where none can', async () => {
  await withWorkers([{ features: ['embeddings'], script: embeds }], async worker => {
    const refused = await post({ input: 'a', dimensions: 2 });
    assert.is(refused.status, 400);
    assert.equal([refused.json.error.code, refused.json.error.param], ['unsupported_parameter', 'dimensions']);
    assert.is(worker.jobs.length, 0);
  });
  await withWorkers([{ features: ['embeddings', 'embedding_dimensions'], script: embeds }], async worker => {
    const { data } = await client.embeddings.create({ model: 'm', input: 'a', dimensions: 2 });
    assert.is(data[0]?.embedding.length, 2);
    assert.equal(worker.jobs[0]?.embed, { inputs: ['a'], dimensions: 2 });
  });
});

test('OA11 OA37: without a worker that makes embeddings, 501 that is not to be tried again', async () => {
  const isRefused = async (): Promise<void> => {
    const answer = await post({ input: 'a' });
    assert.equal([answer.status, answer.json.error.type], [501, 'not_implemented']);
    assert.is(answer.headers.get('x-should-retry'), 'false');
  };
  await isRefused();
  await withWorkers([{ features: ['n', 'logprobs'], script: embeds }], isRefused);
});

test('a worker that makes nothing else gets no chats, and embeddings go past one that makes none', async () => {
  const says: Script = ({ job_id, attempt }, worker) =>
    worker.say({ type: 'complete', job_id, attempt, seq: 0, full_response: 'text' });
  const both = [
    { features: ['embeddings', 'embeddings_only'], script: embeds },
    { features: [], script: says },
  ];
  await withWorkers(both, async (vectors, texts) => {
    for (let turn = 0; turn < 3; turn += 1) {
      assert.is((await chat(router.url, {})).json.choices[0].message.content, 'text');
      assert.is((await post({ input: 'abc' })).json.data[0].embedding[0], 3);
    }
    assert.equal([vectors.jobs.length, texts.jobs.length], [3, 3]);
    assert.is((await chat(router.url, { n: 2 })).json.error.param, 'n');
  });
});

test('when its worker dies the job begins anew at another, and its events tell it whole', async () => {
  const dies: Script = (_, worker) => void worker.close();
  await withWorkers([{ features: ['embeddings'], script: dies }], async () => {
    const waiting = post({ input: ['a', 'bc'] });
    const heir = await startWorker(router.wsUrl, {
      script: embeds,
      hello: { protocol_version: 2, instance_id: 'heir', ready: true, features: ['embeddings'] },
    });
    const answer = await waiting;
    assert.is(answer.status, 200, answer.text);
    assert.equal(
      answer.json.data.map(({ embedding }: { embedding: number[] }) => embedding[0]),
      [1, 2],
    );
    assert.ok((heir.jobs[0]?.attempt ?? 0) > 0 && heir.jobs[0]?.resume === undefined);
    const told = await call(`${router.url}/api/jobs/${answer.headers.get('x-auxot-job')}/events`, { headers: bearer });
    const [line = ''] = /^data: .*$/m.exec(told.text) ?? [];
    assert.equal(JSON.parse(line.slice(6)), answer.json);
    assert.ok(told.text.endsWith('data: [DONE]\n\n'));
    heir.close();
  });
});

test('vectors that cannot be those of the texts fail the job', async () => {
  const good = base64([1, 2]);
  for (const embeddings of [
    undefined,
    [],
    [good],
    [good, base64([1])],
    [good, 'AAAA'],
    [good, '!!!!!!!!!!!='],
    [good, good, good],
  ]) {
    const script: Script = ({ job_id, attempt }, worker) =>
      worker.say({ type: 'complete', job_id, attempt, seq: 0, full_response: '', embeddings });
    await withWorkers([{ features: ['embeddings'], script }], async () => {
      const answer = await post({ input: ['a', 'b'] });
      assert.equal([answer.status, answer.json.error?.code], [500, 'worker_error'], answer.text);
    });
  }
});

test('a caller that leaves ends its job', async () => {
  await withWorkers([{ features: ['embeddings'], script: () => undefined }], async worker => {
    const abort = new AbortController();
    const gone = client.embeddings.create({ model: 'm', input: 'a' }, { signal: abort.signal }).catch(() => null);
    await waitUntil(
      () => worker.jobs.length === 1,
      5000,
      () => 'no job came',
    );
    abort.abort();
    await gone;
    await waitUntil(
      () => worker.cancelled.length === 1,
      2000,
      () => 'the worker was not told',
    );
  });
});

test.run();
