/** What a running llama-server says of itself and of the model in it. */

import type { Feature } from '../../protocol/features.ts';
import { isRecord } from '../../protocol/record.ts';
import { type ChatTemplate, chatTemplate } from './chat-template.ts';
import { type Dialect, dialectOf } from './dialects.ts';
import { canShorten } from './embeddings.ts';
import { EngineError } from './engine.ts';
import { type ServerHttp, ServerTrouble } from './server-http.ts';

export interface ServerFacts {
  /** Name of the model, as people say it. */
  readonly model: string;
  /** Where the server has it from; '' if it does not say. */
  readonly modelPath: string;
  /** `8B`; '' if it does not say. */
  readonly parameters: string;
  /** Numbers that another model would not have all alike. */
  readonly shape: string;
  readonly contextSize: number;
  readonly slots: number;
  readonly build: string;
  readonly template: ChatTemplate;
  readonly dialect: Dialect;
  /** What stands in a prompt for an image; null: it sees none. */
  readonly mediaMarker: string | null;
  /** It advances a grammar over what was said already, so that such an answer can be gone on with. */
  readonly continuesForms: boolean;
  readonly embeds: boolean;
  readonly answers: boolean;
  readonly shortens: boolean;
  /** What stands before every prompt. */
  readonly bos: readonly number[];
}

export const featuresOf = ({ mediaMarker, embeds, answers, shortens }: ServerFacts): Feature[] => [
  ...(answers ? (['response_format', 'tool_choice', 'n', 'logprobs'] as const) : []),
  ...(answers && mediaMarker !== null ? (['images'] as const) : []),
  ...(embeds ? (['embeddings'] as const) : []),
  ...(embeds && shortens ? (['embedding_dimensions'] as const) : []),
  ...(answers ? [] : (['embeddings_only'] as const)),
];

/** Fixed by llama-server before it drew one by lot. */
const mediaMarkerOld = '<__media__>';

/** @throws EngineError when something else answers there, or a server too old for what is needed of it. */
export async function readFacts(http: ServerHttp, toolFormat: string | null): Promise<ServerFacts> {
  const props = await asked(http, '/props');
  const settings = isRecord(props.default_generation_settings) ? props.default_generation_settings : null;
  const contextSize = numberAt(settings, 'n_ctx');
  if (settings === null || contextSize === null)
    throw new EngineError(
      'model_load_failed',
      `${http.base}/props does not say n_ctx: is this a llama-server (of 2024 or later), and not some other program?`,
    );
  const params = isRecord(settings.params) ? settings.params : {};
  const models = await asked(http, '/v1/models');
  const first = Array.isArray(models.data) && isRecord(models.data[0]) ? models.data[0] : {};
  const meta = isRecord(first.meta) ? first.meta : {};
  const modelPath = textAt(props, 'model_path');
  const model = nameOf(modelPath || textAt(first, 'id') || textAt(props, 'model_alias'));
  const source = textAt(props, 'chat_template') || null;
  const modalities = isRecord(props.modalities) ? props.modalities : {};
  const tokenless = await tokenize(http, '', true);
  const embeds = await canEmbed(http);
  return {
    model,
    modelPath,
    parameters: sizeOf(numberAt(meta, 'n_params') ?? 0),
    shape: ['n_params', 'size', 'n_vocab', 'n_embd', 'n_ctx_train'].map(key => numberAt(meta, key) ?? '?').join('-'),
    contextSize,
    slots: numberAt(props, 'total_slots') ?? 1,
    build: textAt(props, 'build_info'),
    template: chatTemplate({ source, bos: textAt(props, 'bos_token'), eos: textAt(props, 'eos_token') }),
    dialect: dialectOf({ template: source, toolFormat }),
    mediaMarker: modalities.vision === true ? textAt(props, 'media_marker') || mediaMarkerOld : null,
    continuesForms: 'generation_prompt' in params,
    embeds,
    // A server that makes vectors answers nobody, if it was started as older ones are.
    answers: !embeds || (await canAnswer(http)),
    shortens: canShorten([model]),
    bos: tokenless.slice(0, 1),
  };
}

export async function tokenize(http: ServerHttp, content: string, withBos = false, signal?: AbortSignal) {
  const body = { content, add_special: withBos, parse_special: true };
  const answer = await http.call('/tokenize', body, signal === undefined ? {} : { signal });
  return numbersIn(isRecord(answer) ? answer.tokens : null, http, '/tokenize');
}

export async function detokenize(http: ServerHttp, tokens: readonly number[], signal: AbortSignal): Promise<string> {
  const answer = await http.call('/detokenize', { tokens }, { signal });
  return isRecord(answer) ? textAt(answer, 'content') : '';
}

function numbersIn(value: unknown, { base }: ServerHttp, path: string): number[] {
  if (Array.isArray(value) && value.every((item): item is number => Number.isInteger(item))) return value;
  throw new ServerTrouble(200, `${base}${path} answers without the tokens`);
}

async function asked(http: ServerHttp, path: string): Promise<Record<string, unknown>> {
  try {
    const answer = await http.call(path);
    return isRecord(answer) ? answer : {};
  } catch (error) {
    if (!(error instanceof ServerTrouble) || error.status === null || error.status === 503) throw error;
    throw refusalOf(error, http.base + path);
  }
}

function refusalOf({ status, message }: ServerTrouble, url: string): EngineError {
  const why =
    status === 401 || status === 403
      ? `${url} wants a key: give it as AUXOT_LLAMA_API_KEY`
      : `${url} is not there as a llama-server has it (status ${status}: ${message})`;
  return new EngineError('model_load_failed', why);
}

const embedMsMax = 60_000;

async function canEmbed(http: ServerHttp): Promise<boolean> {
  return http.call('/v1/embeddings', { input: 'a', model: 'local' }, { msMax: embedMsMax }).then(
    () => true,
    (error: unknown) => {
      if (error instanceof ServerTrouble && error.status === null) throw error;
      return false;
    },
  );
}

async function canAnswer(http: ServerHttp): Promise<boolean> {
  return http.call('/completion', { prompt: 'a', n_predict: 1 }, { msMax: embedMsMax }).then(
    () => true,
    (error: unknown) => {
      if (error instanceof ServerTrouble && error.status === null) throw error;
      return false;
    },
  );
}

/** The last part of a path, without what tells only of the file. */
export const nameOf = (path: string): string =>
  (path.split(/[\\/]/).pop() ?? '').replace(/\.gguf$/i, '').replace(/-\d{5}-of-\d{5}$/, '');

const sizeOf = (parameters: number): string => {
  if (parameters >= 1e9) return `${Math.floor(parameters / 1e9)}B`;
  return parameters >= 1e6 ? `${Math.floor(parameters / 1e6)}M` : '';
};

const textAt = (of: Record<string, unknown>, key: string): string => (typeof of[key] === 'string' ? of[key] : '');

const numberAt = (of: Record<string, unknown> | null, key: string): number | null => {
  const value = of?.[key];
  return typeof value === 'number' && Number.isFinite(value) ? value : null;
};
