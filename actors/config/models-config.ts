/** Where models come from and where they are kept, for the worker and for `auxot-router models refresh`. */
import { homedir } from 'node:os';
import { join, resolve } from 'node:path';
import { ConfigError, type Env, readFlag, readInt, readOptional, readString } from './env.ts';

export interface ModelsConfig {
  /** Absolute. */
  readonly folder: string;
  readonly hub: {
    /** Without a slash at its end. */
    readonly endpoint: string;
    /** Secret. */
    readonly token: string | null;
    readonly idleMs: number;
  };
  readonly offline: boolean;
  readonly connections: number;
  readonly registryFile: string | null;
}

/** A hub that sends nothing for so long has gone. */
const idleMs = 60_000;
const hubDefault = 'https://huggingface.co';

export function readModelsConfig(env: Env): ModelsConfig {
  return {
    folder: resolve(readString(env, 'AUXOT_MODELS_DIR', join(homedir(), '.auxot', 'models'))),
    hub: { endpoint: readEndpoint(env), token: readToken(env), idleMs },
    offline: readFlag(env, 'AUXOT_OFFLINE'),
    connections: readInt(env, 'AUXOT_DOWNLOAD_CONNECTIONS', { fallback: 4, min: 1, max: 32 }),
    registryFile: readOptional(env, 'AUXOT_REGISTRY_FILE'),
  };
}

function readEndpoint(env: Env): string {
  const text = readString(env, 'HF_ENDPOINT', hubDefault).replace(/\/+$/, '');
  const url = URL.canParse(text) ? new URL(text) : null;
  const fix = 'Write the address of a model hub, such as https://huggingface.co or that of a mirror.';
  if (url === null || !/^https?:$/.test(url.protocol) || url.search !== '' || url.hash !== '')
    throw new ConfigError('HF_ENDPOINT', null, 'not an address', fix);
  if (url.username !== '' || url.password !== '')
    throw new ConfigError('HF_ENDPOINT', null, 'has a password in it', 'Put the token into HF_TOKEN.');
  return text;
}

/** The value is never shown. A line break in it would become a header of its own. */
function readToken(env: Env): string | null {
  const token = (readOptional(env, 'HF_TOKEN') ?? '').trim();
  if (token === '') return null;
  if (!/^[\x21-\x7e]+$/.test(token))
    throw new ConfigError('HF_TOKEN', null, 'not a token', 'Write it as the hub shows it, without spaces or quotes.');
  return token;
}
