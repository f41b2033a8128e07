/** Reads a request's body, within its cap and with no pause longer than `idleMs`. */
import type { IncomingMessage } from 'node:http';
import type { CodeName } from '../../protocol/codes.ts';

export class BodyRefused extends Error {
  /** `cancelled`: the caller went away, and nobody is left to be told. */
  readonly code: CodeName;
  constructor(code: CodeName, message: string) {
    super(message);
    this.code = code;
  }
}

/** Rejects with BodyRefused. `begin` is called when the body is wanted: a caller may wait for that. */
export function readBody(
  req: IncomingMessage,
  { bytesMax, idleMs, begin }: { bytesMax: number; idleMs: number; begin: () => void },
): Promise<Uint8Array> {
  return new Promise((resolve, reject) => {
    const tooLarge = (): BodyRefused =>
      new BodyRefused('request_too_large', `the body is longer than ${bytesMax} bytes (AUXOT_MAX_BODY)`);
    const gone = (): BodyRefused => new BodyRefused('cancelled', 'the caller went away');
    if (req.destroyed) return reject(gone());
    if (Number(req.headers['content-length'] ?? 0) > bytesMax) return reject(tooLarge());

    const pieces: Buffer[] = [];
    let bytes = 0;
    const late = (): void => refuse(new BodyRefused('request_timeout', `the body stopped coming for ${idleMs} ms`));
    const onClose = (): void => refuse(gone());
    const onData = (piece: Buffer): void => {
      timer.refresh();
      bytes += piece.length;
      if (bytes > bytesMax) refuse(tooLarge());
      else pieces.push(piece);
    };
    const onEnd = (): void => {
      release();
      resolve(Buffer.concat(pieces));
    };
    const timer = setTimeout(late, idleMs);
    function release(): void {
      clearTimeout(timer);
      req.off('data', onData).off('end', onEnd).off('close', onClose).off('error', onClose);
    }
    function refuse(reason: BodyRefused): void {
      release();
      reject(reason);
    }
    req.on('data', onData).on('end', onEnd).on('close', onClose).on('error', onClose);
    begin();
  });
}
