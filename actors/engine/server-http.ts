/**
 * How an engine that is a server of its own is spoken to: JSON there, JSON or a stream of events back.
 *
 * H1. A request ends by its answer, by its time limit, or by its signal, whose abort closes the connection: that is how a
 *     server learns that nobody waits any more.
 * H2. Nothing is kept without a cap: not an answer, not a line of a stream.
 */

import type { IncomingMessage } from 'node:http';
import { request as requestHttp } from 'node:http';
import { request as requestHttps } from 'node:https';
import { isRecord } from '../../protocol/record.ts';

/** `status` null: no answer came, or it broke off. */
export class ServerTrouble extends Error {
  readonly status: number | null;
  /** What kind of error the server says it is. */
  readonly type: string;

  constructor(status: number | null, message: string, type = '', cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.name = 'ServerTrouble';
    this.status = status;
    this.type = type;
  }
}

export interface ServerHttp {
  readonly base: string;
  /** The answer's JSON. @throws ServerTrouble for any status but 200. */
  call(
    path: string,
    body?: unknown,
    more?: { readonly signal?: AbortSignal; readonly msMax?: number },
  ): Promise<unknown>;
  /** The events of an answer, as they come. It ends without a word when the connection does. */
  events(path: string, body: unknown, signal: AbortSignal): AsyncGenerator<unknown, void>;
}

const callMsMax = 10_000;
/** A large model on a slow processor takes minutes for a batch of its prompt, and says nothing meanwhile. */
const quietMsMax = 600_000;
const answerBytesMax = 256 * 2 ** 20;
const lineCharsMax = 16 * 2 ** 20;
const reasonCharsMax = 1000;

export function serverHttp(url: string, apiKey: string | null): ServerHttp {
  const base = url.replace(/\/+$/, '');

  const open = (
    path: string,
    body: unknown,
    signal: AbortSignal | undefined,
    msMax: number,
  ): Promise<IncomingMessage> =>
    new Promise((resolve, reject) => {
      const target = new URL(base + path);
      const send = target.protocol === 'https:' ? requestHttps : requestHttp;
      const text = body === undefined ? null : JSON.stringify(body);
      const asked = send(
        target,
        {
          method: text === null ? 'GET' : 'POST',
          agent: false,
          ...(signal === undefined ? {} : { signal }),
          headers: {
            ...(apiKey === null ? {} : { authorization: `Bearer ${apiKey}` }),
            ...(text === null ? {} : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) }),
          },
        },
        answer => resolve(answer),
      );
      asked.setTimeout(msMax, () => asked.destroy(new Error(`nothing was heard for ${msMax} ms`)));
      asked.on('error', error => {
        reject(new ServerTrouble(null, `${base}${path}: ${error.message}`, '', error));
      });
      asked.end(text ?? undefined);
    });

  return {
    base,
    async call(path, body, { signal, msMax = callMsMax } = {}) {
      const answer = await open(path, body, signal, msMax);
      const text = await whole(answer, path);
      if (answer.statusCode !== 200) throw refused(answer.statusCode ?? 0, path, text);
      try {
        return JSON.parse(text);
      } catch (error) {
        throw new ServerTrouble(200, `${base}${path} answers with something that is no JSON`, '', error);
      }
    },
    async *events(path, body, signal) {
      const answer = await open(path, body, signal, quietMsMax);
      if (answer.statusCode !== 200) throw refused(answer.statusCode ?? 0, path, await whole(answer, path));
      let held = '';
      try {
        answer.setEncoding('utf8');
        for await (const piece of answer) {
          held += piece;
          const lines = held.split('\n');
          held = lines.pop() ?? '';
          for (const line of lines) {
            const event = eventOf(line, path);
            if (event !== undefined) yield event;
          }
          if (held.length > lineCharsMax)
            throw new ServerTrouble(200, `${path}: a line of the answer is longer than ${lineCharsMax} characters`);
        }
      } catch (error) {
        if (error instanceof ServerTrouble) throw error;
        throw new ServerTrouble(null, `${path}: ${error instanceof Error ? error.message : String(error)}`, '', error);
      } finally {
        answer.destroy();
      }
    },
  };
}

async function whole(answer: IncomingMessage, path: string): Promise<string> {
  const pieces: Buffer[] = [];
  let bytes = 0;
  try {
    for await (const piece of answer) {
      bytes += piece.length;
      if (bytes > answerBytesMax) throw new Error(`the answer is larger than ${answerBytesMax} bytes`);
      pieces.push(piece);
    }
  } catch (error) {
    throw new ServerTrouble(null, `${path}: ${error instanceof Error ? error.message : String(error)}`, '', error);
  } finally {
    answer.destroy();
  }
  return Buffer.concat(pieces).toString('utf8');
}

/** undefined: nothing that is of use. */
function eventOf(line: string, path: string): unknown {
  const text = line.endsWith('\r') ? line.slice(0, -1) : line;
  if (text.startsWith('error: ')) throw refused(500, path, text.slice(7));
  if (!text.startsWith('data: ') || text === 'data: [DONE]') return undefined;
  let event: unknown;
  try {
    event = JSON.parse(text.slice(6));
  } catch (error) {
    throw new ServerTrouble(null, `${path}: an event that is no JSON: ${text.slice(0, 80)}`, '', error);
  }
  if (isRecord(event) && event.error !== undefined) throw refused(500, path, text.slice(6));
  return event;
}

/** `text` is `{"error":{"code","message","type"}}`, as a rule. */
function refused(status: number, path: string, text: string): ServerTrouble {
  let told: unknown;
  try {
    told = JSON.parse(text);
  } catch {
    told = null;
  }
  const error = isRecord(told) ? (told.error ?? told) : null;
  if (!isRecord(error))
    return new ServerTrouble(status, `${path}: status ${status}: ${text.slice(0, reasonCharsMax).trim()}`);
  const message = typeof error.message === 'string' ? error.message : text.slice(0, reasonCharsMax);
  const code = typeof error.code === 'number' ? error.code : status;
  return new ServerTrouble(code, message, typeof error.type === 'string' ? error.type : '');
}
