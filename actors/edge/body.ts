/** Reads a request's body, within its cap and with no pause longer than `idleMs`. */
import type { IncomingMessage } from 'node:http';
import type { CodeName } from '../../protocol/codes.ts';

export class BodyRefused extends Error {
  readonly code: CodeName;
  constructor(code: CodeName, message: string) {
    super(message);
    this.code = code;
  }
}

/** Rejects with BodyRefused, or with `null` code when the caller went away. */
export function readBody(req: IncomingMessage, bytesMax: number, idleMs: number): Promise<Uint8Array> {
  return new Promise((resolve, reject) => {
    const tooLarge = (): BodyRefused =>
      new BodyRefused('request_too_large', `the body is longer than ${bytesMax} bytes (AUXOT_MAX_BODY)`);
    if (Number(req.headers['content-length'] ?? 0) > bytesMax) return reject(tooLarge());
    const pieces: Buffer[] = [];
    let bytes = 0;
    let timer = setTimeout(late, idleMs);
    function late(): void {
      finish(() => reject(new BodyRefused('request_timeout', `the body stopped coming for ${idleMs} ms`)));
    }
    function finish(settle: () => void): void {
      clearTimeout(timer);
      req.removeAllListeners('data');
      req.pause();
      settle();
    }
    req.on('data', (piece: Buffer) => {
      clearTimeout(timer);
      bytes += piece.length;
      if (bytes > bytesMax) return finish(() => reject(tooLarge()));
      pieces.push(piece);
      timer = setTimeout(late, idleMs);
    });
    req.once('end', () => {
      clearTimeout(timer);
      resolve(Buffer.concat(pieces));
    });
    req.once('error', error => finish(() => reject(error)));
    req.once('close', () => {
      clearTimeout(timer);
      reject(new BodyRefused('cancelled', 'the caller went away'));
    });
  });
}
