/**
 * Keys: making one, hashing it, checking one against a hash.
 *
 * A key is a prefix that tells people what it is for, and 32 random bytes. The whole string is hashed. Nothing here looks
 * at the prefix to decide whether a key is right: a key is right because it verifies.
 */
import { randomBytes, timingSafeEqual } from 'node:crypto';
import { hash as argon2, argon2id } from 'argon2';
import { formatPhc, newHash, type Phc, parsePhc } from './phc.ts';

/** admin: GPU and CLI workers dial in with it. api: callers. tools: tools workers. */
export type KeyKind = 'admin' | 'api' | 'tools';

export const keyPrefixes = { admin: 'adm_', api: 'rtr_', tools: 'tls_' } as const satisfies Record<KeyKind, string>;

/** Length of every generated key: a four-character prefix and 43 base64url characters. */
export const keyChars = 47;

/** No generated key comes near; what is longer is refused unseen, it would only buy hashing time. */
export const keyCharsMax = 256;

export const generateKey = (kind: KeyKind): string => keyPrefixes[kind] + randomBytes(32).toString('base64url');

/** The prefix of a key, or null when it has none of the known ones. */
export const keyPrefix = (key: string): string | null =>
  Object.values(keyPrefixes).find(prefix => key.startsWith(prefix)) ?? null;

/** A fresh PHC string for a key. Two calls differ (the salt is random), both verify. */
export async function hashKey(key: string): Promise<string> {
  const salt = randomBytes(newHash.saltBytes);
  const cost = { memoryKib: newHash.memoryKib, passes: newHash.passes, lanes: newHash.lanes };
  return formatPhc({
    ...cost,
    salt,
    hash: await digest(key, { ...cost, salt, hash: Buffer.alloc(newHash.hashBytes) }),
  });
}

/** Whether the key belongs to the hash. Throws PhcError for a string that is no sound hash; never for a wrong key. */
export async function verifyKey(key: string, phc: string | Phc): Promise<boolean> {
  const stored = typeof phc === 'string' ? parsePhc(phc) : phc;
  return timingSafeEqual(await digest(key, stored), stored.hash);
}

const digest = (key: string, { memoryKib, passes, lanes, salt, hash }: Phc): Promise<Buffer> =>
  argon2(key, {
    raw: true,
    type: argon2id,
    version: 0x13,
    memoryCost: memoryKib,
    timeCost: passes,
    parallelism: lanes,
    salt,
    hashLength: hash.length,
  });
