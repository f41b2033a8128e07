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
import { isSurplus, surplusMessage } from './connections.ts';
import { answerRaw } from './raw-answers.ts';
import { ignoreUpgrade } from './upgrades.ts';

/** Bytes a stranger may send: a hello is under a kilobyte. */
const strangerBytesMax = 2 ** 20;
const strangersMax = 64;
/** The longest message of a worker: whole answers, images and tool results in base64. */
const messageBytesMax = 64 * 2 ** 20;
/** How long a peer that was told to go may take to go. */
const lingerMs = 1000;

export function openSockets(
  server: Server,
  front: Front,
  workersMax: number,
  diagnostics: Diagnostics,
): { close: () => void } {
  const sockets = new WebSocketServer({
    noServer: true,
    maxPayload: messageBytesMax,
    perMessageDeflate: false,
    skipUTF8Validation: true, // bytes that are no UTF-8 become U+FFFD, and cost no connection (PROTOCOL.md §2)
  });
  const strangers = new Map<string, number>();
  let workers = 0;

  server.on('upgrade', (req: IncomingMessage, socket: Duplex, head: Buffer) => {
    if (req.headers.upgrade?.toLowerCase() !== 'websocket') return ignoreUpgrade(server, req, socket, head);
    const remote = req.socket.remoteAddress ?? '';
    socket.on('error', () => socket.destroy());
    if (req.url?.split('?', 1)[0] !== '/ws')
      return answerRaw(socket, 404, 'not_found', 'there is no WebSocket here: workers dial /ws');
    if (isSurplus(req.socket)) return answerRaw(socket, 503, 'server_error', surplusMessage);
    const refusal = refusalFor(remote);
    if (refusal !== null) return sockets.handleUpgrade(req, socket, head, webSocket => sendAway(webSocket, refusal));
    sockets.handleUpgrade(req, socket, head, webSocket => welcome(webSocket, req.socket, remote));
  });
  // Without this, an HTTP/1.1 handshake that lacks a header would be refused without an id.
  sockets.on('wsClientError', (error, socket) => answerRaw(socket, 400, 'invalid_request_error', error.message));

  function refusalFor(remote: string): string | null {
    if (workers >= workersMax) return `${workersMax} workers are connected, and more may not (AUXOT_MAX_WORKERS)`;
    if ((strangers.get(remote) ?? 0) < strangersMax) return null;
    return `${strangersMax} connections from here have not said hello yet`;
  }

  function sendAway(webSocket: WebSocket, reason: string): void {
    webSocket.on('error', () => webSocket.terminate());
    webSocket.close(closeCodes.tooManyConnections, reason);
    closeSoon(webSocket);
  }

  function welcome(webSocket: WebSocket, socket: Socket, remote: string): void {
    let stranger = true;
    workers += 1;
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
      if (socket.bytesRead <= strangerBytesMax) return;
      // What else it sends is dropped unread. Its socket closes a little later, so that it learns why.
      socket.removeAllListeners('data');
      socket.resume();
      webSocket.close(closeCodes.helloTooLarge, 'too much was sent before the key was checked');
      closeSoon(webSocket);
    };
    socket.on('data', count);

    const isOpen = (): boolean => webSocket.readyState === webSocket.OPEN;
    let gathering = false;
    /** Frames of one moment leave in one write: for the kernel's work a dozen are as good as one. */
    const gather = (): void => {
      if (gathering) return;
      gathering = true;
      socket.cork();
      process.nextTick(() => {
        gathering = false;
        socket.uncork();
      });
    };
    const workerId = front.workerOpened(
      {
        send: text => {
          if (!isOpen()) return;
          gather();
          webSocket.send(text);
        },
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
      workers -= 1;
      known();
      front.workerClosed(workerId, code);
    });
  }

  return { close: () => sockets.close() };
}

function closeSoon(webSocket: WebSocket): void {
  const late = setTimeout(() => webSocket.terminate(), lingerMs);
  webSocket.once('close', () => clearTimeout(late));
}
