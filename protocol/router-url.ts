/**
 * The address of a router, as people write it, to the address of its worker socket and back (spec/worker-protocol §2).
 *
 * What stays true: user name, password, host (with its case) and port are kept as written; query and fragment are dropped,
 * and the path is replaced, unless it ends in the path of the socket (a proxy on a path of its own). Without a scheme the
 * connection is encrypted, but to this machine and to addresses of a private network, where nobody has certificates.
 * Three inputs are treated better than by the reference besides: a scheme in capitals is understood, a scheme that is no
 * web scheme is refused, a bare `?` is dropped.
 */
export type RouterUrl = { readonly ok: true; readonly url: string } | { readonly ok: false; readonly message: string };

const socketSchemes: ReadonlyMap<string, string> = new Map([
  ['http', 'ws'],
  ['https', 'wss'],
  ['ws', 'ws'],
  ['wss', 'wss'],
]);

/** `path` is where the worker socket lives, `/ws`. Several addresses, separated by commas, become several. */
export function routerUrl(given: string, path: string): RouterUrl {
  const all = given.split(',').map(one => oneUrl(one, path));
  return all.find(({ ok }) => !ok) ?? { ok: true, url: all.map(one => (one.ok ? one.url : '')).join(',') };
}

function oneUrl(given: string, path: string): RouterUrl {
  const text = given.trim();
  if (text === '')
    return { ok: false, message: 'the router address is empty; write for example wss://router.example.com' };
  const parts = text.includes('://') ? split(text) : withScheme(text);
  if (parts === null)
    return { ok: false, message: `the router address "${withoutPassword(text)}" is not a URL with a host` };
  const scheme = socketSchemes.get(parts.scheme.toLowerCase());
  if (scheme === undefined) {
    return { ok: false, message: `the router address begins with ${parts.scheme}://; use wss, ws, https or http` };
  }
  const own = parts.path.replace(/\/+$/, '');
  return { ok: true, url: `${scheme}://${parts.authority}${own.endsWith(path) ? own : path}` };
}

function withScheme(text: string): ReturnType<typeof split> {
  const parts = split(`wss://${text}`);
  return parts !== null && isNear(new URL(`http://${parts.authority}/`).hostname) ? { ...parts, scheme: 'ws' } : parts;
}

/** This machine, or an address that is routed nowhere but in a network of one's own. */
const isNear = (host: string): boolean =>
  /^(localhost|.+\.localhost|\[::1\]|127\.[\d.]+|10\.[\d.]+|192\.168\.[\d.]+|172\.(1[6-9]|2\d|3[01])\.[\d.]+|\[f[cd][\da-f:]+\])$/.test(
    host,
  );

/** The HTTP address of the router whose socket address this is. Text that is no URL keeps all but its scheme. */
export function httpBase(socketUrl: string): string {
  const parts = split(socketUrl);
  if (parts === null) return socketUrl.replace(/^ws(s?):\/\//i, 'http$1://');
  const scheme = parts.scheme.toLowerCase().replace(/^ws/, 'http');
  return `${scheme}://${parts.authority}`;
}

/**
 * By hand, because the URL class writes hosts in lower case and drops default ports; it is only asked whether the rest
 * makes a host at all. Backslashes and spaces, which it would read as slashes or cut off, are no part of a host.
 */
function split(text: string): { scheme: string; authority: string; path: string } | null {
  const match = /^([a-z][a-z0-9+.-]*):\/\/([^/?#]*)([^?#]*)/i.exec(text);
  const scheme = match?.[1];
  const authority = match?.[2];
  if (scheme === undefined || authority === undefined || authority === '' || /[\s\\]/.test(authority)) return null;
  if (!URL.canParse(`http://${authority}/`)) return null;
  const path = match?.[3] ?? '';
  return { scheme, authority, path: /[\s\\]/.test(path) ? '' : path };
}

/** Addresses appear in diagnostics; passwords must not. */
export const withoutPassword = (text: string): string => text.replace(/^((?:[a-z][a-z0-9+.-]*:)?\/\/)?.*@/is, '$1…@');
