/** Tools called directly, over HTTP and by official MCP clients, at a real router with the real tools worker. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { SSEClientTransport } from '@modelcontextprotocol/sdk/client/sse.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import type { Transport } from '@modelcontextprotocol/sdk/shared/transport.js';
import OpenAI from 'openai';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { hashKey } from '../actors/keys/keys.ts';
import { apiKey, type Program, type RouterProcess, runProgram, startRouter, waitUntil, within } from './processes.ts';
import { helloScript, type ScriptedWorker, startWorker } from './scripted-worker.ts';

const toolsKey = `tls_${'C'.repeat(43)}`;
const test = suite('tools');
let router: RouterProcess;
let worker: ScriptedWorker;
let tools: Program;
let folder = '';

const headers = { authorization: `Bearer ${apiKey}`, 'content-type': 'application/json' };
/** What our own router says; the tests look at what they use of it. */
const bodyOf = async (answer: Response) =>
  (await answer.json()) as {
    readonly tools: readonly { name: string }[];
    readonly workers: number;
    readonly tool: string;
    readonly result: { protocolVersion?: string; error?: string };
    readonly error: { message: string; code: number };
  };
const list = async () => bodyOf(await fetch(`${router.url}/api/tools/v1/tools`, { headers }));
const execute = (body: object, init: RequestInit = {}) =>
  fetch(`${router.url}/api/tools/v1/execute`, { method: 'POST', headers, body: JSON.stringify(body), ...init });

const startTools = async (): Promise<void> => {
  const env = { AUXOT_TOOLS_KEY: toolsKey, AUXOT_RECONNECT_DELAY: '200ms' };
  tools = runProgram('tools', ['--router-url', router.wsUrl], env, folder);
  await waitUntil(
    async () => (await list()).workers === 1,
    20_000,
    () => `no tools worker came:\n${tools.output()}\n${router.output()}`,
  );
};

test.before(async () => {
  router = await startRouter({
    AUXOT_TOOLS_KEY_HASH: await hashKey(toolsKey),
    AUXOT_ALLOWED_TOOLS: 'code_executor,note,fail,slow',
    AUXOT_MCP_EXPOSE_LLM: 'true',
  });
  folder = join(router.dataDir, 'tools-worker');
  mkdirSync(join(folder, 'tools'), { recursive: true });
  const shell = (name: string, script: string): void => {
    writeFileSync(join(folder, 'tools', `${name}.sh`), `#!/bin/sh\n${script}\n`, { mode: 0o755 });
    const about = { name, description: name, parameters: { type: 'object', properties: {} } };
    writeFileSync(join(folder, 'tools', `${name}.tool.json`), JSON.stringify(about));
  };
  shell('note', `echo noted >> ${join(folder, 'notes')}; echo '"noted"'`);
  shell('fail', 'echo this went wrong >&2; exit 3');
  shell('slow', `echo begun >> ${join(folder, 'notes')}; sleep 3; echo '"slept"'`);
  shell('forbidden', 'echo no');
  worker = await startWorker(router.wsUrl, { script: helloScript });
});

test.after(async () => {
  worker?.close();
  tools?.kill('SIGKILL');
  await tools?.ended;
  await router?.stop();
});

test('no tools worker: nothing is listed, and nothing can be run (TL4, X4)', async () => {
  assert.equal(await list(), { tools: [], workers: 0 });
  assert.is((await execute({ tool: 'code_executor' })).status, 503);
});

