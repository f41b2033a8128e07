/**
 * The stored form of a key: an Argon2id hash as a PHC string, `$argon2id$v=19$m=65536,t=3,p=4$<salt>$<hash>`, with
 * standard base64 without padding.
 *
 * Every hash is checked when a program starts, not when the first caller arrives. The bounds keep a damaged or hostile
 * string from costing gigabytes, or from accepting every key (an empty hash equals the start of any other).
 */
export interface Phc {
  readonly memoryKib: number;
  readonly passes: number;
  readonly lanes: number;
  readonly salt: Buffer;
  readonly hash: Buffer;
}

export class PhcError extends Error {
  override readonly name = 'PhcError';
  readonly code = 'bad_hash';
  readonly retryable = false;
}

/** What new keys are hashed with; the cost is part of the interface, other programs read these strings. */
export const newHash = { memoryKib: 65_536, passes: 3, lanes: 4, saltBytes: 16, hashBytes: 32 } as const;

const limits = { memoryKib: 1_048_576, passes: 64, lanes: 64, saltBytes: 64, hashBytes: 64 } as const;

export function formatPhc({ memoryKib, passes, lanes, salt, hash }: Phc): string {
  return `$argon2id$v=19$m=${memoryKib},t=${passes},p=${lanes}$${unpadded(salt)}$${unpadded(hash)}`;
}

/**
 * Reads and judges a PHC string. The version is not looked at and text after `p=<n>` is ignored, as other programs that
 * share these strings do.
 */
export function parsePhc(text: string): Phc {
  const parts = text.split('$');
  const [before, algorithm, , parameters = '', salt64 = '', hash64 = ''] = parts;
  if (parts.length !== 6 || before !== '')
    throw new PhcError(`a key hash has five parts, each after a "$"; this has ${parts.length - 1}`);
  if (algorithm !== 'argon2id') throw new PhcError('a key hash begins with $argon2id$');
  const [, m, t, p] = /^m=(\d{1,10}),t=(\d{1,10}),p=(\d{1,10})(?!\d)/.exec(parameters) ?? [];
  if (m === undefined) throw new PhcError('the parameters of a key hash read m=<KiB>,t=<passes>,p=<lanes>');
  const memoryKib = inRange('memory m', Number(m), 8, limits.memoryKib);
  const passes = inRange('passes t', Number(t), 1, limits.passes);
  const lanes = inRange('lanes p', Number(p), 1, limits.lanes);
  if (memoryKib < 8 * lanes) throw new PhcError(`memory m=${memoryKib} is below 8 KiB for each of ${lanes} lanes`);
  const salt = decode('salt', salt64, 8, limits.saltBytes);
  const hash = decode('hash', hash64, 16, limits.hashBytes);
  return { memoryKib, passes, lanes, salt, hash };
}

function inRange(what: string, value: number, min: number, max: number): number {
  if (value < min || value > max) throw new PhcError(`${what} is ${value}; sensible is ${min} to ${max}`);
  return value;
}

function decode(what: string, text: string, minBytes: number, maxBytes: number): Buffer {
  if (!/^[A-Za-z0-9+/]*$/.test(text)) throw new PhcError(`the ${what} is not base64 without padding`);
  const bytes = Buffer.from(text, 'base64');
  // A text that does not come back the same was cut or altered: a whole character is missing, or stray bits are set.
  if (unpadded(bytes) !== text) throw new PhcError(`the ${what} is damaged base64`);
  if (bytes.length < minBytes || bytes.length > maxBytes)
    throw new PhcError(`the ${what} has ${bytes.length} bytes; sensible is ${minBytes} to ${maxBytes}`);
  return bytes;
}

const unpadded = (bytes: Buffer): string => bytes.toString('base64').replace(/=+$/, '');
