/** An MCP server that behaves as badly as its first argument says. One JSON-RPC message a line, by hand. */
import { spawn } from 'node:child_process';
import { appendFileSync } from 'node:fs';
import { createInterface } from 'node:readline';

const [mode = '', pidFile = ''] = process.argv.slice(2);
const say = message => process.stdout.write(`${JSON.stringify({ jsonrpc: '2.0', ...message })}\n`);
if (pidFile !== '') {
  const child = spawn('sleep', ['600'], { stdio: 'ignore' });
  appendFileSync(pidFile, `${process.pid}\n${child.pid}\n`);
}
process.on('SIGTERM', () => undefined);

if (mode === 'crash-start') {
  process.stderr.write(`cannot find ${process.env.TOKEN}\n`);
  process.exit(7);
}
if (mode === 'stay') setInterval(() => undefined, 1000);
if (mode === 'babble') setInterval(() => process.stdout.write('this is no JSON\n'.repeat(100)), 1);

const flood = () => {
  const line = `${JSON.stringify({ jsonrpc: '2.0', method: 'notifications/message', params: { level: 'info', data: 'x'.repeat(1000) } })}\n`;
  const more = () => {
    while (process.stdout.write(line));
    process.stdout.once('drain', more);
  };
  more();
};

const lies = [
  'no object',
  { content: 'no list' },
  { content: [{ type: 'image', data: 'not base64!', mimeType: 7 }, { type: 'strange' }, null, 5] },
  { content: [{ type: 'text', text: { not: 'text' } }], isError: 'yes' },
  { nothing: true },
];
let told = 0;

createInterface({ input: process.stdin }).on('line', text => {
  const { id, method, params } = JSON.parse(text);
  if (mode === 'hang-start') return;
  if (method === 'initialize') {
    const capabilities = { tools: { listChanged: true } };
    const serverInfo = { name: 'hostile', version: '1' };
    say({ id, result: { protocolVersion: params.protocolVersion, capabilities, serverInfo } });
    if (mode === 'nag') setInterval(() => say({ method: 'notifications/tools/list_changed' }), 1);
  } else if (method === 'tools/list') {
    if (mode === 'endless-list') {
      const tools = Array.from({ length: 100 }, (_, n) => ({
        name: `tool ${told++} ${n}`,
        description: 'd'.repeat(20_000),
        inputSchema: { type: 'object', properties: { a: { pattern: '(a+)+$', description: 'x'.repeat(100_000) } } },
      }));
      say({ id, result: { tools, nextCursor: `page ${told}` } });
      return;
    }
    const odd = mode === 'lie' ? [null, 'x', { name: 7 }, { name: 'no schema' }, { name: '', inputSchema: [] }] : [];
    say({ id, result: { tools: [{ name: 'do', description: 'does it', inputSchema: { type: 'object' } }, ...odd] } });
  } else if (method === 'tools/call') {
    if (mode === 'hang-call' || mode === 'stay') return;
    if (mode === 'freeze-call') {
      for (;;);
    }
    if (mode === 'crash-call') process.exit(9);
    if (mode === 'flood') return flood();
    if (mode === 'long-line') {
      const piece = 'x'.repeat(2 ** 20);
      process.stdout.write('{"jsonrpc":"2.0","id":');
      const more = () => {
        while (process.stdout.write(piece));
        process.stdout.once('drain', more);
      };
      return more();
    }
    if (mode === 'deep')
      return void process.stdout.write(
        `{"jsonrpc":"2.0","id":${id},"result":{"content":[],"x":${'['.repeat(5000)}${']'.repeat(5000)}}}\n`,
      );
    if (mode === 'lie') {
      say({ id: 999_999, result: {} });
      say({ id, result: lies[told++ % lies.length] });
      say({ id, result: { content: [{ type: 'text', text: 'and again' }] } });
      return;
    }
    say({ id, result: { content: [{ type: 'text', text: `done; ${Object.keys(process.env).sort().join(' ')}` }] } });
  } else if (method === 'ping' && mode !== 'hang-call') say({ id, result: {} });
});
