/**
 * The caller's tools, offered to agent programs by MCP (Streamable HTTP) on a loopback port.
 *
 * Each job has an address and a token of its own (C11). A call is never answered here: the program is ended when it has
 * named its calls, and the caller makes them. Requests are served side by side (C12).
 */
import { randomBytes, timingSafeEqual } from 'node:crypto';
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import { Server } from '@modelcontextprotocol/sdk/server/index.js';
import { StreamableHTTPServerTransport } from '@modelcontextprotocol/sdk/server/streamableHttp.js';
import { CallToolRequestSchema, ListToolsRequestSchema } from '@modelcontextprotocol/sdk/types.js';
import type { CliTool, ToolServerAddress } from './cli.ts';

export interface ToolServer {
  /** Offers tools until the returned function is called. */
  offer(tools: readonly CliTool[]): Promise<ToolServerAddress & { readonly withdraw: () => void }>;
  close(): void;
}

interface Offer {
  readonly token: string;
  readonly tools: readonly CliTool[];
}

export function openToolServer(): ToolServer {
  const offers = new Map<string, Offer>();
  const server = http.createServer((request, response) => void serve(offers, request, response));
  let listening: Promise<number> | null = null;

  const listen = (): Promise<number> =>
    new Promise((resolve, reject) => {
      server.once('error', reject);
      server.listen(0, '127.0.0.1', () => resolve((server.address() as AddressInfo).port));
    });

  return {
    async offer(tools) {
      listening ??= listen();
      const port = await listening;
      const path = `/${randomBytes(16).toString('hex')}`;
      const token = randomBytes(32).toString('base64url');
      offers.set(path, { token, tools });
      return { url: `http://127.0.0.1:${port}${path}`, token, withdraw: () => offers.delete(path) };
    },
    close() {
      server.close();
      server.closeAllConnections();
    },
  };
}

async function serve(
  offers: ReadonlyMap<string, Offer>,
  request: http.IncomingMessage,
  response: http.ServerResponse,
): Promise<void> {
  const offer = offers.get(request.url ?? '');
  if (offer === undefined || !isRight(request.headers.authorization, offer.token)) {
    response.writeHead(offer === undefined ? 404 : 401).end();
    return;
  }
  if (request.method !== 'POST') {
    response.writeHead(405, { allow: 'POST' }).end();
    return;
  }
  const server = new Server({ name: 'auxot', version: '1' }, { capabilities: { tools: {} } });
  server.setRequestHandler(ListToolsRequestSchema, () => ({
    tools: offer.tools.map(({ name, description, schema }) => ({
      name,
      description,
      inputSchema: { ...schema, type: 'object' as const },
    })),
  }));
  server.setRequestHandler(
    CallToolRequestSchema,
    () => new Promise((_, reject) => response.once('close', () => reject(new Error('the job is over')))),
  );
  const transport = new StreamableHTTPServerTransport({ enableJsonResponse: true });
  response.once('close', () => {
    void transport.close();
    void server.close();
  });
  try {
    await server.connect(transport as Parameters<typeof server.connect>[0]);
    await transport.handleRequest(request, response);
  } catch {
    if (!response.headersSent) response.writeHead(500);
    response.end();
  }
}

function isRight(header: string | undefined, token: string): boolean {
  const [given, wanted] = [Buffer.from(header ?? ''), Buffer.from(`Bearer ${token}`)];
  return given.length === wanted.length && timingSafeEqual(given, wanted);
}
