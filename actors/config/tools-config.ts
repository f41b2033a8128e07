/**
 * Everything the tools worker can be told, by flags and by the environment, read once, at start, to one value without
 * gaps. A flag wins over its variable. Defaults are those of the program this one stands in for, unless a comment says
 * otherwise.
 */
import { routerUrl } from '../../protocol/router-url.ts';
import { type LogLevel, logLevels } from './diagnostics.ts';
import {
  ConfigError,
  type Env,
  readChoice,
  readDurationMs,
  readInt,
  readList,
  readOptional,
  readString,
} from './env.ts';
import type { FlagKind, Flags } from './flags.ts';

export const toolsFlags = {
  'router-url': 'value',
  'tools-key': 'value',
  'log-level': 'value',
  help: 'switch',
  version: 'switch',
} as const satisfies Readonly<Record<string, FlagKind>>;

export interface ToolsConfig {
  readonly routerUrl: string;
  /** Secret. */
  readonly toolsKey: string;
  readonly heartbeatMs: number;
  readonly redial: { readonly msMin: number; readonly msMax: number };
  /** null: all. */
  readonly allowedTools: readonly string[] | null;
  readonly slots: number;
  readonly queueMax: number;
  readonly callMsMax: number;
  readonly drainMsMax: number;
  readonly codeThreads: number;
  /** Names, addresses and ranges that tools may connect to although they are private. */
  readonly allowHosts: readonly string[];
  readonly braveApiUrl: string;
  /** Where shell tools lie. */
  readonly toolsFolder: string;
  /** The file that names MCP servers; null: mcp.json here, if there is one. */
  readonly mcpConfig: string | null;
  /** Packages and hosts of MCP servers that a router may name, `*` for all. */
  readonly mcpAllowed: readonly string[];
  /** Program and arguments that run an MCP server's package; its name and version follow. */
  readonly mcpRunner: readonly string[];
  /** Program and arguments of an MCP server that drives a browser; null: none. */
  readonly browserCommand: readonly string[] | null;
  /** Of the page that says how the worker is; null: none. */
  readonly healthPort: number | null;
  readonly logLevel: LogLevel;
}

const routerDefault = 'auxot.com';

export function readToolsConfig(env: Env, flags: Flags<keyof typeof toolsFlags>): ToolsConfig {
  const url = routerUrl(flags.value('router-url') ?? readString(env, 'AUXOT_ROUTER_URL', routerDefault), '/ws');
  if (!url.ok) throw new ConfigError('AUXOT_ROUTER_URL', null, url.message, 'Write for example ws://localhost:8080.');
  // The second variable is what older installations use.
  const toolsKey =
    flags.value('tools-key') ?? readOptional(env, 'AUXOT_TOOLS_KEY') ?? readOptional(env, 'AUXOT_GPU_KEY');
  if (toolsKey === null || toolsKey === '') {
    const fix =
      'Give the key that auxot-router setup printed for tools workers (tls_…), by --tools-key or this variable.';
    throw new ConfigError('AUXOT_TOOLS_KEY', null, 'no key', fix);
  }
  const level = flags.value('log-level');
  const allowed = readList(env, 'AUXOT_ALLOWED_TOOLS');
  return {
    routerUrl: url.url,
    toolsKey,
    heartbeatMs: readDurationMs(env, 'AUXOT_HEARTBEAT_INTERVAL', { fallbackMs: 30_000, minMs: 100 }),
    redial: { msMin: 2000, msMax: 60_000 },
    allowedTools: allowed.length === 0 ? null : allowed,
    slots: readInt(env, 'AUXOT_TOOLS_SLOTS', { fallback: 16, min: 1, max: 1024 }),
    queueMax: readInt(env, 'AUXOT_TOOLS_QUEUE', { fallback: 256, min: 0, max: 100_000 }),
    callMsMax: readDurationMs(env, 'AUXOT_TOOLS_TIMEOUT', { fallbackMs: 5 * 60_000, minMs: 1000 }),
    drainMsMax: readDurationMs(env, 'AUXOT_TOOLS_DRAIN', { fallbackMs: 30_000 }),
    codeThreads: readInt(env, 'AUXOT_TOOLS_CODE_THREADS', { fallback: 2, min: 1, max: 64 }),
    allowHosts: readHosts(env, 'AUXOT_TOOLS_ALLOW_HOSTS'),
    braveApiUrl: readHttpUrl(env, 'AUXOT_BRAVE_API_URL', 'https://api.search.brave.com'),
    toolsFolder: readString(env, 'AUXOT_TOOLS_DIR', './tools'),
    mcpConfig: readOptional(env, 'AUXOT_MCP_CONFIG'),
    mcpAllowed: readList(env, 'AUXOT_MCP_ALLOWED'),
    mcpRunner: wordsOf(readString(env, 'AUXOT_MCP_RUNNER', 'npx -y')),
    browserCommand:
      readOptional(env, 'AUXOT_BROWSER_MCP') === null ? null : wordsOf(readString(env, 'AUXOT_BROWSER_MCP', '')),
    healthPort: readInt(env, 'AUXOT_TOOLS_HEALTH_PORT', { fallback: 0, min: 0, max: 65_535 }) || null,
    logLevel: readChoice(level === undefined ? env : { AUXOT_LOG_LEVEL: level }, 'AUXOT_LOG_LEVEL', logLevels, 'info'),
  };
}

