/** The real engine with the demo model, in its own process. Answers are compared with those that came with the model. */
import { readFileSync } from 'node:fs';
import { Compile } from 'typebox/schema';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { demoModel } from '../../registry/load.ts';
import { type LlamaEngine, llamaEngine } from './engine.llama.ts';
import { EngineError, type EngineJob, type EngineResult, type EngineState, type GenerateHooks } from './engine.ts';

interface Golden {
  readonly messages: EngineJob['messages'];
  readonly tools?: EngineJob['tools'];
  readonly options?: EngineJob['templateOptions'];
  readonly expected_text?: string;
  readonly expected_tool_call?: unknown;
  readonly reasoning?: string;
  readonly completion_tokens: number;
  readonly prompt_tokens: number;
}

const golden: readonly Golden[] = JSON.parse(
  readFileSync(new URL('../../registry/demo-model/golden.json', import.meta.url), 'utf8'),
);

const states: EngineState[] = [];
const troubles: string[] = [];
const chosen: string[] = [];
const engine: LlamaEngine = llamaEngine({
  modelPath: demoModel().path,
  contextSize: 2048,
  slots: 4,
  threads: 1,
  gpuLayers: 0,
  onState: state => states.push(state),
  onLoading: () => undefined,
  onChosen: message => chosen.push(message),
  onTrouble: message => troubles.push(message),
});

const test = suite('engine.llama');
test.before(async () => {
  await within(60_000, engine.load());
});
test.after(async () => {
  await within(10_000, engine.close());
  assert.is(engine.pid, null);
});

const user = (content: string) => [{ role: 'user', content }];
const story: EngineJob = { messages: user('Could you tell me a story?'), temperature: 0 };

interface Heard {
  readonly result: EngineResult;
  readonly ids: number[];
  readonly text: string;
  readonly reasoning: string;
}

async function ask(job: EngineJob, hooks: Partial<GenerateHooks> = {}, from = engine): Promise<Heard> {
  const ids: number[] = [];
  const said = { text: '', reasoning: '' };
  const result = await within(
    60_000,
    from.generate(job, {
      signal: new AbortController().signal,
      onProgress: () => undefined,
      onToolCall: () => undefined,
      ...hooks,
      onPiece: piece => {
        ids.push(...piece.ids);
        said[piece.kind] += piece.text;
        hooks.onPiece?.(piece);
      },
    }),
  );
  return { result, ids, ...said };
}

async function refusal(outcome: Promise<unknown>): Promise<EngineError> {
  try {
    await outcome;
  } catch (error) {
    if (!(error instanceof EngineError)) throw error;
    return error;
  }
  throw new Error('the job was not refused');
}

async function asGolden(want: Golden): Promise<void> {
  const { messages, tools, options } = want;
  const { result, ids, text, reasoning } = await ask({ messages, tools, templateOptions: options, temperature: 0 });
  const name = JSON.stringify(messages.at(-1));
  assert.is(text, want.expected_text ?? '', name);
  assert.is(reasoning, want.reasoning ?? '', name);
  assert.is(result.text, text, name);
  assert.is(result.reasoning, reasoning, name);
  const calls = want.expected_tool_call === undefined ? [] : [want.expected_tool_call].flat();
  assert.equal(
    result.toolCalls.map(call => ({ name: call.name, arguments: JSON.parse(call.arguments) })),
    calls,
    name,
  );
  assert.is(result.finishReason, calls.length > 0 ? 'tool_calls' : 'stop', name);
  assert.is(result.usage.output, want.completion_tokens, name);
  assert.is(result.usage.input + result.usage.cached, want.prompt_tokens, name);
  assert.is(ids.length, want.completion_tokens - 1, `${name}: the end token has no text`);
}

test('every golden answer comes out exactly, its tokens counted, one job at a time (G20)', async () => {
  assert.ok(golden.length > 100);
  for (const want of golden) await asGolden(want);
});

test('jobs that run at once, more of them than slots, give the same answers', async () => {
  await Promise.all(golden.slice(0, 64).map(asGolden));
});

test('a prompt that continues an earlier one is evaluated only from where it differs', async () => {
  const first = await ask({ messages: user('hello'), temperature: 0 });
  const messages = [...user('hello'), { role: 'assistant', content: first.text }, ...user('count to 9')];
  const { result } = await ask({ messages, temperature: 0 });
  assert.is(result.text, '1, 2, 3, 4, 5, 6, 7, 8, 9.');
  assert.ok(result.usage.cached >= first.result.usage.input + first.result.usage.cached, JSON.stringify(result.usage));
});

