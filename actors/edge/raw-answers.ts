/** Answers on a bare socket, where Node has no response object to offer: unreadable requests, refused upgrades. */

import { STATUS_CODES } from 'node:http';
import type { Duplex } from 'node:stream';
import { newRequestId } from '../router/ids.ts';

/** How long the peer may take to read its answer. */
const lingerMs = 1000;

/** Says why and ends the connection, in bounded time. */
export function answerRaw(socket: Duplex, status: number, type: string, message: string): void {
  if (!socket.writable) return void socket.destroy();
  const body = JSON.stringify({ error: { message, type, param: null, code: null } });
  const head = [
    `HTTP/1.1 ${status} ${STATUS_CODES[status]}`,
    'content-type: application/json',
    `content-length: ${Buffer.byteLength(body)}`,
    `x-request-id: ${newRequestId()}`,
    'connection: close',
  ];
  socket.end(`${head.join('\r\n')}\r\n\r\n${body}`);
  socket.resume();
  const late = setTimeout(() => socket.destroy(), lingerMs);
  socket.once('close', () => clearTimeout(late));
}
