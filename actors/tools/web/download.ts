/**
 * One HTTP exchange with its redirects, bounded in every direction: where to, how long, how many hops, how many bytes, as
 * they come and as they unfold.
 */
import { createBrotliDecompress, createGunzip, createInflate } from 'node:zlib';
import { type Dispatcher, request } from 'undici';
import { type Egress, EgressError } from './egress.ts';

export interface DownloadOptions {
  readonly url: string;
  readonly method: string;
  /** Names in small letters. */
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string | null;
  readonly bytesMax: number;
  readonly redirectsMax: number;
  readonly signal: AbortSignal;
  /** Seen before the body is read: text says why it is not worth reading. */
  readonly refuse?: (contentType: string, status: number) => string | null;
}

export interface Downloaded {
  readonly url: string;
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly bytes: Buffer;
  /** There was more: than `bytesMax`, or than came before the connection broke. */
  readonly cut: 'large' | 'broken' | null;
  /** Why the body was not read. */
  readonly refused: string | null;
}

/** Something about the request or the answer, in words for whoever asked. */
export class DownloadError extends Error {
  override readonly name = 'DownloadError';
}

/** Headers that may follow a redirect to another origin; the others may be somebody's secret. */
const harmless = new Set(['accept', 'accept-language', 'accept-encoding', 'user-agent']);
const redirects = new Set([301, 302, 303, 307, 308]);

export async function download(egress: Egress, options: DownloadOptions): Promise<Downloaded> {
  let url = webUrl(options.url);
  let { method, body } = options;
  let headers = { ...options.headers };
  for (let hops = 0; ; hops++) {
    const answer = await ask(egress, { url, method, headers, body, signal: options.signal });
    const location = oneHeader(answer.headers.location);
    if (redirects.has(answer.statusCode) && location !== null) {
      discard(answer);
      if (hops >= options.redirectsMax) throw new DownloadError(`more than ${options.redirectsMax} redirects`);
      if (!URL.canParse(location, url.href))
        throw new DownloadError('the answer redirects to something that is no URL');
      const next = webUrl(new URL(location, url).href);
      if (next.origin !== url.origin) {
        headers = Object.fromEntries(Object.entries(headers).filter(([name]) => harmless.has(name)));
      }
      const becomesGet = answer.statusCode === 303 ? method !== 'HEAD' : answer.statusCode < 303 && method === 'POST';
      if (becomesGet) {
        method = 'GET';
        body = null;
        delete headers['content-type'];
      } else if (next.origin !== url.origin && body !== null) {
        throw new DownloadError('the answer redirects a request with a body to another origin');
      }
      url = next;
      continue;
    }
    const known = flat(answer.headers);
    const refused = options.refuse?.(known['content-type'] ?? '', answer.statusCode) ?? null;
    if (refused !== null) discard(answer);
    const read =
      refused === null
        ? await readBody(answer, options.bytesMax, options.signal)
        : { bytes: Buffer.alloc(0), cut: null };
    return { url: url.href, status: answer.statusCode, headers: known, refused, ...read };
  }
}

/** Refuses what is no plain web address. */
function webUrl(text: string): URL {
  if (!URL.canParse(text)) throw new DownloadError('the URL cannot be read');
  const url = new URL(text);
  if (url.protocol !== 'http:' && url.protocol !== 'https:')
    throw new DownloadError(`${url.protocol} is not supported; only http and https are`);
  if (url.username !== '' || url.password !== '')
    throw new DownloadError('a URL with a user name or password in it is refused');
  url.hash = '';
  return url;
}

async function ask(
  egress: Egress,
  {
    url,
    method,
    headers,
    body,
    signal,
  }: {
    url: URL;
    method: string;
    headers: Record<string, string>;
    body: string | null;
    signal: AbortSignal;
  },
): Promise<Dispatcher.ResponseData> {
  try {
    return await request(url, {
      dispatcher: egress.dispatcher,
      method: method as Dispatcher.HttpMethod,
      headers,
      body,
      signal,
    });
  } catch (error) {
    if (signal.aborted) throw signal.reason;
    throw new DownloadError(reasonOf(error, url));
  }
}

function reasonOf(error: unknown, { host }: URL): string {
  for (let at: unknown = error; at instanceof Error; at = at.cause) {
    if (at instanceof EgressError) return at.message;
    const code = 'code' in at ? String(at.code) : '';
    if (code === 'ENOTFOUND' || code === 'EAI_AGAIN') return `the name of ${host} cannot be resolved`;
    if (code === 'ECONNREFUSED') return `${host} refuses the connection`;
    if (code === 'UND_ERR_CONNECT_TIMEOUT' || code === 'ETIMEDOUT') return `${host} does not answer`;
    if (code === 'ECONNRESET' || code === 'UND_ERR_SOCKET') return `${host} broke the connection off`;
    if (/CERT|SSL|TLS/.test(code)) return `the certificate of ${host} is not accepted (${code})`;
    if (code === 'UND_ERR_HEADERS_OVERFLOW') return `${host} answers with headers that are too long`;
  }
  return `${host} cannot be read: ${error instanceof Error ? error.message : 'unknown error'}`;
}

async function readBody(
  answer: Dispatcher.ResponseData,
  bytesMax: number,
  signal: AbortSignal,
): Promise<Pick<Downloaded, 'bytes' | 'cut'>> {
  const unfold = decoderOf(oneHeader(answer.headers['content-encoding']) ?? '');
  const body = unfold === null ? answer.body : answer.body.pipe(unfold);
  // A pipe hands on no errors; without this a broken connection would never end the reading.
  if (unfold !== null) {
    let wireBytes = 0;
    answer.body.on('error', error => unfold.destroy(error));
    answer.body.on('data', (piece: Buffer) => {
      wireBytes += piece.length;
      if (wireBytes > bytesMax) unfold.destroy();
    });
  }
  const pieces: Buffer[] = [];
  let bytes = 0;
  let cut: Downloaded['cut'] = null;
  try {
    for await (const piece of body as AsyncIterable<Buffer>) {
      pieces.push(piece.subarray(0, bytesMax - bytes));
      bytes += piece.length;
      if (bytes > bytesMax) {
        cut = 'large';
        break;
      }
    }
  } catch (error) {
    if (signal.aborted) throw signal.reason;
    if (bytes === 0) throw new DownloadError(`the body of the answer cannot be read: ${messageOf(error)}`);
    cut = 'broken'; // what came is better than nothing, and the caller is told that there was more
  } finally {
    unfold?.destroy();
    discard(answer);
  }
  return { bytes: Buffer.concat(pieces), cut };
}

function decoderOf(encoding: string) {
  switch (encoding.trim().toLowerCase()) {
    case '':
    case 'identity':
      return null;
    case 'gzip':
    case 'x-gzip':
      return createGunzip();
    case 'deflate':
      return createInflate();
    case 'br':
      return createBrotliDecompress();
    default:
      throw new DownloadError(`the answer is packed in a way that is not understood (${encoding.slice(0, 40)})`);
  }
}

/** Ends the connection rather than reading what nobody wants. */
function discard({ body }: Dispatcher.ResponseData): void {
  body.on('error', () => undefined); // destroying says so again
  body.destroy();
}

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

const oneHeader = (value: string | string[] | undefined): string | null =>
  (Array.isArray(value) ? value[0] : value) ?? null;

function flat(headers: Dispatcher.ResponseData['headers']): Record<string, string> {
  const known: Record<string, string> = {};
  for (const [name, value] of Object.entries(headers)) {
    const one = oneHeader(value);
    if (one !== null) known[name] = one;
  }
  return known;
}