test('a second turn evaluates its new tokens and nothing else', async () => {
  const ask1 = { messages: user('Tell me about the moon.'), temperature: 0 };
  const first = await ask(ask1);
  const { input, cached, output } = first.result.usage;
  const again = await ask(ask1);
  // The last token is always evaluated: the answer is sampled from it.
  assert.equal([again.result.usage.input, again.result.usage.cached], [1, input + cached - 1]);
  const messages = [...ask1.messages, { role: 'assistant', content: first.text }, ...user('And the sun?')];
  const second = (await ask({ messages, temperature: 0 })).result.usage;
  // Of the first turn, all is held but its end token, which was sampled and never evaluated.
  assert.is(second.cached, input + cached + output - 1);
  assert.ok(second.input < 20, JSON.stringify(second));
});

test('what was fitted into memory is said in one sentence, and the slots are those', async () => {
  assert.is(chosen.length, 1);
  assert.match(
    chosen[0] ?? '',
    /^no layer on a GPU, 4 slots of 2048 tokens, cache f16: 0\.\d\d of [\d.]+ GB free main memory$/,
  );
  assert.equal([engine.info?.slots, engine.info?.contextSize], [4, 2048]);
});

test('what is said of the model is what its file and the machine say (G14)', () => {
  const { model, parameters, vramGb, gpu, threads, modelFile } = engine.info ?? {};
  assert.equal([model, parameters], ['auxot-demo', '1.1M']);
  assert.equal([vramGb, gpu, threads], [0, 'false', 1]);
  assert.match(modelFile ?? '', /^sha256:[0-9a-f]{64}$/);
});

test('a coarser cache gives an answer as well', async () => {
  const coarse = llamaEngine({
    modelPath: demoModel().path,
    contextSize: 2048,
    slots: 1,
    threads: 1,
    gpuLayers: 0,
    memory: { check: true, contextSizeMin: 256, cacheType: 'q8_0' },
    onState: () => undefined,
    onLoading: () => undefined,
    onTrouble: () => undefined,
  });
  try {
    await within(30_000, coarse.load());
    const { result } = await ask({ messages: user('hello!'), temperature: 0 }, {}, coarse);
    assert.is(result.text, "Hello! I am Auxot's tiny demo model. How can I help?");
  } finally {
    await coarse.close();
  }
});

test('progress ends with the whole prompt, before the first piece', async () => {
  const order: string[] = [];
  const long = { messages: user(`repeat: ${'the moon is green '.repeat(60)}`), temperature: 0, maxTokens: 3 };
  await ask(long, {
    onProgress: ({ processed, total }) => order.push(processed === total ? 'whole' : 'part'),
    onPiece: () => order.push('piece'),
  });
  assert.is(order[0], 'part');
  assert.ok(order.indexOf('whole') < order.indexOf('piece'));
});

test('a cancelled job stops within a few tokens, and its slot is free', async () => {
  const abort = new AbortController();
  let pieces = 0;
  const error = await refusal(
    ask(story, {
      signal: abort.signal,
      onPiece: () => {
        pieces += 1;
        if (pieces === 5) abort.abort();
      },
    }),
  );
  assert.is(error.code, 'cancelled');
  assert.ok(pieces < 40, `${pieces} pieces came`);
  for (const want of golden.slice(0, 2)) await asGolden(want);
});

test('a stop string ends the answer and does not show', async () => {
  const { result, text } = await ask({ messages: user('count to 20'), temperature: 0, stop: ['9, 10', ', 7'] });
  assert.is(text, '1, 2, 3, 4, 5, 6');
  assert.is(result.text, text);
  assert.is(result.finishReason, 'stop');
  assert.is(result.stopSequence, ', 7');
});

test('max_tokens ends the answer with length, and counts the tokens exactly (G17)', async () => {
  const { result, ids } = await ask({ ...story, maxTokens: 7 });
  assert.is(result.finishReason, 'length');
  assert.is(result.usage.output, 7);
  assert.is(ids.length, 7);
});

test('an answer that just fits into max_tokens ends with stop', async () => {
  const { result } = await ask({ messages: user('hello!'), temperature: 0, maxTokens: 16 });
  assert.is(result.finishReason, 'stop');
});

test('the same seed gives the same answer, another one another', async () => {
  const wild = {
    messages: user('tell me a story about a cat'),
    temperature: 3,
    topP: 1,
    topK: 0,
    minP: 0,
    maxTokens: 24,
  };
  const [a, b, c] = [
    await ask({ ...wild, seed: 11 }),
    await ask({ ...wild, seed: 11 }),
    await ask({ ...wild, seed: 12 }),
  ];
  assert.equal(a.ids, b.ids);
  assert.not.equal(a.ids, c.ids);
  assert.ok(new Set(a.ids).size > 8, 'sampled anew for each token');
});

