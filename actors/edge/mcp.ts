/**
 * The MCP server: tools of connected tools workers, and the model if it is exposed, for MCP clients.
 *
 *   POST, GET, DELETE /mcp       Streamable HTTP
 *   GET /mcp/sse, POST /mcp/message   the older form
 *
 * M1. Every request has the API key. Only /mcp/message may leave it out: its session id cannot be guessed, and clients of
 *     the older form send none there. A wrong key is refused in any case.
 * M2. A request from a web page of another origin is refused, unless that origin is allowed.
 * M3. Sessions are few and end: with their connection, on DELETE, or when nobody has used them for `idleMs`.
 */
import { AsyncLocalStorage } from 'node:async_hooks';
import { randomBytes } from 'node:crypto';
import type { Server } from '@modelcontextprotocol/sdk/server/index.js';
import { SSEServerTransport } from '@modelcontextprotocol/sdk/server/sse.js';
import { StreamableHTTPServerTransport } from '@modelcontextprotocol/sdk/server/streamableHttp.js';
import type { Transport } from '@modelcontextprotocol/sdk/shared/transport.js';
import { isShallow } from '../../protocol/schema.ts';
import type { Front } from '../router/front.ts';
import { answerError, answerText, type Exchange } from './answers.ts';
import { authorised, type KeyCheck } from './api-key.ts';
import { takeBody } from './chat.ts';
import { openMcpServer } from './mcp-server.ts';

export interface McpParts {
  readonly front: Front;
  readonly checkKey: KeyCheck;
  readonly bodyBytesMax: number;
  readonly corsOrigins: readonly string[];
  readonly toolCallMs: number;
  readonly mcpExposeLlm: boolean;
  readonly version: string;
}

interface Session {
  readonly server: Server;
  readonly transport: StreamableHTTPServerTransport | SSEServerTransport;
  usedAt: number;
  close(): void;
}

const sessionsMax = 1024;
const idleMs = 30 * 60_000;
const keepAliveMs = 15_000;

export interface McpEdge {
  answer(exchange: Exchange, method: string, path: string): Promise<void>;
  close(): void;
}

