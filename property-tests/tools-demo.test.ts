/**
 * A question answered by way of tools, with nothing played: official clients, the router, a real worker with the demo
 * model, and a tools worker with a shell tool, the code sandbox and an official MCP server.
 */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import Anthropic from '@anthropic-ai/sdk';
import OpenAI from 'openai';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { hashKey } from '../actors/keys/keys.ts';
import { type DemoModel, startDemoModel } from './demo-model.ts';
import { apiKey, type Program, runProgram, waitUntil, within } from './processes.ts';

const toolsKey = `tls_${'C'.repeat(43)}`;
const folder = mkdtempSync(join(tmpdir(), 'auxot-tools-demo-'));
let demo: DemoModel;
let tools: Program;
let client: OpenAI;

interface Listed {
  readonly tools: readonly { readonly name: string }[];
}
const listed = async (): Promise<string[]> => {
  const answer = await fetch(`${demo.router.url}/api/tools/v1/tools`, {
    headers: { authorization: `Bearer ${apiKey}` },
  });
  return ((await answer.json()) as Listed).tools.map(({ name }) => name);
};
const runs = (): number => readFileSync(join(folder, 'runs'), 'utf8').split('\n').length - 1;

test.before(async () => {
  demo = await startDemoModel({
    AUXOT_CTX_SIZE: '2048',
    AUXOT_TOOLS_KEY_HASH: await hashKey(toolsKey),
    AUXOT_ALLOWED_TOOLS: 'get_time,code_executor,everything__get-sum',
  });
  mkdirSync(join(folder, 'tools'));
  writeFileSync(join(folder, 'runs'), '');
  writeFileSync(
    join(folder, 'tools', 'get_time.sh'),
    `#!/bin/sh\necho run >> ${join(folder, 'runs')}\necho '{"time":"12:34"}'\n`,
    {
      mode: 0o755,
    },
  );
  const described = { name: 'get_time', description: 'Get the time.', parameters: { type: 'object', properties: {} } };
  writeFileSync(join(folder, 'tools', 'get_time.tool.json'), JSON.stringify(described));
  const everything = fileURLToPath(import.meta.resolve('@modelcontextprotocol/server-everything/dist/index.js'));
  const mcpServers = { everything: { command: process.execPath, args: [everything, 'stdio'] } };
  writeFileSync(join(folder, 'mcp.json'), JSON.stringify({ mcpServers }));
  tools = runProgram('tools', ['--router-url', demo.router.wsUrl], { AUXOT_TOOLS_KEY: toolsKey }, folder);
  await waitUntil(
    async () => (await listed()).includes('everything__get-sum'),
    60_000,
    () => tools.output(),
  );
  client = new OpenAI({ apiKey, baseURL: `${demo.router.url}/v1`, maxRetries: 0, timeout: 60_000 });
});
test.after(async () => {
  tools?.kill('SIGTERM');
  await within(15_000, tools.ended, 'the tools worker did not stop');
  await demo?.stop();
  rmSync(folder, { recursive: true, force: true });
});

const ask = { model: 'auxot-demo', temperature: 0, max_tokens: 200 };
const user = (content: string) => [{ role: 'user' as const, content }];

interface Finished {
  readonly type: string;
  readonly by: string;
  readonly result?: unknown;
  readonly error?: string;
}

/** What the log of a job says of its calls. */
async function callsOf(jobId: string): Promise<Finished[]> {
  const replay = runProgram('router', ['replay', jobId, '--json'], { AUXOT_DATA_DIR: demo.router.dataDir }, folder);
  await within(30_000, replay.ended, 'the replay');
  const steps = replay
    .output()
    .split('\n')
    .filter(line => line.startsWith('{'));
  const events = steps.map((line): { event?: Finished } => JSON.parse(line));
  return events.flatMap(({ event }) => (event?.type === 'toolCall.finished' ? [event] : []));
}

