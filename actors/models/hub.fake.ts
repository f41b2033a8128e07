/**
 * A hub on this machine, for tests: files behind the paths of a real one, and a lever for everything that goes wrong
 * between a disk and somebody else's server. Counts the bytes it serves.
 */
import { createHash } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

export interface FakeFile {
  bytes: Buffer;
  /** Says the SHA-256, as for large files. */
  linked: boolean;
}

export interface FakeHub {
  readonly url: string;
  readonly files: Map<string, FakeFile>;
  readonly requests: { method: string; path: string; range: string | null; authorization: string | null }[];
  /** Of bodies, over all answers. */
  bytesServed: number;
  /** Looked at before a GET is answered: true, it did so itself. */
  onGet: (request: IncomingMessage, response: ServerResponse, file: FakeFile | undefined) => boolean;
  onHead: (request: IncomingMessage, response: ServerResponse) => boolean;
  ignoreRange: boolean;
  ignoreIfRange: boolean;
  /** A second server, to which files are redirected. */
  cdn: string | null;
  /** Bytes a second, per answer; 0: as fast as it goes. */
  bytesPerSecond: number;
  close(): Promise<void>;
}

export const sha256 = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex');

/** The same bytes every time, different ones at every place. */
export function madeUp(length: number, salt = 1): Buffer {
  const bytes = Buffer.alloc(length);
  let state = salt >>> 0;
  for (let at = 0; at + 4 <= length; at += 4) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    bytes.writeUInt32LE(state, at);
  }
  return bytes;
}

export async function fakeHub(files: Readonly<Record<string, Buffer>> = {}): Promise<FakeHub> {
  const server: Server = createServer((request, response) => answer(hub, request, response));
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve));
  const hub: FakeHub = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    files: new Map(Object.entries(files).map(([path, bytes]) => [path, { bytes, linked: true }])),
    requests: [],
    bytesServed: 0,
    onGet: () => false,
    onHead: () => false,
    ignoreRange: false,
    ignoreIfRange: false,
    cdn: null,
    bytesPerSecond: 0,
    async close() {
      server.closeAllConnections();
      await new Promise(resolve => server.close(resolve));
    },
  };
  return hub;
}

function answer(hub: FakeHub, request: IncomingMessage, response: ServerResponse): void {
  const url = new URL(request.url ?? '/', hub.url);
  const path = decodeURIComponent(url.pathname)
    .replace(/^\/cdn\//, '/')
    .replace(/^\//, '');
  const key = path.replace(/\/resolve\/[^/]+\//, '/');
  const { method = 'GET', headers } = request;
  const { range = null, authorization = null } = headers;
  hub.requests.push({ method, path, range, authorization });
  const file = hub.files.get(key);
  if (method === 'HEAD' ? hub.onHead(request, response) : hub.onGet(request, response, file)) return;
  if (file === undefined) {
    response.writeHead(404).end('no such file');
    return;
  }
  const digest = sha256(file.bytes);
  const place = url.pathname.startsWith('/cdn/');
  if (hub.cdn !== null && !place) {
    response.writeHead(302, {
      location: `${hub.cdn}/cdn/${path}?signed=1`,
      ...(file.linked ? { 'x-linked-etag': `"${digest}"`, 'x-linked-size': String(file.bytes.length) } : {}),
      'x-repo-commit': 'c0ffee',
    });
    response.end();
    return;
  }
  // A place where files lie has tags of its own.
  const etag = place ? `"cdn-${digest.slice(0, 12)}"` : file.linked ? `"${digest}"` : `"small-${digest.slice(0, 8)}"`;
  const [, from, to] = /^bytes=(\d+)-(\d+)$/.exec(range ?? '') ?? [];
  const stale = !hub.ignoreIfRange && headers['if-range'] !== undefined && headers['if-range'] !== etag;
  const whole = from === undefined || to === undefined || hub.ignoreRange || stale;
  const body = whole ? file.bytes : file.bytes.subarray(Number(from), Number(to) + 1);
  response.writeHead(whole ? 200 : 206, {
    etag,
    'content-length': String(body.length),
    ...(whole ? {} : { 'content-range': `bytes ${from}-${Number(from) + body.length - 1}/${file.bytes.length}` }),
  });
  if (method === 'HEAD') response.end();
  else void send(hub, response, body);
}

/** In small pieces, counted as they go. */
export async function send(hub: FakeHub, response: ServerResponse, body: Buffer): Promise<void> {
  const step = hub.bytesPerSecond > 0 ? Math.max(1, Math.floor(hub.bytesPerSecond / 50)) : 64 * 1024;
  for (let at = 0; at < body.length && !response.destroyed; at += step) {
    const piece = body.subarray(at, at + step);
    hub.bytesServed += piece.length;
    const flushed = response.write(piece);
    if (hub.bytesPerSecond > 0) await new Promise(resolve => setTimeout(resolve, 20));
    else if (!flushed) await moved(response);
  }
  response.end();
}

/** Until the reader has taken what was written, or has gone. */
function moved(response: ServerResponse): Promise<void> {
  return new Promise(resolve => {
    const done = (): void => {
      response.off('drain', done).off('close', done);
      resolve();
    };
    response.on('drain', done).on('close', done);
  });
}
