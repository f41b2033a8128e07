/** Callers with the official clients: their own retries first, and then the whole request again with the same key. */
import Anthropic from '@anthropic-ai/sdk';
import OpenAI from 'openai';
import { apiKey } from '../processes.ts';
import { type Asked, check, headersOf, patience } from './asked.ts';

const clientOptions = { apiKey, timeout: 20_000, maxRetries: 2 };
const openai = ({ url }: Asked): OpenAI => new OpenAI({ ...clientOptions, baseURL: `${url}/v1` });
const anthropic = ({ url }: Asked): Anthropic => new Anthropic({ ...clientOptions, baseURL: url });

/** Adds up a stream of pieces, checks each, and gives it up when it goes silent. */
async function told<T>(
  asked: Asked,
  open: (options: { headers: Record<string, string>; signal: AbortSignal }) => Promise<AsyncIterable<T>>,
  textOf: (event: T) => string,
): Promise<string> {
  const watch = patience();
  let text = '';
  try {
    for await (const event of await open({ headers: headersOf(asked), signal: watch.signal })) {
      watch.heard();
      text += textOf(event);
      check(asked.question, text, false);
    }
  } finally {
    watch.over();
  }
  // The clients end their loop without an error when they are aborted.
  watch.signal.throwIfAborted();
  return text;
}

const params = ({ question }: Asked) => ({ model: 'm', temperature: 0, messages: [...question.messages] });

const anthropicParams = ({ question }: Asked) => {
  const system = question.messages.find(({ role }) => role === 'system')?.content;
  const messages = question.messages.flatMap(({ role, content }) => (role === 'user' ? [{ role, content }] : []));
  return { model: 'm', max_tokens: 1000, temperature: 0, messages, ...(system === undefined ? {} : { system }) };
};

const responsesParams = ({ question }: Asked) => ({ model: 'm', temperature: 0, input: [...question.messages] });

export const officialCallers: Readonly<Record<string, (asked: Asked) => Promise<string>>> = {
  'openai chat, streamed': asked =>
    told(
      asked,
      options => openai(asked).chat.completions.create({ ...params(asked), stream: true }, options),
      ({ choices }) => choices[0]?.delta.content ?? '',
    ),

  'openai chat': async asked => {
    const answer = await openai(asked).chat.completions.create(params(asked), { headers: headersOf(asked) });
    return answer.choices[0]?.message.content ?? '';
  },

  'openai responses, streamed': asked =>
    told(
      asked,
      options => openai(asked).responses.create({ ...responsesParams(asked), stream: true }, options),
      event => {
        if (event.type === 'error' || event.type === 'response.failed') throw new Error(JSON.stringify(event));
        return event.type === 'response.output_text.delta' ? event.delta : '';
      },
    ),

  'openai responses': async asked => {
    const answer = await openai(asked).responses.create(responsesParams(asked), { headers: headersOf(asked) });
    if (answer.status !== 'completed') throw new Error(JSON.stringify(answer.error ?? answer.status));
    return answer.output_text;
  },

  'openai responses, in the background': async asked => {
    const client = openai(asked);
    let answer = await client.responses.create(
      { ...responsesParams(asked), background: true },
      { headers: headersOf(asked) },
    );
    while (answer.status === 'queued' || answer.status === 'in_progress') {
      if (performance.now() > asked.until) throw new Error('it does not end');
      await new Promise(resolve => setTimeout(resolve, 300));
      answer = await client.responses.retrieve(answer.id);
    }
    if (answer.status !== 'completed') throw new Error(JSON.stringify(answer.error ?? answer.status));
    return answer.output_text;
  },

  'anthropic messages, streamed': asked =>
    told(
      asked,
      options => anthropic(asked).messages.create({ ...anthropicParams(asked), stream: true }, options),
      event => (event.type === 'content_block_delta' && event.delta.type === 'text_delta' ? event.delta.text : ''),
    ),

  'anthropic messages': async asked => {
    const { content } = await anthropic(asked).messages.create(anthropicParams(asked), { headers: headersOf(asked) });
    return content.map(block => (block.type === 'text' ? block.text : '')).join('');
  },
};
