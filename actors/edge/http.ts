/**
 * The HTTP edge: the listener, its limits and its routes. Bodies go to the front unread; answers come from it, or from
 * here when nothing need be thought about.
 *
 * E1. Every answer has `x-request-id` (Anthropic's also `request-id`), and every request one line in the diagnostics.
 * E2. Every error is in the envelope of the API that was called; nothing is redirected.
 * E3. Requests of one connection are taken one after the other: the next when the answer before it is out.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { ModelDetails } from '../../protocol/openai-api.ts';
import { openApiDocument } from '../../protocol/openapi.ts';
import type { Diagnostics } from '../config/diagnostics.ts';
import type { Front } from '../router/front.ts';
import { newRequestId } from '../router/ids.ts';
import { answerAdmin } from './admin.ts';
import { answerError, answerJson, answerText, type Exchange } from './answers.ts';
import { answerAnthropic } from './anthropic.ts';
import type { KeyCheck } from './api-key.ts';
import { BodyRefused } from './body.ts';
import type { CompletionsPort } from './completions.ts';
import { capConnections, isSurplus, surplusMessage } from './connections.ts';
import { allowOrigin } from './cors.ts';
import { answerJobs } from './jobs.ts';
import { type McpEdge, openMcp } from './mcp.ts';
import { answerOpenai } from './openai.ts';
import { type Route, routeOf } from './paths.ts';
import { answerRaw } from './raw-answers.ts';
import { answerTools } from './tools-api.ts';

export interface HttpOptions {
  readonly bodyBytesMax: number;
  /** Connections, the workers' among them. */
  readonly connectionsMax: number;
  /** Configured model and aliases, first the one that a request without a model gets. */
  readonly models: readonly string[];
  /** What is known of the configured model; {} if nothing is. */
  readonly modelDetails: ModelDetails;
  /** How long a job goes on when its caller has gone, and its request does not say. */
  readonly callerGraceMs: number;
  /** Origins whose browser apps may call; `*` for all. */
  readonly corsOrigins: readonly string[];
  readonly version: string;
  /** How long a tool that is called directly may take. */
  readonly toolCallMs: number;
  /** MCP clients may ask the model. */
  readonly mcpExposeLlm: boolean;
}

export interface HttpParts {
  readonly front: Front;
  readonly completions: CompletionsPort;
  /** Of an `Idempotency-Key`. */
  readonly digest: (key: string) => string;
  readonly checkKey: KeyCheck;
  readonly checkWorkerKey: KeyCheck;
  /** Somebody with the workers' key wants the router to stop in order. */
  readonly drain: () => void;
  readonly diagnostics: Diagnostics;
}

const jsonHeaders = { 'content-type': 'application/json' } as const;
const headersMs = 10_000;
const idleMs = 75_000;
const headerBytesMax = 64 * 1024;
/** Requests that may wait on one connection for the answer before theirs. */
const pipelinedMax = 256;

