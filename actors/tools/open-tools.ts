/** Brings the tools of one configuration together, and the worker that serves them. */
import type { Diagnostics } from '../config/diagnostics.ts';
import type { Env } from '../config/env.ts';
import type { ToolsConfig } from '../config/tools-config.ts';
import type { Clock } from '../worker/clock.ts';
import type { Dial } from '../worker/socket.ts';
import { browserTools } from './browser-tools.ts';
import { codeExecutor } from './code/code-executor.ts';
import { readCredentials } from './credentials.ts';
import { mcpTools } from './mcp/mcp-tools.ts';
import { remoteMcp } from './mcp/remote-mcp.ts';
import { readMcpServers } from './mcp/server-config.ts';
import { openSessions } from './mcp/sessions.ts';
import { shellTools } from './shell-tools.ts';
import type { ToolSource } from './tool.ts';
import { openToolSet } from './tool-set.ts';
import { type ToolsWorker, toolsWorker } from './tools-worker.ts';
import { webAnswers, webSearch } from './web/brave.ts';
import { openEgress } from './web/egress.ts';
import { webFetch } from './web/web-fetch.ts';

export interface ToolsSurroundings {
  readonly env: Env;
  readonly instanceId: string;
  /** Of this program. */
  readonly version: string;
  readonly dial: Dial;
  readonly clock: Clock;
  readonly random: () => number;
  readonly diagnostics: Diagnostics;
}

/** Variables that belong to one tool although nothing in their names says so. */
const plainCredentials = {
  web_search: ['BRAVE_SEARCH_API_KEY'],
  web_answers: ['BRAVE_ANSWERS_API_KEY'],
};
const pageThreads = 2;
/** Tools that come together are announced together. */
const announceMs = 200;

export function openTools(config: ToolsConfig, around: ToolsSurroundings): ToolsWorker {
  const { diagnostics, env, version } = around;
  const credentials = readCredentials(env, plainCredentials);
  const servers = readMcpServers(config.mcpConfig, credentials);
  let worker: ToolsWorker | null = null;
  let announcing: NodeJS.Timeout | null = null;
  const onChanged = (): void => {
    if (announcing !== null) return;
    announcing = setTimeout(() => {
      announcing = null;
      worker?.toolsChanged();
    }, announceMs);
    announcing.unref();
  };

  const code = codeExecutor({ threads: config.codeThreads });
  const egress = openEgress(config.allowHosts);
  const page = webFetch({ egress, threads: pageThreads, version });
  // What the operator has written down may lie anywhere, in a private network, too.
  const trusted = openEgress(['*']);
  const brave = { apiUrl: config.braveApiUrl, egress: trusted };
  const sessions = openSessions({ env, egress: trusted, version });
  const strangers = openSessions({ env, egress, version });
  const common = { diagnostics, onChanged };
  const sources: ToolSource[] = [
    shellTools({ ...common, folder: config.toolsFolder, env, credentials }),
    mcpTools({ ...common, servers, sessions }),
    ...(config.browserCommand === null ? [] : [browserTools({ ...common, command: config.browserCommand, sessions })]),
    ...[code, page, sessions, strangers, egress, trusted].map(part => ({ tools: () => [], close: () => part.close() })),
  ];
  const tools = openToolSet([code, page, webSearch(brave), webAnswers(brave)], sources, config.allowedTools, name =>
    diagnostics.warn('two tools have one name; the first keeps it', { tool: name }),
  );
  worker = toolsWorker({
    ...config,
    ...around,
    tools,
    credentials,
    remoteMcp: remoteMcp({ sessions: strangers, allowed: config.mcpAllowed, runner: config.mcpRunner }),
  });
  return worker;
}
