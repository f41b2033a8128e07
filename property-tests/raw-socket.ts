/** A WebSocket client that may be rude: it sends any bytes as frames, whole or cut, and writes down what comes back. */
import { randomBytes } from 'node:crypto';
import { connect, type Socket } from 'node:net';

export interface RawSocket {
  readonly socket: Socket;
  /** JSON frames of the router, as far as they are JSON. */
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
  close(): void;
}

export function openRaw(port: number): Promise<RawSocket> {
  const socket = connect(port, '127.0.0.1');
  const heard: unknown[] = [];
  let code: number | null = null;
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
    `GET /ws HTTP/1.1\r\nhost: x\r\nconnection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-key: ${randomBytes(16).toString('base64')}\r\nsec-websocket-version: 13\r\n\r\n`,
  );

  const raw: RawSocket = {
    socket,
    heard,
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
    say(message) {
      raw.frame(1, typeof message === 'string' ? message : JSON.stringify(message));
    },
    close() {
      socket.destroy();
    },
  };

  return new Promise((resolve, reject) => {
    ended.then(() => reject(new Error(`no upgrade: ${gathered.toString('latin1')}`)));
    socket.on('data', (piece: Buffer) => {
      gathered = Buffer.concat([gathered, piece]);
      if (!upgraded) {
        const at = gathered.indexOf('\r\n\r\n');
        if (at < 0 || !gathered.toString('latin1', 0, at).startsWith('HTTP/1.1 101')) return;
        upgraded = true;
        gathered = gathered.subarray(at + 4);
        resolve(raw);
      }
      for (let frame = take(); frame !== null; frame = take()) heed(frame);
    });
  });

  /** The next whole frame; a router's are not masked. */
  function take(): { opcode: number; payload: Buffer } | null {
    const second = gathered[1];
    if (second === undefined) return null;
    let at = 2;
    let length = second & 0x7f;
    if (length === 126) {
      if (gathered.length < 4) return null;
      length = gathered.readUInt16BE(2);
      at = 4;
    } else if (length === 127) {
      if (gathered.length < 10) return null;
      length = Number(gathered.readBigUInt64BE(2));
      at = 10;
    }
    if (gathered.length < at + length) return null;
    const frame = { opcode: (gathered[0] ?? 0) & 0x0f, payload: gathered.subarray(at, at + length) };
    gathered = gathered.subarray(at + length);
    return frame;
  }

  function heed({ opcode, payload }: { opcode: number; payload: Buffer }): void {
    if (opcode === 1) heard.push(JSON.parse(payload.toString()));
    else if (opcode === 9) raw.frame(10, payload);
    else if (opcode === 8) {
      code ??= payload.length >= 2 ? payload.readUInt16BE(0) : 1005;
      raw.frame(8, payload.subarray(0, 2));
      socket.end();
    }
  }
}