test('tools are listed and run (TL1, TL3, TL11, X1, X3)', async () => {
  await startTools();
  const { tools: listed, workers } = await list();
  assert.is(workers, 1);
  assert.equal(
    listed.map(({ name }) => name),
    ['code_executor', 'fail', 'note', 'slow'],
  );
  assert.equal(await bodyOf(await fetch(`${router.url}/api/tools/v1/list`, { headers })), await list());
  const done = await execute({ tool: 'code_executor', input: { code: '6*7' } });
  const body = await bodyOf(done);
  assert.is(done.status, 200, JSON.stringify(body));
  assert.is(body.tool, 'code_executor');
  assert.match(JSON.stringify(body.result), '42');
  assert.is((await execute({ tool: 'nothing' })).status, 404);
  assert.is((await execute({ tool: ' ' })).status, 400);
  assert.match(JSON.stringify((await bodyOf(await execute({ tool: 'fail' }))).result), 'this went wrong');
  const failed = await execute({ tool: 'code_executor', arguments: {} });
  assert.is(failed.status, 500);
  assert.match((await bodyOf(failed)).error.message, 'code');
  assert.is((await execute({ tool: 'note' }, { headers: {} })).status, 401);
});

test('arguments that are nested without end are refused, and the router goes on', async () => {
  const deep = `{"a":${'['.repeat(50_000)}${']'.repeat(50_000)}}`;
  const init = (body: string) => ({
    method: 'POST',
    headers: { ...headers, accept: 'application/json, text/event-stream' },
    body,
  });
  const direct = await fetch(
    `${router.url}/api/tools/v1/execute`,
    init(`{"tool":"code_executor","arguments":${deep}}`),
  );
  assert.is(direct.status, 400);
  assert.match((await bodyOf(direct)).error.message, 'nested deeper');
  const rpc = `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"code_executor","arguments":${deep}}}`;
  assert.is((await fetch(`${router.url}/mcp`, init(rpc))).status, 400);
  assert.ok((await list()).workers > 0);
});

test('what the allow-list leaves out is not run directly, nor by MCP (N14)', async () => {
  assert.is((await execute({ tool: 'forbidden' })).status, 404);
});

const transports: readonly (readonly [string, () => Transport])[] = [
  [
    'Streamable HTTP',
    () => new StreamableHTTPClientTransport(new URL(`${router.url}/mcp`), { requestInit: { headers } }) as Transport,
  ],
  [
    'SSE',
    () =>
      new SSEClientTransport(new URL(`${router.url}/mcp/sse`), {
        requestInit: { headers },
        eventSourceInit: { fetch: (url, init) => fetch(url, { ...init, headers: { ...init?.headers, ...headers } }) },
      }),
  ],
];
for (const [name, open] of transports) {
  test(`the official MCP client connects by ${name}, lists and calls (MC8, MC10, MC12)`, async () => {
    const client = new Client({ name: 'test', version: '1' });
    await within(10_000, client.connect(open()), 'the MCP client did not connect');
    try {
      assert.is(client.getServerVersion()?.name, 'auxot-router');
      const { tools: listed } = await client.listTools();
      assert.equal(
        listed.map(tool => tool.name),
        ['generate_text', 'code_executor', 'fail', 'note', 'slow'],
      );
      assert.ok(listed.every(tool => tool.inputSchema.type === 'object'));
      const called = await client.callTool({ name: 'code_executor', arguments: { code: '"a" + 1' } });
      assert.match(JSON.stringify(called.content), 'a1');
      const failed = await client.callTool({ name: 'code_executor', arguments: {} });
      assert.is(failed.isError, true);
      const said = await client.callTool({ name: 'generate_text', arguments: { prompt: 'hi' } });
      assert.match(JSON.stringify(said.content), 'Hello from the GPU!');
      assert.equal(worker.jobs.at(-1)?.tools, undefined, 'the router’s tools are left out');
      try {
        await client.callTool({ name: 'forbidden', arguments: {} });
        assert.unreachable();
      } catch (error) {
        assert.match(String(error), '-32602');
      }
      const abort = new AbortController();
      setTimeout(() => abort.abort(), 200);
      await client.callTool({ name: 'slow', arguments: {} }, undefined, { signal: abort.signal }).then(
        () => assert.unreachable(),
        () => undefined,
      );
    } finally {
      await client.close();
    }
  });
}