export function openMcp(parts: McpParts): McpEdge {
  const sessions = new Map<string, Session>();
  /** Ends when the caller whose request it is has gone. */
  const callerGone = new AsyncLocalStorage<AbortSignal>();

  const sweep = setInterval(() => {
    for (const session of [...sessions.values()]) if (Date.now() - session.usedAt > idleMs) session.close();
  }, 60_000).unref();

  async function begin(id: string, transport: Session['transport']): Promise<void> {
    const server = openMcpServer(parts, id, () => callerGone.getStore());
    const unheard = parts.front.tools.onChange(() => void server.sendToolListChanged().catch(() => undefined)); // a client that listens to nothing
    const session: Session = {
      server,
      transport,
      usedAt: Date.now(),
      close: () => {
        if (!sessions.delete(id)) return;
        unheard();
        void server.close().catch(() => undefined); // it is gone already
      },
    };
    const [oldest] = sessions.values();
    if (sessions.size >= sessionsMax) oldest?.close();
    sessions.set(id, session);
    // The SDK's own types disagree under exactOptionalPropertyTypes; the class implements the interface.
    await server.connect(transport as Transport);
    const before = transport.onclose;
    transport.onclose = () => {
      before?.();
      session.close();
    };
  }

  async function streamable(exchange: Exchange, method: string): Promise<void> {
    const { req, res } = exchange;
    const id = req.headers['mcp-session-id'];
    let body: unknown;
    if (method === 'POST') {
      const bytes = await takeBody(exchange, parts.bodyBytesMax, () => null);
      if (bytes === null) return;
      body = readJson(bytes);
      if (body === undefined) return rpcError(exchange, 400, -32700, 'the body is not JSON');
    } else if (method !== 'GET' && method !== 'DELETE') return answerText(res, 405, { allow: 'GET, POST, DELETE' }, '');
    let transport: StreamableHTTPServerTransport;
    if (id === undefined) {
      if (!isInitialize(body)) return rpcError(exchange, 400, -32600, 'send Mcp-Session-Id, or initialize first');
      const fresh = randomBytes(16).toString('hex');
      transport = new StreamableHTTPServerTransport({ sessionIdGenerator: () => fresh, enableJsonResponse: true });
      await begin(fresh, transport);
    } else {
      const session = sessions.get(String(id));
      if (session === undefined || !(session.transport instanceof StreamableHTTPServerTransport))
        return rpcError(exchange, 404, -32001, 'there is no such session');
      session.usedAt = Date.now();
      transport = session.transport;
    }
    const gone = new AbortController();
    res.once('close', () => gone.abort());
    await callerGone.run(gone.signal, () => transport.handleRequest(req, res, body));
  }

  async function older(exchange: Exchange): Promise<void> {
    const { res } = exchange;
    const transport = new SSEServerTransport('/mcp/message', res);
    const timer = setInterval(() => res.write(': keepalive\n\n'), keepAliveMs);
    res.once('close', () => clearInterval(timer));
    const gone = new AbortController();
    res.once('close', () => gone.abort());
    await callerGone.run(gone.signal, () => begin(transport.sessionId, transport));
  }

  async function message(exchange: Exchange): Promise<void> {
    const { req, res } = exchange;
    const id = new URL(req.url ?? '/', 'http://router').searchParams.get('sessionId') ?? '';
    const session = sessions.get(id);
    if (session === undefined || !(session.transport instanceof SSEServerTransport))
      return answerError(exchange, 'not_found', 'there is no such session');
    const { transport } = session;
    const bytes = await takeBody(exchange, parts.bodyBytesMax, () => null);
    if (bytes === null) return;
    session.usedAt = Date.now();
    const body = readJson(bytes);
    if (body === undefined) {
      answerText(res, 202, {}, '');
      const error = { code: -32700, message: 'the body is not JSON' };
      // JSON-RPC wants a null id here, which the SDK's type leaves out.
      return transport.send({ jsonrpc: '2.0', id: null, error } as never);
    }
    await transport.handlePostMessage(req, res, body);
  }

  return {
    async answer(exchange, method, path) {
      const { headers } = exchange.req;
      if (!isOriginAllowed(headers.origin, headers.host, parts.corsOrigins))
        return answerText(exchange.res, 403, { 'content-type': 'text/plain' }, 'this origin is not allowed here\n');
      const posts = method === 'POST' && path === 'message';
      const bare = headers.authorization === undefined && headers['x-api-key'] === undefined;
      if (!(posts && bare) && !(await authorised(exchange, parts.checkKey))) return;
      if (path === '') return streamable(exchange, method);
      if (path === 'sse' && method === 'GET') return older(exchange);
      if (posts) return message(exchange);
      answerError(exchange, 'not_found', `there is nothing at ${method} /mcp/${path.slice(0, 200)}`);
    },
    close() {
      clearInterval(sweep);
      for (const session of [...sessions.values()]) session.close();
    },
  };
}

/** M2. */
function isOriginAllowed(origin: string | undefined, host: string | undefined, allowed: readonly string[]): boolean {
  if (origin === undefined) return true;
  if (allowed.includes('*') || allowed.includes(origin)) return true;
  return URL.canParse(origin) && new URL(origin).host === host;
}

function readJson(bytes: Uint8Array): unknown {
  try {
    const value: unknown = JSON.parse(new TextDecoder().decode(bytes));
    return isShallow(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

const isInitialize = (body: unknown): boolean =>
  typeof body === 'object' && body !== null && 'method' in body && body.method === 'initialize';

function rpcError({ res }: Exchange, status: number, code: number, text: string): void {
  const body = JSON.stringify({ jsonrpc: '2.0', id: null, error: { code, message: text } });
  answerText(res, status, { 'content-type': 'application/json' }, body);
}