const wordsOf = (text: string): readonly string[] => text.trim().split(/\s+/);

function readHosts(env: Env, variable: string): readonly string[] {
  const hosts = readList(env, variable);
  for (const host of hosts)
    if (!/^(\*|(\*\.)?[\w.:[\]-]+(\/\d{1,3})?)$/.test(host)) {
      const fix = 'Write names, *.names, addresses or ranges such as 10.0.0.0/8, between commas; no schemes and paths.';
      throw new ConfigError(variable, host, 'not a host', fix);
    }
  return hosts;
}

function readHttpUrl(env: Env, variable: string, fallback: string): string {
  const text = readString(env, variable, fallback);
  if (!/^https?:\/\//.test(text) || !URL.canParse(text))
    throw new ConfigError(variable, text, 'not a URL', `Write for example ${fallback}.`);
  return text.replace(/\/+$/, '');
}

export const toolsHelp = `auxot-tools: runs the tools that models call, for an Auxot router.

Usage: auxot-tools [flags]

  --router-url URL    the router to dial, e.g. ws://localhost:8080   (AUXOT_ROUTER_URL, default ${routerDefault})
  --tools-key KEY     the tools workers' key, tls_…                  (AUXOT_TOOLS_KEY, required)
  --log-level LEVEL   debug, info, warn or error                     (AUXOT_LOG_LEVEL, default info)
  --help, --version

Environment (a .env file in the current directory is read first; the environment wins over it):

  AUXOT_ALLOWED_TOOLS        names of the tools that may be used, between commas   (default: all)
  AUXOT_TOOLS_SLOTS          calls that run at the same time                       (default 16)
  AUXOT_TOOLS_QUEUE          calls that may wait for a slot                        (default 256)
  AUXOT_TOOLS_TIMEOUT        longest time one call may take                        (default 5m)
  AUXOT_TOOLS_DRAIN          how long running calls may finish at a stop           (default 30s)
  AUXOT_TOOLS_ALLOW_HOSTS    private hosts and ranges that tools may connect to, * for all; by default none:
                             this machine, its network and cloud metadata are refused
  BRAVE_SEARCH_API_KEY       key of the search service, for web_search
  BRAVE_ANSWERS_API_KEY      key of the search service, for web_answers
  AUXOT_TOOLS_<TOOL>__<VAR>  a secret of one tool, which it gets as <VAR>
  AUXOT_TOOLS_DIR            folder of shell tools                                 (default ./tools)
  AUXOT_TOOL_<VAR>           a value that every shell tool gets as <VAR>
  AUXOT_MCP_CONFIG           file that names MCP servers                           (default ./mcp.json, if it is there)
  AUXOT_MCP_ALLOWED          packages and hosts of MCP servers that the router may name, * for all    (default: none)
  AUXOT_MCP_RUNNER           command that runs an MCP server's package             (default npx -y)
  AUXOT_BROWSER_MCP          command of an MCP server that drives a browser, e.g. npx -y @playwright/mcp --headless
                             --isolated; its tools are offered as browser_...      (default: none)
  AUXOT_BRAVE_API_URL        address of the search service                         (default https://api.search.brave.com)
  AUXOT_TOOLS_CODE_THREADS   scripts of code_executor that run at the same time    (default 2)
  AUXOT_TOOLS_HEALTH_PORT    port of http://127.0.0.1:<port>/health                (default: none)
  AUXOT_HEARTBEAT_INTERVAL   a heartbeat this often                                (default 30s)
`;
