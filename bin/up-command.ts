/**
 * `auxot-router up`: a router and a GPU worker on this machine in one command, with keys made on the first run.
 *
 * The keys are kept in `keys.json` in the data directory, readable by the owner only, so that the next run has the same.
 * The worker is a process of its own; it gets its key in its environment, never on its command line.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { openDiagnostics } from '../actors/config/diagnostics.ts';
import { ConfigError, type Env } from '../actors/config/env.ts';
import { parseFlags } from '../actors/config/flags.ts';
import { resolvePolicy } from '../actors/config/model-config.ts';
import { readRouterConfig } from '../actors/config/router-config.ts';
import { generateKey, hashKey } from '../actors/keys/keys.ts';
import { demoModel, demoModelName, openRegistry } from '../registry/load.ts';
import { stopSignal } from './program.ts';
import { type RunningRouter, serveRouter } from './serve.ts';

const help = `Usage: auxot-router up [flags]

Starts a router and a GPU worker on this machine. The first run makes the keys.

  --model MODEL     GGUF file to serve, or a name of the registry, which is fetched (auxot-router models; default
                    AUXOT_MODEL, else the demo model that comes with the program)
  --port N          where to listen (default AUXOT_PORT, else 8080)
  --no-worker       only the router; prints how to start a worker
  -h, --help        this text

Everything else is configured as for the router: see auxot-router help.
`;

interface Keys {
  readonly gpuKey: string;
  readonly apiKey: string;
  readonly adminHash: string;
  readonly apiHash: string;
}

/** A worker that ends is started again after this long, twice as long each time up to the second figure, ms. */
const restartMinMs = 1000;
const restartMaxMs = 30_000;
/** How often to look whether the worker serves, ms. */
const lookMs = 50;
/** The router's grace, and then the worker's. */
const stopGraceMs = 9000;
const workerStopMs = 5000;

const say = (text: string): void => void process.stdout.write(`auxot: ${text}\n`);

export async function up(args: readonly string[], given: Env): Promise<number> {
  const flags = parseFlags('auxot-router up', args, {
    model: 'value',
    port: 'value',
    'no-worker': 'switch',
    help: 'switch',
  });
  if (flags.has('help')) {
    process.stdout.write(help);
    return 0;
  }
  const model = modelOf(flags.value('model'), given.AUXOT_MODEL);
  const dataDir = given.AUXOT_DATA_DIR || '.auxot';
  const keys = await keysFor(given, dataDir);
  const read = readRouterConfig({
    ...given,
    AUXOT_DATA_DIR: dataDir,
    AUXOT_ADMIN_KEY_HASH: keys.adminHash,
    AUXOT_API_KEY_HASH: keys.apiHash,
    AUXOT_MODEL: model.name,
    AUXOT_MAX_PARALLEL: given.AUXOT_MAX_PARALLEL || '4',
    AUXOT_LOG_LEVEL: given.AUXOT_LOG_LEVEL || 'warn',
    ...(model.contextSize === undefined || given.AUXOT_CTX_SIZE ? {} : { AUXOT_CTX_SIZE: String(model.contextSize) }),
    ...(flags.has('port') ? { AUXOT_PORT: flags.value('port') } : {}),
  });
  const { policy } =
    model.path === null ? resolvePolicy(read.policy, () => openRegistry(read.policy.registryFile)) : read;
  const config = { ...read, policy };
  const router = await serveRouter(config, openDiagnostics({ level: config.logLevel }));
  say(`router listens on ${router.url}${router.recovered > 0 ? `; ${router.recovered} unfinished jobs taken up` : ''}`);
  const stopped = stopSignal();
  const worker = flags.has('no-worker') ? null : superviseWorker(router, keys.gpuKey, model.path, given);
  if (worker === null)
    say(
      `start a worker with: AUXOT_GPU_KEY=${keys.gpuKey} auxot-worker --router-url ws://localhost:${router.port}${model.path === null ? '' : ` --model-path ${model.path}`}`,
    );
  const greeting =
    worker === null
      ? undefined
      : setInterval(() => {
          if (!router.served()) return;
          clearInterval(greeting);
          welcome(router, keys.apiKey, config.policy.model);
        }, lookMs);
  const signal = await Promise.race([stopped, router.asked, router.failed]);
  clearInterval(greeting);
  say(`${signal}: finishing what runs (again to stop at once)`);
  await router.stop(stopGraceMs);
  await worker?.stop();
  say('stopped');
  return 0;
}

/** A file, the demo model, or a name of the registry: then the worker fetches it, and has no path of its own. */
function modelOf(flag: string | undefined, named: string | undefined) {
  const asked = flag ?? (named || demoModelName);
  if (asked === demoModelName) return demoModel();
  if (!existsSync(asked) && !/\.gguf$/i.test(asked)) return { path: null, name: asked, contextSize: undefined };
  // With a file of a flag, the variable says what callers call it.
  return { path: resolve(asked), name: (flag !== undefined && named) || nameOf(asked), contextSize: undefined };
}

function welcome({ url }: RunningRouter, apiKey: string, model: string): void {
  const body = JSON.stringify({ model, stream: true, temperature: 0, messages: [{ role: 'user', content: 'hello!' }] });
  process.stdout.write(`
  OpenAI base URL   ${url}/v1   (also ${url}/api/openai)
  API key           ${apiKey}
  model             ${model}

  Try it:
curl -N ${url}/v1/chat/completions -H 'Authorization: Bearer ${apiKey}' -H 'Content-Type: application/json' -d '${body}'

`);
}

