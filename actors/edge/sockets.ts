/**
 * The workers' WebSockets: `/ws` and nothing else. The key is in the first message, so strangers get in; until theirs
 * is known to be right they may send little, and only so many of them from one address.
 */
import type { IncomingMessage, Server } from 'node:http';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { type WebSocket, WebSocketServer } from 'ws';
import { closeCodes } from '../../protocol/codes.ts';
import type { Diagnostics } from '../config/diagnostics.ts';
import type { Front } from '../router/front.ts';

/** Bytes a stranger may send: a hello is under a kilobyte. */
const strangerBytesMax = 2 ** 20;
const strangersMax = 64;
/** The longest message of a worker: whole answers, images and tool results in base64. */
const messageBytesMax = 64 * 2 ** 20;

export function openSockets(server: Server, front: Front, diagnostics: Diagnostics): { close: () => void } {
  const sockets = new WebSocketServer({ noServer: true, maxPayload: messageBytesMax, perMessageDeflate: false });
  const strangers = new Map<string, number>();

  server.on('upgrade', (req: IncomingMessage, socket: Duplex, head: Buffer) => {
    const remote = req.socket.remoteAddress ?? '';
    socket.on('error', () => socket.destroy());
    if (req.url?.split('?', 1)[0] !== '/ws') return refuse(socket, '404 Not Found');
    if ((strangers.get(remote) ?? 0) >= strangersMax) return refuse(socket, '429 Too Many Requests');
    sockets.handleUpgrade(req, socket, head, webSocket => welcome(webSocket, req.socket, remote));
  });

  function welcome(webSocket: WebSocket, socket: Socket, remote: string): void {
    let stranger = true;
    strangers.set(remote, (strangers.get(remote) ?? 0) + 1);
    const known = (): void => {
      if (!stranger) return;
      stranger = false;
      const left = (strangers.get(remote) ?? 1) - 1;
      if (left > 0) strangers.set(remote, left);
      else strangers.delete(remote);
      socket.off('data', count);
    };
    const count = (): void => {
      if (socket.bytesRead > strangerBytesMax) {
        webSocket.close(closeCodes.helloTooLarge, 'the first message is too long');
        webSocket.terminate();
      }
    };
    socket.on('data', count);

    const isOpen = (): boolean => webSocket.readyState === webSocket.OPEN;
    const workerId = front.workerOpened(
      {
        send: text => isOpen() && webSocket.send(text),
        ping: () => isOpen() && webSocket.ping(),
        close: (code, reason) => webSocket.close(code, reason.slice(0, 120)),
        terminate: () => webSocket.terminate(),
        pause: () => webSocket.pause(),
        resume: () => webSocket.resume(),
        trust: known,
        get bufferedBytes() {
          return webSocket.bufferedAmount;
        },
      },
      remote,
    );
    webSocket.on('message', (data: Buffer) => front.workerMessage(workerId, data.toString()));
    webSocket.on('pong', () => front.workerSeen(workerId));
    webSocket.on('ping', () => front.workerSeen(workerId));
    webSocket.on('error', error =>
      diagnostics.warn('a worker broke the WebSocket protocol', { workerId, reason: error.message }),
    );
    webSocket.on('close', code => {
      known();
      front.workerClosed(workerId, code);
    });
  }

  return { close: () => sockets.close() };
}

function refuse(socket: Duplex, status: string): void {
  socket.end(`HTTP/1.1 ${status}\r\nconnection: close\r\ncontent-length: 0\r\n\r\n`);
}
