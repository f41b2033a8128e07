/** Brings the tools of one configuration together, and the worker that serves them. */
import type { Diagnostics } from '../config/diagnostics.ts';
import type { Env } from '../config/env.ts';
import type { ToolsConfig } from '../config/tools-config.ts';
import type { Clock } from '../worker/clock.ts';
import type { Dial } from '../worker/socket.ts';
import { codeExecutor } from './code/code-executor.ts';
import { readCredentials } from './credentials.ts';
import { ToolError } from './tool.ts';
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

export async function openTools(config: ToolsConfig, around: ToolsSurroundings): Promise<ToolsWorker> {
  const { diagnostics } = around;
  const credentials = readCredentials(around.env, plainCredentials);
  const code = codeExecutor({ threads: config.codeThreads });
  const tools = openToolSet([code], [{ tools: () => [], close: () => code.close() }], config.allowedTools, name =>
    diagnostics.warn('two tools have one name; the first keeps it', { tool: name }),
  );
  return toolsWorker({
    ...config,
    ...around,
    tools,
    credentials,
    remoteMcp: {
      toolFor: () => {
        throw new ToolError('not_allowed', 'this tools worker runs no MCP servers that a job names');
      },
    },
  });
}
