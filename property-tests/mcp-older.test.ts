/** The older form of MCP (SSE and POST) byte by byte, as scripts speak it that know no SDK; and the tools worker's key. */
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import type { Transport } from '@modelcontextprotocol/sdk/shared/transport.js';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { hashKey } from '../actors/keys/keys.ts';
import { apiKey, type RouterProcess, startRouter, waitUntil, within } from './processes.ts';
import type { Frame } from './tools-router.ts';
import { type SocketTools, startTools } from './tools-worker.socket.ts';

const toolsKey = `tls_${'D'.repeat(43)}`;
const test = suite('the older form of MCP');
const bearer = { authorization: `Bearer ${apiKey}` };
let router: RouterProcess;
let tools: SocketTools | null = null;

/** JSON-RPC answers are whatever the router says; assertions look into them. */
// biome-ignore lint/suspicious/noExplicitAny: see above.
type Answer = any;

interface Line {
  readonly path: string;
  readonly events: { readonly event: string; readonly data: string }[];
  post(message: unknown): Promise<number>;
  ask(method: string, params?: object, id?: number): Promise<Answer>;
  answerTo(id: number): Promise<Answer>;
  close(): void;
}

async function openLine(): Promise<Line> {
  const abort = new AbortController();
  const answer = await fetch(`${router.url}/mcp/sse`, { headers: bearer, signal: abort.signal });
  assert.is(answer.status, 200);
  assert.match(answer.headers.get('content-type') ?? '', 'text/event-stream');
  const events: Line['events'] = [];
  void read(answer, events).catch(() => undefined); // it was closed
  await waitUntil(
    () => events.length > 0,
    5000,
    () => 'no endpoint came',
  );
  const path = events[0]?.data ?? '';
  let last = 100;
  const line: Line = {
    path,
    events,
    async post(message) {
      const body = typeof message === 'string' ? message : JSON.stringify(message);
      const headers = { 'content-type': 'application/json' };
      return (await fetch(`${router.url}${path}`, { method: 'POST', headers, body })).status;
    },
    async ask(method, params, id = ++last) {
      assert.is(
        await line.post({ jsonrpc: '2.0', id, method, ...(params === undefined ? {} : { params }) }),
        202,
        'MC9',
      );
      return line.answerTo(id);
    },
    async answerTo(id) {
      const found = (): Answer =>
        events.map(({ event, data }) => (event === 'message' ? JSON.parse(data) : {})).find(said => said.id === id);
      await waitUntil(
        () => found() !== undefined,
        5000,
        () => `no answer to ${id}: ${JSON.stringify(events)}`,
      );
      return found();
    },
    close: () => abort.abort(),
  };
  return line;
}

async function read(answer: Response, events: Line['events']): Promise<void> {
  let text = '';
  const decoder = new TextDecoder();
  for await (const piece of answer.body ?? []) {
    text += decoder.decode(piece, { stream: true });
    const blocks = text.split('\n\n');
    text = blocks.pop() ?? '';
    for (const block of blocks) {
      const event = /^event: (.*)$/m.exec(block)?.[1];
      if (event !== undefined) events.push({ event, data: /^data: (.*)$/m.exec(block)?.[1] ?? '' });
    }
  }
}

/** Says how far it is, and then its result. */
function worked(job: Frame, worker: SocketTools): void {
  const tell = (progress: number): void =>
    worker.say({ type: 'tool_progress', job_id: job.job_id, progress, total: 2, message: `step ${progress}` });
  tell(1);
  setTimeout(() => tell(2), 200);
  setTimeout(() => worker.answer(job, { result: 'worked' }), 400);
}

const hello = (protocolVersion: string) => ({
  protocolVersion,
  capabilities: {},
  clientInfo: { name: 't', version: '1' },
});

test.before(async () => {
  router = await startRouter({ AUXOT_TOOLS_KEY_HASH: await hashKey(toolsKey) });
});
test.after(async () => {
  tools?.close();
  await router?.stop();
});

test('X2, TL2: a wrong tools key gets an error or a close, and nothing is listed', async () => {
  // 2 s on a machine of its own.
  const refused = await within(15_000, startTools(router.wsUrl, `tls_${'E'.repeat(43)}`, {}), 'the refusal');
  assert.is(refused.of('hello_ack').length, 0);
  assert.equal(
    refused.of('error').map(({ error }) => error),
    ['authentication failed'],
  );
  const list = await fetch(`${router.url}/api/tools/v1/tools`, { headers: bearer });
  assert.equal(await list.json(), { tools: [], workers: 0 });
});

test('MC1: the stream opens with the endpoint as it is, without quotes', async () => {
  const line = await openLine();
  assert.is(line.events[0]?.event, 'endpoint');
  assert.match(line.path, /^\/mcp\/message\?sessionId=[\w-]{32,}$/);
  line.close();
});

test('MC2: initialize is answered with its id, the version that was asked for, and who this is', async () => {
  const line = await openLine();
  const { id, jsonrpc, result } = await line.ask('initialize', hello('2024-11-05'), 7);
  assert.equal([id, jsonrpc, result.protocolVersion], [7, '2.0', '2024-11-05']);
  assert.is(result.serverInfo.name, 'auxot-router');
  assert.is(await line.post({ jsonrpc: '2.0', method: 'notifications/initialized' }), 202);
  const other = await openLine();
  const { result: latest } = await other.ask('initialize', hello('1999-01-01'));
  assert.match(latest.protocolVersion, /^20\d\d-/, 'a version that is not known gets the latest');
  line.close();
  other.close();
});

test('MC3, MC4: a ping is an empty object; without a tools worker the list is there and empty', async () => {
  const line = await openLine();
  assert.equal((await line.ask('ping')).result, {});
  assert.equal((await line.ask('tools/list')).result, { tools: [] });
  line.close();
});

