/**
 * Everything the router can be told, read from the environment once, at start, to one value without gaps.
 *
 * Defaults are those of the program this one stands in for, unless a comment says otherwise. The first thing wrong
 * throws a ConfigError; nothing is corrected silently.
 */
import { availableParallelism } from 'node:os';
import { resolve } from 'node:path';
import { PhcError, parsePhc } from '../keys/phc.ts';
import type { KeyHashes } from '../keys/verifier.ts';
import { type LogLevel, logLevels, maskUrl } from './diagnostics.ts';
import {
  ConfigError,
  type Env,
  readBytes,
  readChoice,
  readDurationMs,
  readFlag,
  readInt,
  readList,
  readOptional,
  readString,
} from './env.ts';

export type Fsync = 'always' | 'everysec' | 'no';

export type StoreConfig =
  /** `replicas` of the server must have a write before it counts. */
  | { readonly kind: 'redis'; readonly url: string; readonly replicas: number }
  /** `dataDir` is absolute. */
  | { readonly kind: 'embedded'; readonly dataDir: string; readonly fsync: Fsync }
  /** Nothing on disk: every job is lost when the process ends. */
  | { readonly kind: 'memory' };

/** What workers are told to run. In `gpu` mode the model is still a name, to be looked up in the registry: model-config.ts. */
export interface PolicyConfig {
  readonly mode: 'gpu' | 'cli';
  readonly model: string;
  readonly quantization: string | null;
  readonly ctxSize: number;
  /** Slots of a worker that does not announce its own number. */
  readonly maxParallel: number;
  readonly cliType: 'claude' | 'codex' | 'cursor';
  /** The CLI program's own tools; the single item `default` means all. */
  readonly cliTools: readonly string[];
  readonly registryFile: string | null;
  /** What the model can do, for workers and for the list of models. */
  readonly capabilities: readonly string[];
  /** The longest context that the model was made for; null: not known. */
  readonly contextMax: number | null;
}

export interface RouterConfig {
  readonly host: string;
  /** 0: any free port. */
  readonly port: number;
  readonly keyHashes: KeyHashes & { readonly admin: string; readonly api: string };
  readonly authCacheTtlMs: number;
  readonly store: StoreConfig;
  readonly logRetentionMs: number;
  readonly shards: number;
  readonly policy: PolicyConfig;
  readonly jobTimeoutMs: number;
  readonly queueTimeoutMs: number;
  readonly maxQueue: number;
  readonly maxConnections: number;
  readonly maxWorkers: number;
  readonly maxBodyBytes: number;
  readonly streamKeepaliveMs: number;
  readonly heartbeatIntervalMs: number;
  /** 0: a worker is never declared dead for silence alone. */
  readonly deadWorkerTimeoutMs: number;
  /** How long a job waits for its lost worker to dial in again before it is failed for want of any slot. */
  readonly redialGraceMs: number;
  /** How long a job goes on when its caller has gone. */
  readonly callerGraceMs: number;
  readonly allowedTools: readonly string[];
  /** By tool name, then by variable name. Secrets: these go to tools workers and nowhere else. */
  readonly toolCredentials: Readonly<Record<string, Readonly<Record<string, string>>>>;
  /** After so many rounds of tool calls a model must answer. */
  readonly toolRounds: number;
  /** How long the tool calls of one round may take. */
  readonly toolTimeoutMs: number;
  readonly mcpExposeLlm: boolean;
  readonly corsOrigins: readonly string[];
  readonly modelAliases: readonly string[];
  readonly strictParams: boolean;
  readonly logLevel: LogLevel;
}

