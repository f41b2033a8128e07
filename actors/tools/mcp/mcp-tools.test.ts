/** MCP servers as tools, with the official "everything" server over its pipes and over HTTP, as it is published. */
import { spawn } from 'node:child_process';
import type { AddressInfo } from 'node:net';
import { createServer } from 'node:net';
import { fileURLToPath } from 'node:url';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { silentDiagnostics } from '../../config/diagnostics.ts';
import type { Tool, ToolOutput } from '../tool.ts';
import { ToolError } from '../tool.ts';
import { openEgress } from '../web/egress.ts';
import { mcpTools } from './mcp-tools.ts';
import { remoteMcp } from './remote-mcp.ts';
import type { McpServer } from './server-config.ts';
import { openSessions } from './sessions.ts';

const program = fileURLToPath(import.meta.resolve('@modelcontextprotocol/server-everything/dist/index.js'));
const egress = openEgress(['*']);
const env = { ...process.env, AUXOT_TOOLS_KEY: 'tls_secret', AUXOT_TOOLS_OTHER__TOKEN: 'other-secret' };
const sessions = openSessions({ env, egress, version: '0' });
const everything: McpServer = {
  kind: 'stdio',
  slug: 'everything',
  command: process.execPath,
  args: [program, 'stdio'],
  env: { TOKEN: 'its-own-secret' },
  cwd: null,
  tools: null,
  timeoutMs: 20_000,
  idleMs: 60_000,
};

test.after(async () => {
  await sessions.close();
  await egress.close();
});

async function learned(servers: readonly McpServer[]): Promise<ReadonlyMap<string, Tool>> {
  let told: () => void = () => undefined;
  const changed = new Promise<void>(resolve => {
    told = resolve;
  });
  const source = mcpTools({ servers, sessions, diagnostics: silentDiagnostics, onChanged: told });
  await changed;
  const tools = new Map(source.tools().map(tool => [tool.name, tool]));
  await source.close();
  return tools;
}

function called(
  tool: Tool | undefined,
  args: Record<string, unknown>,
  signal = new AbortController().signal,
): Promise<ToolOutput> {
  if (tool === undefined) throw new Error('there is no such tool');
  return tool.run({ args, threadId: null, credentials: {}, signal, deadlineAt: Date.now() + 30_000 });
}
const textOf = ({ result }: ToolOutput): string =>
  (result as { content: { type: string; text?: string }[] }).content.map(({ text = '' }) => text).join('\n');

test('over stdio: each tool by its schema, all as an aggregate, images as image parts, and no secret but its own', async () => {
  const tools = await learned([everything]);
  assert.equal(tools.get('everything__echo')?.parameters.required, ['message']);
  assert.match(tools.get('everything')?.description ?? '', '- echo(message): ');
  assert.match(textOf(await called(tools.get('everything__echo'), { message: 'hi' })), 'hi');
  const sum = await called(tools.get('everything'), { command: 'get-sum', arguments: { a: 40, b: 2 } });
  assert.match(textOf(sum), '42');
  const { images = [] } = await called(tools.get('everything__get-tiny-image'), {});
  assert.is(images.length, 1);
  assert.is(images[0]?.mimeType, 'image/png');
  assert.is(Buffer.from(images[0]?.base64 ?? '', 'base64').toString('latin1', 1, 4), 'PNG');
  const seen = textOf(await called(tools.get('everything__get-env'), {}));
  assert.match(seen, 'its-own-secret');
  assert.not.match(seen, 'tls_secret');
  assert.not.match(seen, 'other-secret');
  assert.is(sessions.size, 1, 'one warm process served them all');
});

test('what does not fit the tool fails the call, with the words of the server', async () => {
  const tools = await learned([everything]);
  for (const [name, args] of [
    ['everything__get-sum', { a: 'x' }],
    ['everything', { command: 'no-such' }],
  ] as const) {
    try {
      await called(tools.get(name), args);
      assert.unreachable(name);
    } catch (error) {
      assert.instance(error, ToolError, String(error));
    }
  }
});

test('a call that is cancelled ends at once, and the server lives on', async () => {
  const tools = await learned([everything]);
  const abort = new AbortController();
  const startedAt = Date.now();
  const long = called(
    tools.get('everything__trigger-long-running-operation'),
    { duration: 20, steps: 4 },
    abort.signal,
  );
  setTimeout(() => abort.abort(), 200);
  try {
    await long;
    assert.unreachable();
  } catch (error) {
    assert.is((error as ToolError).code, 'cancelled');
  }
  assert.ok(Date.now() - startedAt < 5000);
  assert.match(textOf(await called(tools.get('everything__echo'), { message: 'still' })), 'still');
});

test('over Streamable HTTP: the same, and what a router names is refused unless it is allowed', async () => {
  const port = await freePort();
  const server = spawn(process.execPath, [program, 'streamableHttp'], {
    env: { PATH: process.env.PATH ?? '', PORT: String(port) },
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  try {
    await new Promise<void>(resolve => server.stderr.on('data', text => /listening/i.test(String(text)) && resolve()));
    const url = `http://127.0.0.1:${port}/mcp`;
    const tools = await learned([
      { kind: 'http', slug: 'web', url, headers: {}, tools: ['echo'], timeoutMs: 20_000, idleMs: 60_000 },
    ]);
    assert.equal([...tools.keys()], ['web', 'web__echo']);
    assert.match(textOf(await called(tools.get('web__echo'), { message: 'over http' })), 'over http');

    const job = {
      type: 'tool_job',
      job_id: 'j',
      parent_job_id: 'p',
      tool_call_id: 'c',
      tool_name: 'echo',
      arguments: {},
      mcp_url: url,
    } as const;
    const open = remoteMcp({ sessions, allowed: ['127.0.0.1'], runner: ['npx', '-y'] });
    assert.match(textOf(await called(open.toolFor(job), { message: 'named' })), 'named');
    const shut = remoteMcp({ sessions, allowed: ['example.com'], runner: ['npx', '-y'] });
    assert.throws(() => shut.toolFor(job), /AUXOT_MCP_ALLOWED/);
    assert.throws(() => shut.toolFor({ ...job, mcp_url: '', mcp_package: 'some-server' }), /AUXOT_MCP_ALLOWED/);
    assert.throws(() => open.toolFor({ ...job, mcp_url: '', mcp_package: '--eval=1' }), /proper name/);
    const guarded = openSessions({ env, egress: openEgress([]), version: '0' });
    const strict = remoteMcp({ sessions: guarded, allowed: ['*'], runner: ['npx', '-y'] });
    try {
      await called(strict.toolFor(job), {});
      assert.unreachable();
    } catch (error) {
      assert.match(String(error), /not a public address|fetch failed/);
    }
    await guarded.close();
  } finally {
    server.kill('SIGKILL');
  }
});

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise(resolve => server.close(resolve));
  return port;
}

test.run();
