/** P1–P3, with servers that are a few lines long and count their starts in a file. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type ToolCall, ToolError } from '../tool.ts';
import { openEgress } from '../web/egress.ts';
import { callTool } from './mcp-tools.ts';
import type { HttpServer, StdioServer } from './server-config.ts';
import { openSessions } from './sessions.ts';

const folder = mkdtempSync(join(tmpdir(), 'auxot-sessions-'));
const program = join(folder, 'server.mjs');
const starts = join(folder, 'starts');
writeFileSync(
  program,
  `import { appendFileSync } from 'node:fs';
  import { createInterface } from 'node:readline';
  appendFileSync(${JSON.stringify(starts)}, process.pid + '\\n');
  const say = message => console.log(JSON.stringify({ jsonrpc: '2.0', ...message }));
  console.log('a line for people');
  createInterface({ input: process.stdin }).on('line', line => {
    const { id, method, params } = JSON.parse(line);
    if (method === 'initialize') {
      if (process.env.MODE === 'bad') process.exit(3);
      say({ id, result: { protocolVersion: params.protocolVersion, capabilities: { tools: {} }, serverInfo: { name: 's', version: '1' } } });
    }
    if (method === 'tools/list') say({ id, result: { tools: [] } });
    if (method !== 'tools/call') return;
    const { name, arguments: args } = params;
    if (name === 'die') process.exit(4);
    if (name === 'fail') return say({ id, result: { isError: true, content: [{ type: 'text', text: 'it said no' }] } });
    if (name === 'zod') return say({ id, error: { code: -32602, message: '[{"code":"invalid_type","path":["params","arguments"]}]' } });
    say({ method: 'notifications/message', params: { level: 'info', data: 'by the way' } });
    say({ id, result: { content: [{ type: 'text', text: JSON.stringify({ args, secret: process.env.SECRET, pid: process.pid }) }], extra: { kept: 1 } } });
  });`,
);
test.after(() => rmSync(folder, { recursive: true, force: true }));
test.before.each(() => writeFileSync(starts, ''));

const stdio = (more: Partial<StdioServer> = {}): StdioServer => ({
  kind: 'stdio',
  slug: 'small',
  command: process.execPath,
  args: [program],
  env: {},
  cwd: null,
  tools: null,
  timeoutMs: 5000,
  idleMs: 60_000,
  ...more,
});
const startCount = (): number => readFileSync(starts, 'utf8').split('\n').length - 1;
const call = (args = {}, signal = new AbortController().signal): ToolCall => ({
  args,
  threadId: null,
  credentials: {},
  signal,
  deadlineAt: Date.now() + 10_000,
});

async function withSessions(
  run: (sessions: ReturnType<typeof openSessions>) => Promise<void>,
  sessionsMax = 8,
): Promise<void> {
  const egress = openEgress(['127.0.0.1']);
  const sessions = openSessions({ env: process.env, egress, version: '0', sessionsMax });
  try {
    await run(sessions);
  } finally {
    await sessions.close();
    await egress.close();
  }
}

async function problem(promise: Promise<unknown>): Promise<ToolError> {
  try {
    await promise;
  } catch (error) {
    if (error instanceof ToolError) return error;
    throw error;
  }
  throw new Error('it did not fail');
}

test('P1: many callers start a session once; other credentials and other conversations have others', () =>
  withSessions(async sessions => {
    const ask = (credentials: Record<string, string>, scope: string | null = null) =>
      sessions.with(stdio(), credentials, scope, session => callTool(session, 'say', {}, call(), 5000));
    await Promise.all([ask({}), ask({}), ask({})]);
    assert.is(startCount(), 1);
    assert.match(JSON.stringify(await ask({ SECRET: 'hers' })), 'hers');
    assert.not.match(JSON.stringify(await ask({})), 'hers');
    await ask({}, 'conversation');
    assert.is(startCount(), 3);
  }));

test('5.8.2–5: results pass as they are, failures have their words, and a zod list is explained', () =>
  withSessions(async sessions => {
    const ask = (name: string, args = {}) =>
      sessions.with(stdio(), {}, null, session => callTool(session, name, args, call(), 5000));
    const { result } = await ask('say', { a: [1] });
    assert.equal((result as { extra: object }).extra, { kept: 1 });
    assert.match(JSON.stringify(result), /a.{0,8}\[1\]/);
    assert.is((await problem(ask('fail'))).message, 'MCP tool "fail": it said no');
    assert.match((await problem(ask('zod'))).message, 'one JSON object');
  }));

test('P2: a server that ends is started again, after a pause that grows', () =>
  withSessions(async sessions => {
    const ask = (name: string) =>
      sessions.with(stdio(), {}, null, session => callTool(session, name, {}, call(), 5000));
    assert.is((await problem(ask('die'))).code, 'outcome_unknown');
    assert.match((await problem(ask('say'))).message, 'tried again in');
    await new Promise(resolve => setTimeout(resolve, 600));
    await ask('say');
    assert.is(startCount(), 2);
    const bad = stdio({ slug: 'bad', env: { MODE: 'bad' } });
    for (let n = 0; n < 20; n++) await problem(sessions.with(bad, {}, null, async () => null));
    assert.is(startCount(), 3, 'twenty calls of a server that cannot start have started it once');
  }));

test('P3: a session ends when it rested, or when others need its place', () =>
  withSessions(async sessions => {
    const ask = (slug: string, idleMs: number) => sessions.with(stdio({ slug, idleMs }), {}, null, async () => null);
    await ask('a', 100);
    assert.is(sessions.size, 1);
    await new Promise(resolve => setTimeout(resolve, 500));
    assert.is(sessions.size, 0);
    await ask('b', 60_000);
    await ask('c', 60_000);
    await ask('d', 60_000);
    assert.is(sessions.size, 2);
    const hold = (slug: string) =>
      sessions.with(stdio({ slug }), {}, null, () => new Promise(resolve => setTimeout(resolve, 500)));
    const held = [hold('c'), hold('d')];
    assert.is((await problem(ask('e', 1))).code, 'overloaded');
    await Promise.all(held);
  }, 2));

test('5.8.6–12: over HTTP with plain and streamed answers, own headers, and failures with their status', async () => {
  const seen: (string | undefined)[] = [];
  let status = 200;
  const server = createServer((req, res) => {
    let body = '';
    req.on('data', piece => {
      body += piece;
    });
    req.on('end', () => {
      seen.push(req.headers.authorization);
      if (req.method !== 'POST') return void res.writeHead(405).end();
      const { id, method, params } = JSON.parse(body);
      if (id === undefined) return void res.writeHead(202).end();
      if (status !== 200) return void res.writeHead(status).end('broken');
      const result =
        method === 'initialize'
          ? { protocolVersion: params.protocolVersion, capabilities: {}, serverInfo: { name: 'h', version: '1' } }
          : method === 'tools/list'
            ? {
                tools: ['one', 'two'].map(name => ({
                  name,
                  inputSchema: { type: 'object', required: ['x'], properties: { y: {}, x: {} } },
                })),
              }
            : { content: [{ type: 'text', text: `called ${params.name}` }], isError: params.name === 'two' };
      const answer = JSON.stringify({ jsonrpc: '2.0', id, result });
      if (method !== 'tools/call') return void res.writeHead(200, { 'content-type': 'application/json' }).end(answer);
      const note = JSON.stringify({
        jsonrpc: '2.0',
        method: 'notifications/message',
        params: { level: 'info', data: 1 },
      });
      res.writeHead(200, { 'content-type': 'text/event-stream' }).end(`data: ${note}\n\ndata: ${answer}\n\n`);
    });
  });
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/mcp`;
  const http: HttpServer = {
    kind: 'http',
    slug: 'h',
    url,
    headers: { Authorization: 'Bearer k' },
    tools: null,
    timeoutMs: 5000,
    idleMs: 60_000,
  };
  await withSessions(async sessions => {
    const ask = (name: string) => sessions.with(http, {}, null, session => callTool(session, name, {}, call(), 5000));
    const found = await sessions.with(http, {}, null, session => session.list());
    assert.equal(
      found.map(({ name }) => name),
      ['one', 'two'],
    );
    assert.match(JSON.stringify(await ask('one')), 'called one');
    assert.match((await problem(ask('two'))).message, 'called two');
    status = 500;
    assert.match((await problem(ask('one'))).message, '500');
    assert.ok(seen.every(header => header === 'Bearer k'));
  });
  server.closeAllConnections();
  await new Promise(resolve => server.close(resolve));
});

test.run();