export function readRouterConfig(env: Env): RouterConfig {
  const jobTimeoutMs = readDurationMs(env, 'AUXOT_JOB_TIMEOUT', { fallbackMs: 5 * 60_000 });
  return {
    host: readHost(env),
    port: readInt(env, 'AUXOT_PORT', { fallback: 8080, min: 0, max: 65_535 }),
    keyHashes: {
      admin: readHash(env, 'AUXOT_ADMIN_KEY_HASH') ?? missing('AUXOT_ADMIN_KEY_HASH'),
      api: readHash(env, 'AUXOT_API_KEY_HASH') ?? missing('AUXOT_API_KEY_HASH'),
      tools: readHash(env, 'AUXOT_TOOLS_KEY_HASH'),
    },
    authCacheTtlMs: readDurationMs(env, 'AUXOT_AUTH_CACHE_TTL', { fallbackMs: 5 * 60_000 }),
    store: readStore(env),
    // Ours: how long a finished job can still be resumed, replayed and fetched.
    logRetentionMs: readDurationMs(env, 'AUXOT_LOG_RETENTION', {
      fallbackMs: 60 * 60_000,
      minMs: 1000,
      maxMs: 365 * 24 * 60 * 60_000,
    }),
    // Ours: one core is left to the front, which owns every socket.
    shards: readInt(env, 'AUXOT_SHARDS', { fallback: Math.max(1, availableParallelism() - 1), min: 1, max: 256 }),
    policy: readPolicy(env),
    jobTimeoutMs,
    queueTimeoutMs: readDurationMs(env, 'AUXOT_QUEUE_TIMEOUT', { fallbackMs: jobTimeoutMs }),
    maxQueue: readInt(env, 'AUXOT_MAX_QUEUE', { fallback: 1000, min: 1, max: 10_000_000 }),
    maxConnections: readInt(env, 'AUXOT_MAX_CONNECTIONS', { fallback: 20_000, min: 1, max: 10_000_000 }),
    maxWorkers: readInt(env, 'AUXOT_MAX_WORKERS', { fallback: 1024, min: 1, max: 1_000_000 }),
    maxBodyBytes: readBytes(env, 'AUXOT_MAX_BODY', { fallbackBytes: 2 ** 25, minBytes: 2 ** 10, maxBytes: 2 ** 30 }),
    streamKeepaliveMs: readDurationMs(env, 'AUXOT_STREAM_KEEPALIVE', { fallbackMs: 15_000 }),
    heartbeatIntervalMs: readDurationMs(env, 'AUXOT_HEARTBEAT_INTERVAL', { fallbackMs: 15_000 }),
    deadWorkerTimeoutMs: readDurationMs(env, 'AUXOT_DEAD_WORKER_TIMEOUT', { fallbackMs: 45_000, minMs: 0 }),
    redialGraceMs: readDurationMs(env, 'AUXOT_REDIAL_GRACE', { fallbackMs: 15_000, minMs: 0 }),
    callerGraceMs: readDurationMs(env, 'AUXOT_CALLER_GRACE', { fallbackMs: 0, minMs: 0, maxMs: 10 * 60_000 }),
    allowedTools: readList(env, 'AUXOT_ALLOWED_TOOLS'),
    toolCredentials: readToolCredentials(env),
    // Ours: a model that calls tools for ever must end somewhere.
    toolRounds: readInt(env, 'AUXOT_TOOL_ROUNDS', { fallback: 16, min: 1, max: 1000 }),
    toolTimeoutMs: readDurationMs(env, 'AUXOT_TOOL_TIMEOUT', { fallbackMs: 2 * 60_000 }),
    mcpExposeLlm: readFlag(env, 'AUXOT_MCP_EXPOSE_LLM'),
    corsOrigins: readOrigins(env),
    modelAliases: readList(env, 'AUXOT_MODEL_ALIASES'),
    strictParams: readFlag(env, 'AUXOT_STRICT_PARAMS'),
    logLevel: readChoice(env, 'AUXOT_LOG_LEVEL', logLevels, 'info'),
  };
}

function missing(variable: string): never {
  throw new ConfigError(variable, null, 'required, and not set', 'Run "auxot-router setup" to make keys.');
}