test('MC4, MC5: with a tools worker each tool has a name and a schema, and a call gives its text', async () => {
  tools = await startTools(router.wsUrl, toolsKey, {
    names: ['look', 'paint', 'fail', 'slow', 'work'],
    script: (job, worker) => {
      if (job.tool_name === 'slow') return;
      if (job.tool_name === 'work') return worked(job, worker);
      if (job.tool_name === 'fail') return worker.answer(job, { error: 'it broke', code: 'tool_failed' });
      const image = { image_parts: [{ mime_type: 'image/png', data: 'iVBORw0KGgo=' }] };
      worker.answer(job, { result: { saw: job.arguments }, ...(job.tool_name === 'paint' ? image : {}) });
    },
  });
  const line = await openLine();
  const { tools: listed } = (await line.ask('tools/list')).result;
  assert.equal(
    listed.map((tool: { name: string; inputSchema: { type: string } }) => [tool.name, tool.inputSchema.type]),
    ['fail', 'look', 'paint', 'slow', 'work'].map(name => [name, 'object']),
  );
  const { result } = await line.ask('tools/call', { name: 'look', arguments: { at: 'sky' } });
  assert.equal(result, { content: [{ type: 'text', text: '{"saw":{"at":"sky"}}' }], isError: false });
  const painted = (await line.ask('tools/call', { name: 'paint' })).result;
  assert.equal(painted.content[1], { type: 'image', mimeType: 'image/png', data: 'iVBORw0KGgo=' });
  line.close();
});

test('MC6, MC9, MC12: an unknown request is -32601, an unknown notification is nothing, a broken body -32700; each is 202', async () => {
  const line = await openLine();
  assert.is((await line.ask('x/y')).error.code, -32601);
  const before = line.events.length;
  assert.is(await line.post({ jsonrpc: '2.0', method: 'notifications/x' }), 202);
  assert.equal((await line.ask('ping')).result, {});
  assert.is(line.events.length, before + 1, 'only the ping was answered');
  assert.is(await line.post('{'), 202, 'MC9');
  await waitUntil(
    () => line.events.some(({ data }) => data.includes('-32700')),
    5000,
    () => 'no parse error came',
  );
  line.close();
});

test('MC7: a POST without a session, or with one that is gone, is 404', async () => {
  const post = (path: string) =>
    fetch(`${router.url}${path}`, {
      method: 'POST',
      headers: bearer,
      body: '{"jsonrpc":"2.0","id":1,"method":"ping"}',
    });
  assert.is((await post('/mcp/message')).status, 404);
  assert.is((await post('/mcp/message?sessionId=none')).status, 404);
  const line = await openLine();
  line.close();
  await waitUntil(
    async () => (await post(line.path)).status === 404,
    5000,
    () => 'a session outlives its connection',
  );
});

test('MC8: generate_text is not there unless it is exposed', async () => {
  const line = await openLine();
  assert.not.match(JSON.stringify(await line.ask('tools/list')), 'generate_text');
  assert.is((await line.ask('tools/call', { name: 'generate_text', arguments: { prompt: 'x' } })).error.code, -32602);
  line.close();
});

test('MC12: a tool that fails is a result with isError, and a cancelled call is stopped at its worker', async () => {
  const line = await openLine();
  const failed = (await line.ask('tools/call', { name: 'fail' })).result;
  assert.equal([failed.isError, failed.content[0].text], [true, 'it broke']);
  const jobs = (): readonly unknown[] => tools?.of('tool_job').filter(({ tool_name }) => tool_name === 'slow') ?? [];
  await line.post({ jsonrpc: '2.0', id: 'slow', method: 'tools/call', params: { name: 'slow' } });
  await waitUntil(
    () => jobs().length === 1,
    5000,
    () => 'the call did not come',
  );
  await line.post({ jsonrpc: '2.0', method: 'notifications/cancelled', params: { requestId: 'slow' } });
  await waitUntil(
    () => tools?.of('cancel').length === 1,
    5000,
    () => 'the tool was not stopped',
  );
  await line.post({ jsonrpc: '2.0', id: 'slower', method: 'tools/call', params: { name: 'slow' } });
  await waitUntil(
    () => jobs().length === 2,
    5000,
    () => 'the second call did not come',
  );
  line.close();
  await waitUntil(
    () => tools?.of('cancel').length === 2,
    5000,
    () => 'a call outlives its session',
  );
});

test('a caller that gives a token is told how far its call is, by either form', async () => {
  const line = await openLine();
  const asked = line.ask('tools/call', { name: 'work', arguments: {}, _meta: { progressToken: 'mine' } });
  assert.match(JSON.stringify((await asked).result), 'worked');
  const told = line.events.flatMap(({ event, data }) => {
    const said = event === 'message' ? JSON.parse(data) : {};
    return said.method === 'notifications/progress' ? [said.params] : [];
  });
  const step = (progress: number) => ({ progressToken: 'mine', progress, total: 2, message: `step ${progress}` });
  assert.equal(told, [step(1), step(2)]);
  const before = line.events.length;
  await line.ask('tools/call', { name: 'work' });
  assert.is(line.events.length, before + 1, 'nobody asked to be told');
  line.close();

  const client = new Client({ name: 't', version: '1' });
  const transport = new StreamableHTTPClientTransport(new URL(`${router.url}/mcp`), {
    requestInit: { headers: bearer },
  });
  await client.connect(transport as Transport);
  await new Promise(resolve => setTimeout(resolve, 300)); // the client opens its own stream after its greeting
  const heard: number[] = [];
  await client.callTool({ name: 'work' }, undefined, { onprogress: ({ progress }) => heard.push(progress) });
  assert.equal(heard, [1, 2]);
  await client.close();
});

test.run();
