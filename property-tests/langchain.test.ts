/**
 * LangChain's chat models against a real router: OpenAI's over both of its APIs, and Anthropic's. First with workers that
 * do what a test says, then with the demo model. Each case is one for all three, as LangChain's users see it.
 */
import { ChatAnthropic } from '@langchain/anthropic';
import { ContextOverflowError } from '@langchain/core/errors';
import {
  AIMessageChunk,
  type BaseMessage,
  HumanMessage,
  ToolMessage,
  type UsageMetadata,
} from '@langchain/core/messages';
import { tool } from '@langchain/core/tools';
import { ChatOpenAI } from '@langchain/openai';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { z } from 'zod';
import { chat, untilHealth } from './callers.ts';
import { type DemoModel, startDemoModel } from './demo-model.ts';
import { apiKey, type RouterProcess, startRouter, waitUntil, within } from './processes.ts';
import { helloScript, type Script } from './scripted-worker.ts';
import { withWorker } from './with-worker.ts';

let router: RouterProcess;
/** With a queue of one. */
let narrow: RouterProcess;
let demo: DemoModel;

test.before(async () => {
  router = await startRouter({ AUXOT_FSYNC: 'no' });
  narrow = await startRouter({ AUXOT_FSYNC: 'no', AUXOT_MAX_QUEUE: '1' });
  demo = await startDemoModel();
});
test.after(async () => {
  await demo?.stop();
  await narrow?.stop();
  await router?.stop();
});

interface Options {
  readonly model?: string;
  readonly reasoning?: { summary: 'auto' };
  readonly key?: string;
  readonly retries?: number;
  readonly temperature?: number;
  readonly maxTokens?: number;
}

type ChatModel = ChatOpenAI | ChatAnthropic;

const models: Record<string, (at: RouterProcess, options?: Options) => ChatModel> = {
  'ChatOpenAI over chat completions': (at, options) => openAI(at, false, options),
  'ChatOpenAI over responses': (at, options) => openAI(at, true, options),
  ChatAnthropic: (at, { key = apiKey, retries = 0, ...more } = {}) =>
    new ChatAnthropic({ model: 'auxot-demo', apiKey: key, anthropicApiUrl: at.url, maxRetries: retries, ...more }),
};

const openAI = (at: RouterProcess, useResponsesApi: boolean, { key = apiKey, retries = 0, ...more }: Options = {}) =>
  new ChatOpenAI({
    model: 'auxot-demo',
    apiKey: key,
    configuration: { baseURL: `${at.url}/v1` },
    maxRetries: retries,
    useResponsesApi,
    ...more,
  });

const features = { features: ['images', 'response_format', 'tool_choice'] };

const callOf = (id: string, city: string) => ({
  id,
  type: 'function',
  function: { name: 'get_weather', arguments: JSON.stringify({ city }) },
});

/** Thinks and calls tools, once; then says what they said. */
const callsWeather: Script = ({ job_id, messages }, worker) => {
  const results = messages.filter(({ role }) => role === 'tool').map(({ content }) => content);
  worker.say({ type: 'token', job_id, token: 'Hm.', reasoning: true });
  const calls = results.length > 0 ? {} : { tool_calls: [callOf('call_1', 'Oslo'), callOf('call_2', 'Rome')] };
  if (results.length > 0) worker.say({ type: 'token', job_id, token: `It is ${results.join(' and ')}.` });
  worker.say({ type: 'complete', job_id, full_response: '', input_tokens: 10, output_tokens: 5, ...calls });
};

const says =
  (text: string): Script =>
  ({ job_id }, worker) => {
    worker.say({ type: 'token', job_id, token: text });
    worker.say({ type: 'complete', job_id, full_response: text, input_tokens: 10, output_tokens: 5 });
  };

const weather = tool(({ city }: { city: string }) => `sunny in ${city}`, {
  name: 'get_weather',
  description: 'Get the weather.',
  schema: z.object({ city: z.string() }),
});
const clock = tool(() => 'noon', { name: 'now', description: 'Get the time.', schema: z.object({}) });

