/**
 * Reads an append-only file back, command by command.
 *
 * A process that was killed, or a machine that lost its power, leaves a file that stops anywhere: within a command, within a
 * transaction, or in zeros that a file system put in place of bytes never written. Such a tail was never acknowledged and
 * is left out. Anything else that is no command is damage, and the file is refused with the place named.
 */
import type { OpenFile } from './file-port.ts';
import { NotResp, parseCommand } from './resp.ts';
import type { Value } from './stream-value.ts';

const chunkBytes = 1024 * 1024;

/** Calls `apply` for every whole command up to byte `end`, and answers at which byte the whole ones end. */
export async function loadCommands(
  path: string,
  file: OpenFile,
  end: number,
  apply: (words: readonly Value[]) => void,
): Promise<number> {
  const transaction: (readonly Value[])[] = [];
  let inTransaction = false;
  let good = 0;
  let start = 0; // where `rest` begins in the file
  let rest: Buffer = Buffer.alloc(0);
  for (;;) {
    const chunk = Buffer.allocUnsafe(Math.max(chunkBytes, rest.length)); // doubles for a long command: linear in all
    const position = start + rest.length;
    const read = position >= end ? 0 : await file.read(chunk, position);
    if (read === 0) break;
    rest = Buffer.concat([rest, chunk.subarray(0, Math.min(read, end - position))]);
    let at = 0;
    for (;;) {
      const command = await parseAt(path, file, rest, at, start, end);
      if (command === null) break;
      at = command.end;
      const name = typeof command.words[0] === 'string' ? command.words[0].toUpperCase() : '';
      if (name === 'MULTI') inTransaction = true;
      else if (name === 'EXEC') {
        inTransaction = false;
        for (const words of transaction.splice(0)) apply(words);
      } else if (inTransaction) transaction.push(command.words);
      else apply(command.words);
      if (!inTransaction) good = start + at;
    }
    rest = rest.subarray(at);
    start += at;
  }
  return good;
}

async function parseAt(path: string, file: OpenFile, bytes: Buffer, at: number, start: number, end: number) {
  try {
    return parseCommand(bytes, at);
  } catch (error) {
    if (!(error instanceof NotResp)) throw error;
    const offset = start + error.offset;
    if (bytes[error.offset] === 0 && (await isZeros(file, offset, end))) return null;
    throw new Error(
      `${path} is damaged at byte ${offset} (${error.message}). Restore it from a copy, or cut it there (truncate -s ${start + at} ${path}) and lose what follows.`,
    );
  }
}

async function isZeros(file: OpenFile, from: number, end: number): Promise<boolean> {
  const chunk = Buffer.allocUnsafe(chunkBytes);
  for (let at = from; at < end; ) {
    const read = await file.read(chunk, at);
    if (read === 0) return true;
    if (chunk.subarray(0, Math.min(read, end - at)).some(byte => byte !== 0)) return false;
    at += read;
  }
  return true;
}