/** The value is not shown: it is not a key, but it is nobody's business either. */
function readHash(env: Env, variable: string): string | null {
  const text = readOptional(env, variable);
  if (text === null) return null;
  try {
    parsePhc(text);
    return text;
  } catch (error) {
    if (!(error instanceof PhcError)) throw error;
    const fix = /^['"]/.test(text)
      ? 'The quotes have become part of the value: where this variable is set, write the hash without them.'
      : `In .env put it in single quotes, ${variable}='$argon2id$…': anywhere else "$" may be expanded and parts of the hash lost. Or make a new key with "auxot-router setup".`;
    throw new ConfigError(variable, null, `not a usable key hash: ${error.message}`, fix);
  }
}

/** An IPv6 address may be written with brackets or without. */
function readHost(env: Env): string {
  const text = readString(env, 'AUXOT_HOST', '0.0.0.0');
  const host = /^\[(.*)\]$/.exec(text)?.[1] ?? text;
  if (!/^[A-Za-z0-9._:%-]+$/.test(host))
    throw new ConfigError('AUXOT_HOST', text, 'not an address to listen on', 'Write an IP address or a host name.');
  return host;
}

function readStore(env: Env): StoreConfig {
  const url = readOptional(env, 'AUXOT_REDIS_URL');
  const fsync = readChoice(env, 'AUXOT_FSYNC', ['always', 'everysec', 'no'] as const, 'everysec');
  if (url !== null) {
    const scheme = URL.canParse(url) ? new URL(url).protocol : '';
    if (!['redis:', 'rediss:', 'unix:'].includes(scheme)) {
      const fix = 'Write redis://[user:password@]host[:port][/db], rediss://… for TLS, or unix:///path/to/socket.';
      throw new ConfigError('AUXOT_REDIS_URL', maskUrl(url), 'not a Redis URL', fix);
    }
    return { kind: 'redis', url, replicas: readInt(env, 'AUXOT_REDIS_WAIT', { fallback: 0, min: 0, max: 16 }) };
  }
  const dataDir = readString(env, 'AUXOT_DATA_DIR', '.auxot');
  if (dataDir === ':memory:') return { kind: 'memory' };
  if (dataDir.includes('\0'))
    throw new ConfigError('AUXOT_DATA_DIR', dataDir, 'not a path', 'Write the path of a folder.');
  return { kind: 'embedded', dataDir: resolve(dataDir), fsync };
}

const cliCtxSize = 200_000;
const gpuCtxSize = 131_072;

function readPolicy(env: Env): PolicyConfig {
  const mode = readChoice(env, 'AUXOT_WORKER_TYPE', ['gpu', 'cli'] as const, 'gpu');
  const cli = mode === 'cli';
  const ctxSize = readInt(env, 'AUXOT_CTX_SIZE', { fallback: gpuCtxSize, min: cli ? 0 : 1, max: 100_000_000 });
  return {
    mode,
    model: readString(env, 'AUXOT_MODEL', cli ? '' : 'Qwen3.5-35B-A3B'),
    quantization: readOptional(env, 'AUXOT_QUANTIZATION'),
    ctxSize: cli && (ctxSize === 0 || ctxSize === gpuCtxSize) ? cliCtxSize : ctxSize,
    maxParallel: readInt(env, 'AUXOT_MAX_PARALLEL', { fallback: cli ? 1 : 2, min: 1, max: 1024 }),
    cliType: readChoice(env, 'AUXOT_CLI_TYPE', ['claude', 'codex', 'cursor'] as const, 'claude'),
    cliTools: readList(env, 'AUXOT_CLI_TOOLS'),
    registryFile: readOptional(env, 'AUXOT_REGISTRY_FILE'),
    capabilities: cli ? ['chat', 'reasoning', 'code'] : ['chat'],
    contextMax: null,
  };
}

/** `AUXOT_TOOLS_WEB_SEARCH__API_KEY=x` is the credential API_KEY of the tool web_search. Empty values are kept. */
function readToolCredentials(env: Env): Record<string, Record<string, string>> {
  const tools = new Map<string, Map<string, string>>();
  for (const [variable, value] of Object.entries(env)) {
    if (!variable.startsWith('AUXOT_TOOLS_') || value === undefined) continue;
    const [, tool, name] = /^((?:(?!__).)+)__(.+)$/s.exec(variable.slice('AUXOT_TOOLS_'.length)) ?? [];
    if (tool === undefined || name === undefined) continue;
    const own = tools.get(tool.toLowerCase()) ?? new Map<string, string>();
    tools.set(tool.toLowerCase(), own.set(name, value));
  }
  return Object.fromEntries([...tools].map(([tool, own]) => [tool, Object.fromEntries(own)]));
}

function readOrigins(env: Env): readonly string[] {
  const origins = readList(env, 'AUXOT_CORS_ORIGINS');
  for (const origin of origins)
    if (origin !== '*' && !(URL.canParse(origin) && new URL(origin).origin === origin.toLowerCase())) {
      const fix = 'Write origins such as https://app.example.com, separated by commas, or * for any.';
      throw new ConfigError('AUXOT_CORS_ORIGINS', origin, 'not an origin', fix);
    }
  return origins;
}
