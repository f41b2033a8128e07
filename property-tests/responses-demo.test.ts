/** The Responses API, from the official client to a real worker with the demo model. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import OpenAI from 'openai';
import { zodTextFormat } from 'openai/helpers/zod';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { z } from 'zod';
import { untilHealth } from './callers.ts';
import { apiKey, gpuKey, type Program, type RouterProcess, runProgram, startRouter, within } from './processes.ts';

let router: RouterProcess;
let worker: Program;
let client: OpenAI;
const folder = mkdtempSync(join(tmpdir(), 'auxot-responses-'));

test.before(async () => {
  router = await startRouter({ AUXOT_FSYNC: 'no', AUXOT_CTX_SIZE: '1024', AUXOT_MAX_PARALLEL: '1' });
  worker = runProgram(
    'worker',
    ['--router-url', router.wsUrl, '--model-path', 'demo'],
    { AUXOT_GPU_KEY: gpuKey },
    folder,
  );
  await untilHealth(router.url, ({ total_slots }) => total_slots === 1, 'the worker is not there', 60_000);
  client = new OpenAI({ apiKey, baseURL: `${router.url}/v1`, maxRetries: 0, timeout: 60_000 });
});
test.after(async () => {
  worker?.kill('SIGTERM');
  await within(15_000, worker.ended, 'the worker did not stop');
  await router?.stop();
  rmSync(folder, { recursive: true, force: true });
});

const counting = { model: 'auxot-demo', temperature: 0, max_output_tokens: 200, input: 'count to 15' };
const weather = {
  type: 'function' as const,
  name: 'get_weather',
  description: 'Get the weather.',
  parameters: {
    type: 'object',
    properties: { city: { type: 'string' } },
    required: ['city'],
    additionalProperties: false,
  },
  strict: true,
};

test('RS1 RS2: streamed and whole, the model says the same', async () => {
  const whole = await client.responses.create(counting);
  const streamed = await client.responses.stream(counting).finalResponse();
  assert.match(whole.output_text, /1, 2, 3/);
  assert.is(streamed.output_text, whole.output_text);
  assert.equal(
    streamed.output.map(({ type }) => type),
    whole.output.map(({ type }) => type),
  );
});

test('RS5: an answer that is as long as allowed is incomplete', async () => {
  const limited = await client.responses.create({ ...counting, max_output_tokens: 5 });
  assert.equal([limited.status, limited.incomplete_details?.reason], ['incomplete', 'max_output_tokens']);
  assert.is(limited.usage?.output_tokens, 5);
});

test('RS6 RS11: going on from a response is sending all of it, and costs what was counted', async () => {
  const first = await client.responses.create(counting);
  const second = { ...counting, input: 'hello!', previous_response_id: first.id };
  const { input_tokens: counted } = await client.responses.inputTokens.count({
    model: second.model,
    input: second.input,
    previous_response_id: first.id,
  });
  const on = await client.responses.create(second);
  const resent = await client.responses.create({
    ...counting,
    input: [
      { role: 'user', content: counting.input },
      ...first.output.filter(item => item.type === 'message'),
      { role: 'user', content: 'hello!' },
    ],
  });
  assert.is(on.output_text, resent.output_text);
  assert.equal([on.usage?.input_tokens, resent.usage?.input_tokens], [counted, counted]);
});

test('RS3: a forced tool is called, and its result is read', async () => {
  const asked = { ...counting, input: 'what is the weather in Paris?', tools: [weather] };
  const first = await client.responses.create({ ...asked, tool_choice: 'required' });
  const [call] = first.output.flatMap(item => (item.type === 'function_call' ? [item] : []));
  assert.is(call?.name, 'get_weather');
  assert.type(JSON.parse(call?.arguments ?? '').city, 'string');
  const second = await client.responses.create({
    ...asked,
    previous_response_id: first.id,
    input: [{ type: 'function_call_output', call_id: call?.call_id ?? '', output: '21 degrees' }],
  });
  assert.ok(second.output_text.length > 0);
});

test('RS9: a format is kept, streamed and whole', async () => {
  const Animal = z.object({ animal: z.enum(['cat', 'dog']), legs: z.number().int() });
  const asked = { ...counting, input: 'Which animal?', text: { format: zodTextFormat(Animal, 'animal') } };
  const whole = await client.responses.parse(asked);
  assert.ok(Animal.safeParse(whole.output_parsed).success, whole.output_text);
  const streamed = await client.responses.stream(asked).finalResponse();
  assert.equal(streamed.output_parsed, whole.output_parsed);
});

test('how likely each token was is told', async () => {
  const { output } = await client.responses.create({
    ...counting,
    top_logprobs: 2,
    include: ['message.output_text.logprobs'],
  });
  const [part] = output.flatMap(item => (item.type === 'message' ? item.content : []));
  const logprobs = part?.type === 'output_text' ? (part.logprobs ?? []) : [];
  assert.ok(logprobs.length > 5);
  assert.is(logprobs.map(({ token }) => token).join(''), part?.type === 'output_text' ? part.text : '');
  assert.is(logprobs[0]?.top_logprobs.length, 2);
});

test.run();
