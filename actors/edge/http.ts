/**
 * The HTTP edge: routes, keys, limits. Bodies go to the front unread; answers come from it, or from here when nothing
 * need be thought about.
 *
 * Every answer has `x-request-id`, and every request one line in the diagnostics with it.
 */
import { randomBytes } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { modelList, modelObject } from '../../protocol/openai-api.ts';
import type { Diagnostics } from '../config/diagnostics.ts';
import type { Front } from '../router/front.ts';
import { answerError, answerJson, answerText } from './answers.ts';
import { BodyRefused, readBody } from './body.ts';
import { routeOf } from './paths.ts';

export interface HttpOptions {
  readonly bodyBytesMax: number;
  /** Configured model and aliases, first the one that a request without a model gets. */
  readonly models: readonly string[];
  readonly version: string;
}

export interface HttpParts {
  readonly front: Front;
  /** Whether a caller's key is right; 'busy' when too many wait to be checked. */
  readonly checkKey: (key: string, source: string) => boolean | Promise<boolean | 'busy'>;
  readonly diagnostics: Diagnostics;
}

/** Of a body that makes no progress. */
const bodyIdleMs = 60_000;
const headersMs = 10_000;
const idleMs = 75_000;
const headerBytesMax = 64 * 1024;

interface Exchange {
  readonly req: IncomingMessage;
  readonly res: ServerResponse;
  readonly requestId: string;
}

export function openHttp(options: HttpOptions, { front, checkKey, diagnostics }: HttpParts): Server {
  const startedAt = Math.floor(Date.now() / 1000);

  async function serve(exchange: Exchange): Promise<void> {
    const { req, res } = exchange;
    const route = routeOf(req.url ?? '/');
    if (route === null) return answerError(res, 'not_found', 'there is nothing at this path');
    const method = req.method === 'HEAD' ? 'GET' : (req.method ?? 'GET');
    if (route.family === 'other') {
      if (route.path === 'health' && method === 'GET') return health(res);
      if (route.path === 'ws')
        return answerText(res, 400, { 'content-type': 'text/plain' }, 'This is the WebSocket of the workers.\n');
      return answerError(res, 'not_found', `there is nothing at ${method} /${route.path}`);
    }
    const chat = route.path === 'chat/completions' && method === 'POST';
    const model = /^models(?:\/(.*))?$/s.exec(route.path);
    if (route.family === 'anthropic' || !(chat || (model !== null && method === 'GET'))) {
      return answerError(res, 'not_implemented', `${method} /${route.path} is not implemented here`);
    }
    if (!(await authorised(exchange))) return;
    if (chat) return complete(exchange);
    if (model?.[1] === undefined || model[1] === '')
      return answerJson(res, 200, modelList(models().map(id => modelObject(id, startedAt))));
    if (!models().includes(model[1]))
      return answerError(res, 'model_not_found', `there is no model "${model[1].slice(0, 200)}"`, 'model');
    return answerJson(res, 200, modelObject(model[1], startedAt));
  }

  function models(): string[] {
    return [...new Set([...options.models, ...front.offers().map(({ model }) => model)])].filter(id => id !== '');
  }

  function health(res: ServerResponse): void {
    const { working, workers, slots, active, queued } = front.health();
    answerJson(res, working ? 200 : 503, {
      active_jobs: active,
      available: slots - active,
      queued_jobs: queued,
      status: working ? 'ok' : 'degraded',
      total_slots: slots,
      version: options.version,
      workers,
    });
  }

  /** Says no itself. The body is not read before the key is right. */
  async function authorised({ req, res }: Exchange): Promise<boolean> {
    const header = req.headers.authorization ?? '';
    const key = header.startsWith('Bearer ') ? header.slice(7).trim() : '';
    if (key === '') {
      answerError(res, 'invalid_api_key', 'send the API key as "Authorization: Bearer <key>"');
      return false;
    }
    const right = await checkKey(key, req.socket.remoteAddress ?? '');
    if (right === 'busy')
      answerError(res, 'rate_limit_exceeded', 'too many keys are waiting to be checked; try again shortly');
    else if (!right) answerError(res, 'invalid_api_key', 'this API key is not valid here');
    return right === true;
  }

  async function complete({ req, res, requestId }: Exchange): Promise<void> {
    const encoding = req.headers['content-encoding'];
    if (encoding !== undefined && encoding !== 'identity') {
      return answerError(res, 'unsupported_media_type', `send the body without content-encoding, not as ${encoding}`);
    }
    const turned = front.turnedAway();
    if (turned !== null) return answerError(res, turned.code, turned.message);
    const body = await readBody(req, options.bodyBytesMax, bodyIdleMs);
    const streamId = front.requestArrived(
      {
        respond: (status, headers, text) => answerText(res, status, headers, text),
        open: (status, headers) => res.writeHead(status, { ...headers }),
        write: text => void res.write(text),
        end: () => res.end(),
        destroy: () => res.destroy(),
        get bufferedBytes() {
          return res.writableLength;
        },
      },
      { requestId, body },
    );
    res.on('drain', () => front.callerDrained(streamId));
    res.on('close', () => front.callerClosed(streamId));
  }

  const server = createServer({ maxHeaderSize: headerBytesMax, connectionsCheckingInterval: 2500 }, (req, res) => {
    const requestId = `req_${randomBytes(12).toString('hex')}`;
    const startedMs = performance.now();
    res.setHeader('x-request-id', requestId);
    res.once('close', () => {
      const durationMs = Math.round(performance.now() - startedMs);
      const { method, url } = req;
      diagnostics.info('request', {
        requestId,
        method,
        path: url?.split('?', 1)[0],
        status: res.statusCode,
        durationMs,
        whole: res.writableFinished,
      });
    });
    // A caller that resets its connection is no trouble of ours; 'close' follows.
    res.on('error', () => undefined);
    serve({ req, res, requestId }).catch(error => {
      if (error instanceof BodyRefused) {
        if (error.code === 'cancelled') res.destroy();
        else answerError(res, error.code, error.message);
        return;
      }
      diagnostics.error('a request could not be handled', { requestId, reason: String(error) });
      answerError(res, 'internal_error', 'the router could not handle this request');
    });
  });
  server.headersTimeout = headersMs;
  server.keepAliveTimeout = idleMs;
  server.requestTimeout = 0;
  server.on('clientError', (error: NodeJS.ErrnoException, socket) => {
    if (error.code === 'ECONNRESET' || !socket.writable) return socket.destroy();
    const status =
      error.code === 'HPE_HEADER_OVERFLOW'
        ? '431 Request Header Fields Too Large'
        : error.code === 'ERR_HTTP_REQUEST_TIMEOUT'
          ? '408 Request Timeout'
          : '400 Bad Request';
    const body =
      '{"error":{"message":"this is no HTTP request that can be read","type":"invalid_request_error","param":null,"code":null}}';
    socket.end(
      `HTTP/1.1 ${status}\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\nconnection: close\r\n\r\n${body}`,
    );
  });
  return server;
}