/** The keys of the environment when it has them whole, else those of the data directory, made when there are none. */
async function keysFor(env: Env, dataDir: string): Promise<Keys> {
  const {
    AUXOT_ADMIN_KEY_HASH: adminHash,
    AUXOT_API_KEY_HASH: apiHash,
    AUXOT_GPU_KEY: gpuKey,
    AUXOT_API_KEY: apiKey,
  } = env;
  if (adminHash || apiHash) {
    if (!adminHash || !apiHash) {
      const variable = adminHash ? 'AUXOT_API_KEY_HASH' : 'AUXOT_ADMIN_KEY_HASH';
      throw new ConfigError(
        variable,
        null,
        'not set, while the other key hash is',
        'Set both, or neither to let "up" make keys.',
      );
    }
    if (!gpuKey)
      throw new ConfigError(
        'AUXOT_GPU_KEY',
        null,
        'not set, while AUXOT_ADMIN_KEY_HASH is',
        'Set the key itself, for the local worker, or unset both hashes to let "up" make keys.',
      );
    return { adminHash, apiHash, gpuKey, apiKey: apiKey || '<your API key>' };
  }
  const file = join(dataDir, 'keys.json');
  const kept = readKeys(file);
  if (kept !== null) return kept;
  say('first run: making keys');
  const made = { gpuKey: generateKey('admin'), apiKey: generateKey('api') };
  const keys = { ...made, adminHash: await hashKey(made.gpuKey), apiHash: await hashKey(made.apiKey) };
  mkdirSync(dataDir, { recursive: true, mode: 0o700 });
  writeFileSync(file, `${JSON.stringify(keys, null, 2)}\n`, { mode: 0o600, flag: 'wx' });
  say(`keys are in ${file}, readable by you only`);
  return keys;
}

function readKeys(file: string): Keys | null {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return null;
    throw error;
  }
  const broken = new Error(`${file} does not hold the keys any more. Restore it, or delete it to make new keys.`);
  try {
    const keys: unknown = JSON.parse(text);
    if (typeof keys !== 'object' || keys === null) throw broken;
    const { gpuKey, apiKey, adminHash, apiHash } = keys as Partial<Keys>;
    if (!gpuKey || !apiKey || !adminHash || !apiHash) throw broken;
    return { gpuKey, apiKey, adminHash, apiHash };
  } catch {
    // JSON.parse's own message would quote the file, and with it a key.
    throw broken;
  }
}

/** Keeps a worker process running. */
function superviseWorker(router: RunningRouter, gpuKey: string, modelPath: string | null, env: Env) {
  const source = import.meta.url.endsWith('.ts');
  const program = fileURLToPath(new URL(source ? './worker.ts' : './worker.js', import.meta.url));
  let child: ChildProcess | null = null;
  let restart: NodeJS.Timeout | null = null;
  let stopping = false;
  let waitMs = restartMinMs;

  function start(): void {
    say(
      modelPath === null
        ? 'worker starts, fetches the model if need be and loads it'
        : 'worker starts and loads the model',
    );
    child = spawn(
      process.execPath,
      [
        ...(source ? ['--import', 'tsx'] : []),
        program,
        '--router-url',
        `ws://127.0.0.1:${router.port}`,
        ...(modelPath === null ? [] : ['--model-path', modelPath]),
      ],
      {
        stdio: ['ignore', 'pipe', 'inherit'],
        env: { ...process.env, ...env, AUXOT_GPU_KEY: gpuKey, AUXOT_LOG_LEVEL: env.AUXOT_LOG_LEVEL || 'info' },
      },
    );
    if (child.stdout !== null) createInterface({ input: child.stdout }).on('line', line => heard(line));
    child.on('error', error => say(`the worker cannot be started: ${error.message}`));
    child.on('exit', (code, signal) => {
      child = null;
      if (stopping) return;
      say(`the worker ended (${signal ?? `status ${code}`}); it is started again in ${waitMs / 1000} s`);
      restart = setTimeout(start, waitMs);
      waitMs = Math.min(waitMs * 2, restartMaxMs);
    });
  }

  /** The worker's diagnostics, one JSON object a line: told in short. */
  function heard(line: string): void {
    say(`worker: ${messageOf(line)}`);
    if (router.served()) waitMs = restartMinMs;
  }

  start();
  return {
    async stop(): Promise<void> {
      stopping = true;
      if (restart !== null) clearTimeout(restart);
      const running = child;
      if (running === null) return;
      const ended = new Promise<void>(resolve => running.once('exit', () => resolve()));
      running.kill('SIGTERM');
      const late = setTimeout(() => running.kill('SIGKILL'), workerStopMs);
      await ended;
      clearTimeout(late);
    },
  };
}

function messageOf(line: string): string {
  try {
    const record: unknown = JSON.parse(line);
    if (typeof record === 'object' && record !== null && 'msg' in record) return String(record.msg);
  } catch {
    // Not a record: shown as it is.
  }
  return line;
}

const nameOf = (path: string): string => path.replace(/^.*[/\\]/, '').replace(/\.gguf$/i, '');
