#!/usr/bin/env node
/**
 * Stands in for Claude Code in tests: the same arguments, the same lines in and out (as recorded from 2.0.0), and a real
 * request to the Messages API behind ANTHROPIC_BASE_URL. It keeps a history in session files and asks MCP servers for
 * tools. What the prompt says can make it misbehave: see `whims`.
 */
import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import fs from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

const args = process.argv.slice(2);
if (args[0] === '--version') {
  process.stdout.write(`${process.env.CLAUDE_CODE_STAND_IN_VERSION ?? '2.0.0'} (Claude Code)\n`);
  process.exit(0);
}
if (args[0] === '--help') {
  const flags = '-p, --print  --output-format  --input-format  --include-partial-messages  --strict-mcp-config';
  process.stdout.write(`Usage: claude ${flags}  --setting-sources  --mcp-config  --disallowed-tools\n`);
  process.exit(0);
}
const valued = new Set([
  '--output-format',
  '--input-format',
  '--setting-sources',
  '--disallowed-tools',
  '--allowed-tools',
]);
for (const flag of ['--mcp-config', '--model', '--system-prompt-file', '--resume']) valued.add(flag);
const options = {};
for (let at = 0; at < args.length; at += 1) options[args[at]] = valued.has(args[at]) ? args[++at] : true;
for (const flag of ['--print', '--verbose', '--include-partial-messages', '--strict-mcp-config'])
  if (options[flag] !== true) throw new Error(`${flag} is missing`);

const session = options['--resume'] ?? randomUUID();
const say = event => process.stdout.write(`${JSON.stringify({ ...event, session_id: session, uuid: randomUUID() })}\n`);

const sessionFile = () => {
  const folder = process.cwd().replace(/[^a-zA-Z0-9]/g, '-');
  return join(process.env.CLAUDE_CONFIG_DIR, 'projects', folder, `${session}.jsonl`);
};
const history = () => {
  if (options['--resume'] === undefined) return [];
  const lines = fs
    .readFileSync(sessionFile(), 'utf8')
    .trim()
    .split('\n')
    .map(line => JSON.parse(line));
  const messages = lines.filter(({ type }) => type !== 'summary');
  messages.forEach(({ parentUuid }, at) => {
    if (parentUuid !== (messages[at - 1]?.uuid ?? null)) throw new Error('a line does not name its parent');
  });
  return messages.map(({ message: { role, content } }) => ({ role, content }));
};

async function mcpTools() {
  if (options['--mcp-config'] === undefined) return [];
  const { mcpServers } = JSON.parse(fs.readFileSync(options['--mcp-config'], 'utf8'));
  const [[name, { url, headers }]] = Object.entries(mcpServers);
  const ask = async (method, params, id) => {
    const response = await fetch(url, {
      method: 'POST',
      headers: { ...headers, 'content-type': 'application/json', accept: 'application/json, text/event-stream' },
      body: JSON.stringify({ jsonrpc: '2.0', ...(id === undefined ? {} : { id }), method, params }),
    });
    return id === undefined ? null : (await response.json()).result;
  };
  const clientInfo = { name: 'stand-in', version: '1' };
  await ask('initialize', { protocolVersion: '2025-06-18', capabilities: {}, clientInfo }, 1);
  await ask('notifications/initialized');
  const { tools } = await ask('tools/list', {}, 2);
  return tools.map(({ name: tool, description, inputSchema }) => ({
    name: `mcp__${name}__${tool}`,
    description,
    input_schema: inputSchema,
  }));
}

