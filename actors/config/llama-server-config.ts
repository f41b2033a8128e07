/** Whether the model runs in this worker's own engine, or in a llama-server, and in which. */
import { ConfigError, type Env, readOptional } from './env.ts';

/** null: the worker's own engine. */
export type LlamaServerConfig =
  | { readonly kind: 'running'; readonly url: string /** Secret. */; readonly apiKey: string | null }
  | {
      readonly kind: 'program';
      readonly path: string /** null: the registry's, if the model has one. */;
      readonly projectorPath: string | null;
    }
  | null;

export interface LlamaServerFlags {
  readonly path: string | undefined;
  readonly projectorPath: string | undefined;
}

export function readLlamaServerConfig(env: Env, flags: LlamaServerFlags): LlamaServerConfig {
  const url = readOptional(env, 'AUXOT_LLAMA_URL');
  const path = flags.path || readOptional(env, 'AUXOT_LLAMA_BINARY');
  const projectorPath = flags.projectorPath || readOptional(env, 'AUXOT_MMPROJ_FILE');
  if (url !== null && url !== '') {
    if (path !== null) {
      const fix = 'Leave one of them out: with the URL nothing is started.';
      throw new ConfigError(
        'AUXOT_LLAMA_URL',
        url,
        'a llama-server to start is named as well (AUXOT_LLAMA_BINARY)',
        fix,
      );
    }
    const parsed = URL.canParse(url) ? new URL(url) : null;
    if (parsed === null || !/^https?:$/.test(parsed.protocol))
      throw new ConfigError(
        'AUXOT_LLAMA_URL',
        url,
        'no http:// or https:// URL',
        'Write for example http://127.0.0.1:8081.',
      );
    return { kind: 'running', url, apiKey: readOptional(env, 'AUXOT_LLAMA_API_KEY') };
  }
  if (path !== null && path !== '') return { kind: 'program', path, projectorPath };
  if (projectorPath === null) return null;
  const fix = 'Give --llama-server-path (AUXOT_LLAMA_BINARY) as well.';
  throw new ConfigError(
    'AUXOT_MMPROJ_FILE',
    projectorPath,
    "only a llama-server can use it, not the worker's own engine",
    fix,
  );
}