/** All chunks of a stream as the one message that they are together. */
async function gathered(stream: AsyncIterable<AIMessageChunk>): Promise<{ pieces: number; whole: AIMessageChunk }> {
  let whole: AIMessageChunk | null = null;
  let pieces = 0;
  for await (const chunk of stream) {
    pieces += 1;
    whole = whole === null ? chunk : whole.concat(chunk);
  }
  return { pieces, whole: whole ?? new AIMessageChunk('') };
}

async function failureOf(promise: Promise<unknown>): Promise<{ status?: number; message: string; name: string }> {
  try {
    await promise;
  } catch (error) {
    assert.instance(error, Error);
    return error as Error & { status?: number };
  }
  throw new Error('nothing was thrown');
}

const calls = (message: { tool_calls?: { name: string; args: unknown; id?: string }[] }): unknown[] =>
  (message.tool_calls ?? []).map(({ name, args, id }) => [name, args, id]);

for (const [name, modelOf] of Object.entries(models)) {
  test(`${name}: an answer, whole and streamed, with its counts`, async () => {
    await withWorker(router, helloScript, async () => {
      const model = modelOf(router);
      const whole: AIMessageChunk = await model.invoke('hi');
      assert.is(whole.text, 'Hello from the GPU!');
      const { pieces, whole: streamed } = await gathered(await model.stream('hi'));
      assert.is(streamed.text, 'Hello from the GPU!');
      assert.ok(pieces > 1);
      const counts = ({ usage_metadata: usage }: { usage_metadata?: UsageMetadata | undefined }): unknown => [
        usage?.input_tokens,
        usage?.output_tokens,
      ];
      assert.equal(counts(whole), [10, 5]);
      // Of a streamed message LangChain adds up the counts in its first and in its last event.
      assert.equal(counts(streamed), name === 'ChatAnthropic' ? [0, 6] : [10, 5]);
    });
  });

  test(`${name}: tools are bound, called, and told of, whole and streamed`, async () => {
    await withWorker(router, callsWeather, async worker => {
      const model = modelOf(router).bindTools([weather, clock]);
      const expected = [
        ['get_weather', { city: 'Oslo' }, 'call_1'],
        ['get_weather', { city: 'Rome' }, 'call_2'],
      ];
      const history: BaseMessage[] = [new HumanMessage('Oslo and Rome?')];
      const first = await model.invoke(history);
      assert.equal(calls(first), expected);
      const { whole: streamed } = await gathered(await model.stream(history));
      assert.equal(calls(streamed), expected);
      for (const said of [first, streamed]) {
        const results = await Promise.all(
          (said.tool_calls ?? []).map(call => weather.invoke({ ...call, type: 'tool_call' })),
        );
        assert.ok(results.every(result => ToolMessage.isInstance(result)));
        const final = await model.invoke([...history, said, ...(results as ToolMessage[])]);
        assert.is(final.text, 'It is sunny in Oslo and sunny in Rome.');
        const job = worker.jobs.at(-1);
        assert.equal(
          job?.messages.map(({ role }) => role),
          ['user', 'assistant', 'tool', 'tool'],
        );
        assert.match(JSON.stringify(job?.tools), /"get_weather".*"city".*"now"/);
      }
    });
  });

  test(`${name}: a tool can be forced`, async () => {
    await withWorker(
      router,
      callsWeather,
      async worker => {
        const forced = modelOf(router).bindTools([weather, clock], { tool_choice: 'get_weather' });
        assert.is(calls(await forced.invoke('hi')).length, 2);
        assert.match(JSON.stringify(worker.jobs[0]?.tool_choice), /get_weather/);
        // LangChain leaves `any` out of what it sends over responses.
        if (name === 'ChatOpenAI over responses') return;
        await modelOf(router).bindTools([weather, clock], { tool_choice: 'any' }).invoke('hi');
        assert.match(JSON.stringify(worker.jobs[1]?.tool_choice), /required/);
      },
      features,
    );
  });

  test(`${name}: what was thought is there to see`, async () => {
    if (name === 'ChatOpenAI over chat completions') return; // LangChain shows none for that API.
    // Over responses it shows summaries, which it asks for when a model's name is one of those that think.
    const summed = { model: 'o3', reasoning: { summary: 'auto' as const } };
    await withWorker(router, callsWeather, async worker => {
      const asked = [new HumanMessage('Oslo and Rome?')];
      const model = name === 'ChatAnthropic' ? modelOf(router) : openAI(router, true, summed);
      for (const said of [await model.invoke(asked), (await gathered(await model.stream(asked))).whole]) {
        const thought = said.contentBlocks.find(({ type }) => type === 'reasoning');
        assert.is(thought?.reasoning, 'Hm.', JSON.stringify(said.contentBlocks));
        const results = ['call_1', 'call_2'].map(id => new ToolMessage({ content: 'cold', tool_call_id: id }));
        await model.invoke([...asked, said, ...results]);
        assert.match(JSON.stringify(worker.jobs.at(-1)?.messages), '"reasoning_content":"Hm."');
      }
    });
  });

  test(`${name}: a picture goes to a worker that sees, and is refused without one`, async () => {
    const url = `data:image/png;base64,${Buffer.from('a picture').toString('base64')}`;
    const asked = [
      new HumanMessage({
        content: [
          { type: 'text', text: 'What?' },
          { type: 'image_url', image_url: { url } },
        ],
      }),
    ];
    const see = (): Promise<unknown> => modelOf(router).invoke(asked);
    await withWorker(
      router,
      helloScript,
      async worker => {
        await see();
        assert.ok(JSON.stringify(worker.jobs[0]?.messages).includes(url));
      },
      features,
    );
    await withWorker(router, helloScript, async () => assert.is((await failureOf(see())).status, 400));
  });

  test(`${name}: structured output comes back as what was asked for`, async () => {
    const Place = z.object({ city: z.string(), degrees: z.number().int() });
    const json = '{"city":"Oslo","degrees":3}';
    const script: Script = (job, worker) => {
      if (job.tools === undefined) return says(json)(job, worker);
      const called = { id: 'call_1', type: 'function', function: { name: 'place', arguments: json } };
      return worker.say({
        type: 'complete',
        job_id: job.job_id,
        full_response: '',
        tool_calls: [called],
        input_tokens: 1,
        output_tokens: 1,
      });
    };
    await withWorker(
      router,
      script,
      async worker => {
        for (const method of ['functionCalling', 'jsonSchema'] as const) {
          const model = modelOf(router).withStructuredOutput(Place, { name: 'place', method });
          assert.equal(await model.invoke('Where?'), { city: 'Oslo', degrees: 3 });
        }
        const [tooled, formatted] = worker.jobs;
        assert.match(JSON.stringify(tooled?.tool_choice), /place/);
        assert.match(JSON.stringify(formatted?.response_format), /"json_schema".*"degrees"/);
      },
      features,
    );
  });

  test(`${name}: errors have their status`, async () => {
    const wrongKey = await failureOf(modelOf(router, { key: 'wrong' }).invoke('hi'));
    assert.is(wrongKey.status, 401);
    const fails =
      (code: string): Script =>
      ({ job_id }, worker) =>
        worker.say({ type: 'error', job_id, code, error: 'the prompt has 9000 tokens, but no more than 4096 fit' });
    await withWorker(router, fails('context_length_exceeded'), async () => {
      const tooLong = await failureOf(modelOf(router).invoke('hi'));
      assert.ok(ContextOverflowError.isInstance(tooLong), tooLong.message);
    });
    for (const [code, status] of [
      ['invalid_request', 400],
      ['worker_error', 500],
      ['timeout', 504],
    ] as const)
      await withWorker(router, fails(code), async () => {
        assert.is((await failureOf(modelOf(router).invoke('hi'))).status, status);
        assert.is((await failureOf(modelOf(router).stream('hi').then(gathered))).status, status);
      });
  });

  test(`${name}: a failure in the middle of a stream is thrown, and no end of it`, async () => {
    const script: Script = ({ job_id }, worker) => {
      worker.say({ type: 'token', job_id, token: 'half' });
      setTimeout(() => worker.say({ type: 'error', job_id, error: 'the GPU fell off' }), 50);
    };
    await withWorker(router, script, async () => {
      let said = '';
      const failed = await failureOf(
        (async () => {
          for await (const chunk of await modelOf(router).stream('hi')) said += chunk.text;
        })(),
      );
      assert.is(said, 'half');
      assert.match(failed.message, /the GPU fell off/);
    });
  });

  test(`${name}: a full queue is tried again until there is room`, async () => {
    const first = chat(narrow.url);
    await untilHealth(narrow.url, ({ queued_jobs }) => queued_jobs === 1, 'nothing is queued');
    const refused = await failureOf(modelOf(narrow).invoke('hi'));
    assert.is(refused.status, name === 'ChatAnthropic' ? 529 : 429);
    const patient = modelOf(narrow, { retries: 4 }).invoke('hi');
    await withWorker(narrow, helloScript, async () => {
      assert.is((await within(15_000, patient, 'no answer')).text, 'Hello from the GPU!');
      assert.is((await first).status, 200);
    });
  });

  test(`${name}: an abort reaches the worker, whole and streamed`, async () => {
    const talks: Script = ({ job_id }, worker) => worker.say({ type: 'token', job_id, token: 'and ' });
    await withWorker(router, talks, async worker => {
      const leave = [
        async (signal: AbortSignal, abort: () => void) => {
          for await (const _ of await modelOf(router).stream('hi', { signal })) abort();
        },
        async (signal: AbortSignal, abort: () => void) => {
          const asked = modelOf(router).invoke('hi', { signal });
          setTimeout(abort, 100);
          await asked;
        },
      ];
      for (const [n, go] of leave.entries()) {
        const controller = new AbortController();
        await failureOf(
          within(
            10_000,
            go(controller.signal, () => controller.abort()),
            'it is not left',
          ),
        );
        await waitUntil(
          () => worker.cancelled.length === n + 1,
          2000,
          () => `the worker was not told of way ${n}`,
        );
      }
    });
  });

  test(`${name} with the demo model: plain, a forced tool, structured output`, async () => {
    const model = modelOf(demo.router, { temperature: 0, maxTokens: 200 });
    const plain = await model.invoke('count to 5');
    assert.match(plain.text, /1, 2, 3, 4, 5/);
    const { whole } = await gathered(await model.stream('count to 5'));
    assert.is(whole.text, plain.text);
    const tooled = model.bindTools([weather], { tool_choice: 'get_weather' });
    for (const said of [
      await tooled.invoke('what is the weather in Paris?'),
      (await gathered(await tooled.stream('what is the weather in Paris?'))).whole,
    ]) {
      const [call] = said.tool_calls ?? [];
      assert.is(call?.name, 'get_weather');
      assert.type(call?.args.city, 'string');
    }
    const Animal = z.object({ animal: z.enum(['cat', 'dog']), legs: z.number().int() });
    // Anthropic's client keeps of a format's schema only what that API takes: no list of words.
    const Pet = z.object({ tame: z.boolean(), legs: z.number().int() });
    for (const [schema, method] of [
      [Animal, 'functionCalling'],
      [name === 'ChatAnthropic' ? Pet : Animal, 'jsonSchema'],
    ] as const) {
      const animal = await model.withStructuredOutput(schema, { name: 'animal', method }).invoke('Which animal?');
      assert.ok(schema.safeParse(animal).success, JSON.stringify(animal));
    }
  });
}

test.run();
