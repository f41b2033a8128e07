/** The routes of the OpenAI API (spec/http-api §1.1 rows 3–12), below its root. */
import { type ModelDetails, modelList, modelObject } from '../../protocol/openai-api.ts';
import { answerError, answerJson, type Exchange } from './answers.ts';
import { authorised, type KeyCheck } from './api-key.ts';
import { type ChatParts, takeChat } from './chat.ts';
import { answerCompletions, type CompletionsPort } from './completions.ts';
import { answerResponses } from './responses.ts';

export interface OpenaiParts extends ChatParts {
  readonly completions: CompletionsPort;
  readonly checkKey: KeyCheck;
  /** Configured model and aliases. */
  readonly models: readonly string[];
  /** What is known of the configured model, for its entry in the list. */
  readonly modelDetails: ModelDetails;
  /** Of every model: it must not change from request to request. Epoch seconds. */
  readonly startedAt: number;
}

/** `method`: GET for HEAD. */
export async function answerOpenai(
  exchange: Exchange,
  method: string,
  path: string,
  parts: OpenaiParts,
): Promise<void> {
  const may = (): Promise<boolean> => authorised(exchange, parts.checkKey);
  const notImplemented = (): void =>
    answerError(exchange, 'not_implemented', `${method} /${path.slice(0, 200)} is not implemented here`);

  const noEmbeddings = (): void =>
    answerError(exchange, 'not_implemented', 'no connected worker makes embeddings: connect one with a model for them');

  if (path === 'chat/completions' && (method === 'POST' || method === 'GET')) {
    if (!(await may())) return;
    return method === 'POST' ? takeChat(exchange, parts) : answerCompletions(exchange, method, '', parts);
  }
  if (path.startsWith('chat/completions/')) {
    const isOne = !path.slice('chat/completions/'.length).includes('/');
    const reads = method === 'GET' && (isOne || path.endsWith('/messages'));
    if (!reads && !(isOne && (method === 'DELETE' || method === 'POST')))
      return answerError(exchange, 'not_found', `there is nothing at ${method} /${path.slice(0, 200)}`);
    if (!(await may())) return;
    return answerCompletions(exchange, method, path.slice('chat/completions/'.length), parts);
  }
  if (path === 'responses' || path.startsWith('responses/')) return answerResponses(exchange, method, path, parts);
  if (path === 'completions' && method === 'POST')
    return (await may()) ? takeChat(exchange, parts, 'openai.completions') : undefined;
  if (path === 'embeddings' && method === 'POST') {
    if (!(await may())) return;
    const able = parts.front.offers().some(({ features = [] }) => features.includes('embeddings'));
    return able ? takeChat(exchange, parts, 'openai.embeddings') : noEmbeddings();
  }
  if (path === 'models' && method === 'GET') {
    if (!(await may())) return;
    return answerJson(exchange, 200, modelList(modelIds(parts).map(id => shown(id, parts))));
  }
  if (path.startsWith('models/') && (method === 'GET' || method === 'DELETE')) {
    if (!(await may())) return;
    const id = path.slice('models/'.length);
    if (!modelIds(parts).includes(id))
      return answerError(exchange, 'model_not_found', `there is no model "${id.slice(0, 200)}"`, 'model');
    if (method === 'DELETE')
      return answerError(exchange, 'object_not_found', 'models are those of the workers; there is none to delete');
    return answerJson(exchange, 200, shown(id, parts));
  }
  return notImplemented();
}

/** Aliases are other names of the configured model. */
function shown(id: string, { models, modelDetails, startedAt }: OpenaiParts) {
  return modelObject(id, startedAt, models.includes(id) ? modelDetails : {});
}

/** First the one that a request without a model gets. A list without any would leave clients nothing to ask for. */
export function modelIds({ models, front }: Pick<OpenaiParts, 'models' | 'front'>): string[] {
  const ids = [...new Set([...models, ...front.offers().map(({ model }) => model)])].filter(id => id !== '');
  return ids.length > 0 ? ids : ['default'];
}
