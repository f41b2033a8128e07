/** The routes of the Anthropic API (spec/http-api §1.1 rows 13–21, §4), below its root. */
import { modelInfo, modelPage, tokensCount } from '../../protocol/anthropic-api.ts';
import { answerError, answerJson, answerText, type Exchange } from './answers.ts';
import { authorised } from './api-key.ts';
import { takeBody, takeChat } from './chat.ts';
import { modelIds, type OpenaiParts } from './openai.ts';

/** Models on a page when the caller does not say. */
const pageDefault = 20;
const pageMax = 1000;

/** `method`: GET for HEAD. */
export async function answerAnthropic(
  exchange: Exchange,
  method: string,
  path: string,
  parts: OpenaiParts,
): Promise<void> {
  // What clients ask, without a key, to see whether anybody is there.
  if (method === 'GET' && (path === 'api/hello' || (path === '' && exchange.req.method === 'HEAD')))
    return answerJson(exchange, 200, { message: 'hello' });
  if (!(await authorised(exchange, parts.checkKey))) return;
  if (path === 'messages' && method === 'POST') return takeChat(exchange, parts, 'anthropic.messages');
  if (path === 'messages/count_tokens' && method === 'POST') return countTokens(exchange, parts);
  if (path === 'models' && method === 'GET') return listModels(exchange, parts);
  if (path.startsWith('models/') && method === 'GET') {
    const id = path.slice('models/'.length);
    if (!modelIds(parts).includes(id))
      return answerError(exchange, 'model_not_found', `there is no model "${id.slice(0, 200)}"`);
    return answerJson(exchange, 200, describe(id, parts));
  }
  return answerError(exchange, 'not_implemented', `${method} /v1/${path.slice(0, 200)} is not implemented here`);
}

async function countTokens(exchange: Exchange, { front, bodyBytesMax }: OpenaiParts): Promise<void> {
  const { res, requestId } = exchange;
  // Neither the queue nor the log has a part in it.
  const body = await takeBody(exchange, bodyBytesMax, () => {
    const turned = front.turnedAway();
    return turned?.code === 'shutting_down' ? turned : null;
  });
  if (body === null) return;
  front.countArrived(
    {
      counted: tokens => answerJson(exchange, 200, tokensCount(tokens)),
      respond: ({ status, headers, body }) => answerText(res, status, headers, body),
      refuse: (code, message) => answerError(exchange, code, message),
    },
    { api: 'anthropic.messages', requestId, body },
  );
}

function listModels(exchange: Exchange, parts: OpenaiParts): void {
  const asked = new URL(exchange.req.url ?? '/', 'http://router').searchParams;
  const limit = Number(asked.get('limit') ?? pageDefault);
  if (!Number.isInteger(limit) || limit < 1 || limit > pageMax)
    return answerError(exchange, 'invalid_request', `limit must be a whole number from 1 to ${pageMax}`);
  const models = modelIds(parts).map(id => describe(id, parts));
  const page = { limit, after: asked.get('after_id'), before: asked.get('before_id') };
  answerJson(exchange, 200, modelPage(models, page));
}

const describe = (id: string, { front, startedAt }: OpenaiParts) => {
  // A configured name or an alias is whatever the workers run; the smallest context holds for all of them.
  const offers = front.offers();
  const named = offers.filter(({ model }) => model === id);
  const sizes = (named.length > 0 ? named : offers).map(({ contextSize }) => contextSize).filter(size => size > 0);
  return modelInfo(id, startedAt, sizes.length > 0 ? Math.min(...sizes) : null);
};
