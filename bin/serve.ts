/** Builds a router from its parts, starts it and stops it. Decides nothing. */
import { createHmac, randomBytes } from 'node:crypto';
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { hostname } from 'node:os';
import type { Diagnostics } from '../actors/config/diagnostics.ts';
import type { RouterConfig } from '../actors/config/router-config.ts';
import { openHttp } from '../actors/edge/http.ts';
import { openSockets } from '../actors/edge/sockets.ts';
import { CheckBusyError } from '../actors/keys/check-line.ts';
import { KeyNotConfiguredError, type KeyVerifier, openKeyVerifier } from '../actors/keys/verifier.ts';
import { ClusterStore } from '../actors/log/cluster-store.ts';
import { CompletionList } from '../actors/log/completion-list.ts';
import { JobLog, type Store } from '../actors/log/job-log.ts';
import { openStore } from '../actors/log/redis.ts';
import { StoredRequestKeys } from '../actors/log/request-keys.ts';
import { storeTime } from '../actors/log/store-time.ts';
import { jobLogCharsMax } from '../actors/router/appender.ts';
import { realClock } from '../actors/router/clock.ts';
import { Front } from '../actors/router/front.ts';
import { realIds } from '../actors/router/ids.ts';
import type { KeyPort } from '../actors/router/ports.ts';
import { SharedClock } from '../actors/router/shared-clock.ts';
import { openShardPool, workerRules } from '../actors/shard/pool.ts';
import { programVersion } from './program.ts';

export interface RunningRouter {
  readonly url: string;
  readonly port: number;
  readonly recovered: number;
  /** Whether a worker could take a job now. */
  readonly served: () => boolean;
  /** Resolves when somebody has asked for a drain. */
  readonly asked: Promise<'drain'>;
  /** Rejects when the router cannot go on. */
  readonly failed: Promise<never>;
  stop(graceMs: number): Promise<void>;
}

/** How long answers that are over may take to be read, at a stop. */
const lastBytesMs = 1000;
/** How often finished logs are checked against their caps. */
const logSweepMs = 5000;

export async function serveRouter(config: RouterConfig, diagnostics: Diagnostics): Promise<RunningRouter> {
  const boot = randomBytes(12).toString('hex');
  let returned: () => void = () => undefined;
  const store = await openConfiguredStore(config, diagnostics, () => returned());
  const log = new JobLog(store, {
    boot,
    retentionMs: config.logRetentionMs,
    // The request itself is in the log, and the answer, whose own cap is counted in characters (appender.ts).
    jobBytesMax: 2 * config.maxBodyBytes + 4 * jobLogCharsMax,
    ...(config.store.kind === 'redis' ? { replicas: config.store.replicas } : {}),
  });
  const cluster = config.store.kind === 'redis' ? openCluster(store, log, boot, config) : null;
  const shared = cluster === null ? null : await openSharedClock(store);
  const clock = shared ?? realClock;
  const completions = new CompletionList(store, config.logRetentionMs);
  const keys = openKeyVerifier({ hashes: config.keyHashes, ttlMs: config.authCacheTtlMs });
  let ask: (what: 'drain') => void = () => undefined;
  const asked = new Promise<'drain'>(resolve => {
    ask = resolve;
  });
  let fail: (error: Error) => void = () => undefined;
  const failed = new Promise<never>((_, reject) => {
    fail = reject;
  });
  // Whoever waits for it is told; nobody waiting is no reason to crash.
  failed.catch(() => undefined);

  const front = new Front(
    {
      writer: { instance: hostname(), boot },
      jobTimeoutMs: config.jobTimeoutMs,
      queueTimeoutMs: config.queueTimeoutMs,
      maxQueue: config.maxQueue,
      keepAliveMs: config.streamKeepaliveMs,
      pingMs: 10_000,
      silentMs: config.deadWorkerTimeoutMs,
      modelDefault: config.policy.model,
      strictParams: config.strictParams,
      tools: {
        allowed: config.allowedTools,
        credentials: config.toolCredentials,
        roundsMax: config.toolRounds,
        callMs: config.toolTimeoutMs,
        graceMs: config.redialGraceMs,
      },
    },
    {
      clock,
      log,
      listCompletion: jobId => completions.add(jobId),
      // As long as a job and then its log may last.
      requestKeys: new StoredRequestKeys(store, config.jobTimeoutMs + config.logRetentionMs),
      ids: realIds,
      diagnostics,
      ...(cluster === null ? {} : { cluster }),
      keys: keyPort(keys),
      failed: reason => fail(new Error(reason)),
      shards: openShardPool({
        shards: config.shards,
        rules: workerRules(
          workerPolicy(config),
          config.jobTimeoutMs,
          { redialMs: config.redialGraceMs },
          config.allowedTools,
        ),
        trouble: message => diagnostics.error(message),
      }),
    },
  );
  returned = () => front.storeReturned();
  const recovered = await front.recover();
  const server = openHttp(
    {
      bodyBytesMax: config.maxBodyBytes,
      connectionsMax: config.maxConnections,
      callerGraceMs: config.callerGraceMs,
      models: [config.policy.model, ...config.modelAliases],
      modelDetails:
        config.policy.contextMax === null
          ? {}
          : { max_context_length: config.policy.ctxSize, capabilities: config.policy.capabilities },
      corsOrigins: config.corsOrigins,
      version: programVersion(),
      toolCallMs: config.jobTimeoutMs,
      mcpExposeLlm: config.mcpExposeLlm,
    },
    {
      front,
      completions,
      diagnostics,
      checkKey: (key, source) => checkKey(keys, 'api', key, source),
      checkWorkerKey: (key, source) => checkKey(keys, 'admin', key, source),
      drain: () => ask('drain'),
      // Keyed with what only this configuration has, so that a guess cannot be checked against a log.
      digest: key => createHmac('sha256', config.keyHashes.api).update(key).digest('base64url'),
    },
  );
  const sockets = openSockets(server, front, config.maxWorkers, diagnostics);
  const port = await listen(server, config);
  const sweep = setInterval(() => {
    log
      .sweep(clock.now())
      .catch(error => diagnostics.warn('finished logs could not be swept', { reason: String(error) }));
  }, logSweepMs);

  return {
    port,
    url: `http://${config.host === '0.0.0.0' || config.host === '::' ? 'localhost' : bracketed(config.host)}:${port}`,
    recovered,
    asked,
    failed,
    served: () => front.health().slots > 0,
    async stop(graceMs: number) {
      clearInterval(sweep);
      const closed = new Promise<void>(resolve => server.close(() => resolve()));
      await front.stop(graceMs);
      sockets.close();
      // The last words of an answer may still be on their way to a slow reader.
      server.closeIdleConnections();
      const late = setTimeout(() => server.closeAllConnections(), lastBytesMs);
      await closed;
      clearTimeout(late);
      cluster?.close();
      await log.close();
      shared?.stop();
      await closeStore(store, config, diagnostics);
    },
  };
}

