/** Callers of a router process: over fetch, and over a bare socket where a test needs to be rude. */
import { connect } from 'node:net';
import { apiKey, waitUntil } from './processes.ts';

export const bearer = { authorization: `Bearer ${apiKey}` };

export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
  /** The body as JSON; undefined when it is none. */
  // biome-ignore lint/suspicious/noExplicitAny: whatever a server says is looked into by assertions.
  readonly json: any;
}

export async function call(url: string, init: RequestInit = {}): Promise<Answer> {
  const response = await fetch(url, { redirect: 'manual', signal: AbortSignal.timeout(20_000), ...init });
  return read(response);
}

async function read(response: Response): Promise<Answer> {
  const text = await response.text();
  return { status: response.status, headers: response.headers, text, json: parsed(text) };
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

export const userSays = (content: string) => [{ role: 'user', content }];

/** A chat completion. A string goes out as it is, anything else as JSON; `messages` may be left out. */
export function chat(url: string, body: object | string = {}, init: RequestInit = {}): Promise<Answer> {
  return call(`${url}/api/openai/chat/completions`, chatInit(body, init));
}

export const chatInit = (body: object | string, init: RequestInit = {}): RequestInit => ({
  method: 'POST',
  ...init,
  headers: { ...bearer, 'content-type': 'application/json', ...(init.headers as Record<string, string> | undefined) },
  body: typeof body === 'string' ? body : JSON.stringify({ messages: userSays('hi'), ...body }),
});

/** What a streamed answer's `data:` fields hold. */
export const dataOf = (text: string): string[] =>
  // Lines end with a line feed here, and with nothing else that may stand in a text.
  text.split('\n\n').flatMap(block => {
    const line = block.split('\n').find(one => one.startsWith('data: '));
    return line === undefined ? [] : [line.slice(6)];
  });

// biome-ignore lint/suspicious/noExplicitAny: whatever a server says is looked into by assertions.
export const chunksOf = (text: string): any[] =>
  dataOf(text)
    .filter(data => data !== '[DONE]')
    .map(data => JSON.parse(data));

/** The text that a streamed answer says. */
export const saidIn = (text: string): string =>
  chunksOf(text)
    .map(chunk => chunk.choices?.[0]?.delta?.content ?? '')
    .join('');

export interface Health {
  readonly active_jobs: number;
  readonly queued_jobs: number;
  readonly available: number;
  readonly total_slots: number;
  readonly workers: number;
  readonly status: string;
}

export async function health(url: string): Promise<Health> {
  const { json } = await call(`${url}/health`);
  return json as Health;
}

/** Until the router's health is so. */
export const untilHealth = (url: string, isSo: (now: Health) => boolean, what: string, ms = 5000): Promise<void> =>
  waitUntil(
    async () => isSo(await health(url)),
    ms,
    () => what,
  );

/**
 * Sends bytes on a bare socket, and resolves with what came back when the router closed it or `ms` have passed. `ends`:
 * the sending side is closed behind them.
 */
export function converse(
  port: number,
  pieces: readonly (string | Uint8Array)[],
  {
    ms = 2000,
    until = () => false,
    ends = false,
  }: { ms?: number; until?: (got: string) => boolean; ends?: boolean } = {},
): Promise<{ text: string; closed: boolean }> {
  return new Promise(resolve => {
    const socket = connect(port, '127.0.0.1');
    let text = '';
    const done = (closed: boolean): void => {
      clearTimeout(late);
      socket.destroy();
      resolve({ text, closed });
    };
    const late = setTimeout(() => done(false), ms);
    // A reset is one way for the router to hang up.
    socket.on('error', () => undefined);
    socket.on('data', (piece: Buffer) => {
      text += piece.toString('latin1');
      if (until(text)) done(false);
    });
    socket.on('close', () => done(true));
    for (const piece of pieces) socket.write(piece);
    if (ends) socket.end();
  });
}