test('MCP refuses wrong keys, foreign origins, and sessions that are none (MC6, MC7, MC11)', async () => {
  const post = (path: string, body: unknown, more: Record<string, string> = {}) =>
    fetch(`${router.url}${path}`, {
      method: 'POST',
      headers: { ...headers, accept: 'application/json, text/event-stream', ...more },
      body: typeof body === 'string' ? body : JSON.stringify(body),
    });
  const hello = {
    jsonrpc: '2.0',
    id: 1,
    method: 'initialize',
    params: { protocolVersion: '2024-11-05', capabilities: {}, clientInfo: { name: 't', version: '1' } },
  };
  assert.is((await post('/mcp', hello, { authorization: 'Bearer rtr_wrong' })).status, 401);
  assert.is((await post('/mcp', hello, { origin: 'https://evil.example' })).status, 403);
  assert.is((await post('/mcp', { jsonrpc: '2.0', id: 1, method: 'tools/list' })).status, 400);
  assert.is((await post('/mcp', hello, { 'mcp-session-id': 'f'.repeat(32) })).status, 404);
  assert.is((await post('/mcp/message?sessionId=x', hello)).status, 404);
  const greeted = await post('/mcp', hello);
  const session = greeted.headers.get('mcp-session-id') ?? '';
  assert.is((await bodyOf(greeted)).result.protocolVersion, '2024-11-05');
  const unknown = await post('/mcp', { jsonrpc: '2.0', id: 2, method: 'x/y' }, { 'mcp-session-id': session });
  assert.is((await bodyOf(unknown)).error.code, -32601);
  const noted = await post('/mcp', { jsonrpc: '2.0', method: 'notifications/x' }, { 'mcp-session-id': session });
  assert.is(noted.status, 202);
  assert.is((await post('/mcp', '{', { 'mcp-session-id': session })).status, 400);
});

const callOf = (name: string) => ({
  id: `call_${name}`,
  type: 'function',
  function: { name, arguments: '{}' },
});
const client = () => new OpenAI({ apiKey, baseURL: `${router.url}/v1`, maxRetries: 0 });

test('a question is answered through a shell tool, streamed, by the official client', async () => {
  worker.close();
  worker = await startWorker(router.wsUrl, {
    script: (job, gpu) => {
      const { job_id, messages } = job;
      const result = messages.find(({ role }) => role === 'tool');
      const more = result === undefined ? { tool_calls: [callOf('note')] } : {};
      const full_response = result === undefined ? '' : `It says ${result.content}.`;
      gpu.say({ type: 'complete', job_id, full_response, input_tokens: 3, output_tokens: 2, ...more });
    },
  });
  const stream = await client().chat.completions.create({
    model: 'm',
    stream: true,
    messages: [{ role: 'user', content: 'note it' }],
  });
  let said = '';
  for await (const chunk of stream) said += chunk.choices[0]?.delta.content ?? '';
  assert.is(said, 'It says noted.');
});

const notes = (): string[] => {
  try {
    return readFileSync(join(folder, 'notes'), 'utf8').trim().split('\n');
  } catch {
    return [];
  }
};

test('a tools worker that is killed in mid-call is told of as an unknown outcome, and nothing runs twice', async () => {
  writeFileSync(join(folder, 'notes'), '');
  worker.close();
  let told = '';
  worker = await startWorker(router.wsUrl, {
    script: ({ job_id, messages }, gpu) => {
      const result = messages.find(({ role }) => role === 'tool');
      told = String(result?.content ?? '');
      const more = result === undefined ? { tool_calls: [callOf('slow')] } : {};
      gpu.say({ type: 'complete', job_id, full_response: result === undefined ? '' : 'done', ...more });
    },
  });
  const answer = client().chat.completions.create({ model: 'm', messages: [{ role: 'user', content: 'x' }] });
  await waitUntil(
    () => notes().includes('begun'),
    10_000,
    () => 'the tool did not begin',
  );
  tools.kill('SIGKILL');
  await tools.ended;
  await startTools();
  const { choices } = await within(30_000, answer, 'no answer');
  assert.is(choices[0]?.message.content, 'done');
  assert.match(told, 'outcome_unknown');
  assert.equal(notes(), ['begun']);
});

test.run();
