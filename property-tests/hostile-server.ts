/** How servers answer that mean harm: without end, or drop by drop. */
import type { ServerResponse } from 'node:http';

/** So many bytes, as fast as they are taken. */
export function stream(res: ServerResponse, piece: Buffer, bytesMax: number): void {
  let bytes = 0;
  const more = (): void => {
    while (bytes < bytesMax) {
      bytes += piece.length;
      if (!res.write(piece)) return void res.once('drain', more);
    }
    res.end();
  };
  more();
}

/** A piece every so often, until the other side has enough. */
export function drip(res: ServerResponse, piece: string, everyMs: number): void {
  const timer = setInterval(() => res.write(piece), everyMs);
  res.on('close', () => clearInterval(timer));
}