test('without a seed, two answers differ', async () => {
  const wild = { messages: user('hello'), temperature: 3, topP: 1, topK: 0, minP: 0, maxTokens: 24 };
  assert.not.equal((await ask(wild)).ids, (await ask(wild)).ids);
});

test('a banned token does not come, and penalties change what does', async () => {
  const hello = { messages: user('hello!'), temperature: 0 };
  const [first] = (await ask(hello)).ids;
  assert.not.equal((await ask({ ...hello, logitBias: { [String(first)]: -100 }, maxTokens: 4 })).ids[0], first);
  const counting = { messages: user('count to 20'), temperature: 0, maxTokens: 40 };
  assert.not.equal(
    (await ask({ ...counting, frequencyPenalty: 2, presencePenalty: 2 })).text,
    (await ask(counting)).text,
  );
});

test('models think unless they are told not to: effort none leaves the thought out (G1)', async () => {
  const thinking = await ask({
    messages: user('what is 8 plus 2?'),
    templateOptions: { enable_thinking: true },
    temperature: 0,
  });
  assert.is(thinking.reasoning, 'I start at 8 and count up 2: 9, 10.');
  assert.ok(thinking.result.usage.reasoning > 5 && thinking.result.usage.reasoning < thinking.result.usage.output);
  const silent = await ask({ messages: user('what is 8 plus 2?'), reasoningEffort: 'none', temperature: 0 });
  assert.is(silent.reasoning, '');
});

test('a thought ends at its budget, and the answer follows; a budget that is not spent changes nothing (G1)', async () => {
  const job = { messages: user('what is 8 plus 2?'), templateOptions: { enable_thinking: true }, temperature: 0 };
  const whole = await ask(job);
  const brief = await ask({ ...job, thinkingBudget: 6 });
  assert.ok(brief.reasoning !== '' && brief.reasoning !== whole.reasoning, brief.reasoning);
  assert.ok(whole.reasoning.startsWith(brief.reasoning), brief.reasoning);
  assert.ok(brief.result.usage.reasoning >= 6 && brief.result.usage.reasoning < whole.result.usage.reasoning);
  assert.not.match(brief.text, /think/);
  assert.ok(brief.text !== '' && brief.result.finishReason === 'stop', brief.text);
  const none = await ask({ ...job, thinkingBudget: 0 });
  assert.is(none.reasoning, '');
  assert.ok(none.text !== '');
  const ample = await ask({ ...job, thinkingBudget: 500 });
  assert.equal([ample.ids, ample.text, ample.reasoning], [whole.ids, whole.text, whole.reasoning]);
  const short = await ask({ ...job, thinkingBudget: 6, maxTokens: 8 });
  assert.equal([short.result.finishReason, short.result.usage.output], ['length', 8]);
});

test('a prompt that does not fit is refused with the numbers (G12)', async () => {
  const error = await refusal(ask({ messages: user('the moon is green '.repeat(800)), temperature: 0 }));
  assert.is(error.code, 'context_length_exceeded');
  assert.match(error.message, /prompt has \d{4} tokens/);
  assert.match(error.message, '2048');
});

test('an answer that meets the end of the context finishes with length', async () => {
  const room = 40;
  const filler = (words: number) => ({
    messages: user(`Tell me a story. ${'moon '.repeat(words)}`),
    temperature: 0,
    maxTokens: 1,
  });
  const used = (await ask(filler(900))).result.usage;
  const perWord = (used.input + used.cached) / 900;
  const words = Math.floor((2048 - room) / perWord);
  // At this temperature the end token is as likely as any other of two thousand, so the context ends the answer.
  const { result } = await ask({
    ...filler(words),
    temperature: 5,
    topK: 0,
    topP: 1,
    minP: 0,
    seed: 1,
    maxTokens: undefined,
  });
  assert.is(result.finishReason, 'length');
  const { input, cached, output } = result.usage;
  assert.is(input + cached + output, 2048);
});

test('when the process is killed, its jobs fail as such, and the engine comes back', async () => {
  states.length = 0;
  let killed = false;
  const error = await refusal(
    ask(story, {
      onPiece: () => {
        if (!killed && engine.pid !== null) process.kill(engine.pid, 'SIGKILL');
        killed = true;
      },
    }),
  );
  assert.is(error.code, 'engine_crashed');
  assert.ok(error.retryable);
  assert.is((await refusal(ask(story))).code, 'engine_unavailable');
  await within(
    30_000,
    until(() => engine.state === 'ready'),
  );
  assert.equal(states, ['restarting', 'ready']);
  assert.is(troubles.length, 1);
  for (const want of golden.slice(0, 3)) await asGolden(want);
});

