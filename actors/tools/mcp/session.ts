/**
 * One warm session with an MCP server: a client of the SDK over a child process or over HTTP.
 *
 * S1. Whatever a server says or leaves unsaid, every wait here ends: by an answer, a time limit, or the session's end.
 * S2. A server that did not answer in time must answer a ping, or its session is ended.
 * S3. Answers are read by our own schemas: the SDK would compile schemas that the server sends.
 */
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { SSEClientTransport } from '@modelcontextprotocol/sdk/client/sse.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import type { Transport } from '@modelcontextprotocol/sdk/shared/transport.js';
import {
  ErrorCode,
  McpError,
  ResultSchema,
  ToolListChangedNotificationSchema,
} from '@modelcontextprotocol/sdk/types.js';
import { withoutSecrets } from '../child-process.ts';
import { type ToolCall, ToolError } from '../tool.ts';
import type { Egress } from '../web/egress.ts';
import { guardedFetch } from './guarded-fetch.ts';
import type { McpServer } from './server-config.ts';
import { StdioTransport } from './stdio-transport.ts';

export interface RemoteTool {
  readonly name: string;
  readonly description: string;
  readonly inputSchema: Readonly<Record<string, unknown>>;
  readonly idempotent: boolean;
}

export interface McpSession {
  list(): Promise<readonly RemoteTool[]>;
  /** The result object as the server gave it. */
  call(
    name: string,
    args: object,
    options: { signal: AbortSignal; msMax: number; progressed?: ToolCall['progressed'] },
  ): Promise<Record<string, unknown>>;
  close(): Promise<void>;
  readonly closed: boolean;
}

export interface SessionOptions {
  readonly server: McpServer;
  /** What the child sees; unused over HTTP. */
  readonly env: Readonly<Record<string, string>>;
  /** To be kept out of messages. */
  readonly secrets: Readonly<Record<string, string>>;
  readonly egress: Egress;
  readonly version: string;
  /** Nobody waits for the start of the session any more. */
  readonly signal: AbortSignal;
  readonly onClosed: () => void;
  readonly onToolsChanged: () => void;
}

const startMsMax = 30_000;
const listMsMax = 15_000;
const pingMsMax = 5000;
const pagesMax = 20;
const toolsMax = 500;
const schemaCharsMax = 64 * 1024;
const descriptionCharsMax = 4000;
const messageCharsMax = 2000;

export async function openSession(options: SessionOptions): Promise<McpSession> {
  const { server } = options;
  const transport = transportOf(options);
  const client = new Client({ name: 'auxot-tools', version: options.version }, { capabilities: {} });
  let closed = false;
  client.onclose = () => {
    closed = true;
    options.onClosed();
  };
  client.onerror = () => undefined; // what went wrong with a request is said to who asked
  client.setNotificationHandler(ToolListChangedNotificationSchema, () => options.onToolsChanged());

  const why = (error: unknown): string => {
    const words = transport instanceof StdioTransport && closed ? transport.lastWords : '';
    const told = words !== '' ? words : withStatus(error);
    return withoutSecrets(told, options.secrets).slice(0, messageCharsMax);
  };
  const close = async (): Promise<void> => {
    if (transport instanceof StreamableHTTPClientTransport && !closed)
      await Promise.race([
        transport.terminateSession().catch(() => undefined), // the server forgets it by itself then
        new Promise(resolve => setTimeout(resolve, 1000).unref()),
      ]);
    await client.close().catch(() => undefined);
    await transport.close().catch(() => undefined);
    closed = true;
  };

  try {
    // The SDK types optional callbacks in another way than exactOptionalPropertyTypes reads them.
    await client.connect(transport as Transport, { timeout: startMsMax, signal: options.signal });
  } catch (error) {
    const told = why(error);
    await close();
    throw new ToolError('tool_failed', `the MCP server ${server.slug} cannot be started: ${told}`);
  }

  return {
    get closed() {
      return closed;
    },
    close,
    async list() {
      const tools: RemoteTool[] = [];
      let cursor: string | undefined;
      for (let page = 0; page < pagesMax && tools.length < toolsMax; page++) {
        const params = cursor === undefined ? {} : { cursor };
        const result = await client.request({ method: 'tools/list', params }, ResultSchema, { timeout: listMsMax });
        const { tools: found, nextCursor } = result as { tools?: unknown; nextCursor?: unknown };
        if (Array.isArray(found)) tools.push(...found.map(readTool).filter(tool => tool !== null));
        if (typeof nextCursor !== 'string' || nextCursor === '' || nextCursor === cursor) break;
        cursor = nextCursor;
      }
      return tools.slice(0, toolsMax);
    },
    async call(name, args, { signal, msMax, progressed }) {
      try {
        // With somebody to hear it, the server is asked to say how far it is.
        const onprogress = progressed === undefined ? {} : { onprogress: progressed };
        const limits = { signal, timeout: msMax, maxTotalTimeout: msMax, ...onprogress };
        return await client.request(
          { method: 'tools/call', params: { name, arguments: { ...args } } },
          ResultSchema,
          limits,
        );
      } catch (error) {
        if (signal.aborted) {
          void aliveOrClosed(client, close);
          throw new ToolError('cancelled', 'the call was cancelled');
        }
        if (closed)
          throw new ToolError('outcome_unknown', `the MCP server ${server.slug} ended during the call: ${why(error)}`);
        if (!(error instanceof McpError)) throw new ToolError('tool_failed', `MCP tool "${name}": ${why(error)}`);
        if (error.code === ErrorCode.RequestTimeout) {
          void aliveOrClosed(client, close);
          throw new ToolError(
            'timeout',
            `the MCP server ${server.slug} did not answer within ${Math.round(msMax / 1000)} s`,
          );
        }
        throw new ToolError('tool_failed', `MCP tool "${name}": ${why(error)}${hintFor(error.message)}`);
      }
    },
  };
}

