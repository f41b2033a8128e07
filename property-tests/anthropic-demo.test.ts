/** The Anthropic client, the router, a real worker and the demo model. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import Anthropic from '@anthropic-ai/sdk';
import Anthropic0 from 'anthropic-sdk-0';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { untilHealth } from './callers.ts';
import { apiKey, gpuKey, type Program, type RouterProcess, runProgram, startRouter, within } from './processes.ts';

let router: RouterProcess;
let worker: Program;
let client: Anthropic;
/** Of the major version before. */
let clientBefore: Anthropic;
const folder = mkdtempSync(join(tmpdir(), 'auxot-anthropic-'));

test.before(async () => {
  router = await startRouter({ AUXOT_FSYNC: 'no', AUXOT_CTX_SIZE: '512', AUXOT_MAX_PARALLEL: '2' });
  const args = ['--router-url', router.wsUrl, '--model-path', 'demo'];
  worker = runProgram('worker', args, { AUXOT_GPU_KEY: gpuKey }, folder);
  await untilHealth(router.url, ({ total_slots }) => total_slots === 2, 'the worker is not there', 60_000);
  const options = { apiKey, baseURL: router.url, maxRetries: 0, timeout: 60_000 };
  client = new Anthropic(options);
  clientBefore = new Anthropic0(options) as unknown as Anthropic;
});
test.after(async () => {
  worker?.kill('SIGTERM');
  await within(15_000, worker.ended, 'the worker did not stop');
  await router?.stop();
  rmSync(folder, { recursive: true, force: true });
});

const model = 'auxot-demo';
const counting = {
  model,
  max_tokens: 200,
  temperature: 0,
  messages: [{ role: 'user' as const, content: 'count to 15' }],
};

test('streamed and whole, the model says the same', async () => {
  const whole = await client.messages.create(counting);
  const streamed = await client.messages.stream(counting).finalMessage();
  assert.is(whole.stop_reason, 'end_turn');
  assert.equal(streamed.content, whole.content);
  assert.match(JSON.stringify(whole.content), /1, 2, 3/);
});

test('AN32: a count is what the answer then says it has read', async () => {
  const tools = [
    { name: 'get_weather', input_schema: { type: 'object' as const, properties: { city: { type: 'string' } } } },
  ];
  for (const more of [{}, { system: 'You are brief.' }, { tools }]) {
    const { max_tokens: _, temperature: __, ...conversation } = { ...counting, ...more };
    const { input_tokens: counted } = await client.messages.countTokens(conversation);
    const { usage } = await client.messages.create({ ...counting, ...more });
    assert.is(counted, usage.input_tokens + (usage.cache_read_input_tokens ?? 0));
  }
});

test('AN17: limit and stop sequence are told apart', async () => {
  const limited = await client.messages.create({ ...counting, max_tokens: 5 });
  assert.equal([limited.stop_reason, limited.usage.output_tokens], ['max_tokens', 5]);
  const stopped = await client.messages.stream({ ...counting, stop_sequences: [', 4'] }).finalMessage();
  assert.equal([stopped.stop_reason, stopped.stop_sequence], ['stop_sequence', ', 4']);
  assert.equal(stopped.content, [{ type: 'text', text: '1, 2, 3' }] as object[]);
});

test('AN23, G1: a thought ends at its budget, and the answer follows', async () => {
  const ask = { ...counting, messages: [{ role: 'user' as const, content: 'what is 8 plus 2?' }] };
  const thoughts: string[] = [];
  for (const budget_tokens of [100, 6]) {
    const message = await client.messages.create({ ...ask, thinking: { type: 'enabled', budget_tokens } });
    const [thought, answer] = message.content;
    assert.ok(thought?.type === 'thinking' && answer?.type === 'text', JSON.stringify(message));
    assert.is(message.stop_reason, 'end_turn');
    thoughts.push(thought.thinking);
  }
  const [whole = '', brief = ''] = thoughts;
  assert.ok(brief !== whole && whole.startsWith(brief), JSON.stringify(thoughts));
});

test('AN22: a tool that must be called is called, and structured output is valid', async () => {
  const weather = {
    name: 'get_weather',
    input_schema: {
      type: 'object' as const,
      properties: { city: { type: 'string', maxLength: 12 } },
      required: ['city'],
    },
  };
  const now = { name: 'now', input_schema: { type: 'object' as const, properties: {} } };
  const ask = { ...counting, tools: [weather, now] };
  const any = await client.messages.create({ ...ask, tool_choice: { type: 'any' } });
  assert.is(any.stop_reason, 'tool_use', JSON.stringify(any));
  const named = await client.messages
    .stream({ ...ask, tool_choice: { type: 'tool', name: 'get_weather' } })
    .finalMessage();
  const [block] = named.content;
  assert.is(block?.type === 'tool_use' && block.name, 'get_weather');
  assert.is(typeof (block?.type === 'tool_use' && (block.input as { city?: unknown }).city), 'string');
  const schema = {
    type: 'object',
    properties: { n: { type: 'integer', minimum: 1, maximum: 9 } },
    required: ['n'],
    additionalProperties: false,
  };
  const body = { ...counting, output_config: { format: { type: 'json_schema', schema } } };
  for (const one of [client, clientBefore])
    for (const temperature of [0, 1]) {
      const asked = { ...body, temperature } as Anthropic.MessageCreateParamsNonStreaming;
      for (const message of [await one.messages.create(asked), await one.messages.stream(asked).finalMessage()]) {
        // A model that is not asked at temperature 0 may think until its limit, and has then answered nothing.
        if (temperature > 0 && message.stop_reason === 'max_tokens') continue;
        const said = message.content.find(({ type }) => type === 'text');
        const value = JSON.parse(said?.type === 'text' ? said.text : 'null');
        assert.equal(Object.keys(value ?? {}), ['n'], JSON.stringify(message));
        assert.ok(Number.isInteger(value.n) && value.n >= 1 && value.n <= 9, JSON.stringify(message));
      }
    }
});

test('AN26: a prompt that does not fit is refused in the words that agents look for', async () => {
  const messages = [{ role: 'user' as const, content: 'word '.repeat(2000) }];
  try {
    await client.messages.create({ ...counting, messages });
    assert.unreachable();
  } catch (error) {
    assert.instance(error, Anthropic.BadRequestError);
    assert.match(String(error), /prompt is too long: \d+ tokens > 512 maximum/);
  }
});

test.run();
