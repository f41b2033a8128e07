/**
 * The APIs that callers use: how a prompt is asked in each, and what its answer said. A new API is a row here.
 */
import type { AnswerShape } from '../../protocol/job-events.ts';
import { textOf } from './truth.ts';

export interface Ask {
  readonly prompt: string;
  readonly tokensMax: number;
  readonly streamed: boolean;
  /** The request is one that must be refused. */
  readonly malformed: boolean;
  /** How long the job goes on when its caller has gone. */
  readonly keepMs: number;
  /** It has an `Idempotency-Key`, and is asked again under it when its connection is lost. */
  readonly keyed: boolean;
}

/** What an answer said so far. */
export interface Heard {
  text: string;
  reasoning: string;
  readonly calls: { name: string; arguments: string }[];
  finishReason: string | null;
  /** The code or type of an error. */
  error: string | null;
  /** A proper end was read. */
  ends: number;
  /** The id of the last whole SSE frame. */
  lastId: string | null;
  /** The number of the last event, where the API counts them. */
  sequence: number | null;
  /** Something no client could read. */
  nonsense: string | null;
}

export interface Family {
  readonly name: string;
  readonly api: AnswerShape['api'];
  /** It shows the answer's text only: no thoughts, and no calls. */
  readonly textOnly?: true;
  body(ask: Ask): object;
  /** One event of a streamed answer. */
  event(heard: Heard, name: string, data: string): void;
  /** An answer in one piece with status 200. */
  whole(heard: Heard, body: string): void;
  errorOf(body: string): string;
}

export const newHeard = (): Heard => ({
  text: '',
  reasoning: '',
  calls: [],
  finishReason: null,
  error: null,
  ends: 0,
  lastId: null,
  sequence: null,
  nonsense: null,
});

const tool = { name: 'look', description: 'looks', parameters: { type: 'object', properties: {} } };

/** What a frame of a completion says of its choice; null: it is the end, or an error. */
function choiceOf(heard: Heard, data: string) {
  if (data === '[DONE]') {
    heard.ends += 1;
    return null;
  }
  const { error, choices } = JSON.parse(data);
  if (error !== undefined) heard.error = String(error.code);
  return choices?.[0] ?? null;
}

const chat: Family = {
  name: 'chat',
  api: 'openai.chat',
  body: ({ prompt, tokensMax, streamed }) => ({
    model: 'm',
    stream: streamed,
    messages: [{ role: 'user', content: prompt }],
    ...(Number.isFinite(tokensMax) ? { max_tokens: tokensMax } : {}),
    ...(prompt.includes('#tools') ? { tools: [{ type: 'function', function: tool }] } : {}),
  }),
  event(heard, _name, data) {
    const choice = choiceOf(heard, data);
    if (choice === null) return;
    heard.text += choice.delta?.content ?? '';
    heard.reasoning += choice.delta?.reasoning_content ?? '';
    for (const { index, function: call } of choice.delta?.tool_calls ?? []) {
      heard.calls[index] ??= { name: '', arguments: '' };
      const known = heard.calls[index];
      known.name += call?.name ?? '';
      known.arguments += call?.arguments ?? '';
    }
    heard.finishReason = choice.finish_reason ?? heard.finishReason;
  },
  whole(heard, body) {
    const [choice] = JSON.parse(body).choices;
    heard.text = choice.message.content ?? '';
    heard.reasoning = choice.message.reasoning_content ?? '';
    for (const { function: call } of choice.message.tool_calls ?? []) heard.calls.push(call);
    heard.finishReason = choice.finish_reason;
    heard.ends += 1;
  },
  errorOf: body => String(JSON.parse(body).error.code),
};

const stopReasons: Readonly<Record<string, string>> = {
  end_turn: 'stop',
  max_tokens: 'length',
  tool_use: 'tool_calls',
};

const messages: Family = {
  name: 'messages',
  api: 'anthropic.messages',
  body: ({ prompt, tokensMax, streamed }) => ({
    model: 'm',
    stream: streamed,
    max_tokens: Number.isFinite(tokensMax) ? tokensMax : 1000,
    messages: [{ role: 'user', content: prompt }],
    ...(prompt.includes('#tools')
      ? { tools: [{ name: tool.name, description: tool.description, input_schema: tool.parameters }] }
      : {}),
  }),
  event(heard, name, data) {
    const event = JSON.parse(data);
    if (event.type !== name) heard.nonsense = `an event ${name} that says ${event.type}`;
    switch (event.type) {
      case 'content_block_start':
        if (event.content_block.type === 'tool_use')
          heard.calls.push({ name: event.content_block.name, arguments: '' });
        return;
      case 'content_block_delta': {
        const { delta } = event;
        heard.text += delta.text ?? '';
        heard.reasoning += delta.thinking ?? '';
        const call = heard.calls.at(-1);
        if (call !== undefined) call.arguments += delta.partial_json ?? '';
        return;
      }
      case 'message_delta':
        heard.finishReason = stopReasons[event.delta.stop_reason] ?? event.delta.stop_reason;
        return;
      case 'message_stop':
        heard.ends += 1;
        return;
      case 'error':
        heard.error = event.error.type;
        heard.ends += 1;
        return;
    }
  },
  whole(heard, body) {
    const { content, stop_reason } = JSON.parse(body);
    for (const block of content) {
      if (block.type === 'text') heard.text += block.text;
      else if (block.type === 'thinking') heard.reasoning += block.thinking;
      else heard.calls.push({ name: block.name, arguments: JSON.stringify(block.input) });
    }
    heard.finishReason = stopReasons[stop_reason] ?? stop_reason;
    heard.ends += 1;
  },
  errorOf: body => String(JSON.parse(body).error.type),
};

