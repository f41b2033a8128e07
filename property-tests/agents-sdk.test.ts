/**
 * The OpenAI Agents SDK against a real router, over the Responses API (its default) and over chat completions: first
 * with a worker that does what a test says, then with a real worker and the demo model.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  Agent,
  type Model,
  OpenAIChatCompletionsModel,
  OpenAIResponsesModel,
  Runner,
  setTracingDisabled,
  tool,
} from '@openai/agents';
import OpenAI from 'openai';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { z } from 'zod';
import { untilHealth } from './callers.ts';
import {
  apiKey,
  gpuKey,
  type Program,
  type RouterProcess,
  runProgram,
  startRouter,
  waitUntil,
  within,
} from './processes.ts';
import { type Script, type ScriptedWorker, startWorker } from './scripted-worker.ts';

setTracingDisabled(true);

let router: RouterProcess;
let demoRouter: RouterProcess;
let demo: Program;
const folder = mkdtempSync(join(tmpdir(), 'auxot-agents-'));

test.before(async () => {
  router = await startRouter({ AUXOT_FSYNC: 'no' });
  demoRouter = await startRouter({ AUXOT_FSYNC: 'no', AUXOT_CTX_SIZE: '1024', AUXOT_MAX_PARALLEL: '1' });
  demo = runProgram(
    'worker',
    ['--router-url', demoRouter.wsUrl, '--model-path', 'demo'],
    { AUXOT_GPU_KEY: gpuKey },
    folder,
  );
  await untilHealth(demoRouter.url, ({ total_slots }) => total_slots === 1, 'the worker is not there', 60_000);
});
test.after(async () => {
  demo?.kill('SIGTERM');
  await within(15_000, demo.ended, 'the worker did not stop');
  await demoRouter?.stop();
  await router?.stop();
  rmSync(folder, { recursive: true, force: true });
});

async function withWorker(script: Script, run: (worker: ScriptedWorker) => Promise<void>): Promise<void> {
  const features = ['response_format', 'tool_choice'];
  const worker = await startWorker(router.wsUrl, {
    script,
    hello: { protocol_version: 2, instance_id: 'i1', features },
  });
  try {
    await run(worker);
  } finally {
    worker.close();
    await untilHealth(router.url, ({ workers }) => workers === 0, 'the worker is still there');
  }
}

const clientOf = ({ url }: RouterProcess): OpenAI =>
  new OpenAI({ apiKey, baseURL: `${url}/v1`, maxRetries: 0, timeout: 60_000 });

/** Both of its models, on one router. */
const modelsOf = (at: RouterProcess): [string, Model][] => [
  ['responses', new OpenAIResponsesModel(clientOf(at), 'auxot-demo')],
  ['chat completions', new OpenAIChatCompletionsModel(clientOf(at), 'auxot-demo')],
];

const runner = new Runner({ tracingDisabled: true });

const asked: string[] = [];
const weather = tool({
  name: 'get_weather',
  description: 'Get the weather.',
  parameters: z.object({ city: z.string() }),
  execute: ({ city }) => {
    asked.push(city);
    return `sunny in ${city}`;
  },
});

const ends = (more: object = {}) => ({
  type: 'complete',
  full_response: '',
  input_tokens: 10,
  output_tokens: 5,
  ...more,
});

/** Thinks, calls the tool once, and says what the tool said. */
const callsWeather: Script = (job, worker) => {
  const { job_id } = job;
  const result = job.messages.find(({ role }) => role === 'tool');
  worker.say({ type: 'token', job_id, token: 'Hm.', reasoning: true });
  if (result !== undefined) {
    for (const token of ['It is ', String(result.content), '.']) worker.say({ type: 'token', job_id, token });
    return worker.say({ ...ends(), job_id });
  }
  const call = { id: 'call_1', type: 'function', function: { name: 'get_weather', arguments: '{"city":"Oslo"}' } };
  return worker.say({ ...ends({ tool_calls: [call] }), job_id });
};

