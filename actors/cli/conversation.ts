/**
 * A chat as an agent program wants it: instructions, what was said before, and what is asked now.
 *
 * All system messages count (C15). The results of one round's tool calls stand together, behind their calls. Text and
 * images of a message are kept apart, so that no image ends up in the prompt as text (C16).
 */
export interface Image {
  readonly url: string;
}

export interface Call {
  readonly id: string;
  readonly name: string;
  /** JSON text of an object. */
  readonly arguments: string;
}

export interface CallResult {
  readonly callId: string;
  readonly text: string;
  readonly images: readonly Image[];
  readonly isError: boolean;
}

export type Turn =
  | { readonly role: 'user'; readonly text: string; readonly images: readonly Image[] }
  | { readonly role: 'assistant'; readonly text: string; readonly calls: readonly Call[] }
  | { readonly role: 'results'; readonly results: readonly CallResult[] };

export interface Conversation {
  readonly system: string;
  readonly history: readonly Turn[];
  readonly prompt: { readonly text: string; readonly images: readonly Image[] };
}

type Message = Readonly<Record<string, unknown>>;

/** Asked when the conversation ends with tool results: there is nothing new to ask. */
export const goOnPrompt = 'Continue.';
/** Asked when it ends with the beginning of an answer, or a worker was lost in the middle of one. */
export const finishPrompt =
  'Your last message was cut off. Write only what comes next, beginning exactly where it stopped, even in the middle of a word. Repeat nothing and add no remark.';

/** `begun`: what was already said of the answer by a worker that was lost. */
export function conversationOf(messages: readonly Message[], begun = ''): Conversation {
  const system: string[] = [];
  const turns: Turn[] = [];
  for (const message of messages) {
    const { text, images } = contentOf(message.content);
    if (message.role === 'system' || message.role === 'developer') system.push(text);
    else if (message.role === 'assistant') turns.push({ role: 'assistant', text, calls: callsOf(message.tool_calls) });
    else if (message.role === 'tool') addResult(turns, message, text, images);
    else turns.push({ role: 'user', text, images });
  }
  if (begun !== '') turns.push({ role: 'assistant', text: begun, calls: [] });
  return { system: system.filter(text => text !== '').join('\n\n'), ...asked(turns) };
}

/** Everything after the last answer is the question. */
function asked(turns: readonly Turn[]): Pick<Conversation, 'history' | 'prompt'> {
  const last = turns.at(-1);
  if (last?.role === 'results') return { history: turns, prompt: { text: goOnPrompt, images: [] } };
  if (last?.role === 'assistant') return { history: turns, prompt: { text: finishPrompt, images: [] } };
  let from = turns.length;
  while (from > 0 && turns[from - 1]?.role === 'user') from -= 1;
  const questions = turns.slice(from).flatMap(turn => (turn.role === 'user' ? [turn] : []));
  const text = questions.map(question => question.text).join('\n\n');
  return { history: turns.slice(0, from), prompt: { text, images: questions.flatMap(({ images }) => images) } };
}

function addResult(turns: Turn[], message: Message, text: string, images: readonly Image[]): void {
  const result = { callId: String(message.tool_call_id ?? ''), text, images, isError: message.is_error === true };
  const last = turns.at(-1);
  if (last?.role === 'results') turns[turns.length - 1] = { role: 'results', results: [...last.results, result] };
  else turns.push({ role: 'results', results: [result] });
}

/** Text parts joined, images beside them, whichever of the two usual shapes they have. */
function contentOf(content: unknown): { text: string; images: Image[] } {
  if (typeof content === 'string') return { text: content, images: [] };
  const texts: string[] = [];
  const images: Image[] = [];
  for (const part of Array.isArray(content) ? content : []) {
    const { text, image_url: image } = record(part);
    if (typeof text === 'string') texts.push(text);
    const url = typeof image === 'string' ? image : record(image).url;
    if (typeof url === 'string') images.push({ url });
  }
  return { text: texts.join('\n'), images };
}

const callsOf = (calls: unknown): Call[] =>
  (Array.isArray(calls) ? calls : []).map(call => {
    const { id, function: called } = record(call);
    const { name, arguments: args } = record(called);
    return { id: String(id ?? ''), name: String(name ?? ''), arguments: typeof args === 'string' ? args : '{}' };
  });

export const record = (value: unknown): Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};

/** Media type and base64 of a `data:` URL; null for any other. */
export function dataOf(url: string): { readonly mediaType: string; readonly base64: string } | null {
  const found = /^data:([^;,]+);base64,/.exec(url);
  const [head = '', mediaType = ''] = found ?? [];
  return found === null ? null : { mediaType, base64: url.slice(head.length) };
}