/** Ways in which the real one is known to misbehave, or its provider does. */
const whims = {
  notLoggedIn: () => fail('Invalid API key · Please run /login'),
  usageLimit: () => fail(`Claude AI usage limit reached|${Math.floor(Date.now() / 1000) + 5}`),
  limitEvent: () =>
    say({ type: 'rate_limit_event', rate_limit_info: { status: 'rejected', resetsAt: Date.now() / 1000 + 5 } }),
  warning: () => say({ type: 'rate_limit_event', rate_limit_info: { status: 'allowed_warning', resetsAt: 1 } }),
  longLine: () => say({ type: 'system', subtype: 'status', blob: 'x'.repeat(3_000_000) }),
  crash: () => {
    process.stderr.write('something broke inside\n');
    process.exit(7);
  },
  // A descendant that outlives it, as a dev server started by a tool would.
  orphan: () => {
    const child = spawn(process.execPath, ['-e', 'setTimeout(() => {}, 600000)'], { stdio: 'ignore' });
    fs.writeFileSync(join(process.env.HOME, '..', '..', '..', `orphan-${child.pid}`), '');
  },
  hang: () => setInterval(() => undefined, 1000),
  tellEnv: () => {
    say({ type: 'stream_event', event: { type: 'message_start', message: { usage: {} } } });
    const text = JSON.stringify({ ...process.env, cwd: process.cwd(), mode: fs.statSync(process.cwd()).mode & 0o777 });
    say({ type: 'stream_event', event: { type: 'content_block_delta', delta: { type: 'text_delta', text } } });
    say({ type: 'result', subtype: 'success', is_error: false, result: text, usage: {} });
    process.exit(0);
  },
};
const endsIt = new Set(['notLoggedIn', 'usageLimit', 'limitEvent', 'hang']);

function fail(text) {
  const content = [{ type: 'text', text }];
  say({ type: 'assistant', message: { model: '<synthetic>', role: 'assistant', content }, parent_tool_use_id: null });
  say({ type: 'result', subtype: 'success', is_error: true, result: text, usage: {} });
  process.exit(1);
}

const input = createInterface({ input: process.stdin });
const [line] = await new Promise(resolve => input.once('line', text => resolve([text])));
const { message: prompt } = JSON.parse(line);
const tools = await mcpTools();
say({
  type: 'system',
  subtype: 'init',
  tools: tools.map(({ name }) => name),
  mcp_servers: tools.length > 0 ? [{ name: 'auxot', status: 'connected' }] : [],
});
const text = prompt.content.map(block => block.text ?? '').join('');
const whim = /WHIM:(\w+)/.exec(text)?.[1];
if (whim !== undefined) whims[whim]();
if (whim === undefined || !endsIt.has(whim)) await answer();

async function answer() {
  const response = await fetch(`${process.env.ANTHROPIC_BASE_URL}/v1/messages`, {
    method: 'POST',
    headers: {
      'x-api-key': process.env.ANTHROPIC_API_KEY,
      'anthropic-version': '2023-06-01',
      'content-type': 'application/json',
    },
    body: JSON.stringify({
      model: options['--model'],
      max_tokens: Number(process.env.CLAUDE_CODE_MAX_OUTPUT_TOKENS ?? 32000),
      system: fs.readFileSync(options['--system-prompt-file'], 'utf8'),
      messages: [...history(), prompt],
      tools,
      stream: true,
    }),
  });
  if (!response.ok) fail(`API Error: ${response.status} ${await response.text()}`);
  let pending = '';
  let result = '';
  let usage = {};
  for await (const piece of response.body.pipeThrough(new TextDecoderStream())) {
    pending += piece;
    const frames = pending.split('\n\n');
    pending = frames.pop();
    for (const frame of frames) {
      const data = /^data: (.*)$/m.exec(frame)?.[1];
      if (data === undefined) continue;
      const event = JSON.parse(data);
      if (event.type === 'ping') continue;
      if (event.type === 'error') fail(`API Error: ${data}`);
      if (event.type === 'content_block_delta') result += event.delta.text ?? '';
      if (event.type === 'message_delta') usage = event.usage;
      say({ type: 'stream_event', event, parent_tool_use_id: null });
    }
  }
  say({ type: 'result', subtype: 'success', is_error: false, result, usage, total_cost_usd: 0.1 });
  process.exit(0);
}
