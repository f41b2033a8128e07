/**
 * Everything the GPU worker can be told, by flags and by the environment, read once, at start, to one value without gaps.
 * A flag wins over its variable. Defaults are those of the program this one stands in for, unless a comment says otherwise.
 */
import { routerUrl } from '../../protocol/router-url.ts';
import {
  cacheChoices,
  type EmbeddingsChoice,
  embeddingsChoices,
  type MemoryChoice,
  memoryChoiceDefault,
} from '../engine/engine.ts';
import { type LogLevel, logLevels } from './diagnostics.ts';
import { ConfigError, type Env, readChoice, readDurationMs, readInt, readOptional, readString } from './env.ts';
import { type FlagKind, type Flags, UsageError } from './flags.ts';
import { type LlamaServerConfig, readLlamaServerConfig } from './llama-server-config.ts';
import { type ModelsConfig, readModelsConfig } from './models-config.ts';

export const workerFlags = {
  'gpu-key': 'value',
  'router-url': 'value',
  'model-path': 'value',
  'llama-server-path': 'value',
  'mmproj-path': 'value',
  'sd-server-path': 'value',
  debug: 'optional',
  help: 'switch',
  version: 'switch',
} as const satisfies Readonly<Record<string, FlagKind>>;

export interface WorkerConfig {
  readonly routerUrl: string;
  /** Secret; '' only where `readWorkerConfig` was told that none is needed. */
  readonly gpuKey: string;
  /** A GGUF file; `demo` stands for the model that comes with the program. null: the model that the router names. */
  readonly modelPath: string | null;
  readonly llamaServer: LlamaServerConfig;
  /** The program that models which make images run in; null: there is none, and they are refused. */
  readonly sdServerPath: string | null;
  readonly models: ModelsConfig;
  /** null: as many as fit. The reference says 9999 for that, which is understood as well. */
  readonly gpuLayers: number | null;
  /** null: chosen from the model and the machine. */
  readonly threads: number | null;
  readonly embeddings: EmbeddingsChoice;
  readonly memory: MemoryChoice;
  readonly heartbeatMs: number;
  readonly redial: { readonly msMin: number; readonly msMax: number };
  readonly jobMsMax: number;
  /** Where it says on this machine whether it works; null: nowhere. */
  readonly healthPort: number | null;
  /** 1: what happens on the line to the router; 2: and all that is said there. */
  readonly debug: 0 | 1 | 2;
  readonly logLevel: LogLevel;
}

const routerDefault = 'auxot.com';

/** `keyless`: a missing key is no error here. @throws ConfigError */
export function readWorkerConfig(
  env: Env,
  flags: Flags<keyof typeof workerFlags>,
  { keyless = false } = {},
): WorkerConfig {
  const url = routerUrl(flags.value('router-url') ?? readString(env, 'AUXOT_ROUTER_URL', routerDefault), '/ws');
  if (!url.ok) throw new ConfigError('AUXOT_ROUTER_URL', null, url.message, 'Write for example ws://localhost:8080.');
  const gpuKey = flags.value('gpu-key') ?? readOptional(env, 'AUXOT_GPU_KEY') ?? '';
  if (gpuKey === '' && !keyless) {
    const fix = 'Give the key that auxot-router setup printed for workers (adm_…), by --gpu-key or this variable.';
    throw new ConfigError('AUXOT_GPU_KEY', null, 'no key', fix);
  }
  const msMin = readDurationMs(env, 'AUXOT_RECONNECT_DELAY', { fallbackMs: 2000 });
  const msMax = readDurationMs(env, 'AUXOT_RECONNECT_MAX_DELAY', { fallbackMs: 60_000, minMs: 1 });
  if (msMax < msMin) {
    const fix = 'Raise it, or lower AUXOT_RECONNECT_DELAY.';
    throw new ConfigError('AUXOT_RECONNECT_MAX_DELAY', null, 'shorter than AUXOT_RECONNECT_DELAY', fix);
  }
  const gpuLayers = readInt(env, 'AUXOT_GPU_LAYERS', { fallback: 9999, min: 0, max: 9999 });
  const healthPort = readInt(env, 'AUXOT_HEALTH_PORT', { fallback: 0, min: 0, max: 65_535 });
  const debug = debugLevel(flags);
  const threads = readInt(env, 'AUXOT_THREADS', { fallback: 0, min: 0, max: 1024 });
  return {
    routerUrl: url.url,
    gpuKey,
    modelPath: flags.value('model-path') || readOptional(env, 'AUXOT_MODEL_FILE'),
    llamaServer: readLlamaServerConfig(env, {
      path: flags.value('llama-server-path'),
      projectorPath: flags.value('mmproj-path'),
    }),
    sdServerPath: flags.value('sd-server-path') || readOptional(env, 'AUXOT_SD_BINARY'),
    models: readModelsConfig(env),
    gpuLayers: gpuLayers === 9999 ? null : gpuLayers,
    threads: threads === 0 ? null : threads,
    embeddings: readChoice(env, 'AUXOT_EMBEDDINGS', embeddingsChoices, 'auto'),
    memory: {
      check: readChoice(env, 'AUXOT_MEMORY_CHECK', ['on', 'off'], 'on') === 'on',
      contextSizeMin: readInt(env, 'AUXOT_CTX_SIZE_MIN', {
        fallback: memoryChoiceDefault.contextSizeMin,
        min: 256,
        max: 2 ** 24,
      }),
      cacheType: readChoice(env, 'AUXOT_KV_CACHE_TYPE', cacheChoices, memoryChoiceDefault.cacheType),
    },
    heartbeatMs: readDurationMs(env, 'AUXOT_HEARTBEAT_INTERVAL', { fallbackMs: 10_000, minMs: 100 }),
    redial: { msMin, msMax },
    jobMsMax: readDurationMs(env, 'AUXOT_JOB_TIMEOUT', { fallbackMs: 30 * 60_000 }),
    healthPort: healthPort === 0 ? null : healthPort,
    debug,
    logLevel: debug > 0 ? 'debug' : readChoice(env, 'AUXOT_LOG_LEVEL', logLevels, 'info'),
  };
}