const responses: Family = {
  name: 'responses',
  api: 'openai.responses',
  body: ({ prompt, tokensMax, streamed }) => ({
    model: 'm',
    stream: streamed,
    input: prompt,
    ...(Number.isFinite(tokensMax) ? { max_output_tokens: tokensMax } : {}),
    ...(prompt.includes('#tools') ? { tools: [{ type: 'function', ...tool }] } : {}),
  }),
  event(heard, name, data) {
    const event = JSON.parse(data);
    if (event.type !== name) heard.nonsense = `an event ${name} that says ${event.type}`;
    const expected = (heard.sequence ?? -1) + 1;
    if (event.sequence_number !== expected) heard.nonsense = `event ${event.sequence_number} and not ${expected}`;
    heard.sequence = event.sequence_number;
    switch (event.type) {
      case 'response.output_text.delta':
        heard.text += event.delta;
        return;
      case 'response.reasoning_text.delta':
        heard.reasoning += event.delta;
        return;
      case 'error':
        heard.error = String(event.code);
        return;
      case 'response.failed':
        heard.error ??= String(event.response.error?.code ?? event.response.status);
        heard.ends += 1;
        return;
      case 'response.completed':
      case 'response.incomplete':
        heard.ends += 1;
        outputOf(event.response, heard);
        return;
    }
  },
  whole(heard, body) {
    const response = JSON.parse(body);
    const said = outputOf(response, heard);
    heard.text = said.text;
    heard.reasoning = said.reasoning;
    heard.ends += 1;
  },
  errorOf: body => String(JSON.parse(body).error.code),
};

/** What a whole response says; in a stream, it must be what was said piece by piece. */
function outputOf(
  { output, status }: { output: Record<string, unknown>[]; status: string },
  heard: Heard,
): { text: string; reasoning: string } {
  const said = { text: '', reasoning: '' };
  for (const item of output) {
    const parts = (item.content ?? []) as { text: string }[];
    const text = parts.map(part => part.text).join('');
    if (item.type === 'message') said.text += text;
    else if (item.type === 'reasoning') said.reasoning += text;
    else heard.calls.push({ name: String(item.name), arguments: String(item.arguments) });
  }
  heard.finishReason = status === 'incomplete' ? 'length' : heard.calls.length > 0 ? 'tool_calls' : 'stop';
  if (heard.sequence !== null && (said.text !== heard.text || said.reasoning !== heard.reasoning))
    heard.nonsense = `its last event says ${JSON.stringify(said)}`;
  return said;
}

const completions: Family = {
  name: 'completions',
  api: 'openai.completions',
  textOnly: true,
  body: ({ prompt, tokensMax, streamed }) => ({
    model: 'm',
    stream: streamed,
    prompt,
    ...(Number.isFinite(tokensMax) ? { max_tokens: tokensMax } : {}),
  }),
  event(heard, _name, data) {
    const choice = choiceOf(heard, data);
    if (choice === null) return;
    heard.text += choice.text;
    heard.finishReason = choice.finish_reason ?? heard.finishReason;
  },
  whole(heard, body) {
    const [choice] = JSON.parse(body).choices;
    heard.text = choice.text;
    heard.finishReason = choice.finish_reason;
    heard.ends += 1;
  },
  errorOf: body => String(JSON.parse(body).error.code),
};

/** The simulated model's vector of a text is the numbers of the tokens with which it would answer. */
const embeddings: Family = {
  name: 'embeddings',
  api: 'openai.embeddings',
  textOnly: true,
  body: ({ prompt }) => ({ model: 'm', input: prompt }),
  event: heard => {
    heard.nonsense = 'a vector came in pieces';
  },
  whole(heard, body) {
    const { data } = JSON.parse(body);
    heard.text = data[0].embedding.map(textOf).join('');
    heard.finishReason = 'stop';
    heard.ends += 1;
  },
  errorOf(body) {
    const { code, type } = JSON.parse(body).error;
    return String(code ?? type);
  },
};

export const families: readonly Family[] = [chat, messages, responses, completions, embeddings];
