import fc from 'fast-check';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { parseDotenv } from './dotenv-file.ts';
import { ConfigError, type Env } from './env.ts';
import { readRouterConfig } from './router-config.ts';

const hash = '$argon2id$v=19$m=65536,t=3,p=4$AAECAwQFBgcICQoLDA0ODw$I8jhLgl/jZENuvZmuKdZPDmHD0H5CCSVF/067VVZlao';
const keys = { AUXOT_ADMIN_KEY_HASH: hash, AUXOT_API_KEY_HASH: hash };
const config = (env: Env) => readRouterConfig({ ...keys, ...env });

const problem = (env: Env): ConfigError => {
  try {
    readRouterConfig(env);
  } catch (error) {
    assert.instance(error, ConfigError, String(error));
    return error as ConfigError;
  }
  throw new Error('no ConfigError');
};

test('with only the two hashes set, a drop-in user gets the known defaults', () => {
  const { shards, store, ...rest } = config({});
  assert.ok(shards >= 1);
  assert.is(store.kind, 'embedded');
  assert.equal(rest, {
    host: '0.0.0.0',
    port: 8080,
    keyHashes: { admin: hash, api: hash, tools: null },
    authCacheTtlMs: 300_000,
    logRetentionMs: 3_600_000,
    policy: {
      mode: 'gpu',
      model: 'Qwen3.5-35B-A3B',
      quantization: null,
      ctxSize: 131_072,
      maxParallel: 2,
      cliType: 'claude',
      cliTools: [],
      registryFile: null,
      capabilities: ['chat'],
      contextMax: null,
    },
    jobTimeoutMs: 300_000,
    queueTimeoutMs: 300_000,
    maxQueue: 1000,
    maxConnections: 20_000,
    maxWorkers: 1024,
    maxBodyBytes: 33_554_432,
    streamKeepaliveMs: 15_000,
    heartbeatIntervalMs: 15_000,
    deadWorkerTimeoutMs: 45_000,
    redialGraceMs: 15_000,
    callerGraceMs: 0,
    allowedTools: [],
    toolCredentials: {},
    toolRounds: 16,
    toolTimeoutMs: 120_000,
    mcpExposeLlm: false,
    corsOrigins: [],
    modelAliases: [],
    strictParams: false,
    logLevel: 'info',
  });
});

test('CF1: the admin hash is missed first, then the API hash, and setup is named', () => {
  assert.match(problem({}).message, /^AUXOT_ADMIN_KEY_HASH: required.*auxot-router setup/);
  assert.match(problem({ AUXOT_ADMIN_KEY_HASH: hash }).message, /^AUXOT_API_KEY_HASH: required/);
  assert.is(problem({ AUXOT_ADMIN_KEY_HASH: '', AUXOT_API_KEY_HASH: hash }).variable, 'AUXOT_ADMIN_KEY_HASH');
});

test('CF4: CLI mode has its own context size and parallelism', () => {
  const cli = (env: Env) => config({ AUXOT_WORKER_TYPE: 'cli', ...env }).policy;
  assert.is(cli({}).maxParallel, 1);
  assert.is(cli({}).model, '');
  for (const AUXOT_CTX_SIZE of ['', '0', '131072']) assert.is(cli({ AUXOT_CTX_SIZE }).ctxSize, 200_000);
  assert.is(cli({ AUXOT_CTX_SIZE: '1000' }).ctxSize, 1000);
  assert.is(problem({ ...keys, AUXOT_CTX_SIZE: '0' }).variable, 'AUXOT_CTX_SIZE');
});

test('CF6: tool credentials are found by their variables', () => {
  const { toolCredentials } = config({
    AUXOT_TOOLS_WEB_SEARCH__BRAVE_SEARCH_API_KEY: 'b',
    AUXOT_TOOLS_WEB_SEARCH__EMPTY: '',
    AUXOT_TOOLS_X__A__B: '1',
    AUXOT_TOOLS_KEY_HASH: hash,
    AUXOT_TOOLS_NOTHING: 'x',
    AUXOT_TOOLS___NO_TOOL: 'x',
    AUXOT_TOOLS_NO_NAME__: 'x',
    AUXOT_TOOLS___PROTO____POLLUTED: 'x',
    OTHER_TOOLS_A__B: 'x',
  });
  assert.equal(toolCredentials, { web_search: { BRAVE_SEARCH_API_KEY: 'b', EMPTY: '' }, x: { A__B: '1' } });
});

test('CF8: a hash damaged by expansion is refused, with the cure and without the hash', () => {
  const damaged = parseDotenv(`AUXOT_ADMIN_KEY_HASH=${hash}`).get('AUXOT_ADMIN_KEY_HASH') ?? '';
  assert.is.not(damaged, hash);
  for (const [variable, value] of [
    ['AUXOT_ADMIN_KEY_HASH', damaged],
    ['AUXOT_TOOLS_KEY_HASH', 'adm_a-plain-key-by-mistake'],
    ['AUXOT_API_KEY_HASH', hash.replace('argon2id', 'argon2i')],
  ] as const) {
    const { message } = problem({ ...keys, [variable]: value });
    assert.ok(message.startsWith(`${variable}: not a usable key hash`), message);
    assert.ok(message.includes('single quotes') && !message.includes(value), message);
  }
});

test('CF8: quotes that became part of a hash are told apart from damage', () => {
  assert.match(problem({ ...keys, AUXOT_API_KEY_HASH: `'${hash}'` }).message, /quotes have become part of the value/);
});

