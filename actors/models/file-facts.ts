/**
 * What a hub says of a file before anything of it is fetched: size, checksum, and the tag by which to see that it is
 * still the same. Large files are linked: the hub says their SHA-256 and size, and redirects to where they lie.
 */

import type { Hub, openHub } from './hub.ts';
import { discard, drop, type HubAnswer, headerOf, numberOf, refusalOf } from './hub.ts';

export interface FileFacts {
  /** null: the hub does not say. */
  readonly bytes: number | null;
  readonly sha256: string | null;
  /** Equal tags mean the same file; '' when there is none. */
  readonly tag: string;
  readonly commit: string | null;
}

export async function fileFacts(
  line: ReturnType<typeof openHub>,
  hub: Hub,
  url: string,
  what: string,
  signal: AbortSignal,
): Promise<FileFacts> {
  const head = await line.ask(url, { method: 'HEAD', signal });
  await discard(head.body);
  if (head.status === 200) return factsOf(head, numberOf(headerOf(head.headers, 'content-length')));
  if (head.status !== 405 && head.status !== 501) throw refusalOf(head, hub, what);
  // A hub that knows no HEAD is asked for the first byte.
  const first = await line.ask(url, { method: 'GET', headers: { range: 'bytes=0-0' }, signal });
  drop(first);
  if (first.status === 206) return factsOf(first, rangeOf(first)?.total ?? null);
  if (first.status === 200) return factsOf(first, numberOf(headerOf(first.headers, 'content-length')));
  throw refusalOf(first, hub, what);
}

function factsOf({ headers, linked }: HubAnswer, bytes: number | null): FileFacts {
  const tag = linked.etag ?? headerOf(headers, 'etag') ?? '';
  const bare = tag.replace(/^W\//, '').replaceAll('"', '');
  return {
    bytes: linked.bytes ?? bytes,
    sha256: /^[0-9a-f]{64}$/.test(bare) ? bare : null,
    tag: bare,
    commit: linked.commit,
  };
}

/** `bytes 100-199/1000`. */
export function rangeOf({ headers }: Pick<HubAnswer, 'headers'>): { from: number; total: number | null } | null {
  const [, from, total] = /^bytes (\d+)-\d+\/(\d+|\*)$/.exec(headerOf(headers, 'content-range') ?? '') ?? [];
  if (from === undefined || total === undefined) return null;
  return { from: Number(from), total: numberOf(total) };
}