export function openHttp(
  options: HttpOptions,
  { front, completions, digest, checkKey, checkWorkerKey, drain, diagnostics }: HttpParts,
): Server {
  const openApi = JSON.stringify(openApiDocument(options.version));
  const startedAt = Math.floor(Date.now() / 1000);
  const parts = { ...options, front, completions, digest, checkKey, startedAt };
  const mcp: McpEdge = openMcp(parts);
  /** Exchanges of a connection that are not over; the first is being served (E3). */
  const lines = new WeakMap<Socket, (() => void)[]>();

  async function serve(exchange: Exchange, route: Route | null): Promise<void> {
    const { req, res } = exchange;
    if (req.headers.host === undefined && req.httpVersion === '1.1')
      return answerError(exchange, 'invalid_request', 'an HTTP/1.1 request needs a Host header');
    if (isSurplus(req.socket) && route?.path !== 'health') {
      res.setHeader('connection', 'close');
      return answerError(exchange, 'server_overloaded', surplusMessage);
    }
    if (allowOrigin(req, res, options.corsOrigins)) return;
    if (route === null) return answerError(exchange, 'not_found', 'there is nothing at this path');
    const { family, path } = route;
    const method = req.method === 'HEAD' ? 'GET' : (req.method ?? 'GET');
    if (family === 'openai') return answerOpenai(exchange, method, path, parts);
    if (family === 'anthropic') return answerAnthropic(exchange, method, path, parts);
    // The router's bare address is a base URL too, and what clients ask there to see whether anybody is there.
    if ((path === '' && req.method === 'HEAD') || (path === 'api/hello' && method === 'GET'))
      return answerJson(exchange, 200, { message: 'hello' });
    if (path === 'health' && method === 'GET') return health(exchange);
    if (path.startsWith('api/jobs/')) return answerJobs(exchange, method, path.slice('api/jobs/'.length), parts);
    if (path.startsWith('api/tools/v1/'))
      return answerTools(exchange, method, path.slice('api/tools/v1/'.length), parts);
    if (path === 'mcp' || path.startsWith('mcp/')) return mcp.answer(exchange, method, path.slice(4));
    if (path.startsWith('api/admin/'))
      return answerAdmin(exchange, method, path.slice('api/admin/'.length), { checkWorkerKey, drain });
    if (path === 'openapi.json' && method === 'GET') return answerText(res, 200, jsonHeaders, openApi);
    if (path === 'ws' && method === 'GET') {
      const headers = { 'content-type': 'text/plain', 'sec-websocket-version': '13', upgrade: 'websocket' };
      return answerText(res, 400, headers, 'This is the WebSocket of the workers.\n');
    }
    return answerError(exchange, 'not_found', `there is nothing at ${method} /${path.slice(0, 200)}`);
  }

  function health(exchange: Exchange): void {
    const { working, workers, toolsWorkers, slots, active, queued } = front.health();
    answerJson(exchange, working ? 200 : 503, {
      active_jobs: active,
      available: slots - active,
      queued_jobs: queued,
      status: working ? 'ok' : 'degraded',
      tools_workers: toolsWorkers,
      total_slots: slots,
      version: options.version,
      workers,
    });
  }

  function arrived(req: IncomingMessage, res: ServerResponse): void {
    const requestId = newRequestId();
    const route = routeOf(req.url ?? '/', req.headers['anthropic-version'] !== undefined);
    const family = route?.family ?? 'other';
    res.setHeader('x-request-id', requestId);
    if (family === 'anthropic') res.setHeader('request-id', requestId);
    const startedMs = performance.now();
    const { socket } = req;
    const line = lines.get(socket) ?? [];
    lines.set(socket, line);
    res.once('close', () => {
      diagnostics.info('request', {
        requestId,
        method: req.method,
        path: req.url?.split('?', 1)[0]?.slice(0, 200),
        status: res.statusCode,
        durationMs: Math.round(performance.now() - startedMs),
        whole: res.writableFinished,
      });
      line.shift();
      line[0]?.();
    });
    // A caller that resets its connection is no trouble of ours; 'close' follows.
    res.on('error', () => undefined);
    const exchange = { req, res, requestId, family };
    line.push(() => {
      if (!socket.destroyed) serve(exchange, route).catch(error => broken(exchange, error));
    });
    if (line.length === 1) line[0]?.();
    else if (line.length > pipelinedMax) socket.destroy();
  }

  function broken(exchange: Exchange, error: unknown): void {
    const { res, requestId } = exchange;
    if (error instanceof BodyRefused) {
      if (error.code === 'cancelled') res.destroy();
      else answerError(exchange, error.code, error.message);
      return;
    }
    diagnostics.error('a request could not be handled', { requestId, reason: String(error) });
    if (res.headersSent) res.destroy();
    else answerError(exchange, 'internal_error', 'the router could not handle this request');
  }

  const limits = { maxHeaderSize: headerBytesMax, connectionsCheckingInterval: 2500, requireHostHeader: false };
  const server = createServer(limits, arrived);
  capConnections(server, options.connectionsMax);
  // The body is asked for when it is wanted (chat.ts), and other expectations are none of ours.
  server.on('checkContinue', arrived);
  server.on('checkExpectation', arrived);
  server.once('close', () => mcp.close());
  server.headersTimeout = headersMs;
  server.keepAliveTimeout = idleMs;
  server.requestTimeout = 0;
  server.on('clientError', (error: NodeJS.ErrnoException, socket: Socket) => {
    // In the middle of an answer, another would be read as its continuation.
    const answering = (lines.get(socket)?.length ?? 0) > 0;
    if (answering || error.code === 'ECONNRESET') return socket.destroy();
    const [status, message] = unreadable[error.code ?? ''] ?? [400, 'this is no HTTP request that can be read'];
    answerRaw(socket, status, 'invalid_request_error', message);
  });
  server.on('connect', (_req, socket) => answerRaw(socket, 404, 'not_found', 'this is no proxy'));
  return server;
}

const unreadable: Readonly<Record<string, readonly [number, string]>> = {
  HPE_HEADER_OVERFLOW: [431, `the request's head is longer than ${headerBytesMax} bytes`],
  ERR_HTTP_REQUEST_TIMEOUT: [408, `the request's head did not come within ${headersMs} ms`],
};
