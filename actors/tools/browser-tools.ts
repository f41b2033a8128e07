/**
 * Browser tools: an MCP server that drives a browser (such as @playwright/mcp), as tools of its own names.
 *
 * B1. Every conversation has a server process, and so a browser, of its own; without one the call is refused.
 * B2. It is started when it is first needed, over pipes, so that no port is open to other programs; it ends when the
 *     conversation rested for half an hour.
 * B3. Tools that open and close browsers as a whole are not offered: that is the worker's business.
 */
import type { Diagnostics } from '../config/diagnostics.ts';
import { callTool, textsOf } from './mcp/mcp-tools.ts';
import type { StdioServer } from './mcp/server-config.ts';
import type { RemoteTool } from './mcp/session.ts';
import type { Sessions } from './mcp/sessions.ts';
import { type Tool, type ToolCall, ToolError, type ToolOutput, type ToolSource } from './tool.ts';

export const browserToolNames: readonly string[] = [
  'browser_click',
  'browser_console_messages',
  'browser_drag',
  'browser_evaluate',
  'browser_file_upload',
  'browser_fill_form',
  'browser_handle_dialog',
  'browser_hover',
  'browser_navigate',
  'browser_navigate_back',
  'browser_network_requests',
  'browser_press_key',
  'browser_resize',
  'browser_run_code',
  'browser_select_option',
  'browser_snapshot',
  'browser_take_screenshot',
  'browser_type',
  'browser_wait_for',
];

export interface BrowserToolsOptions {
  readonly command: readonly string[];
  readonly sessions: Sessions;
  readonly diagnostics: Diagnostics;
  readonly onChanged: () => void;
  readonly idleMs?: number;
}

const idleMsDefault = 30 * 60_000;
const callMsMax = 120_000;
const againMsMin = 5000;
const againMsMax = 600_000;

export function browserTools(options: BrowserToolsOptions): ToolSource {
  const [command = '', ...args] = options.command;
  const server: StdioServer = {
    kind: 'stdio',
    slug: 'browser',
    command,
    args,
    env: {},
    cwd: null,
    tools: browserToolNames,
    timeoutMs: callMsMax,
    idleMs: options.idleMs ?? idleMsDefault,
  };
  let tools: readonly Tool[] = [];
  let closed = false;
  let timer: NodeJS.Timeout | null = null;

  const learn = async (failures: number): Promise<void> => {
    try {
      // Only to be asked for its tools: it has no browser open, and need not rest for long.
      const found = await options.sessions.with({ ...server, idleMs: 1000 }, {}, null, session => session.list());
      if (closed) return;
      tools = found
        .filter(({ name }) => browserToolNames.includes(name))
        .map(tool => browserTool(tool, server, options));
      options.diagnostics.info('browser tools', { tools: tools.length });
      options.onChanged();
    } catch (error) {
      if (closed) return;
      const waitMs = Math.min(againMsMax, againMsMin * 2 ** failures);
      options.diagnostics.warn('there are no browser tools', { error, againMs: waitMs });
      timer = setTimeout(() => void learn(failures + 1), waitMs);
      timer.unref();
    }
  };
  void learn(0);

  return {
    tools: () => tools,
    async close() {
      closed = true;
      if (timer !== null) clearTimeout(timer);
    },
  };
}

function browserTool(remote: RemoteTool, server: StdioServer, { sessions }: BrowserToolsOptions): Tool {
  const { name, description, inputSchema } = remote;
  return {
    name,
    description,
    parameters: inputSchema,
    idempotent: false,
    group: 'browser',
    async run(call: ToolCall): Promise<ToolOutput> {
      if (call.threadId === null)
        throw new ToolError(
          'invalid_arguments',
          `${name} needs a thread_id: every conversation has a browser of its own`,
        );
      const output = await sessions.with(server, {}, call.threadId, session =>
        callTool(session, name, call.args, call, server.timeoutMs),
      );
      const { content } = output.result as { content?: unknown };
      const texts = textsOf(Array.isArray(content) ? content : []).filter(text => !/^\[image \d+\]$/.test(text));
      return { ...output, result: texts.join('\n') };
    },
  };
}
