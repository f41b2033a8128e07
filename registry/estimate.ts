/**
 * How much memory a model needs, before it is loaded.
 *
 *   total = weights + projector + slots × cache + overhead
 *
 * - weights: the sizes of the files where they are known, else parameters × bits of the quantization / 8. The bits are
 *   what llama.cpp's formats come to for a whole file, embeddings and all; small models are a little larger than that.
 * - cache of one slot: for each kind of layer, layers × heads × (key + value dimension) × 2 bytes × tokens, where tokens
 *   is the context, or for a sliding layer its window and one batch if that is less. A layer without attention keeps a
 *   state of constant size that is neglected. Of an unknown model: 64 KiB × √(billions of parameters) a token, on the
 *   large side of what models of today need.
 * - projector: its file, else 0.9 GiB. overhead: 0.3 GiB and 2 % of the weights, for the buffers of the computation.
 *
 * One GB of video memory is 2^30 bytes, as cards are sold.
 */
import { type Entry, type KvLayers, parameterCount } from './entry.ts';

export const GiB = 2 ** 30;

export interface Use {
  /** Tokens of one slot. The model's own maximum caps it. */
  readonly contextSize: number;
  readonly slots: number;
}

export interface Estimate {
  readonly weightBytes: number;
  readonly projectorBytes: number;
  /** Of all slots. */
  readonly cacheBytes: number;
  readonly overheadBytes: number;
  readonly totalBytes: number;
  /** What of it was computed from sizes that are known, and what is a rule of thumb. */
  readonly weightsKnown: boolean;
  readonly cacheKnown: boolean;
}

/** Bits of one parameter, by the reference's label. */
const bits: Readonly<Record<string, number>> = {
  Q2_K: 3.0,
  Q3_K_S: 3.6,
  Q3_K_M: 3.9,
  Q3_K_L: 4.3,
  IQ4_XS: 4.4,
  IQ4_NL: 4.6,
  Q4_0: 4.6,
  Q4_1: 5.1,
  Q4_K_S: 4.7,
  Q4_K_M: 4.9,
  Q5_K_S: 5.6,
  Q5_K_M: 5.7,
  Q6_K: 6.6,
  Q8_0: 8.5,
  Q8_K: 10,
  F16: 16,
  BF16: 16,
  F32: 32,
  MXFP4: 4.6,
};
/** Models whose experts stay in four bits whatever the rest is made of. */
const fourBitExperts = /^gpt-oss/i;
const projectorBytesTypical = 0.9 * GiB;
const overheadBytesMin = 0.3 * GiB;
const batchTokens = 512;
const cacheBytesElement = 2;

export function estimate(entry: Entry, use: Use): Estimate {
  const tokens = Math.min(use.contextSize, entry.contextMax);
  const weights = weightsOf(entry);
  const projector = entry.files?.find(({ path }) => path === entry.projector)?.bytes;
  const projectorBytes = entry.projector === null ? 0 : (projector ?? projectorBytesTypical);
  const cacheBytes = Math.round(
    use.slots * (entry.kv === null ? roughCache(entry, tokens) : cacheOf(entry.kv, tokens)),
  );
  const overheadBytes = Math.round(overheadBytesMin + weights.bytes / 50);
  return {
    weightBytes: weights.bytes,
    projectorBytes,
    cacheBytes,
    overheadBytes,
    totalBytes: weights.bytes + projectorBytes + cacheBytes + overheadBytes,
    weightsKnown: weights.known,
    cacheKnown: entry.kv !== null || makesImages(entry),
  };
}

export const totalGb = (entry: Entry, use: Use): number => estimate(entry, use).totalBytes / GiB;

function weightsOf(entry: Entry): { readonly bytes: number; readonly known: boolean } {
  const files = entry.files?.filter(({ path }) => path !== entry.projector) ?? [];
  if (files.length > 0) return { bytes: files.reduce((sum, { bytes }) => sum + bytes, 0), known: true };
  // A registry file of the reference's making has a figure for the weights alone, in decimal GB.
  const parameters = parameterCount(entry.parameters);
  if (parameters === null) return { bytes: Math.round((entry.vramGb ?? 0) * 1e9), known: false };
  return { bytes: Math.round((parameters * bitsOf(entry)) / 8), known: false };
}

function bitsOf({ name, label }: Entry): number {
  if (fourBitExperts.test(name)) return label === 'F16' ? 5.3 : 4.6;
  return bits[label.toUpperCase()] ?? 6;
}

const cacheOf = (kv: readonly KvLayers[], tokens: number): number =>
  kv.reduce((sum, { layers, heads, keyDim, valueDim, window }) => {
    const kept = window === null ? tokens : Math.min(tokens, window + batchTokens);
    return sum + layers * heads * (keyDim + valueDim) * cacheBytesElement * kept;
  }, 0);

const roughCache = (entry: Entry, tokens: number): number =>
  makesImages(entry) ? 0 : 65_536 * Math.sqrt((parameterCount(entry.parameters) ?? 8e9) / 1e9) * tokens;

const makesImages = ({ capabilities }: Entry): boolean => capabilities.includes('image_generation');
