/** Cases of spec/workers §5.9, with a server of MCP that stands in for the one that drives a browser. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { silentDiagnostics } from '../config/diagnostics.ts';
import { browserTools } from './browser-tools.ts';
import { openSessions } from './mcp/sessions.ts';
import { type Tool, ToolError, type ToolOutput } from './tool.ts';
import { openEgress } from './web/egress.ts';

const folder = mkdtempSync(join(tmpdir(), 'auxot-browser-'));
const server = join(folder, 'server.mjs');
writeFileSync(
  server,
  `import { createInterface } from 'node:readline';
  const say = message => console.log(JSON.stringify({ jsonrpc: '2.0', ...message }));
  const names = ['browser_navigate', 'browser_snapshot', 'browser_take_screenshot', 'browser_close', 'browser_install', 'other'];
  let page = 'about:blank';
  createInterface({ input: process.stdin }).on('line', line => {
    const { id, method, params } = JSON.parse(line);
    if (method === 'initialize')
      say({ id, result: { protocolVersion: params.protocolVersion, capabilities: { tools: {} }, serverInfo: { name: 'b', version: '1' } } });
    if (method === 'tools/list') say({ id, result: { tools: names.map(name => ({ name, inputSchema: { type: 'object' } })) } });
    if (method !== 'tools/call') return;
    if (params.name === 'browser_navigate') page = params.arguments.url;
    const image = { type: 'image', data: 'iVBORw0KGgo=', mimeType: 'image/png' };
    const content = [{ type: 'text', text: 'at ' + page }, { type: 'text', text: 'pid ' + process.pid }];
    say({ id, result: { content: params.name === 'browser_take_screenshot' ? [...content, image] : content } });
  });`,
);
test.after(() => rmSync(folder, { recursive: true, force: true }));

async function withBrowser(idleMs: number, run: (tools: ReadonlyMap<string, Tool>) => Promise<void>): Promise<void> {
  const egress = openEgress([]);
  const sessions = openSessions({ env: process.env, egress, version: '0' });
  let told: () => void = () => undefined;
  const changed = new Promise<void>(resolve => {
    told = resolve;
  });
  const command = [process.execPath, server];
  const source = browserTools({ command, sessions, diagnostics: silentDiagnostics, onChanged: told, idleMs });
  await changed;
  try {
    await run(new Map(source.tools().map(tool => [tool.name, tool])));
  } finally {
    await source.close();
    await sessions.close();
    await egress.close();
  }
}

function called(tool: Tool | undefined, threadId: string | null, args = {}): Promise<ToolOutput> {
  if (tool === undefined) throw new Error('there is no such tool');
  const signal = new AbortController().signal;
  return tool.run({ args, threadId, credentials: {}, signal, deadlineAt: Date.now() + 20_000 });
}
const said = ({ result }: ToolOutput): string => String(result);
const pidIn = (output: ToolOutput): string => /pid (\d+)/.exec(said(output))?.[1] ?? '';

test('2, 3, 4: texts are one text, images image parts; what opens and closes browsers is not offered', () =>
  withBrowser(60_000, async tools => {
    assert.equal([...tools.keys()], ['browser_navigate', 'browser_snapshot', 'browser_take_screenshot']);
    assert.match(said(await called(tools.get('browser_snapshot'), 't1')), /^at about:blank\npid \d+$/);
    const { result, images } = await called(tools.get('browser_take_screenshot'), 't1');
    assert.equal(images, [{ mimeType: 'image/png', base64: 'iVBORw0KGgo=' }]);
    assert.not.match(String(result), 'image');
  }));

test('5: without a conversation a call is refused, and says what is missing', () =>
  withBrowser(60_000, async tools => {
    try {
      await called(tools.get('browser_snapshot'), null);
      assert.unreachable();
    } catch (error) {
      assert.instance(error, ToolError);
      assert.match(String(error), 'thread_id');
    }
  }));

test('6, 7, T18: each conversation has a browser of its own, kept while it is used, and gone when it rests', () =>
  withBrowser(600, async tools => {
    const [navigate, snapshot] = [tools.get('browser_navigate'), tools.get('browser_snapshot')];
    const [first, twin] = await Promise.all([
      called(navigate, 't1', { url: 'https://one' }),
      called(snapshot, 't1'),
      called(navigate, 't2', { url: 'https://two' }),
    ]);
    assert.is(pidIn(first), pidIn(twin), 'two first calls start one browser');
    assert.match(said(await called(snapshot, 't1')), 'https://one');
    assert.match(said(await called(snapshot, 't2')), 'https://two');
    for (let n = 0; n < 4; n++) {
      await new Promise(resolve => setTimeout(resolve, 300));
      assert.is(pidIn(await called(snapshot, 't1')), pidIn(first), 'a call starts its rest anew');
    }
    await new Promise(resolve => setTimeout(resolve, 1000));
    const later = await called(snapshot, 't1');
    assert.is.not(pidIn(later), pidIn(first));
    assert.match(said(later), 'about:blank');
  }));

test.run();
