/**
 * Claude Code: `claude --print` with stream-json in and out and partial messages, so that tokens stream as they are made.
 *
 * History goes in as a session file that it resumes (claude.session.ts); the caller's tools by MCP; of its own tools only
 * those that the policy lists exist. Tried with 2.0.0; later versions are asked by their help text what they know.
 */
import fs from 'node:fs';
import { join } from 'node:path';
import { ClaudeListener } from './claude.events.ts';
import { writeSession } from './claude.session.ts';
import type { CliDriver, CliJob, Launch } from './cli.ts';
import { dataOf, type Image } from './conversation.ts';

/** Tools are known to it by this name of the server that offers them. */
export const serverName = 'auxot';
export const toolPrefix = `mcp__${serverName}__`;

/** Its own tools, for versions that can only be told which of them not to have. */
const ownTools = [
  ...['Task', 'Bash', 'BashOutput', 'KillShell', 'Glob', 'Grep', 'Read', 'Edit', 'MultiEdit', 'Write'],
  ...['NotebookRead', 'NotebookEdit', 'WebFetch', 'WebSearch', 'TodoWrite', 'SlashCommand', 'Skill', 'ExitPlanMode'],
];

/** Thinking budgets in tokens; the API asks for at least 1024. */
const thinkingTokens: Readonly<Record<string, number>> = {
  none: 0,
  minimal: 1024,
  low: 4096,
  medium: 10_000,
  high: 24_000,
  xhigh: 31_999,
};

const fixedEnv = {
  DISABLE_AUTOUPDATER: '1',
  DISABLE_ERROR_REPORTING: '1',
  DISABLE_TELEMETRY: '1',
  CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC: '1',
  CLAUDE_CODE_DISABLE_ATTACHMENTS: '1',
  CLAUDE_CODE_DISABLE_CLAUDE_MDS: '1',
  CLAUDE_CODE_DISABLE_TERMINAL_TITLE: '1',
  CLAUDE_CODE_RESUME_INTERRUPTED_TURN: '1',
};

export const claude: CliDriver = {
  name: 'claude',
  title: 'Claude Code',
  command: 'claude',
  pathVariable: 'CLAUDE_PATH',
  versionMin: '2.0.0',
  helpArgs: ['--help'],
  needs: ['--print', '--output-format', '--input-format', '--include-partial-messages', '--strict-mcp-config'],
  passes: [/^ANTHROPIC_/, /^CLAUDE_CODE_/, /^API_TIMEOUT_MS$/, /^DISABLE_PROMPT_CACHING/, /^AWS_/, /^GOOGLE_/, /^MCP_/],
  login: { variable: 'CLAUDE_CONFIG_DIR', folder: '.claude', file: '.credentials.json' },
  features: ['images'],
  toolsByMcp: true,

  refuses: () => null,

  launch(job: CliJob): Launch {
    const { conversation, place, tools, builtins, model, toolServer, flags, env } = job;
    const args = ['--print', '--verbose', '--output-format', 'stream-json', '--input-format', 'stream-json'];
    args.push('--include-partial-messages');
    if (flags.has('--setting-sources')) args.push('--setting-sources', '');
    const taken = new Set(tools.map(({ name }) => name));
    const own = builtins.filter(name => !taken.has(name));
    if (flags.has('--tools')) args.push('--tools', own.join(','));
    else args.push('--disallowed-tools', ownTools.filter(name => !own.includes(name)).join(','));
    const allowed = [...own, ...(tools.length > 0 ? [`mcp__${serverName}`] : [])];
    if (allowed.length > 0) args.push('--allowed-tools', allowed.join(','));
    args.push('--strict-mcp-config');
    if (toolServer !== null) args.push('--mcp-config', secretFile(place.temp, 'mcp.json', mcpConfig(toolServer)));
    if (model !== '') args.push('--model', model);
    // Without one it would take its own, which is about a developer's files.
    const system = conversation.system === '' ? 'You are a helpful assistant.' : conversation.system;
    args.push('--system-prompt-file', secretFile(place.temp, 'system.txt', system));
    const session = writeSession(job, toolPrefix);
    if (session !== null) args.push('--resume', session);
    const budget = job.thinkingBudget ?? thinkingTokens[job.effort ?? ''];
    return {
      args,
      env: {
        ...fixedEnv,
        // Whoever asked tries again, and the router elsewhere; its ten times take minutes.
        CLAUDE_CODE_MAX_RETRIES: env.CLAUDE_CODE_MAX_RETRIES ?? '2',
        CLAUDE_CONFIG_DIR: place.config,
        ...(budget === undefined ? {} : { MAX_THINKING_TOKENS: String(budget) }),
        ...(job.maxTokens === undefined ? {} : { CLAUDE_CODE_MAX_OUTPUT_TOKENS: String(job.maxTokens) }),
      },
    };
  },

  listen: job => new ClaudeListener(openingLine(job), toolPrefix, new Set(job.tools.map(({ name }) => name))),
};

const mcpConfig = ({ url, token }: { url: string; token: string }): string =>
  JSON.stringify({
    mcpServers: { [serverName]: { type: 'http', url, headers: { Authorization: `Bearer ${token}` } } },
  });

function secretFile(folder: string, name: string, text: string): string {
  const path = join(folder, name);
  fs.writeFileSync(path, text, { mode: 0o600 });
  return path;
}

function openingLine({ conversation: { prompt } }: CliJob): string {
  const content = [{ type: 'text', text: prompt.text }, ...prompt.images.map(imageBlock)];
  return JSON.stringify({ type: 'user', message: { role: 'user', content } });
}

export function imageBlock({ url }: Image): object {
  const data = dataOf(url);
  if (data === null) return { type: 'image', source: { type: 'url', url } };
  return { type: 'image', source: { type: 'base64', media_type: data.mediaType, data: data.base64 } };
}
