/**
 * Ids of stream entries: two unsigned 64-bit numbers, `<ms>-<seq>`.
 *
 * A part is a number as long as a double holds it exactly, else a bigint; never a bigint that would fit a number. So parts
 * compare right with `<` and `===`, and the ids of everyday use cost no bigint.
 */
import { ReplyError } from './reply-error.ts';

export type U64 = number | bigint;

export interface StreamId {
  readonly ms: U64;
  readonly seq: U64;
}

export const u64Max: U64 = 18446744073709551615n;
export const idMin: StreamId = { ms: 0, seq: 0 };
export const idMax: StreamId = { ms: u64Max, seq: u64Max };

export const compareIds = (a: StreamId, b: StreamId): number =>
  a.ms === b.ms ? (a.seq === b.seq ? 0 : a.seq < b.seq ? -1 : 1) : a.ms < b.ms ? -1 : 1;

export const formatId = ({ ms, seq }: StreamId): string => `${ms}-${seq}`;

/** The id right behind; null behind the last. */
export function nextId({ ms, seq }: StreamId): StreamId | null {
  if (seq !== u64Max) return { ms, seq: plus(seq, 1) };
  return ms === u64Max ? null : { ms: plus(ms, 1), seq: 0 };
}

/** The id right before; null before the first. */
export function previousId({ ms, seq }: StreamId): StreamId | null {
  if (seq !== 0) return { ms, seq: plus(seq, -1) };
  return ms === 0 ? null : { ms: plus(ms, -1), seq: u64Max };
}

/** Reads `<ms>-<seq>` or `<ms>`, which stands for `<ms>-<seqIfMissing>`. */
export function parseId(text: string, seqIfMissing: U64): StreamId {
  const id = tryParseId(text, seqIfMissing);
  if (id === null) throw new ReplyError('ERR Invalid stream ID specified as stream command argument');
  return id;
}

export function tryParseId(text: string, seqIfMissing: U64): StreamId | null {
  const dash = text.indexOf('-');
  const ms = parseU64(dash < 0 ? text : text.slice(0, dash));
  const seq = dash < 0 ? seqIfMissing : parseU64(text.slice(dash + 1));
  return ms === null || seq === null ? null : { ms, seq };
}

/** Decimal digits only; null when they exceed 64 bits. */
export function parseU64(text: string): U64 | null {
  const { length } = text;
  if (length === 0 || length > 20) return null;
  let value = 0;
  for (let i = 0; i < length; i++) {
    const digit = text.charCodeAt(i) - 48;
    if (digit < 0 || digit > 9) return null;
    value = value * 10 + digit;
  }
  if (value <= Number.MAX_SAFE_INTEGER) return value;
  const big = BigInt(text);
  return big <= BigInt(u64Max) ? canonical(big) : null;
}

const plus = (part: U64, step: 1 | -1): U64 =>
  typeof part === 'number' && part < Number.MAX_SAFE_INTEGER ? part + step : canonical(BigInt(part) + BigInt(step));

const canonical = (big: bigint): U64 => (big <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(big) : big);
