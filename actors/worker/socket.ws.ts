/** A worker's socket over `ws`. Fragmented messages are put together and pings are answered by the library. */
import { WebSocket } from 'ws';
import { dialTrouble } from './dial-trouble.ts';
import type { Dial } from './socket.ts';

const dialMsMax = 15_000;
/** A job with a long history and images in it, and no more. */
const messageBytesMax = 128 * 2 ** 20;
const closeMsMax = 2000;

export const dialWs: Dial = (url, events) => {
  const ws = new WebSocket(url, {
    handshakeTimeout: dialMsMax,
    maxPayload: messageBytesMax,
    perMessageDeflate: false, // the reference never offers it, and tokens do not get smaller
    followRedirects: false,
    skipUTF8Validation: true, // bytes that are no UTF-8 become U+FFFD, and cost no connection (PROTOCOL.md §2)
  });
  let trouble = '';
  let wasOpen = false;
  let over = false;
  const end = (code: number, reason: string): void => {
    if (over) return;
    over = true;
    events.onClosed(code, reason);
  };
  ws.on('open', () => {
    wasOpen = true;
    events.onOpen();
  });
  ws.on('message', (data: Buffer) => {
    events.onAlive();
    events.onText(data.toString('utf8'));
  });
  ws.on('ping', () => events.onAlive());
  ws.on('pong', () => events.onAlive());
  ws.on('error', error => {
    trouble = dialTrouble(error.message);
  });
  ws.on('close', (code, reason) => end(wasOpen ? code : 0, reason.toString('utf8') || trouble));

  return {
    send: text => ws.send(text, () => undefined), // a failed send is followed by the close event
    ping: () => {
      if (ws.readyState === WebSocket.OPEN) ws.ping();
    },
    close(code, reason) {
      ws.close(code, shortened(reason));
      setTimeout(() => ws.terminate(), closeMsMax).unref();
    },
    terminate: () => ws.terminate(),
    get bufferedBytes() {
      return ws.bufferedAmount;
    },
  };
};

/** A close frame has room for 123 bytes of reason, and the library throws for more. */
const shortened = (reason: string): string => {
  let text = reason;
  while (Buffer.byteLength(text) > 123) text = text.slice(0, -1);
  return text;
};
