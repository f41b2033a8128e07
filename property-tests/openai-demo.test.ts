/** The OpenAI client, the router, a real worker and the demo model: what only an engine that samples along a grammar can do. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import OpenAI from 'openai';
import { zodResponseFormat } from 'openai/helpers/zod';
import OpenAI5 from 'openai-5';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { z } from 'zod';
import { untilHealth } from './callers.ts';
import { apiKey, gpuKey, type Program, type RouterProcess, runProgram, startRouter, within } from './processes.ts';

let router: RouterProcess;
let worker: Program;
let client: OpenAI;
/** Of the major version before. */
let clientBefore: OpenAI;
const folder = mkdtempSync(join(tmpdir(), 'auxot-openai-'));

test.before(async () => {
  router = await startRouter({ AUXOT_FSYNC: 'no', AUXOT_CTX_SIZE: '512', AUXOT_MAX_PARALLEL: '2' });
  const args = ['--router-url', router.wsUrl, '--model-path', 'demo'];
  worker = runProgram('worker', args, { AUXOT_GPU_KEY: gpuKey, AUXOT_EMBEDDINGS: 'also' }, folder);
  await untilHealth(router.url, ({ total_slots }) => total_slots === 2, 'the worker is not there', 60_000);
  const options = { apiKey, baseURL: `${router.url}/v1`, maxRetries: 0, timeout: 60_000 };
  client = new OpenAI(options);
  clientBefore = new OpenAI5(options) as unknown as OpenAI;
});
test.after(async () => {
  worker?.kill('SIGTERM');
  await within(15_000, worker.ended, 'the worker did not stop');
  await router?.stop();
  rmSync(folder, { recursive: true, force: true });
});

const model = 'auxot-demo';
const ask = { model, temperature: 0, messages: [{ role: 'user' as const, content: 'Hello' }] };
const tool = (name: string, parameters: object): OpenAI.ChatCompletionTool => ({
  type: 'function',
  function: { name, parameters: parameters as OpenAI.FunctionParameters },
});
const city = { type: 'object', properties: { city: { type: 'string', maxLength: 12 } }, required: ['city'] };
const tools = [tool('get_weather', city), tool('now', { type: 'object', properties: {} })];

test('OA25: the parse helper gets what it asked for, streamed and not', async () => {
  const Book = z.object({
    title: z.string().min(2).max(20),
    year: z.number().int().min(1900).max(2100),
    kind: z.enum(['novel', 'poem']),
    tags: z.array(z.string().max(6)).max(3),
    sequel: z.boolean().nullable(),
  });
  const response_format = zodResponseFormat(Book, 'book');
  for (const one of [client, clientBefore]) {
    for (const temperature of [0, 1]) {
      const { choices } = await one.chat.completions.parse({ ...ask, temperature, seed: 3, response_format });
      assert.is(choices[0]?.finish_reason, 'stop');
      Book.parse(choices[0]?.message.parsed);
    }
    const streamed = await one.chat.completions.stream({ ...ask, response_format }).finalChatCompletion();
    Book.parse(streamed.choices[0]?.message.parsed);
  }
  const any = await client.chat.completions.create({
    ...ask,
    response_format: { type: 'json_object' },
    max_tokens: 300,
  });
  if (any.choices[0]?.finish_reason === 'stop') JSON.parse(any.choices[0].message.content ?? '');
});

test('OA24: tools that must be called are called, streamed and not', async () => {
  const named = { type: 'function', function: { name: 'get_weather' } } as const;
  for (const tool_choice of ['required', named] as const) {
    const { choices } = await client.chat.completions.create({ ...ask, tools, tool_choice, max_tokens: 300 });
    assert.is(choices[0]?.finish_reason, 'tool_calls');
    const [call] = choices[0]?.message.tool_calls ?? [];
    assert.ok(call?.type === 'function');
    if (tool_choice === named) assert.is(typeof JSON.parse(call.function.arguments).city, 'string');
    const streamed = await client.chat.completions.stream({ ...ask, tools, tool_choice }).finalChatCompletion();
    const again = streamed.choices[0]?.message.tool_calls?.[0];
    assert.is(again?.type === 'function' && again.function.name, call.function.name);
  }
});

test('OA27, OA28: several choices with logprobs, streamed and not', async () => {
  const several = { ...ask, n: 3, logprobs: true, top_logprobs: 2 };
  const whole = await client.chat.completions.create(several);
  assert.equal(
    whole.choices.map(({ index }) => index),
    [0, 1, 2],
  );
  for (const { message, logprobs } of whole.choices) {
    const tokens = logprobs?.content ?? [];
    assert.is(tokens.map(({ token }) => token).join(''), message.content);
    for (const { logprob, top_logprobs: top } of tokens) {
      assert.ok(logprob <= 0 && top.length === 2 && (top[0]?.logprob ?? 0) >= (top[1]?.logprob ?? 0));
    }
  }
  const streamed = await client.chat.completions.stream(several).finalChatCompletion();
  assert.equal(
    streamed.choices.map(({ message, finish_reason }) => [message.content, finish_reason]),
    whole.choices.map(({ message, finish_reason }) => [message.content, finish_reason]),
  );
});

test('OA4: a text is gone on with', async () => {
  const completion = await client.completions.create({ model, prompt: 'Once upon a', max_tokens: 5, temperature: 0 });
  assert.is(completion.usage?.completion_tokens, 5);
  assert.is(completion.choices[0]?.finish_reason, 'length');
  let text = '';
  const stream = await client.completions.create({ ...completionAsk, stream: true });
  for await (const chunk of stream) text += chunk.choices[0]?.text ?? '';
  assert.is(text, `Once upon a${completion.choices[0]?.text ?? ''}`);
});
const completionAsk = { model, prompt: 'Once upon a', max_tokens: 5, temperature: 0, echo: true };

test('OA41: embeddings of texts, as the client asks for them by itself and as floats', async () => {
  const { data, usage } = await client.embeddings.create({ model, input: ['Hello', 'What time is it?'] });
  const floats = await client.embeddings.create({ model, input: 'Hello', encoding_format: 'float' });
  const [hello, time] = data.map(({ embedding }) => embedding);
  const cosine = (a: number[] = [], b: number[] = []): number => a.reduce((sum, x, at) => sum + x * (b[at] ?? 0), 0);
  assert.ok(Math.abs(cosine(hello, hello) - 1) < 1e-5 && cosine(hello, time) < 0.999);
  assert.ok(Math.abs(cosine(hello, floats.data[0]?.embedding) - 1) < 1e-5);
  assert.ok(usage.prompt_tokens >= 6 && usage.total_tokens === usage.prompt_tokens);
  const tooLong = await client.embeddings.create({ model, input: 'word '.repeat(2000) }).catch(error => error);
  assert.ok(tooLong instanceof OpenAI.BadRequestError);
  assert.is(tooLong.code, 'context_length_exceeded');
});

test.run();
