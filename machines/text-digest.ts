/**
 * A digest of text that comes in pieces: however it is cut, the digest is the same. It tells texts apart and keeps no
 * secret: nothing may rest on it.
 */
export interface Digest {
  readonly a: number;
  readonly b: number;
}

/** The offset of FNV-1a, and another beginning for its second half. */
export const emptyDigest: Digest = { a: 0x811c9dc5, b: 0x9747b28c };

/** FNV-1a over UTF-16 units, twice with different primes: 64 bits without anything but 32-bit arithmetic. */
export function digestText({ a, b }: Digest, text: string): Digest {
  let [x, y] = [a, b];
  for (let at = 0; at < text.length; at += 1) {
    const unit = text.charCodeAt(at);
    x = Math.imul(x ^ unit, 0x01000193);
    y = Math.imul(y ^ unit, 0x85ebca6b);
    y ^= y >>> 15;
  }
  return { a: x >>> 0, b: y >>> 0 };
}

/** 16 hex digits. */
export const digestOf = ({ a, b }: Digest): string => hex(a) + hex(b);

const hex = (part: number): string => part.toString(16).padStart(8, '0');
