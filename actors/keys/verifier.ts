/**
 * Who may come in: checks presented keys against the configured hashes, and remembers.
 *
 * V1. A plaintext key is held only while its check waits or runs. What is remembered is a digest under a secret of this
 *     process, so neither a heap dump nor a swap file gives a key away.
 * V2. The same key asked for by many at once costs one Argon2 run.
 * V3. One key fits a hash. Once the right one is known, every other is refused without Argon2, so a flood of wrong keys
 *     costs next to nothing; before that, the line is bounded and fair (check-line.ts).
 * V4. A right key stays right while the process runs, because its hash does. After the TTL it is verified again, behind
 *     the answer: no caller waits for that.
 * V5. Memory is bounded: one right key a kind, wrongMax wrong ones, waitingMax waiting.
 */
import { createHmac, randomBytes } from 'node:crypto';
import { availableParallelism } from 'node:os';
import { openCheckLine } from './check-line.ts';
import { type KeyKind, keyChars, keyCharsMax, keyPrefixes, verifyKey } from './keys.ts';
import { type Phc, parsePhc } from './phc.ts';

export interface KeyHashes {
  readonly admin: string | null;
  readonly api: string | null;
  /** null: tools workers, the tools API and MCP are off, and no key is right. */
  readonly tools: string | null;
}

export interface KeyVerifier {
  /** Rejects with CheckBusyError (`retryable`) when too many wait, with KeyNotConfiguredError without a hash. */
  verify(kind: KeyKind, key: string, source?: string): Promise<boolean>;
  /** The answer if it needs no work; null: ask verify. */
  cached(kind: KeyKind, key: string): boolean | null;
  readonly toolsConfigured: boolean;
}

export class KeyNotConfiguredError extends Error {
  override readonly name = 'KeyNotConfiguredError';
  readonly code = 'key_not_configured';
  readonly retryable = false;

  constructor(kind: KeyKind) {
    super(`no ${kind} key is configured: run "auxot-router setup" and set AUXOT_${kind.toUpperCase()}_KEY_HASH`);
  }
}

/** A wrong key is remembered briefly: long enough to stop a client that retries in a loop. */
const wrongTtlMs = 30_000;
const wrongMax = 1024;
const waitingMax = 256;
const waitMsMax = 30_000;

/**
 * Whose turn a check waits for. A key that does not look like one may still be right (the hash of any text can be
 * configured), but all of those together get one lane, so junk never outnumbers keys that could be real.
 */
const laneOf = (kind: KeyKind, key: string, source: string): string =>
  key.length === keyChars && key.startsWith(keyPrefixes[kind]) ? `from ${source}` : 'odd';

interface Remembered {
  readonly digest: string;
  verifiedAt: number;
  refreshing: boolean;
}

export function openKeyVerifier({
  hashes,
  ttlMs,
  now = Date.now,
  check = verifyKey,
  runsMax = availableParallelism() > 2 ? 2 : 1,
}: {
  hashes: KeyHashes;
  ttlMs: number;
  now?: () => number;
  check?: (key: string, phc: Phc) => Promise<boolean>;
  runsMax?: number;
}): KeyVerifier {
  const phcs: Record<KeyKind, Phc | null> = {
    admin: hashes.admin === null ? null : parsePhc(hashes.admin),
    api: hashes.api === null ? null : parsePhc(hashes.api),
    tools: hashes.tools === null ? null : parsePhc(hashes.tools),
  };
  const secret = randomBytes(32);
  const line = openCheckLine({ runsMax, waitingMax, waitMsMax, now });
  const right: Record<KeyKind, Remembered | null> = { admin: null, api: null, tools: null };
  const wrong = new Map<string, number>(); // digest → known until, oldest first
  const underway = new Map<string, Promise<boolean>>();

  const digestOf = (kind: KeyKind, key: string): string =>
    createHmac('sha256', secret).update(kind).update('\0').update(key).digest('base64');

  /** `digest` is of this kind and key: it was computed once by the caller. */
  const recall = (kind: KeyKind, key: string, digest: string, phc: Phc): boolean | null => {
    const known = right[kind];
    if (known !== null) {
      if (known.digest !== digest) return false;
      if (now() - known.verifiedAt >= ttlMs) refresh(kind, key, known, phc);
      return true;
    }
    const until = wrong.get(digest);
    if (until === undefined) return null;
    if (now() < until) return false;
    wrong.delete(digest);
    return null;
  };

  const refresh = (kind: KeyKind, key: string, known: Remembered, phc: Phc): void => {
    if (known.refreshing) return;
    known.refreshing = true;
    line
      .enter(`refresh ${kind}`, () => check(key, phc))
      .then(
        stillRight => {
          if (stillRight) known.verifiedAt = now();
          else if (right[kind] === known) right[kind] = null;
        },
        () => undefined, // busy or out of memory: what was verified stays right, and the next use tries again
      )
      .finally(() => {
        known.refreshing = false;
      });
  };

  const learn = (kind: KeyKind, digest: string, isRight: boolean): void => {
    if (isRight) {
      right[kind] = { digest, verifiedAt: now(), refreshing: false };
      return;
    }
    const oldest = wrong.size >= wrongMax ? wrong.keys().next().value : undefined;
    if (oldest !== undefined) wrong.delete(oldest);
    wrong.set(digest, now() + wrongTtlMs);
  };

  const refusedUnseen = (key: string): boolean => key === '' || key.length > keyCharsMax;

  return {
    toolsConfigured: phcs.tools !== null,

    cached(kind, key) {
      const phc = phcs[kind];
      if (phc === null) return kind === 'tools' ? false : null;
      return refusedUnseen(key) ? false : recall(kind, key, digestOf(kind, key), phc);
    },

    async verify(kind, key, source = '') {
      const phc = phcs[kind];
      if (phc === null) {
        if (kind === 'tools') return false;
        throw new KeyNotConfiguredError(kind);
      }
      if (refusedUnseen(key)) return false;
      const digest = digestOf(kind, key);
      const known = recall(kind, key, digest, phc);
      if (known !== null) return known;
      const shared = underway.get(digest);
      if (shared !== undefined) return shared;
      const asked = line
        .enter(laneOf(kind, key, source), () => {
          // The right key may have become known while this one waited (V3).
          const answer = recall(kind, key, digest, phc);
          return answer === null ? check(key, phc) : Promise.resolve(answer);
        })
        .then(isRight => {
          if (right[kind] === null) learn(kind, digest, isRight);
          return isRight;
        })
        .finally(() => underway.delete(digest));
      underway.set(digest, asked);
      return asked;
    },
  };
}