test('a file that is no model is refused with a reason, and nothing is left running', async () => {
  for (const modelPath of ['/nowhere/model.gguf', new URL(import.meta.url).pathname]) {
    const broken = llamaEngine({
      modelPath,
      contextSize: null,
      slots: 1,
      threads: 1,
      gpuLayers: 0,
      onState: () => undefined,
      onLoading: () => undefined,
      onTrouble: () => undefined,
    });
    const error = await refusal(within(30_000, broken.load()));
    assert.is(error.code, 'model_load_failed');
    assert.match(error.message, /cannot be read|is not a GGUF file/);
    await within(
      5000,
      until(() => broken.pid === null),
    );
  }
});

async function until(done: () => boolean): Promise<void> {
  while (!done()) await new Promise(resolve => setTimeout(resolve, 20));
}

async function within<T>(ms: number, promise: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`nothing came within ${ms} ms`)), ms);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

const weatherTool = {
  type: 'function',
  function: {
    name: 'get_weather',
    parameters: { type: 'object', properties: { city: { type: 'string', maxLength: 20 } }, required: ['city'] },
  },
};
const clock = { type: 'function', function: { name: 'now', parameters: { type: 'object', properties: {} } } };

test('an answer in a format is valid against its schema, however it is sampled', async () => {
  const schema = {
    type: 'object',
    properties: {
      title: { type: 'string', minLength: 3, maxLength: 30 },
      year: { type: 'integer', minimum: 1900, maximum: 2100 },
      tags: { type: 'array', items: { enum: ['a', 'b'] }, minItems: 1, maxItems: 3 },
      score: { type: 'number', minimum: 0, maximum: 1 },
    },
    required: ['title', 'year', 'tags', 'score'],
    additionalProperties: false,
  };
  const isValid = Compile(schema);
  const responseFormat = { type: 'json_schema', json_schema: { name: 'book', schema, strict: true } };
  for (const prompt of ['Hello', 'Could you tell me a story?', 'Think step by step: what is 2 and 3?']) {
    for (const temperature of [0, 1, 2]) {
      const { result } = await ask({ messages: user(prompt), temperature, seed: 5, responseFormat, maxTokens: 1000 });
      assert.is(result.finishReason, 'stop', result.text);
      assert.ok(isValid.Check(JSON.parse(result.text)), result.text);
    }
  }
});

test('any JSON object, when no schema is named', async () => {
  const { result } = await ask({
    messages: user('Give me a person as JSON'),
    temperature: 0,
    responseFormat: { type: 'json_object' },
  });
  assert.is(typeof JSON.parse(result.text), 'object');
});

test('a tool that must be called is called: any, a named one, one only', async () => {
  const tools = [weatherTool, clock];
  const names = async (job: Partial<EngineJob>): Promise<string[]> => {
    const { result } = await ask({ messages: user('Hello'), temperature: 0, tools, maxTokens: 300, ...job });
    assert.is(result.finishReason, 'tool_calls', JSON.stringify(result));
    for (const call of result.toolCalls) JSON.parse(call.arguments);
    return result.toolCalls.map(({ name }) => name);
  };
  assert.ok((await names({ toolChoice: 'required' })).length >= 1);
  assert.equal(await names({ toolChoice: { type: 'function', function: { name: 'now' } } }), ['now']);
  assert.equal(await names({ toolChoice: { type: 'function', function: { name: 'get_weather' } } }), ['get_weather']);
  assert.is((await names({ toolChoice: 'required', parallelToolCalls: false, temperature: 2, seed: 4 })).length, 1);
});

test('what a grammar cannot hold is refused by its name', async () => {
  const schema = { type: 'array', uniqueItems: true };
  const asked = ask({
    messages: user('x'),
    responseFormat: { type: 'json_schema', json_schema: { name: 'x', schema } },
  });
  try {
    await asked;
    assert.unreachable();
  } catch (error) {
    assert.ok(error instanceof EngineError);
    assert.is(error.code, 'invalid_request');
    assert.match(error.message, 'response_format.json_schema.schema.uniqueItems');
  }
});

test('a text is gone on with as it is, without a chat template', async () => {
  const told = '<|im_start|>user\nCould you tell me a story?<|im_end|>\n<|im_start|>assistant\n';
  const { result } = await ask({ messages: user('ignored'), prompt: told, temperature: 0, maxTokens: 20 });
  const { result: asChat } = await ask({ ...story, maxTokens: 20 });
  assert.is(result.text, asChat.text);
  assert.is(result.usage.output, 20);
});

test.run();