/** Told to stop a call, or too slow with it: a server that does not even answer a ping is of no more use. */
async function aliveOrClosed(client: Client, close: () => Promise<void>): Promise<void> {
  try {
    await client.ping({ timeout: pingMsMax });
  } catch {
    await close();
  }
}

function transportOf({ server, env, egress }: SessionOptions) {
  if (server.kind === 'stdio') {
    const { command, args, cwd } = server;
    return new StdioTransport({ command, args, cwd, env });
  }
  const http = { requestInit: { headers: { ...server.headers } }, fetch: guardedFetch(egress) };
  if (server.kind === 'sse') return new SSEClientTransport(new URL(server.url), http);
  const reconnectionOptions = {
    initialReconnectionDelay: 1000,
    maxReconnectionDelay: 10_000,
    reconnectionDelayGrowFactor: 2,
    maxRetries: 2,
  };
  return new StreamableHTTPClientTransport(new URL(server.url), { ...http, reconnectionOptions });
}

/** Null for what is no tool that a model could be offered. */
function readTool(value: unknown): RemoteTool | null {
  if (typeof value !== 'object' || value === null) return null;
  const { name, description, inputSchema, annotations } = value as Record<string, unknown>;
  if (typeof name !== 'string' || name === '' || name.length > 200) return null;
  const isObject = typeof inputSchema === 'object' && inputSchema !== null && !Array.isArray(inputSchema);
  const fits = isObject && JSON.stringify(inputSchema).length <= schemaCharsMax;
  const hints = typeof annotations === 'object' && annotations !== null ? (annotations as Record<string, unknown>) : {};
  return {
    name,
    description: typeof description === 'string' ? description.slice(0, descriptionCharsMax) : '',
    inputSchema: fits ? (inputSchema as Record<string, unknown>) : { type: 'object' },
    idempotent: hints.readOnlyHint === true || hints.idempotentHint === true,
  };
}

/** The SDK keeps the status of an HTTP answer beside its words. */
function withStatus(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const status = !(error instanceof McpError) && 'code' in error && typeof error.code === 'number' ? error.code : 0;
  return status >= 400 ? `${error.message} (status ${status})` : error.message;
}

/** Servers that check by zod list what is wrong with `params.arguments`, which a model takes for an argument's name. */
const hintFor = (message: string): string =>
  /"path"\s*:\s*\[[^\]]*"arguments"/.test(message)
    ? ' (the arguments of the tool itself do not fit: look at its description and give them as one JSON object)'
    : '';