test('a shell tool: the model calls it by itself, and the streamed answer is made of its result', async () => {
  const before = runs();
  const stream = client.chat.completions.stream({ ...ask, messages: user('What time is it?') });
  let chunks = '';
  stream.on('chunk', chunk => {
    chunks += JSON.stringify(chunk);
  });
  const { choices } = await stream.finalChatCompletion();
  assert.is(choices[0]?.message.content, 'It is 12:34.');
  assert.is(choices[0]?.finish_reason, 'stop');
  assert.not.match(chunks, 'get_time');
  const whole = await client.chat.completions.create({ ...ask, messages: user('Tell me the time') });
  assert.is(whole.choices[0]?.message.content, 'It is 12:34.');
  assert.is(runs() - before, 2);
});

test('the code sandbox and an official MCP server: a forced choice makes the tiny model call them', async () => {
  for (const [name, result] of [
    ['code_executor', /"duration_ms":\d/],
    ['everything__get-sum', /The sum of .* and .* is /],
  ] as const) {
    const tool_choice = { type: 'function', function: { name } } as const;
    const params = { ...ask, messages: user(`Call the tool ${name}`), tool_choice, stream: true } as const;
    const { data, response } = await client.chat.completions.create(params).withResponse();
    let text = '';
    for await (const { choices } of data) {
      assert.is(choices[0]?.delta.tool_calls, undefined);
      text += choices[0]?.delta.content ?? '';
    }
    assert.is.not(text, '', 'the second round says something');
    const calls = await callsOf(response.headers.get('x-auxot-job') ?? '');
    assert.is(calls.length, 1, 'it is forced once');
    assert.is(calls[0]?.by, 'worker');
    assert.match(JSON.stringify(calls[0]?.result ?? calls[0]?.error), result);
  }
});

test('the same by the Messages API', async () => {
  const anthropic = new Anthropic({ apiKey, baseURL: demo.router.url, maxRetries: 0, timeout: 60_000 });
  const before = runs();
  for (const tool_choice of [{ type: 'auto' }, { type: 'tool', name: 'get_time' }] as const) {
    const message = await anthropic.messages
      .stream({ ...ask, messages: user('What time is it?'), tool_choice })
      .finalMessage();
    assert.equal(
      message.content.map(block => (block.type === 'text' ? block.text : block.type)),
      ['It is 12:34.'],
    );
    assert.is(message.stop_reason, 'end_turn');
  }
  assert.is(runs() - before, 2);
});

test('the same by the Responses API, and code_interpreter by its own name', async () => {
  const { max_tokens: max_output_tokens, ...rest } = ask;
  const asked = { ...rest, max_output_tokens };
  const before = runs();
  const time = await client.responses.stream({ ...asked, input: 'What time is it?' }).finalResponse();
  assert.is(time.output_text, 'It is 12:34.');
  assert.is(runs() - before, 1);
  const types = new Set<string>();
  const stream = client.responses.stream({
    ...asked,
    input: 'Call the tool code_executor',
    tools: [{ type: 'code_interpreter', container: { type: 'auto' } }],
    tool_choice: { type: 'code_interpreter' },
    include: ['code_interpreter_call.outputs'],
  });
  stream.on('event', ({ type }) => types.add(type));
  const { output, tools: had } = await stream.finalResponse();
  const [call, message] = output;
  assert.ok(call?.type === 'code_interpreter_call' && message?.type === 'message');
  assert.is(call.status, 'completed');
  const [logs] = call.outputs ?? [];
  // Whatever the model wrote, it was run: the sandbox says what came of it.
  assert.ok(logs?.type === 'logs' && (call.code ?? '') !== '');
  assert.match(logs.logs, /\S/);
  assert.ok(
    types.has('response.code_interpreter_call.interpreting') && types.has('response.code_interpreter_call.completed'),
  );
  assert.equal(had, [{ type: 'code_interpreter', container: { type: 'auto' } }]);
});

test.run();
