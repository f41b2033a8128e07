/**
 * Requests that ask for another protocol. Only `/ws` has one to offer; any other request is answered as if it had not
 * asked (RFC 9110 §7.8): Java's HTTP client offers `h2c` with every first request of a plain connection.
 */
import type { IncomingMessage, Server } from 'node:http';
import type { Duplex } from 'node:stream';

/** Headers that belong to the offer. */
const offerHeaders = new Set(['upgrade', 'http2-settings', 'connection']);

/**
 * Node has taken its parser off the socket by now: the request is put back, without the offer, and the socket is handed
 * to the server as a new one.
 */
export function ignoreUpgrade(server: Server, req: IncomingMessage, socket: Duplex, head: Buffer): void {
  const lines = [`${req.method} ${req.url} HTTP/${req.httpVersion}`];
  for (let n = 0; n + 1 < req.rawHeaders.length; n += 2) {
    const name = req.rawHeaders[n] ?? '';
    if (!offerHeaders.has(name.toLowerCase())) lines.push(`${name}: ${req.rawHeaders[n + 1]}`);
  }
  socket.unshift(Buffer.concat([Buffer.from(`${lines.join('\r\n')}\r\n\r\n`, 'latin1'), head]));
  server.emit('connection', socket);
}
