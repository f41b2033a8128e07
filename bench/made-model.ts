/**
 * A model file with the demo model's vocabulary and as many random weights as wanted: it says nothing, at the price of a
 * real one. For figures in which the demo model would be too quick to be like anything that people run.
 */
import { closeSync, openSync, readFileSync, writeSync } from 'node:fs';

export interface MadeShape {
  /** Multiples of 256. */
  readonly width: number;
  readonly layers: number;
}

/** Sizes of GGUF's values by their type's number; 8 is text and 9 a list. */
const sizes: Readonly<Record<number, number>> = { 0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8 };
const alignment = 32;
const f32 = 0;
const q8 = 8;

interface Tensor {
  readonly name: string;
  readonly dimensions: readonly number[];
  readonly type: typeof f32 | typeof q8;
}

/** Writes it to `path`. `like` is a GGUF file of the same architecture, llama. */
export function makeModel(path: string, like: string, { width, layers }: MadeShape): void {
  const source = readFileSync(like);
  const count = Number(source.readBigUInt64LE(16));
  let at = 24;
  const pairs: Buffer[] = [];
  let vocabulary = 0;
  for (let n = 0; n < count; n += 1) {
    const from = at;
    const [key, afterKey] = text(source, at);
    const type = source.readUInt32LE(afterKey);
    at = skip(source, afterKey + 4, type);
    const pair = Buffer.from(source.subarray(from, at));
    const value = changed(key, width, layers);
    if (value !== undefined) pair.writeUInt32LE(value, afterKey + 4 - from);
    if (key === 'tokenizer.ggml.tokens') vocabulary = Number(source.readBigUInt64LE(afterKey + 8));
    pairs.push(pair);
  }
  const hidden = width * 3;
  const block = (n: number): Tensor[] => [
    { name: `blk.${n}.attn_norm.weight`, dimensions: [width], type: f32 },
    { name: `blk.${n}.ffn_norm.weight`, dimensions: [width], type: f32 },
    ...['attn_q', 'attn_k', 'attn_v', 'attn_output'].map(
      (name): Tensor => ({ name: `blk.${n}.${name}.weight`, dimensions: [width, width], type: q8 }),
    ),
    ...['ffn_gate', 'ffn_up'].map(
      (name): Tensor => ({ name: `blk.${n}.${name}.weight`, dimensions: [width, hidden], type: q8 }),
    ),
    { name: `blk.${n}.ffn_down.weight`, dimensions: [hidden, width], type: q8 },
  ];
  const tensors: Tensor[] = [
    { name: 'token_embd.weight', dimensions: [width, vocabulary], type: q8 },
    { name: 'output_norm.weight', dimensions: [width], type: f32 },
    ...Array.from({ length: layers }, (_, n) => block(n)).flat(),
  ];
  const header = Buffer.from(source.subarray(0, 24));
  header.writeBigUInt64LE(BigInt(tensors.length), 8);
  let offset = 0;
  const infos = tensors.map(tensor => {
    const info = described(tensor, offset);
    offset += padded(bytesOf(tensor));
    return info;
  });
  const head = Buffer.concat([header, ...pairs, ...infos]);
  const file = openSync(path, 'w', 0o600);
  try {
    writeSync(file, Buffer.concat([head, Buffer.alloc(padded(head.length) - head.length)]));
    for (const tensor of tensors) writeSync(file, filled(tensor));
  } finally {
    closeSync(file);
  }
}

/** Heads of 64; all of the demo model's other settings stay. */
function changed(key: string, width: number, layers: number): number | undefined {
  switch (key) {
    case 'llama.block_count':
      return layers;
    case 'llama.embedding_length':
      return width;
    case 'llama.feed_forward_length':
      return width * 3;
    case 'llama.attention.head_count':
    case 'llama.attention.head_count_kv':
      return width / 64;
    case 'llama.rope.dimension_count':
    case 'llama.attention.key_length':
    case 'llama.attention.value_length':
      return 64;
    default:
      return undefined;
  }
}

function text(source: Buffer, at: number): [string, number] {
  const length = Number(source.readBigUInt64LE(at));
  return [source.toString('utf8', at + 8, at + 8 + length), at + 8 + length];
}

/** The place behind a value of a type. */
function skip(source: Buffer, at: number, type: number): number {
  if (type === 8) return text(source, at)[1];
  const size = sizes[type];
  if (size !== undefined) return at + size;
  const [inner, length] = [source.readUInt32LE(at), Number(source.readBigUInt64LE(at + 4))];
  const fixed = sizes[inner];
  if (fixed !== undefined) return at + 12 + fixed * length;
  let end = at + 12;
  for (let n = 0; n < length; n += 1) end = skip(source, end, inner);
  return end;
}

function described({ name, dimensions, type }: Tensor, offset: number): Buffer {
  const bytes = Buffer.alloc(8 + name.length + 4 + 8 * dimensions.length + 4 + 8);
  bytes.writeBigUInt64LE(BigInt(name.length), 0);
  bytes.write(name, 8);
  let at = 8 + name.length;
  at = bytes.writeUInt32LE(dimensions.length, at);
  for (const dimension of dimensions) at = bytes.writeBigUInt64LE(BigInt(dimension), at);
  at = bytes.writeUInt32LE(type, at);
  bytes.writeBigUInt64LE(BigInt(offset), at);
  return bytes;
}

const elements = ({ dimensions }: Tensor): number => dimensions.reduce((product, n) => product * n, 1);
/** A block of Q8_0 is a half-precision scale and 32 bytes. */
const bytesOf = (tensor: Tensor): number => (tensor.type === f32 ? elements(tensor) * 4 : (elements(tensor) / 32) * 34);
const padded = (bytes: number): number => Math.ceil(bytes / alignment) * alignment;

function filled(tensor: Tensor): Buffer {
  const bytes = Buffer.alloc(padded(bytesOf(tensor)));
  if (tensor.type === f32) {
    for (let n = 0; n < elements(tensor); n += 1) bytes.writeFloatLE(1, n * 4);
    return bytes;
  }
  // A generator small enough to be the same everywhere, so that the file is, too.
  let state = 0x9e3779b9 ^ tensor.name.length;
  for (let n = 0; n < bytesOf(tensor); n += 1) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    bytes[n] = state >>> 24;
  }
  const scale = 0x0c00; // 2^-12 as a half: weights of up to 0.03
  for (let n = 0; n < bytesOf(tensor); n += 34) bytes.writeUInt16LE(scale, n);
  return bytes;
}
