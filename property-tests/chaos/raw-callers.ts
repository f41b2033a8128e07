/**
 * Callers over fetch that go on where they were: by `Last-Event-ID` as soon as they know their job, else by asking again
 * with their key. Their bytes must equal those of the same answer read again from its beginning.
 */
import { bearer } from '../callers.ts';
import { type Asked, check, headersOf, patience, WrongAnswer } from './asked.ts';
import { frameReader, type StreamApi, saidBy } from './sse.ts';

interface Progress {
  jobId: string | null;
  lastId: string | null;
  text: string;
  bytes: string;
}

const paths: Readonly<Record<StreamApi, string>> = {
  chat: '/v1/chat/completions',
  messages: '/v1/messages',
  responses: '/v1/responses',
};

function bodyOf(api: StreamApi, { question: { messages } }: Asked): object {
  const common = { model: 'm', temperature: 0, stream: true };
  if (api === 'responses') return { ...common, input: messages };
  if (api === 'chat') return { ...common, messages };
  const system = messages.find(({ role }) => role === 'system')?.content;
  const rest = messages.filter(({ role }) => role === 'user');
  return { ...common, max_tokens: 1000, messages: rest, ...(system === undefined ? {} : { system }) };
}

/** Asks for the answer, or for the rest of it; null when it is to be asked for anew. */
async function request(api: StreamApi, asked: Asked, at: Progress, signal: AbortSignal): Promise<Response | null> {
  if (at.jobId !== null) {
    const headers = { ...bearer, ...(at.lastId === null ? {} : { 'last-event-id': at.lastId }) };
    const response = await fetch(`${asked.url}/api/jobs/${at.jobId}/events`, { headers, signal });
    // Gone (a job that was never written down), or told to its end.
    return response.status === 404 || response.status === 204 ? null : response;
  }
  return fetch(`${asked.url}${paths[api]}`, {
    method: 'POST',
    headers: { ...bearer, 'content-type': 'application/json', ...headersOf(asked) },
    body: JSON.stringify(bodyOf(api, asked)),
    signal,
  });
}

const fresh = (): Progress => ({ jobId: null, lastId: null, text: '', bytes: '' });

/** Reads on until the answer is whole (true), the connection is lost (throws) or it has to be asked for anew (false). */
async function readOn(api: StreamApi, asked: Asked, at: Progress): Promise<boolean> {
  const watch = patience();
  try {
    const response = await request(api, asked, at, watch.signal);
    if (response === null) return false;
    if (response.status !== 200) throw new Error(`${response.status} ${(await response.text()).slice(0, 300)}`);
    at.jobId ??= response.headers.get('x-auxot-job');
    const read = frameReader();
    for await (const bytes of response.body ?? []) {
      watch.heard();
      for (const { raw, id, data } of read(bytes)) {
        if (id === null || data === null) continue;
        at.lastId = id;
        at.bytes += raw;
        const { text, ends, error } = saidBy(api, data);
        if (error !== null) return false;
        at.text += text;
        check(asked.question, at.text, false);
        if (ends) return true;
      }
    }
    throw new Error('the answer ended before its end');
  } finally {
    watch.over();
  }
}

async function ask(api: StreamApi, asked: Asked): Promise<string> {
  let at = fresh();
  let pauseMs = 50;
  for (;;) {
    try {
      if (await readOn(api, asked, at)) break;
      asked.tally.retries += 1;
      at = fresh();
    } catch (error) {
      if (error instanceof WrongAnswer || performance.now() > asked.until) throw error;
      if (at.jobId === null) asked.tally.retries += 1;
      else asked.tally.resumes += 1;
    }
    if (performance.now() > asked.until) throw new Error('every try ended in an error');
    await new Promise(resolve => setTimeout(resolve, pauseMs));
    pauseMs = Math.min(1000, pauseMs * 2);
  }
  await compare(asked, at);
  return at.text;
}

/** Where the network lets it: the answer read again is the answer that was pieced together, byte by byte. */
async function compare({ url, tally }: Asked, { jobId, bytes }: Progress): Promise<void> {
  const signal = AbortSignal.timeout(5000);
  const again = await fetch(`${url}/api/jobs/${jobId}/events`, { headers: bearer, signal })
    .then(async response => (response.status === 200 ? response.text() : null))
    .catch(() => null);
  if (again === null) return;
  const frames = again.split(/(?<=\n\n)/).filter(frame => /^id: /m.test(frame));
  if (frames.join('') !== bytes) throw new WrongAnswer(`job ${jobId}: read again, the bytes are others`);
  tally.compared += 1;
}

export const rawCallers: Readonly<Record<string, (asked: Asked) => Promise<string>>> = {
  'fetch chat, resumed': asked => ask('chat', asked),
  'fetch messages, resumed': asked => ask('messages', asked),
  'fetch responses, resumed': asked => ask('responses', asked),
};
