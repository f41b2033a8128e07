/** Ids from real chance (port: ports.ts). Random bytes are drawn in bulk: one draw costs as much as a thousand bytes. */
import { randomBytes } from 'node:crypto';
import type { Ids } from './ports.ts';

const base62 = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz';
const drawBytes = 4096;
let drawn = Buffer.alloc(0);
let next = 0;

function take(count: number): Buffer {
  if (next + count > drawn.length) {
    drawn = randomBytes(drawBytes);
    next = 0;
  }
  next += count;
  return drawn.subarray(next - count, next);
}

export const realIds: Ids = {
  // Two hex digits of hash slot and 22 characters of 5.95 bits: 131 unguessable bits, as long as the reference's ids.
  jobId() {
    let id = `chatcmpl-${take(1).toString('hex')}`;
    while (id.length < 33) {
      // 248 is four times 62: above it, some characters would be likelier than others.
      for (const byte of take(24)) if (byte < 248 && id.length < 33) id += base62[byte % 62];
    }
    return id;
  },
  workerId: () => take(16).toString('hex'),
};

/** `req_` and 24 hex digits: names a request in its answer and in the diagnostics. */
export const newRequestId = (): string => `req_${take(12).toString('hex')}`;
