/** A WebSocket client that may be rude: it sends any bytes as frames, whole or cut, and writes down what comes back. */
import { randomBytes } from 'node:crypto';
import { connect, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';

export interface RawSocket {
  readonly socket: Socket;
  /** Status line and headers with which the upgrade was answered, in lower case. */
  readonly head: () => string;
  /** Payloads of the pongs that came. */
  readonly pongs: string[];
  /** JSON frames of the router; what is no JSON is kept as text. */
  // biome-ignore lint/suspicious/noExplicitAny: whatever a router says is looked into by assertions.
  readonly heard: any[];
  /** Close code, 1006 for a connection that ended without one; null while it is open. */
  readonly closed: () => number | null;
  /** Resolves when the connection has ended. */
  readonly ended: Promise<number>;
  /** One frame. Opcodes: 0 continuation, 1 text, 2 binary, 8 close, 9 ping, 10 pong. */
  frame(opcode: number, payload: string | Uint8Array, options?: { fin?: boolean; masked?: boolean }): void;
  /** A text message in one frame. */
  say(message: object | string): void;
  /** False: pings stay without an answer, as of a peer that hangs. */
  answersPings: boolean;
  close(): void;
}

/** `to` is a port of this machine, or a ws: or wss: address; `headers` go into the upgrade, each with its line end. */
export function openRaw(to: number | string, headers = ''): Promise<RawSocket> {
  const url = new URL(typeof to === 'number' ? `ws://127.0.0.1:${to}/ws` : to);
  const secure = url.protocol === 'wss:';
  const at = { host: url.hostname, port: Number(url.port || (secure ? 443 : 80)) };
  const socket = secure ? connectTls({ ...at, servername: url.hostname }) : connect(at);
  const heard: unknown[] = [];
  let code: number | null = null;
  const pongs: string[] = [];
  let head = '';
  let message = Buffer.alloc(0);
  let gathered = Buffer.alloc(0);
  let upgraded = false;
  let end: (code: number) => void = () => undefined;
  const ended = new Promise<number>(resolve => {
    end = resolve;
  });
  socket.on('error', () => undefined);
  socket.on('close', () => {
    code ??= 1006;
    end(code);
  });
  socket.write(
    `GET ${url.pathname}${url.search} HTTP/1.1\r\nhost: ${url.host}\r\n${headers}connection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-key: ${randomBytes(16).toString('base64')}\r\nsec-websocket-version: 13\r\n\r\n`,
  );

  const raw: RawSocket = {
    socket,
    heard,
    pongs,
    head: () => head,
    closed: () => code,
    ended,
    frame(opcode, payload, { fin = true, masked = true } = {}) {
      if (socket.destroyed) return;
      const bytes = typeof payload === 'string' ? Buffer.from(payload) : Buffer.from(payload);
      const length = bytes.length < 126 ? 0 : bytes.length < 65_536 ? 2 : 8;
      const head = Buffer.alloc(2 + length + (masked ? 4 : 0));
      head[0] = (fin ? 0x80 : 0) | opcode;
      head[1] = (masked ? 0x80 : 0) | (length === 0 ? bytes.length : length === 2 ? 126 : 127);
      if (length === 2) head.writeUInt16BE(bytes.length, 2);
      if (length === 8) head.writeBigUInt64BE(BigInt(bytes.length), 2);
      // A mask of zeros leaves the payload as it is.
      socket.write(Buffer.concat([head, bytes]));
    },
    say(said) {
      raw.frame(1, typeof said === 'string' ? said : JSON.stringify(said));
    },
    answersPings: true,
    close() {
      socket.destroy();
    },
  };

  return new Promise((resolve, reject) => {
    ended.then(() => reject(new Error(`no upgrade: ${gathered.toString('latin1')}`)));
    socket.on('data', (piece: Buffer) => {
      gathered = Buffer.concat([gathered, piece]);
      if (!upgraded) {
        const end = gathered.indexOf('\r\n\r\n');
        if (end < 0 || !gathered.toString('latin1', 0, end).startsWith('HTTP/1.1 101')) return;
        upgraded = true;
        head = gathered.toString('latin1', 0, end).toLowerCase();
        gathered = gathered.subarray(end + 4);
        resolve(raw);
      }
      for (let frame = take(); frame !== null; frame = take()) heed(frame);
    });
  });

  /** The next whole frame; a router's are not masked. */
  function take(): { opcode: number; fin: boolean; payload: Buffer } | null {
    const [first = 0, second] = gathered;
    if (second === undefined) return null;
    let from = 2;
    let length = second & 0x7f;
    if (length === 126) {
      if (gathered.length < 4) return null;
      length = gathered.readUInt16BE(2);
      from = 4;
    } else if (length === 127) {
      if (gathered.length < 10) return null;
      length = Number(gathered.readBigUInt64BE(2));
      from = 10;
    }
    if (gathered.length < from + length) return null;
    const frame = { opcode: first & 0x0f, fin: first >= 0x80, payload: gathered.subarray(from, from + length) };
    gathered = gathered.subarray(from + length);
    return frame;
  }

  function heed({ opcode, fin, payload }: { opcode: number; fin: boolean; payload: Buffer }): void {
    if (opcode <= 2) {
      message = Buffer.concat([message, payload]);
      if (!fin) return;
      heard.push(jsonOr(message.toString()));
      message = Buffer.alloc(0);
    } else if (opcode === 9) {
      if (raw.answersPings) raw.frame(10, payload);
    } else if (opcode === 10) pongs.push(payload.toString());
    else if (opcode === 8) {
      code ??= payload.length >= 2 ? payload.readUInt16BE(0) : 1005;
      raw.frame(8, payload.subarray(0, 2));
      socket.end();
    }
  }
}

function jsonOr(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    // A peer that says no JSON is found out by whoever looks for a frame.
    return text;
  }
}