test('CF9: senseless numbers are refused', () => {
  for (const [variable, value] of [
    ['AUXOT_HEARTBEAT_INTERVAL', '0'],
    ['AUXOT_HEARTBEAT_INTERVAL', '-5s'],
    ['AUXOT_JOB_TIMEOUT', '0'],
    ['AUXOT_AUTH_CACHE_TTL', '5'],
    ['AUXOT_PORT', '70000'],
    ['AUXOT_MAX_PARALLEL', '0'],
    ['AUXOT_SHARDS', '0'],
    ['AUXOT_MAX_QUEUE', '-1'],
    ['AUXOT_MAX_BODY', '0'],
    ['AUXOT_LOG_RETENTION', '1ms'],
    ['AUXOT_FSYNC', 'sometimes'],
    ['AUXOT_LOG_LEVEL', 'INFO'],
    ['AUXOT_MCP_EXPOSE_LLM', 'yes'],
    ['AUXOT_CORS_ORIGINS', 'https://ok.example, example.com'],
    ['AUXOT_HOST', 'two words'],
  ] as const)
    assert.is(problem({ ...keys, [variable]: value }).variable, variable, `${variable}=${value}`);
  assert.is(config({ AUXOT_DEAD_WORKER_TIMEOUT: '0' }).deadWorkerTimeoutMs, 0, '0: never');
});

test('CF9, CF10: the store is Redis by a sound URL, and a password is never shown', () => {
  const url = 'rediss://user:s3cret@db:6380/1';
  assert.equal(config({ AUXOT_REDIS_URL: url }).store, { kind: 'redis', url, replicas: 0 });
  for (const bad of ['http://user:s3cret@db', 'db:6379', 's3cret', '//user:s3cret@db']) {
    const { variable, message } = problem({ ...keys, AUXOT_REDIS_URL: bad });
    assert.is(variable, 'AUXOT_REDIS_URL');
    assert.not.match(message, /s3cret/);
  }
  assert.equal(config({ AUXOT_DATA_DIR: ':memory:' }).store, { kind: 'memory' });
  const embedded = config({ AUXOT_DATA_DIR: 'x/y', AUXOT_FSYNC: 'always' }).store;
  assert.ok(embedded.kind === 'embedded' && embedded.fsync === 'always' && embedded.dataDir.endsWith('y'));
});

test('an IPv6 address may have brackets; the queue waits as long as a job may take', () => {
  assert.is(config({ AUXOT_HOST: '[::1]' }).host, '::1');
  assert.is(config({ AUXOT_HOST: '::1' }).host, '::1');
  assert.is(config({ AUXOT_JOB_TIMEOUT: '30s' }).queueTimeoutMs, 30_000);
  assert.is(config({ AUXOT_JOB_TIMEOUT: '30s', AUXOT_QUEUE_TIMEOUT: '1m' }).queueTimeoutMs, 60_000);
});

const variables = [
  ...['PORT', 'HOST', 'REDIS_URL', 'ADMIN_KEY_HASH', 'API_KEY_HASH', 'TOOLS_KEY_HASH', 'ALLOWED_TOOLS', 'MODEL'],
  ...['QUANTIZATION', 'CTX_SIZE', 'MAX_PARALLEL', 'WORKER_TYPE', 'CLI_TYPE', 'CLI_TOOLS', 'HEARTBEAT_INTERVAL'],
  ...['DEAD_WORKER_TIMEOUT', 'JOB_TIMEOUT', 'AUTH_CACHE_TTL', 'MCP_EXPOSE_LLM', 'REGISTRY_FILE', 'LOG_LEVEL'],
  ...['MAX_BODY', 'MAX_QUEUE', 'QUEUE_TIMEOUT', 'STREAM_KEEPALIVE', 'CORS_ORIGINS', 'MODEL_ALIASES', 'STRICT_PARAMS'],
  ...['DATA_DIR', 'LOG_RETENTION', 'FSYNC', 'SHARDS', 'REDIAL_GRACE', 'CALLER_GRACE', 'TOOLS_A__B'],
].map(name => `AUXOT_${name}`);

/** No number is NaN or endless, no gap is left: what code behind the configuration may rely on. */
function assertSound(value: unknown, path: string): void {
  if (typeof value === 'number') assert.ok(Number.isSafeInteger(value) && value >= 0, `${path} is ${value}`);
  else if (typeof value === 'object' && value !== null)
    for (const [name, part] of Object.entries(value)) assertSound(part, `${path}.${name}`);
  else assert.is.not(value, undefined, path);
}

test('garbage in any variable is a ConfigError that names it, or a sound value', () => {
  const garbage = fc.oneof(
    fc.string(),
    fc.string({ unit: 'binary' }),
    fc.integer().map(String),
    fc.double().map(String),
    fc.tuple(fc.integer(), fc.constantFrom('s', 'ms', 'h', 'MiB', 'GB', 'd')).map(([n, unit]) => `${n}${unit}`),
    fc.webUrl(),
    fc.constantFrom('true', 'cli', 'always', '0', '-0', '1e9', 'Infinity', '[::]', 'redis://', hash, '__proto__'),
  );
  fc.assert(
    fc.property(fc.constantFrom(...variables), garbage, (variable, value) => {
      let read: unknown;
      try {
        read = config({ [variable]: value });
      } catch (error) {
        assert.instance(error, ConfigError, String(error));
        assert.is((error as ConfigError).variable, variable);
        assert.ok((error as ConfigError).message.length < 600);
        return;
      }
      assertSound(read, 'config');
    }),
    {
      numRuns: Number(process.env.FC_RUNS ?? 5000),
      ...(process.env.FC_SEED ? { seed: Number(process.env.FC_SEED) } : {}),
    },
  );
});

test.run();
