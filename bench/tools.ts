/**
 * How many tool calls a second go through a router, and what they cost: a model's worker that answers with calls of a
 * tool that does nothing, a tools worker that runs it, and callers of chats or of the tools API.
 *
 *   node --import tsx bench/tools.ts [--way chat|direct] [--tools scripted|real] [--calls N] [--rate N] [--seconds N]
 *     [--command LINE]
 *
 * `--calls`: how many calls a model makes side by side in each chat. `--rate`: calls a second, asked for at their times
 * however long the answers take; 0: 32 callers, each as fast as it is answered. `real` is `auxot-tools` with an MCP server
 * (noop-mcp.mjs). The model's worker, a scripted tools worker and the callers share one process, and one clock.
 *
 * *Added* is, for a chat, the time from the model's answer with its calls to the model's next turn with all results; for
 * a direct call, that from the request to its answer. Every answer is checked.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { Agent, request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { WebSocket } from 'ws';
import { hashKey } from '../actors/keys/keys.ts';
import { type Child, runCommand } from './child.ts';
import { Histogram } from './histogram.ts';
import { cpuMsOf, machineCpuMs, rssPeakBytesOf } from './process-usage.ts';
import { hardwareLine } from './report.ts';
import { startRouter } from './router.ts';

const { values } = parseArgs({
  options: {
    way: { type: 'string', default: 'chat' },
    tools: { type: 'string', default: 'scripted' },
    calls: { type: 'string', default: '1' },
    rate: { type: 'string', default: '1000' },
    seconds: { type: 'string', default: '10' },
    slots: { type: 'string', default: '64' },
    command: { type: 'string' },
  },
});
const [calls = 1, rate = 0, seconds = 1, slots = 1] = [values.calls, values.rate, values.seconds, values.slots].map(
  Number,
);
const warmMs = 3000;
const isChat = values.way === 'chat';
const isReal = values.tools === 'real';
const toolName = isReal ? 'noop__noop' : 'noop';
const toolsKey = `tls_${'t'.repeat(43)}`;

interface Frame {
  readonly type: string;
  readonly job_id: string;
  readonly parent_job_id: string;
  readonly tool_call_id: string;
  readonly tool_name: string;
  readonly messages: readonly { readonly role: string; readonly content: unknown }[];
}

let counting = false;
const added = new Histogram();
const whole = new Histogram();
const wrong: string[] = [];
let done = 0;

/** A worker of either kind: resolves when it is welcome. */
function dial(
  url: string,
  hello: object,
  onFrame: (frame: Frame, say: (frame: object) => void) => void,
): Promise<WebSocket> {
  return new Promise((resolve, reject) => {
    const socket = new WebSocket(url, { perMessageDeflate: false });
    const say = (frame: object): void => socket.send(JSON.stringify(frame));
    socket.on('open', () => say({ type: 'hello', ...hello }));
    socket.on('message', (data: Buffer) => {
      const frame: Frame = JSON.parse(data.toString());
      if (frame.type === 'hello_ack') resolve(socket);
      else if (frame.type === 'error') reject(new Error(data.toString()));
      else onFrame(frame, say);
    });
    socket.on('error', reject);
    socket.on('close', code => code !== 1005 && reject(new Error(`closed: ${code}`)));
    setInterval(() => socket.readyState === socket.OPEN && say({ type: 'heartbeat' }), 5000).unref();
  });
}

/** When each job's model gave its calls. */
const calledAt = new Map<string, number>();
const toolCalls = Array.from({ length: calls }, (_, n) => ({
  id: `call_${n}`,
  type: 'function',
  function: { name: toolName, arguments: '{}' },
}));

function model({ type, job_id, messages }: Frame, say: (frame: object) => void): void {
  if (type !== 'job') return;
  const results = messages.filter(({ role }) => role === 'tool');
  if (results.length === 0) {
    calledAt.set(job_id, performance.now());
    return say({
      type: 'complete',
      job_id,
      full_response: '',
      input_tokens: 8,
      output_tokens: 4,
      tool_calls: toolCalls,
    });
  }
  const since = calledAt.get(job_id);
  calledAt.delete(job_id);
  if (counting && since !== undefined) added.record(performance.now() - since);
  const full = results.map(({ content }) => content).join(' ');
  say({ type: 'complete', job_id, full_response: full, input_tokens: 8, output_tokens: 4 });
}

function noop(frame: Frame, say: (frame: object) => void): void {
  if (frame.type !== 'tool_job') return;
  const { job_id, parent_job_id, tool_call_id, tool_name } = frame;
  say({ type: 'tool_result', job_id, parent_job_id, tool_call_id, tool_name, result: 'ok' });
}

const agent = new Agent({ keepAlive: true, maxSockets: 512 });
/** An MCP server's result stands as it is. */
const result = isReal ? '{"content":[{"type":"text","text":"ok"}]}' : 'ok';
const expected = isChat ? JSON.stringify(Array(calls).fill(result).join(' ')) : isReal ? result : '"ok"';

function post(base: string, key: string): Promise<void> {
  const startedAt = performance.now();
  const path = isChat ? '/v1/chat/completions' : '/api/tools/v1/execute';
  const body = isChat
    ? `{"model":"m","messages":[{"role":"user","content":"call"}]}`
    : `{"tool":"${toolName}","arguments":{}}`;
  const headers = { authorization: `Bearer ${key}`, 'content-type': 'application/json', 'content-length': body.length };
  return new Promise(resolve => {
    const over = (text: string): void => {
      const ms = performance.now() - startedAt;
      if (!text.includes(`${isChat ? '"content"' : '"result"'}:${expected}`)) wrong.push(text.slice(0, 300));
      if (counting) {
        done += isChat ? calls : 1;
        whole.record(ms);
        if (!isChat) added.record(ms);
      }
      resolve();
    };
    const req = request(base + path, { method: 'POST', agent, headers }, answer => {
      let text = '';
      answer.setEncoding('utf8');
      answer.on('data', (piece: string) => {
        text += piece;
      });
      answer.on('end', () => over(text));
      answer.on('error', error => over(error.message));
    });
    req.on('error', error => over(error.message));
    req.end(body);
  });
}

