/** An MCP server on standard input and output whose one tool does nothing, as fast as Node can: what bench/tools.ts calls. */
import { createInterface } from 'node:readline';

const say = (id, result) => process.stdout.write(`${JSON.stringify({ jsonrpc: '2.0', id, result })}\n`);
const tool = { name: 'noop', description: 'Does nothing.', inputSchema: { type: 'object', properties: {} } };

createInterface({ input: process.stdin }).on('line', line => {
  const { id, method, params } = JSON.parse(line);
  if (method === 'initialize')
    say(id, {
      protocolVersion: params.protocolVersion,
      capabilities: { tools: {} },
      serverInfo: { name: 'noop', version: '1' },
    });
  else if (method === 'tools/list') say(id, { tools: [tool] });
  else if (method === 'tools/call') say(id, { content: [{ type: 'text', text: 'ok' }] });
  else if (id !== undefined) say(id, {});
});
