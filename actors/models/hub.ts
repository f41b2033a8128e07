/**
 * Requests to a model hub: an address that answers like huggingface.co.
 *
 * - The token goes to the hub's own origin and nowhere else, wherever it redirects to, and into no message.
 * - A redirect from an encrypted address to an unencrypted one is not followed.
 * - Every wait ends: for the connection, for the head of an answer, between two pieces of a body.
 */
import { Agent, type Dispatcher, request } from 'undici';
import { ModelError, reasonOf, stopped } from './model-error.ts';

export interface Hub {
  /** Without a slash at its end. */
  readonly endpoint: string;
  /** Secret. */
  readonly token: string | null;
  /** How long the hub may be silent. */
  readonly idleMs: number;
}

export interface HubAnswer {
  readonly status: number;
  /** Of the last answer. Names in lower case. */
  readonly headers: Headers;
  /** What the hub itself said of the file before it redirected: headers of the first answer that had them. */
  readonly linked: { readonly etag: string | null; readonly bytes: number | null; readonly commit: string | null };
  readonly body: Dispatcher.ResponseData['body'];
}

type Headers = Readonly<Record<string, string | string[] | undefined>>;

export interface HubRequest {
  readonly method: 'GET' | 'HEAD';
  readonly headers?: Readonly<Record<string, string>>;
  readonly signal: AbortSignal;
}

const redirectsMax = 6;
const connectMsMax = 15_000;
const bodyBytesKept = 64 * 2 ** 10;
const redirects: readonly number[] = [301, 302, 303, 307, 308];

export const fileUrl = ({ endpoint }: Hub, repository: string, revision: string, path: string): string =>
  `${endpoint}/${pathText(repository)}/resolve/${encodeURIComponent(revision)}/${pathText(path)}`;

export const pathText = (path: string): string => path.split('/').map(encodeURIComponent).join('/');

/** Connections for one piece of work; `close` ends those that are idle. */
export function openHub(hub: Hub): {
  ask: (url: string, request: HubRequest) => Promise<HubAnswer>;
  close: () => Promise<void>;
} {
  const agent = new Agent({
    connect: { timeout: Math.min(connectMsMax, hub.idleMs) },
    headersTimeout: hub.idleMs,
    bodyTimeout: hub.idleMs,
  });
  return {
    ask: (url, options) => ask(hub, agent, url, options),
    close: () => agent.destroy(),
  };
}

async function ask(hub: Hub, agent: Agent, url: string, options: HubRequest): Promise<HubAnswer> {
  const home = new URL(hub.endpoint).origin;
  let linked: HubAnswer['linked'] = { etag: null, bytes: null, commit: null };
  let at = new URL(url);
  for (let hops = 0; hops <= redirectsMax; hops++) {
    const { signal } = options;
    if (signal.aborted) throw stopped();
    const authorized = at.origin === home && hub.token !== null;
    let answer: Dispatcher.ResponseData;
    try {
      answer = await request(at, {
        method: options.method,
        headers: {
          'user-agent': 'auxot',
          'accept-encoding': 'identity',
          ...options.headers,
          ...(authorized ? { authorization: `Bearer ${hub.token}` } : {}),
        },
        dispatcher: agent,
        signal,
      });
    } catch (error) {
      if (signal.aborted) throw stopped();
      const message = `${at.host} cannot be asked: ${reasonOf(error)}`;
      throw new ModelError('hub_trouble', message, { retryable: true, cause: error });
    }
    const { statusCode: status, headers, body } = answer;
    linked = {
      etag: linked.etag ?? headerOf(headers, 'x-linked-etag'),
      bytes: linked.bytes ?? numberOf(headerOf(headers, 'x-linked-size')),
      commit: linked.commit ?? headerOf(headers, 'x-repo-commit'),
    };
    const location = headerOf(headers, 'location');
    if (!redirects.includes(status) || location === null) return { status, headers, linked, body };
    await discard(body);
    if (!URL.canParse(location, at.href))
      throw new ModelError('hub_answer', `${at.host} redirects to something that is no address`);
    const next = new URL(location, at);
    if (!/^https?:$/.test(next.protocol) || (at.protocol === 'https:' && next.protocol === 'http:'))
      throw new ModelError('hub_answer', `${at.host} redirects to ${next.protocol}//${next.host}, which is not safe`);
    at = next;
  }
  throw new ModelError('hub_answer', `${new URL(url).host} redirects more than ${redirectsMax} times`);
}

/** What a status that is no success means for whoever asked for `what`. */
export function refusalOf({ status, headers }: HubAnswer, hub: Hub, what: string): ModelError {
  const host = new URL(hub.endpoint).host;
  if (status === 401 || status === 403) {
    const fix =
      hub.token === null
        ? 'Set HF_TOKEN to a token that may read it.'
        : 'HF_TOKEN is not a token that may read it: its owner may have to accept the terms of the model first.';
    return new ModelError('hub_denied', `${host} does not give out ${what} (status ${status}). ${fix}`);
  }
  if (status === 404 || status === 410)
    return new ModelError('hub_not_found', `${host} does not have ${what} (status ${status})`);
  const message = `${host} answered ${status} for ${what}`;
  if (status === 408 || status === 425 || status === 429 || status >= 500)
    return new ModelError('hub_trouble', message, { retryable: true, waitMs: retryAfterMs(headers) });
  return new ModelError('hub_answer', message);
}

const waitMsMax = 300_000;

function retryAfterMs(headers: Headers): number {
  const text = headerOf(headers, 'retry-after') ?? '';
  const ms = /^\d+$/.test(text) ? Number(text) * 1000 : Date.parse(text) - Date.now();
  return Number.isFinite(ms) ? Math.min(waitMsMax, Math.max(0, ms)) : 0;
}

export function headerOf(headers: Headers, name: string): string | null {
  const value = headers[name];
  return (Array.isArray(value) ? value[0] : value) ?? null;
}

export function numberOf(text: string | null): number | null {
  const number = text !== null && /^\d+$/.test(text) ? Number(text) : Number.NaN;
  return Number.isSafeInteger(number) ? number : null;
}

/** Breaks off: what is still on its way is not wanted, and that it does not arrive is no error. */
export function drop({ body }: HubAnswer): void {
  body.on('error', () => undefined).destroy();
}

/** Reads a short rest so that the connection can be used again, and breaks off a long one. */
export async function discard(body: HubAnswer['body']): Promise<void> {
  await body.dump({ limit: bodyBytesKept }).catch(() => undefined); // nobody wants what it says
}
