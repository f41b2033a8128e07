/** Cross-origin access for browser apps, for the origins in AUXOT_CORS_ORIGINS and no other. */
import type { IncomingMessage, ServerResponse } from 'node:http';

/** Browsers may keep the answer to a preflight this long. */
const maxAgeSeconds = 86_400;

/** Marks the answer for the browser; true when the request was a preflight, which this answers. */
export function allowOrigin(req: IncomingMessage, res: ServerResponse, origins: readonly string[]): boolean {
  if (origins.length === 0) return false;
  const any = origins.includes('*');
  // What one origin is told must not be kept for another.
  if (!any) res.setHeader('vary', 'Origin');
  const { origin } = req.headers;
  if (origin === undefined || !(any || origins.some(known => known.toLowerCase() === origin.toLowerCase())))
    return false;
  res.setHeader('access-control-allow-origin', any ? '*' : origin);
  res.setHeader('access-control-expose-headers', 'x-request-id, request-id, x-auxot-job, retry-after, x-should-retry');
  if (req.method !== 'OPTIONS') return false;
  res.writeHead(204, {
    'access-control-allow-methods': 'GET, HEAD, POST, DELETE, OPTIONS',
    'access-control-allow-headers':
      req.headers['access-control-request-headers'] ?? 'authorization, content-type, x-api-key',
    'access-control-max-age': String(maxAgeSeconds),
  });
  res.end();
  return true;
}
