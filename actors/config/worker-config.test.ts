import { homedir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { ConfigError, type Env } from './env.ts';
import { parseFlags, UsageError } from './flags.ts';
import { readWorkerConfig, workerFlags, workerHelp } from './worker-config.ts';

const read = (args: readonly string[], env: Env = {}) =>
  readWorkerConfig(env, parseFlags('auxot-worker', args, workerFlags));
const needed = ['--gpu-key', 'adm_k', '--model-path', 'demo'];

function refusal(args: readonly string[], env: Env = {}): ConfigError {
  try {
    read(args, env);
  } catch (error) {
    if (error instanceof ConfigError) return error;
    throw error;
  }
  throw new Error('it was accepted');
}

test('the defaults are those of the reference', () => {
  assert.equal(read(needed), {
    routerUrl: 'wss://auxot.com/ws',
    gpuKey: 'adm_k',
    modelPath: 'demo',
    llamaServer: null,
    sdServerPath: null,
    models: {
      folder: join(homedir(), '.auxot', 'models'),
      hub: { endpoint: 'https://huggingface.co', token: null, idleMs: 60_000 },
      offline: false,
      connections: 4,
      registryFile: null,
    },
    gpuLayers: null,
    threads: null,
    embeddings: 'auto',
    memory: { check: true, contextSizeMin: 4096, cacheType: 'f16' },
    heartbeatMs: 10_000,
    redial: { msMin: 2000, msMax: 60_000 },
    jobMsMax: 1_800_000,
    healthPort: null,
    debug: 0,
    logLevel: 'info',
  });
});

test('a flag wins over its variable', () => {
  const env = {
    AUXOT_ROUTER_URL: 'ws://a:1',
    AUXOT_GPU_KEY: 'adm_e',
    AUXOT_MODEL_FILE: 'e.gguf',
    AUXOT_LOG_LEVEL: 'warn',
  };
  const fromEnv = read([], env);
  assert.equal(
    [fromEnv.routerUrl, fromEnv.gpuKey, fromEnv.modelPath, fromEnv.logLevel],
    ['ws://a:1/ws', 'adm_e', 'e.gguf', 'warn'],
  );
  const both = read(['--router-url=http://b:2', ...needed, '--debug'], env);
  assert.equal([both.routerUrl, both.gpuKey, both.modelPath, both.logLevel], ['ws://b:2/ws', 'adm_k', 'demo', 'debug']);
});

test('0 threads and 9999 layers mean: choose', () => {
  const config = read(needed, { AUXOT_THREADS: '0', AUXOT_GPU_LAYERS: '9999' });
  assert.equal([config.threads, config.gpuLayers], [null, null]);
  const fixed = read(needed, { AUXOT_THREADS: '3', AUXOT_GPU_LAYERS: '0' });
  assert.equal([fixed.threads, fixed.gpuLayers], [3, 0]);
});

test('what is wrong or missing is named', () => {
  const cases: readonly (readonly [readonly string[], Env, string])[] = [
    [[], {}, 'AUXOT_GPU_KEY'],
    [needed, { HF_ENDPOINT: 'huggingface' }, 'HF_ENDPOINT'],
    [needed, { HF_ENDPOINT: 'https://me:secret@hub' }, 'HF_ENDPOINT'],
    [needed, { HF_TOKEN: 'two words' }, 'HF_TOKEN'],
    [needed, { AUXOT_OFFLINE: 'maybe' }, 'AUXOT_OFFLINE'],
    [needed, { AUXOT_DOWNLOAD_CONNECTIONS: '0' }, 'AUXOT_DOWNLOAD_CONNECTIONS'],
    [needed, { AUXOT_THREADS: 'two' }, 'AUXOT_THREADS'],
    [needed, { AUXOT_GPU_LAYERS: '-1' }, 'AUXOT_GPU_LAYERS'],
    [needed, { AUXOT_JOB_TIMEOUT: '30' }, 'AUXOT_JOB_TIMEOUT'],
    [needed, { AUXOT_RECONNECT_DELAY: '2m' }, 'AUXOT_RECONNECT_MAX_DELAY'],
    [needed, { AUXOT_LOG_LEVEL: 'loud' }, 'AUXOT_LOG_LEVEL'],
    [['--router-url=ftp://x', ...needed], {}, 'AUXOT_ROUTER_URL'],
    [needed, { AUXOT_LLAMA_URL: 'gpu-box:8080' }, 'AUXOT_LLAMA_URL'],
    [['--llama-server-path=/a', ...needed], { AUXOT_LLAMA_URL: 'http://gpu-box' }, 'AUXOT_LLAMA_URL'],
    [['--mmproj-path=/a', ...needed], {}, 'AUXOT_MMPROJ_FILE'],
  ];
  for (const [args, env, variable] of cases) assert.is(refusal(args, env).variable, variable);
  assert.throws(
    () => read([...needed, '--debug=7']),
    (error: unknown) => error instanceof UsageError,
  );
});

test('a llama-server is one that runs, or a program to start', () => {
  assert.is(read(needed).llamaServer, null);
  assert.equal(read(needed, { AUXOT_LLAMA_URL: 'http://gpu-box:8080', AUXOT_LLAMA_API_KEY: 'k' }).llamaServer, {
    kind: 'running',
    url: 'http://gpu-box:8080',
    apiKey: 'k',
  });
  const program = { kind: 'program', path: '/a', projectorPath: '/b' };
  assert.equal(read(['--llama-server-path=/a', '--mmproj-path=/b', ...needed]).llamaServer, program);
  assert.equal(read(needed, { AUXOT_LLAMA_BINARY: '/a', AUXOT_MMPROJ_FILE: '/b' }).llamaServer, program);
});

test('a program that makes images is named by flag or variable', () => {
  assert.is(read(['--sd-server-path=/a', ...needed], { AUXOT_SD_BINARY: '/b' }).sdServerPath, '/a');
  assert.is(read(needed, { AUXOT_SD_BINARY: '/b' }).sdServerPath, '/b');
});

test('the help names every flag, and no message shows the key', () => {
  for (const name of Object.keys(workerFlags)) assert.match(workerHelp, `--${name}`);
  assert.not.match(refusal(['--gpu-key=adm_secret', '--router-url=ftp://x']).message, 'adm_secret');
});

test.run();
