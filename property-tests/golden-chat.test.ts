/**
 * The demo model's answers through the whole system: client, router, socket, worker, llama.cpp. Every case of
 * registry/demo-model/golden.json at temperature 0 must come back as the model gave it when it was made.
 */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import OpenAI from 'openai';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { untilHealth } from './callers.ts';
import { apiKey, gpuKey, type Program, type RouterProcess, runProgram, startRouter, within } from './processes.ts';

interface Golden {
  readonly behaviour: string;
  readonly messages: OpenAI.ChatCompletionMessageParam[];
  readonly tools?: OpenAI.ChatCompletionTool[];
  readonly options?: { readonly enable_thinking: boolean };
  readonly reasoning?: string;
  readonly expected_text?: string;
  readonly expected_tool_call?: { readonly name: string; readonly arguments: object };
  readonly completion_tokens: number;
  readonly prompt_tokens: number;
}

const cases: Golden[] = JSON.parse(
  readFileSync(new URL('../registry/demo-model/golden.json', import.meta.url), 'utf8'),
);

let router: RouterProcess;
let worker: Program;
const folder = mkdtempSync(join(tmpdir(), 'auxot-golden-'));

test.before(async () => {
  router = await startRouter({ AUXOT_FSYNC: 'no', AUXOT_CTX_SIZE: '2048', AUXOT_MAX_PARALLEL: '4' });
  worker = runProgram(
    'worker',
    ['--router-url', router.wsUrl, '--model-path', 'demo'],
    { AUXOT_GPU_KEY: gpuKey },
    folder,
  );
  await untilHealth(router.url, ({ total_slots }) => total_slots === 4, 'the worker is not there', 60_000).catch(
    error => {
      throw new Error(`${error.message}:\n${worker.output()}`);
    },
  );
});
test.after(async () => {
  worker?.kill('SIGTERM');
  await within(15_000, worker.ended, 'the worker did not stop');
  await router?.stop();
  rmSync(folder, { recursive: true, force: true });
});

/** What there is to compare of an answer, in either mode. */
interface Said {
  readonly text: string;
  readonly reasoning: string;
  readonly calls: readonly { readonly name: string; readonly arguments: unknown }[];
  readonly finishReason: string | null | undefined;
  readonly usage: readonly [input: number | undefined, output: number | undefined];
}

const expected = (golden: Golden): Said => ({
  text: golden.expected_text ?? '',
  reasoning: golden.reasoning ?? '',
  calls: golden.expected_tool_call === undefined ? [] : [golden.expected_tool_call],
  finishReason: golden.expected_tool_call === undefined ? 'stop' : 'tool_calls',
  usage: [golden.prompt_tokens, golden.completion_tokens],
});

const requestOf = ({ messages, tools, options }: Golden) => ({
  model: 'test-model',
  temperature: 0,
  messages,
  ...(tools === undefined ? {} : { tools }),
  // Not of the official API: clients pass it through.
  ...(options === undefined ? {} : { chat_template_kwargs: options }),
});

async function whole(client: OpenAI, golden: Golden): Promise<Said> {
  const { choices, usage } = await client.chat.completions.create(requestOf(golden));
  const message = choices[0]?.message;
  return {
    text: message?.content ?? '',
    reasoning: reasoningOf(message),
    calls: callsOf(message?.tool_calls),
    finishReason: choices[0]?.finish_reason,
    usage: [usage?.prompt_tokens, usage?.completion_tokens],
  };
}

async function streamed(client: OpenAI, golden: Golden): Promise<Said> {
  const options = { stream: true, stream_options: { include_usage: true } } as const;
  const runner = client.chat.completions.stream({ ...requestOf(golden), ...options });
  let reasoning = '';
  runner.on('chunk', ({ choices }) => {
    reasoning += reasoningOf(choices[0]?.delta);
  });
  const { choices, usage } = await runner.finalChatCompletion();
  return {
    text: choices[0]?.message.content ?? '',
    reasoning,
    calls: callsOf(choices[0]?.message.tool_calls),
    finishReason: choices[0]?.finish_reason,
    usage: [usage?.prompt_tokens, usage?.completion_tokens],
  };
}

/** The field is an addition, and so not in the client's types. */
const reasoningOf = (message: object | undefined): string =>
  message !== undefined && 'reasoning_content' in message ? String(message.reasoning_content ?? '') : '';

const callsOf = (calls: OpenAI.ChatCompletionMessageToolCall[] = []) =>
  calls.map(call =>
    call.type === 'function'
      ? { name: call.function.name, arguments: JSON.parse(call.function.arguments) as unknown }
      : { name: call.type, arguments: null },
  );

/** So many callers at once, each with the next case that nobody has taken yet. The worker has four slots. */
async function runAll(callers: number, ask: (client: OpenAI, golden: Golden) => Promise<Said>): Promise<void> {
  const client = new OpenAI({ apiKey, baseURL: `${router.url}/v1`, maxRetries: 0, timeout: 60_000 });
  const wrong: string[] = [];
  let next = 0;
  const caller = async (): Promise<void> => {
    for (let golden = cases[next++]; golden !== undefined; golden = cases[next++]) {
      const said = await ask(client, golden);
      try {
        assert.equal(said, expected(golden));
      } catch {
        wrong.push(`${golden.behaviour}: ${JSON.stringify(golden.messages.at(-1))}\n  ${JSON.stringify(said)}`);
      }
    }
  };
  await Promise.all(Array.from({ length: callers }, caller));
  assert.is(wrong.join('\n'), '', `${wrong.length} of ${cases.length} differ`);
}

test('every golden case, streamed, eight callers on four slots', () => runAll(8, streamed));
test('every golden case, in one piece, as many callers as slots', () => runAll(4, whole));

test('a limit is kept, and told as such', async () => {
  const client = new OpenAI({ apiKey, baseURL: `${router.url}/v1`, maxRetries: 0 });
  const messages = [{ role: 'user' as const, content: 'count to 15' }];
  const { choices, usage } = await client.chat.completions.create({
    model: 'x',
    temperature: 0,
    max_tokens: 5,
    messages,
  });
  assert.is(choices[0]?.finish_reason, 'length');
  assert.is(usage?.completion_tokens, 5);
  const stopped = await client.chat.completions.create({ model: 'x', temperature: 0, stop: ', 4', messages });
  assert.is(stopped.choices[0]?.message.content, '1, 2, 3');
  assert.is(stopped.choices[0]?.finish_reason, 'stop');
});

test.run();
