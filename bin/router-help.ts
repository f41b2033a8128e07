/** The help text of `auxot-router`. Defaults stand beside what they are defaults of. */
export const routerHelp = `Usage: auxot-router [command]

Commands:
  (none)            start the router, configured by the environment
  up                router and a local GPU worker in one command; makes keys on the first run
  setup             make keys and the settings that hold their hashes
  models            list the models of the registry, by memory, capability, family or text
  replay JOB        step through a job's log: events, states, and the bytes that the caller got
  version           print the version
  help              this text

Each command has --help. A .env file in the current directory is read first; the environment wins over it.

Settings of the router:
  AUXOT_PORT, AUXOT_HOST          where to listen (8080, 0.0.0.0)
  AUXOT_ADMIN_KEY_HASH            hash of the key that GPU workers show (required)
  AUXOT_API_KEY_HASH              hash of the key that callers show (required)
  AUXOT_TOOLS_KEY_HASH            hash of the key that tools workers show (none: tools are off)
  AUXOT_MODEL                     model that workers are told to run: a name or an id of the registry, or name.gguf for
                                  a file that the workers are started with (Qwen3.5-35B-A3B)
  AUXOT_QUANTIZATION              its quantization (Q4_K_S if there is one)
  AUXOT_REGISTRY_FILE             a registry in the place of the built-in one (none)
  AUXOT_CTX_SIZE                  context of a slot, tokens (131072)
  AUXOT_MAX_PARALLEL              slots that workers are told to open, and that a silent one counts for (2)
  AUXOT_REDIS_URL                 redis://, rediss:// or unix:// (none: the embedded store)
  AUXOT_REDIS_WAIT                replicas of it that must have a write before it counts (0)
  AUXOT_DATA_DIR                  folder of the embedded store; :memory: keeps nothing (.auxot)
  AUXOT_FSYNC                     always, everysec or no: when the embedded store's file is forced to the disk (everysec)
  AUXOT_LOG_RETENTION             how long finished jobs can be replayed (1h)
  AUXOT_JOB_TIMEOUT               deadline of a job, waiting included (5m)
  AUXOT_QUEUE_TIMEOUT             longest wait for a worker (AUXOT_JOB_TIMEOUT)
  AUXOT_MAX_QUEUE                 jobs that may wait (1000)
  AUXOT_MAX_CONNECTIONS           connections, of callers and workers together (20000)
  AUXOT_MAX_WORKERS               workers that may be connected (1024)
  AUXOT_MAX_BODY                  longest request body (32MiB)
  AUXOT_STREAM_KEEPALIVE          silence after which a comment is sent on a stream (15s)
  AUXOT_DEAD_WORKER_TIMEOUT       silence after which a worker counts as gone (45s; 0: never)
  AUXOT_CALLER_GRACE              how long a job goes on when its caller has gone, at most 10m (0s)
  AUXOT_REDIAL_GRACE              how long a started job waits for its lost worker or a free slot (15s)
  AUXOT_AUTH_CACHE_TTL            how long a checked key is remembered (5m)
  AUXOT_STRICT_PARAMS             refuse fields of requests that have no effect here (off)
  AUXOT_SHARDS                    threads that run the machines (cores - 1)
  AUXOT_CORS_ORIGINS              origins whose browser apps may call, by commas; * for all (none)
  AUXOT_MODEL_ALIASES             more model ids to list, by commas (none)
  AUXOT_LOG_LEVEL                 debug, info, warn or error (info)
`;