async function load(base: string, key: string, untilAt: number): Promise<void> {
  const each = isChat ? calls : 1;
  if (rate === 0) {
    await Promise.all(
      Array.from({ length: 32 }, async () => {
        while (performance.now() < untilAt) await post(base, key);
      }),
    );
    return;
  }
  const open = new Set<Promise<void>>();
  const startedAt = performance.now();
  for (let asked = 0; performance.now() < untilAt; await sleep(1)) {
    for (const due = ((performance.now() - startedAt) / 1000) * (rate / each); asked < due; asked += 1) {
      const one = post(base, key).finally(() => open.delete(one));
      open.add(one);
    }
  }
  await Promise.all(open);
}

const folder = mkdtempSync(join(tmpdir(), 'auxot-bench-tools-'));
const router = await startRouter(values.command?.split(' '), {
  AUXOT_TOOLS_KEY_HASH: await hashKey(toolsKey),
  AUXOT_ALLOWED_TOOLS: toolName,
});
const wsUrl = `${router.url.replace('http', 'ws')}/ws`;
let tools: Child | null = null;
const sockets: WebSocket[] = [];
try {
  const capabilities = { backend: 'mock', model: 'm', ctx_size: 4096, total_slots: slots };
  sockets.push(await dial(wsUrl, { gpu_key: router.workerKey, capabilities }, model));
  if (isReal) {
    const mcpServers = {
      noop: { command: process.execPath, args: [fileURLToPath(new URL('noop-mcp.mjs', import.meta.url))] },
    };
    writeFileSync(join(folder, 'mcp.json'), JSON.stringify({ mcpServers }));
    const program = fileURLToPath(new URL('../dist/bin/tools.js', import.meta.url));
    const env = {
      PATH: process.env.PATH,
      AUXOT_TOOLS_KEY: toolsKey,
      AUXOT_TOOLS_SLOTS: String(slots),
      AUXOT_LOG_LEVEL: 'warn',
    };
    tools = runCommand([process.execPath, program, '--router-url', wsUrl], env, folder);
  } else {
    const definitions = [{ name: toolName, description: '', parameters: { type: 'object', properties: {} } }];
    const offer = { tools: [toolName], definitions, slots };
    const hello = { gpu_key: toolsKey, worker_type: 'tools', protocol_version: 2, instance_id: 'bench' };
    const none = { backend: '', model: '', ctx_size: 0 };
    sockets.push(await dial(wsUrl, { ...hello, capabilities: none, tools_capabilities: offer }, noop));
  }
  for (let n = 0; ; n += 1) {
    const headers = { authorization: `Bearer ${router.callerKey}` };
    const listed = await (await fetch(`${router.url}/api/tools/v1/tools`, { headers })).text();
    if (listed.includes(`"${toolName}"`)) break;
    if (n > 300) throw new Error(`the tool did not come: ${listed} ${tools?.said ?? ''}`);
    await sleep(100);
  }
  await load(router.url, router.callerKey, performance.now() + warmMs);
  const cpu = (): number[] => [router.pid ?? 0, ...(tools === null ? [] : [tools.pid]), process.pid].map(cpuMsOf);
  const [before, machineBefore, startedAt] = [cpu(), machineCpuMs(), performance.now()];
  counting = true;
  await load(router.url, router.callerKey, startedAt + seconds * 1000);
  counting = false;
  const ms = performance.now() - startedAt;
  const used = cpu().map((after, place) => after - (before[place] ?? 0));
  const others = machineCpuMs() - machineBefore - used.reduce((a, b) => a + b, 0);
  const [ofRouter = 0, ...rest] = used;
  const percent = (cpuMs: number): string => `${Math.round((100 * cpuMs) / ms)}%`;
  const q = (histogram: Histogram): string =>
    [0.5, 0.9, 0.99].map(share => histogram.quantileMs(share).toFixed(2)).join(' / ');
  console.log(`${hardwareLine()}\n\n${router.about}, ${JSON.stringify(values)}\n`);
  console.log(
    `| calls/s | added ms p50 / p90 / p99 | whole request ms | router CPU | a call | ${isReal ? 'tools worker | ' : ''}load | others | RSS peak | wrong |`,
  );
  console.log(`|${'---|'.repeat(isReal ? 10 : 9)}`);
  console.log(
    `| ${Math.round((1000 * done) / ms)} | ${q(added)} | ${q(whole)} | ${percent(ofRouter)} | ${((1000 * ofRouter) / done).toFixed(0)} µs | ${rest.map(percent).join(' | ')} | ${percent(others)} | ${Math.round(rssPeakBytesOf(router.pid ?? 0) / 2 ** 20)} MiB | ${wrong.length} |`,
  );
  if (wrong.length > 0) console.log(wrong.slice(0, 3).join('\n'));
  process.exitCode = wrong.length > 0 ? 1 : 0;
} finally {
  for (const socket of sockets) socket.terminate();
  await tools?.stop();
  await router.stop();
  agent.destroy();
  rmSync(folder, { recursive: true, force: true });
}
