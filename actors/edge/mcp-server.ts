/** What an MCP session offers, whatever it came by: the tools that may be called now, and the model if it is exposed. */
import { Server } from '@modelcontextprotocol/sdk/server/index.js';
import {
  CallToolRequestSchema,
  type CallToolResult,
  ErrorCode,
  ListToolsRequestSchema,
  McpError,
  type Tool,
} from '@modelcontextprotocol/sdk/types.js';
import type { ToolProgressFrame } from '../../protocol/worker-frames.tools.ts';
import { newRequestId } from '../router/ids.ts';
import type { McpParts } from './mcp.ts';

const generateText: Tool = {
  name: 'generate_text',
  description: 'Answers a prompt with the model that this router serves.',
  inputSchema: {
    type: 'object',
    properties: {
      prompt: { type: 'string' },
      system: { type: 'string' },
      max_tokens: { type: 'integer' },
      temperature: { type: 'number' },
    },
    required: ['prompt'],
  },
};

/** `callerGone`: of the request at hand. */
export function openMcpServer(parts: McpParts, sessionId: string, callerGone: () => AbortSignal | undefined): Server {
  const { front, mcpExposeLlm, version } = parts;
  const server = new Server({ name: 'auxot-router', version }, { capabilities: { tools: { listChanged: true } } });
  server.setRequestHandler(ListToolsRequestSchema, () => ({
    tools: [
      ...(mcpExposeLlm ? [generateText] : []),
      ...front.tools.listed.map(({ name, definition }) => ({
        name,
        ...(definition === null ? {} : { description: definition.description }),
        inputSchema: schemaOf(definition?.parameters),
      })),
    ],
  }));
  server.setRequestHandler(CallToolRequestSchema, ({ params }, { signal }) => {
    const { name, arguments: args = {}, _meta } = params;
    const signals = [signal, callerGone()].filter(one => one !== undefined);
    const ends = AbortSignal.any(signals);
    if (name === generateText.name && mcpExposeLlm) return generate(parts, args, ends);
    if (!front.tools.listed.some(tool => tool.name === name))
      throw new McpError(ErrorCode.InvalidParams, `no connected tools worker may run "${name.slice(0, 200)}"`);
    const progressToken = _meta?.progressToken;
    // Beside the answer, on the session's own stream: answers are in one piece.
    const progressed = ({ progress, total, message }: ToolProgressFrame): void => {
      const params = { progressToken: progressToken ?? 0, progress, ...(total === undefined ? {} : { total }) };
      const said = message === undefined ? params : { ...params, message };
      void server.notification({ method: 'notifications/progress', params: said }).catch(() => undefined); // it has gone
    };
    return runTool(parts, { name, args, ends, ...(progressToken === undefined ? {} : { progressed }) }, sessionId);
  });
  return server;
}

type DirectCall = Parameters<McpParts['front']['tools']['callDirectly']>[0];

function runTool(
  { front, toolCallMs }: McpParts,
  { ends, ...call }: Pick<DirectCall, 'name' | 'args' | 'progressed'> & { readonly ends: AbortSignal },
  threadId: string,
): Promise<CallToolResult> {
  return new Promise(resolve => {
    const stop = front.tools.callDirectly({ ...call, threadId, timeoutMs: toolCallMs }, outcome => {
      const { error, result, images } = outcome;
      if (error !== undefined) return resolve(failed(error));
      const value: unknown = JSON.parse(result);
      const text = { type: 'text', text: typeof value === 'string' ? value : result } as const;
      const shown = images.map(({ mime_type, data }) => ({ type: 'image', mimeType: mime_type, data }) as const);
      resolve({ content: [text, ...shown], isError: false });
    });
    const end = (): void => {
      stop();
      resolve(failed('the call was cancelled'));
    };
    if (ends.aborted) end();
    else ends.addEventListener('abort', end, { once: true });
  });
}

/** One job without tools of the router. */
function generate({ front }: McpParts, args: Record<string, unknown>, ends: AbortSignal): Promise<CallToolResult> {
  const { prompt, system = 'You are a helpful assistant.', max_tokens = 1024, temperature = 0.7 } = args;
  if (typeof prompt !== 'string' || prompt === '')
    throw new McpError(ErrorCode.InvalidParams, '"prompt" must be a text');
  const messages = [
    { role: 'system', content: system },
    { role: 'user', content: prompt },
  ];
  const body = new TextEncoder().encode(JSON.stringify({ messages, max_tokens, temperature }));
  const turned = front.turnedAway();
  if (turned !== null) return Promise.resolve(failed(turned.message));
  return new Promise(resolve => {
    const streamId = front.requestArrived(
      {
        respond: (status, _headers, text) => {
          resolve(status === 200 ? answered(text) : failed(messageIn(text)));
          queueMicrotask(() => front.callerClosed(streamId));
        },
        refuse: (_code, message) => {
          resolve(failed(message));
          queueMicrotask(() => front.callerClosed(streamId));
        },
        open: () => undefined,
        write: () => undefined,
        end: () => undefined,
        destroy: () => resolve(failed('the answer was cut off')),
        bufferedBytes: 0,
      },
      { api: 'openai.chat', requestId: newRequestId(), body, tools: false },
    );
    ends.addEventListener('abort', () => {
      resolve(failed('the call was cancelled'));
      front.callerClosed(streamId);
    });
  });
}

function answered(text: string): CallToolResult {
  const { choices = [] } = JSON.parse(text) as {
    choices?: { message?: { content?: string }; finish_reason?: string }[];
  };
  const [choice] = choices;
  const said = { finish_reason: choice?.finish_reason ?? 'stop', text: choice?.message?.content ?? '' };
  return { content: [{ type: 'text', text: JSON.stringify(said) }], isError: false };
}

function messageIn(text: string): string {
  const { error } = JSON.parse(text) as { error?: { message?: string } };
  return error?.message ?? 'the model gave no answer';
}

const failed = (text: string): CallToolResult => ({ content: [{ type: 'text', text }], isError: true });

/** MCP wants an object's schema; what is none is taken for an open object. */
function schemaOf(parameters: unknown): Tool['inputSchema'] {
  const isObject = typeof parameters === 'object' && parameters !== null && 'type' in parameters;
  // Its own words decide; clients check the rest.
  return isObject && parameters.type === 'object' ? (parameters as Tool['inputSchema']) : { type: 'object' };
}