/** What this router does with the others on its store. */
function openCluster(store: Store, log: JobLog, boot: string, { policy, jobTimeoutMs }: RouterConfig): ClusterStore {
  const about = JSON.stringify({ host: hostname(), pid: process.pid, version: programVersion() });
  return new ClusterStore(store, log, { boot, about, pool: policy.model, quietMsMax: jobTimeoutMs });
}

/** The store's time, as this router has it. The caller stops it. */
async function openSharedClock(store: Store): Promise<SharedClock> {
  const clock = new SharedClock(
    realClock,
    () => performance.now(),
    () => storeTime(store),
  );
  await clock.look();
  clock.keep();
  return clock;
}

/** The store of this configuration. The caller closes it. */
function openConfiguredStore({ store }: RouterConfig, diagnostics: Diagnostics, returned: () => void): Promise<Store> {
  return openStore({
    redisUrl: store.kind === 'redis' ? store.url : null,
    dataDir: store.kind === 'embedded' ? store.dataDir : null,
    ...(store.kind === 'embedded' ? { fsync: store.fsync } : {}),
    say: message => diagnostics.warn(message),
    returned,
  });
}

/**
 * Waits for what was sent, and no longer than a server that does not answer deserves. A Redis that is gone is no reason
 * to stop with an error: what counts was acknowledged before, and other routers take up the rest. What the embedded store
 * cannot write is one.
 */
async function closeStore(store: Store, config: RouterConfig, diagnostics: Diagnostics): Promise<void> {
  const goodbye = store.quit().catch(error => {
    if (config.store.kind !== 'redis') throw error;
    diagnostics.warn('the store was gone at the end', { reason: String(error) });
  });
  const late = new Promise(resolve => setTimeout(resolve, 2000).unref());
  await Promise.race([goodbye, late]);
  store.disconnect();
}

function workerPolicy({ policy }: RouterConfig) {
  const { mode, model, quantization, ctxSize, maxParallel, cliType, cliTools, capabilities } = policy;
  return {
    ...(mode === 'cli' ? { worker_type: 'cli', cli_type: cliType, builtin_tools: [...cliTools] } : {}),
    model_name: model,
    quantization: quantization ?? '',
    context_size: ctxSize,
    max_parallelism: maxParallel,
    capabilities: [...capabilities],
  };
}

function keyPort(keys: KeyVerifier): KeyPort {
  return {
    async verify(role, key, source) {
      if (role === 'tools' && !keys.toolsConfigured) return 'unconfigured';
      try {
        return (await keys.verify(role, key, source)) ? 'right' : 'wrong';
      } catch (error) {
        if (error instanceof KeyNotConfiguredError) return 'unconfigured';
        if (error instanceof CheckBusyError) return 'busy';
        throw error;
      }
    },
  };
}

function checkKey(
  keys: KeyVerifier,
  kind: 'api' | 'admin',
  key: string,
  source: string,
): boolean | Promise<boolean | 'busy'> {
  const known = keys.cached(kind, key);
  if (known !== null) return known;
  return keys.verify(kind, key, source).catch(error => {
    if (error instanceof CheckBusyError) return 'busy' as const;
    throw error;
  });
}

function listen(server: Server, { host, port }: RouterConfig): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => {
      const why =
        error.code === 'EADDRINUSE' ? 'it is in use: stop what listens there or set AUXOT_PORT' : error.message;
      reject(new Error(`cannot listen on ${bracketed(host)}:${port}: ${why}`));
    });
    server.listen(port, host, () => resolve((server.address() as AddressInfo).port));
  });
}

const bracketed = (host: string): string => (host.includes(':') ? `[${host}]` : host);