for (const name of ['responses', 'chat completions']) {
  const modelOf = (at: RouterProcess): Model => {
    const found = modelsOf(at).find(([known]) => known === name)?.[1];
    if (found === undefined) throw new Error(name);
    return found;
  };

  test(`RS8: a tool run over ${name}, in one piece and streamed`, async () => {
    await withWorker(callsWeather, async worker => {
      const agent = new Agent({ name: 'Weather', instructions: 'Be brief.', model: modelOf(router), tools: [weather] });
      asked.length = 0;
      const whole = await runner.run(agent, 'Weather in Oslo?');
      assert.is(whole.finalOutput, 'It is sunny in Oslo.');
      const streamed = await runner.run(agent, 'Weather in Oslo?', { stream: true });
      let text = '';
      for await (const event of streamed)
        if (event.type === 'raw_model_stream_event' && event.data.type === 'output_text_delta')
          text += event.data.delta;
      await streamed.completed;
      assert.is(streamed.finalOutput, 'It is sunny in Oslo.');
      assert.ok(text.endsWith('It is sunny in Oslo.'), text);
      assert.equal(asked, ['Oslo', 'Oslo']);
      assert.is(worker.jobs.length, 4);
      assert.equal(
        worker.jobs[1]?.messages.map(({ role }) => role),
        ['system', 'user', 'assistant', 'tool'],
      );
      assert.is(whole.rawResponses[0]?.usage.totalTokens, 15);
    });
  });

  test(`RS9: an output type over ${name} is what comes back`, async () => {
    const json: Script = ({ job_id }, worker) => {
      worker.say({ type: 'token', job_id, token: '{"city":"Oslo","degrees":3}' });
      worker.say({ ...ends(), job_id });
    };
    await withWorker(json, async worker => {
      const outputType = z.object({ city: z.string(), degrees: z.number() });
      const agent = new Agent({ name: 'Weather', model: modelOf(router), outputType });
      const { finalOutput } = await runner.run(agent, 'Weather in Oslo?');
      assert.equal(finalOutput, { city: 'Oslo', degrees: 3 });
      assert.match(JSON.stringify(worker.jobs[0]?.response_format), /"json_schema".*"degrees"/);
    });
  });

  test(`a run over ${name} that is given up ends its job`, async () => {
    const talks: Script = ({ job_id }, worker) => worker.say({ type: 'token', job_id, token: 'Hello' });
    await withWorker(talks, async worker => {
      const abort = new AbortController();
      const agent = new Agent({ name: 'Talker', model: modelOf(router) });
      const streamed = await runner.run(agent, 'Talk.', { stream: true, signal: abort.signal });
      try {
        for await (const event of streamed)
          if (event.type === 'raw_model_stream_event' && event.data.type === 'output_text_delta') abort.abort();
        await streamed.completed;
      } catch {
        // What it throws is its own business.
      }
      await waitUntil(
        () => worker.cancelled.length === 1,
        5000,
        () => 'its worker was not told',
      );
    });
  });

  test(`RS10: a run over ${name} that fails late is thrown, and no end of it`, async () => {
    const fails: Script = ({ job_id }, worker) => {
      worker.say({ type: 'token', job_id, token: 'half' });
      setTimeout(() => worker.say({ type: 'error', job_id, error: 'the GPU fell off' }), 50);
    };
    await withWorker(fails, async () => {
      const agent = new Agent({ name: 'Talker', model: modelOf(router) });
      const streamed = await runner.run(agent, 'Talk.', { stream: true });
      try {
        for await (const _ of streamed);
        await streamed.completed;
      } catch (error) {
        return assert.match(String(error), /the GPU fell off/);
      }
      return assert.unreachable('the run ended');
    });
  });

  test(`the demo model over ${name}: plain, a tool run, an output type`, async () => {
    const model = modelOf(demoRouter);
    const settings = { temperature: 0, maxTokens: 200 };
    const plain = await runner.run(new Agent({ name: 'Demo', model, modelSettings: settings }), 'count to 5');
    assert.match(plain.finalOutput ?? '', /1, 2, 3, 4, 5/);
    asked.length = 0;
    const tooled = new Agent({ name: 'Demo', model, modelSettings: settings, tools: [weather] });
    const streamed = await runner.run(tooled, 'what is the weather in Paris?', { stream: true });
    for await (const _ of streamed);
    await streamed.completed;
    assert.equal(asked, ['Paris']);
    assert.ok((streamed.finalOutput ?? '').length > 0);
    const outputType = z.object({ animal: z.enum(['cat', 'dog']), legs: z.number().int() });
    const typed = await runner.run(
      new Agent({ name: 'Demo', model, modelSettings: settings, outputType }),
      'Which animal?',
    );
    assert.ok(['cat', 'dog'].includes(typed.finalOutput?.animal ?? ''));
    assert.ok(Number.isInteger(typed.finalOutput?.legs));
  });
}

test.run();
