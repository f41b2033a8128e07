/**
 * What can be known of a model file before it is loaded: that it is there, that it is a GGUF file, and its digest.
 *
 * Two workers whose files have the same digest may carry on each other's answers token by token. A small file is digested
 * whole. Of a large one (reading tens of gigabytes at every start would take minutes) its length, its first 16 MiB, its
 * last MiB and 64 blocks between are; the digest's prefix tells which was done.
 */
import { createHash } from 'node:crypto';
import { type FileHandle, open } from 'node:fs/promises';
import { EngineError } from './engine.ts';

const MiB = 2 ** 20;
const wholeBytesMax = 256 * MiB;
const headBytes = 16 * MiB;
const samples = 64;

export interface ModelFile {
  readonly bytes: number;
  readonly digest: string;
}

export async function readModelFile(path: string): Promise<ModelFile> {
  let file: FileHandle | null = null;
  try {
    file = await open(path, 'r');
    const { size: bytes } = await file.stat();
    const magic = (await file.read(Buffer.alloc(4), 0, 4, 0)).buffer.toString('latin1');
    if (magic !== 'GGUF')
      throw new EngineError('model_load_failed', `${path} is not a GGUF file; give the path of one`);
    return { bytes, digest: await digestOf(file, bytes) };
  } catch (error) {
    if (error instanceof EngineError) throw error;
    const reason = error instanceof Error ? error.message : String(error);
    throw new EngineError('model_load_failed', `the model file cannot be read: ${reason}`, error);
  } finally {
    await file?.close();
  }
}

async function digestOf(file: FileHandle, bytes: number): Promise<string> {
  const hash = createHash('sha256');
  const block = Buffer.alloc(MiB);
  const take = async (from: number): Promise<void> => {
    const { bytesRead } = await file.read(block, 0, block.length, from);
    hash.update(block.subarray(0, bytesRead));
  };
  if (bytes <= wholeBytesMax) {
    for (let at = 0; at < bytes; at += MiB) await take(at);
    return `sha256:${hash.digest('hex')}`;
  }
  hash.update(`${bytes}\n`);
  for (let at = 0; at < headBytes; at += MiB) await take(at);
  const stride = (bytes - headBytes - MiB) / samples;
  for (let n = 0; n <= samples; n += 1) await take(Math.floor(headBytes + n * stride));
  return `sampled-sha256:${hash.digest('hex')}`;
}