/** `--debug` alone means 1. */
function debugLevel(flags: Flags<keyof typeof workerFlags>): 0 | 1 | 2 {
  if (!flags.has('debug')) return 0;
  const level = flags.value('debug') ?? '1';
  if (level !== '1' && level !== '2')
    throw new UsageError(`auxot-worker: --debug takes 1 or 2, not ${JSON.stringify(level)}`);
  return level === '1' ? 1 : 2;
}

export const workerHelp = `auxot-worker: serves a model on this machine to an Auxot router.

Usage: auxot-worker [flags]
       auxot-worker doctor [flags]                         what is wrong here, if anything (doctor --help)
       auxot-worker install | list | uninstall NAME        as a service of this machine (install --help)

  --router-url URL    the router to dial, e.g. ws://localhost:8080   (AUXOT_ROUTER_URL, default ${routerDefault});
                      several routers that share a Redis are separated by commas
  --gpu-key KEY       the workers' key, adm_…                        (AUXOT_GPU_KEY, required)
  --model-path FILE   a GGUF file, or "demo" for the small model
                      that comes with this program                   (AUXOT_MODEL_FILE; default: the model that the
                                                                      router names, fetched if it is not there)
  --llama-server-path FILE
                      a llama-server program to run the model in,
                      for models that see images                     (AUXOT_LLAMA_BINARY; default: the engine of
                                                                      this program, which sees none)
  --mmproj-path FILE  the model's vision encoder, for llama-server   (AUXOT_MMPROJ_FILE; default: the registry's)
  --sd-server-path FILE
                      an sd-server program (stable-diffusion.cpp),
                      for models that make images                    (AUXOT_SD_BINARY; default: they are refused)
  --debug [1|2]       log the frames to and from the router (and AUXOT_LOG_LEVEL=debug); 2: whole, with prompts and
                      answers; keys and credentials are in none
  --help, --version

Environment (a .env file in the current directory is read first; the environment wins over it):

  AUXOT_MODELS_DIR           where fetched models are kept           (default ~/.auxot/models)
  HF_ENDPOINT                the hub that has them                   (default https://huggingface.co)
  HF_TOKEN                   token for models that need one          (none)
  AUXOT_OFFLINE              true: fetch nothing, use what is there  (false)
  AUXOT_DOWNLOAD_CONNECTIONS connections to the hub at once          (default 4)
  AUXOT_REGISTRY_FILE        a registry in the place of the built-in one
  AUXOT_GPU_LAYERS           layers to put on the GPU, 0 for none    (default: as many as fit)
  AUXOT_MEMORY_CHECK         off: load what was asked for, whatever memory is free
                             (default on: fewer slots, then a shorter context, then fewer layers on the GPU, until it fits)
  AUXOT_CTX_SIZE_MIN         how short a context may become for that (default 4096 tokens)
  AUXOT_KV_CACHE_TYPE        f16, q8_0, q4_0, or auto: coarser ones before the context becomes shorter (default f16)
  AUXOT_THREADS              processor threads for the engine        (default 0: chosen from model and machine)
  AUXOT_LLAMA_URL            a llama-server that runs already; no model is fetched and none loaded
  AUXOT_LLAMA_API_KEY        the key that it wants                   (none)
  AUXOT_EMBEDDINGS           also: makes embeddings as well; only: nothing else; never
                             (default auto: models that were made for it make nothing else)
  AUXOT_HEARTBEAT_INTERVAL   a heartbeat this often                  (default 10s)
  AUXOT_RECONNECT_DELAY      shortest wait before dialling again     (default 2s; a new router is dialled at once)
  AUXOT_RECONNECT_MAX_DELAY  longest wait before dialling again      (default 1m)
  AUXOT_JOB_TIMEOUT          longest time one job may run            (default 30m)
  AUXOT_HEALTH_PORT          /healthz and /metrics at this port of 127.0.0.1 (default: none)
  AUXOT_LOG_LEVEL            debug, info, warn or error              (default info)

What kind of worker this is, the router says. For a CLI worker (AUXOT_WORKER_TYPE=cli there) an agent program must be
installed and logged in here:

  CLAUDE_PATH                Claude Code                             (default: claude on the PATH)
  CODEX_PATH                 Codex                                   (default: codex on the PATH)
  CURSOR_AGENT_PATH          Cursor                                  (default: cursor-agent on the PATH)
`;
