/**
 * Tools of connected tools workers, for callers that call them by themselves:
 *
 *   GET  /api/tools/v1/tools     what can be called (also /list)
 *   POST /api/tools/v1/execute   {"tool": …, "arguments": {…}} runs one; ends when the caller leaves
 */
import { isShallow, levelsMax } from '../../protocol/schema.ts';
import type { Front } from '../router/front.ts';
import { answerError, answerJson, type Exchange } from './answers.ts';
import { authorised, type KeyCheck } from './api-key.ts';
import { takeBody } from './chat.ts';

export interface ToolsApiParts {
  readonly front: Front;
  readonly checkKey: KeyCheck;
  readonly bodyBytesMax: number;
  readonly toolCallMs: number;
}

/** `method`: GET for HEAD. `path`: below `api/tools/v1/`. */
export async function answerTools(
  exchange: Exchange,
  method: string,
  path: string,
  parts: ToolsApiParts,
): Promise<void> {
  const lists = method === 'GET' && (path === 'tools' || path === 'list');
  if (!lists && !(method === 'POST' && path === 'execute'))
    return answerError(exchange, 'not_found', `there is nothing at ${method} /api/tools/v1/${path.slice(0, 200)}`);
  if (!(await authorised(exchange, parts.checkKey))) return;
  const { tools } = parts.front;
  if (!lists) return execute(exchange, parts);
  const list = tools.listed.map(({ name, definition }) => ({
    name,
    ...(definition === null ? {} : { description: definition.description, parameters: definition.parameters }),
    available: true,
  }));
  answerJson(exchange, 200, { tools: list, workers: tools.workers });
}

async function execute(exchange: Exchange, { front, bodyBytesMax, toolCallMs }: ToolsApiParts): Promise<void> {
  const body = await takeBody(exchange, bodyBytesMax, () => null);
  if (body === null) return;
  const asked = readCall(body);
  if (typeof asked === 'string') return answerError(exchange, 'invalid_request', asked);
  const { tool, args, threadId } = asked;
  const { tools } = front;
  if (tools.workers === 0) return refuse(exchange, 503, 'service_unavailable', 'no tools worker is connected');
  if (!tools.listed.some(({ name }) => name === tool))
    return refuse(exchange, 404, 'tool_error', `no connected tools worker may run "${tool.slice(0, 200)}"`);
  await new Promise<void>(resolve => {
    const stop = tools.callDirectly({ name: tool, args, threadId, timeoutMs: toolCallMs }, outcome => {
      const { error, code, result, images } = outcome;
      resolve();
      if (error !== undefined) return refuse(exchange, code === 'timeout' ? 504 : 500, 'tool_error', error, code);
      const shown = images.length === 0 ? {} : { images };
      answerJson(exchange, 200, { result: JSON.parse(result), tool, ...shown });
    });
    exchange.res.once('close', () => {
      stop();
      resolve();
    });
  });
}

interface Asked {
  readonly tool: string;
  readonly args: unknown;
  readonly threadId: string | null;
}

/** Text: what is wrong with it. */
function readCall(body: Uint8Array): Asked | string {
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder().decode(body));
  } catch {
    return 'invalid JSON: the body is not one JSON value';
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return 'the body must be a JSON object';
  const { tool, arguments: args, input, thread_id } = value as Record<string, unknown>;
  if (typeof tool !== 'string' || tool.trim() === '') return '"tool" must be the name of a tool';
  const threadId = typeof thread_id === 'string' && thread_id !== '' ? thread_id : null;
  const given = args === undefined ? (input ?? {}) : args;
  if (!isShallow(given)) return `the arguments must not be nested deeper than ${levelsMax} levels`;
  return { tool, args: given, threadId };
}

function refuse(exchange: Exchange, status: number, type: string, message: string, code: string = type): void {
  const headers: Record<string, string> = status === 503 ? { 'retry-after': '1' } : {};
  answerJson(exchange, status, { error: { message, type, code } }, headers);
}
