/**
 * Request paths (spec/http-api §1): base URLs with and without `v1`, doubled slashes and a trailing slash all work, and
 * nothing is ever redirected.
 */
export type Family = 'openai' | 'anthropic' | 'other';

export interface Route {
  readonly family: Family;
  /** Percent-decoded, without a slash at its start. Of an API: below the family's root, and without slashes at its end. */
  readonly path: string;
}

/**
 * `speaksAnthropic`: the request has a header that only clients of that API send. It decides where both APIs have the
 * same path, which is so when the router's bare address is their base URL.
 *
 * Null for a path with `..` in it or with broken percent-encoding: there is nothing at such a place.
 */
export function routeOf(url: string, speaksAnthropic = false): Route | null {
  // A proxy may send the whole URL (RFC 9112 §3.2.2).
  const raw = url.replace(/^https?:\/\/[^/?#]*/i, '').split(/[?#]/, 1)[0] ?? '';
  let path: string;
  try {
    path = decodeURIComponent(raw);
  } catch {
    return null;
  }
  const parts = path.split('/').filter(part => part !== '' && part !== '.');
  if (parts.includes('..') || path.includes('\0')) return null;
  const [first, second] = parts;
  if (first === 'api' && (second === 'openai' || second === 'anthropic')) return below(second, parts.slice(2));
  if (first === 'v1') {
    const name = parts.find(part => part !== 'v1');
    return below(name === 'messages' || (name === 'models' && speaksAnthropic) ? 'anthropic' : 'openai', parts);
  }
  return { family: 'other', path: parts.join('/') + (parts.length > 0 && path.endsWith('/') ? '/' : '') };
}

/** Any number of `v1` right behind the root says nothing. */
function below(family: 'openai' | 'anthropic', parts: readonly string[]): Route {
  const start = parts.findIndex(part => part !== 'v1');
  return { family, path: start < 0 ? '' : parts.slice(start).join('/') };
}
