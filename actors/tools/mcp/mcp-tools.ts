/**
 * MCP servers as tools: each of a server's tools by its own schema (`server__tool`), and all of them as one aggregate
 * (`server`, with `{"command", "arguments"}`), as older routers know it.
 */
import type { Diagnostics } from '../../config/diagnostics.ts';
import { type Tool, type ToolCall, ToolError, type ToolImage, type ToolOutput, type ToolSource } from '../tool.ts';
import type { McpServer } from './server-config.ts';
import type { McpSession, RemoteTool } from './session.ts';
import type { Sessions } from './sessions.ts';

export interface McpToolsOptions {
  readonly servers: readonly McpServer[];
  readonly sessions: Sessions;
  readonly diagnostics: Diagnostics;
  readonly onChanged: () => void;
}

const nameCharsMax = 64;
const againMsMin = 1000;
const againMsMax = 300_000;

export function mcpTools({ servers, sessions, diagnostics, onChanged }: McpToolsOptions): ToolSource {
  const known = new Map<string, readonly Tool[]>();
  const timers = new Map<string, NodeJS.Timeout>();
  let closed = false;

  /** Asks a server for its tools, and again, later and later, until it says them. */
  const learn = async (server: McpServer, failures: number): Promise<void> => {
    if (closed) return;
    try {
      const found = await sessions.with(server, {}, null, session => session.list());
      const usable = found.filter(({ name }) => server.tools === null || server.tools.includes(name));
      const before = JSON.stringify(known.get(server.slug));
      const tools = toolsOf(server, usable, sessions);
      known.set(server.slug, tools);
      diagnostics.info('MCP server', { server: server.slug, tools: usable.map(({ name }) => name) });
      if (JSON.stringify(tools) !== before) onChanged();
    } catch (error) {
      if (closed) return;
      const waitMs = Math.min(againMsMax, againMsMin * 2 ** failures);
      diagnostics.warn('an MCP server does not say its tools', { server: server.slug, error, againMs: waitMs });
      const timer = setTimeout(() => void learn(server, failures + 1), waitMs);
      timer.unref();
      timers.set(server.slug, timer);
    }
  };
  for (const server of servers) {
    sessions.onToolsChanged(server.slug, () => {
      // A server that says so without end is heard once a second.
      clearTimeout(timers.get(server.slug));
      const timer = setTimeout(() => void learn(server, 0), againMsMin);
      timer.unref();
      timers.set(server.slug, timer);
    });
    void learn(server, 0);
  }

  return {
    tools: () => servers.flatMap(({ slug }) => known.get(slug) ?? []),
    async close() {
      closed = true;
      for (const timer of timers.values()) clearTimeout(timer);
    },
  };
}

function toolsOf(server: McpServer, found: readonly RemoteTool[], sessions: Sessions): readonly Tool[] {
  const { slug } = server;
  const run = (name: string, args: Readonly<Record<string, unknown>>, call: ToolCall): Promise<ToolOutput> =>
    sessions.with(server, ownOf(server, call), null, session => callTool(session, name, args, call, server.timeoutMs));
  const taken = new Set([slug]);
  const each = found.flatMap(({ name, description, inputSchema, idempotent }): Tool[] => {
    const shown = `${slug}__${name.replace(/[^\w.-]/g, '_')}`.slice(0, nameCharsMax);
    if (taken.has(shown)) return [];
    taken.add(shown);
    return [
      {
        name: shown,
        description,
        parameters: inputSchema,
        idempotent,
        group: slug,
        credentialsOf: slug,
        run: call => run(name, call.args, call),
      },
    ];
  });
  const aggregate: Tool = {
    name: slug,
    description: aggregateDescription(slug, found),
    parameters: aggregateSchema(found),
    idempotent: false,
    credentialsOf: slug,
    run: call => {
      const { command, arguments: args = {} } = call.args;
      const tool = found.find(({ name }) => name === command);
      if (tool === undefined) {
        const names = found.map(({ name }) => name).join(', ');
        throw new ToolError('invalid_arguments', `"command" must be one of ${names}`);
      }
      return run(tool.name, plainObject(args), call);
    },
  };
  return [aggregate, ...each];
}

/** What a call brings that the server does not have anyway: only then it needs a process of its own. */
function ownOf(server: McpServer, { credentials }: ToolCall): Readonly<Record<string, string>> {
  if (server.kind !== 'stdio') return {};
  return Object.fromEntries(Object.entries(credentials).filter(([name, value]) => server.env[name] !== value));
}

export function aggregateSchema(found: readonly RemoteTool[]): Record<string, unknown> {
  return {
    type: 'object',
    properties: {
      command: { type: 'string', enum: found.map(({ name }) => name) },
      arguments: { type: 'object', description: 'The arguments of the command.' },
    },
    required: ['command'],
  };
}

/** `server` as people know it: its name, package or address. */
export function aggregateDescription(server: string, found: readonly RemoteTool[]): string {
  const lines = found.map(({ name, inputSchema, description }) => {
    const text = description.replace(/\s+/g, ' ').trim();
    return `- ${name}(${parameterNames(inputSchema).join(', ')}): ${text.length > 80 ? `${text.slice(0, 77)}...` : text}`;
  });
  const [first] = found;
  return [
    `Tools of the MCP server ${server}:`,
    ...lines,
    'Call one by its name in "command" and its parameters in "arguments".',
    ...(first === undefined ? [] : [`Example: ${JSON.stringify({ command: first.name, arguments: {} })}`]),
  ].join('\n');
}

/** Required ones first, in their order. */
function parameterNames(schema: Readonly<Record<string, unknown>>): readonly string[] {
  const required = Array.isArray(schema.required) ? schema.required.filter(name => typeof name === 'string') : [];
  const { properties } = schema;
  const all = typeof properties === 'object' && properties !== null ? Object.keys(properties) : [];
  return [...new Set([...required, ...all])].slice(0, 50);
}

export const plainObject = (value: unknown): Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Record<string, unknown>) : {};

/** One call; its images become image parts, and all else stays as the server gave it. */
export async function callTool(
  session: McpSession,
  name: string,
  args: Readonly<Record<string, unknown>>,
  call: ToolCall,
  timeoutMs: number,
): Promise<ToolOutput> {
  const msMax = Math.max(1, Math.min(timeoutMs, call.deadlineAt - Date.now()));
  const { signal, progressed } = call;
  const heard = progressed === undefined ? {} : { progressed };
  const result = await session.call(name, args, { signal, msMax, ...heard });
  const content = Array.isArray(result.content) ? (result.content as readonly unknown[]) : [];
  if (result.isError === true) {
    const said = textsOf(content).join('\n').slice(0, 8000);
    throw new ToolError('tool_failed', `MCP tool "${name}": ${said === '' ? 'it failed and said nothing' : said}`);
  }
  const images: ToolImage[] = [];
  const shown = content.map(part => {
    const { type, data, mimeType } = plainObject(part);
    if (type !== 'image' || typeof data !== 'string' || !isBase64(data)) return part;
    images.push({ mimeType: typeof mimeType === 'string' ? mimeType : 'image/png', base64: data });
    return { type: 'text', text: `[image ${images.length}]` };
  });
  return images.length === 0 ? { result } : { result: { ...result, content: shown }, images };
}

export const textsOf = (content: readonly unknown[]): string[] =>
  content.flatMap(part => {
    const { type, text } = plainObject(part);
    return type === 'text' && typeof text === 'string' ? [text] : [];
  });

const isBase64 = (text: string): boolean => text.length % 4 === 0 && /^[A-Za-z0-9+/]+={0,2}$/.test(text);
