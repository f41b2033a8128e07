/**
 * A file on its way: `<file>.part` with holes where pieces are missing, and `<file>.part.json`, which says which pieces
 * are there and of which version of the file they are.
 *
 * The note is never ahead of the file: a span is written into it after its bytes, so a process that is killed forgets
 * a fraction of a second of its work and nothing that is not there.
 */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { type FileHandle, open, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import type { FileFacts } from './file-facts.ts';
import { stopped } from './model-error.ts';
import { type Span, withSpan } from './spans.ts';

export interface PartFile {
  readonly spans: readonly Span[];
  /** The tag of the place where the file lies, which may differ from the hub's; null: not seen yet. */
  serverTag: string | null;
  write(at: number, piece: Uint8Array): Promise<void>;
  /** Forgets all that was there. */
  clear(): Promise<void>;
  save(): Promise<void>;
  sha256(signal: AbortSignal, onBytes: (bytes: number) => void): Promise<string>;
  /** Gives the file its name. What is read under that name is whole. */
  finish(bytes: number): Promise<void>;
  close(): Promise<void>;
}

interface Note {
  readonly tag: string;
  readonly bytes: number | null;
  readonly serverTag: string | null;
  readonly spans: readonly Span[];
}

const saveEveryMs = 250;

/** Opens what an earlier process left, if it is of the same version of the file. */
export async function openPartFile(path: string, facts: FileFacts): Promise<PartFile> {
  const partPath = `${path}.part`;
  const notePath = `${path}.part.json`;
  let spans = await spansLeft(path, facts);
  let serverTag = spans.length > 0 ? ((await readNote(notePath))?.serverTag ?? null) : null;
  const file: FileHandle = await open(partPath, spans.length > 0 ? 'r+' : 'w+');
  let savedAt = 0;
  let isFinished = false;
  let saving: Promise<void> = Promise.resolve();

  const save = (): Promise<void> => {
    savedAt = Date.now();
    saving = saving.then(async () => {
      const note: Note = { tag: facts.tag, bytes: facts.bytes, serverTag, spans };
      await writeFile(`${notePath}.new`, JSON.stringify(note));
      await rename(`${notePath}.new`, notePath);
    });
    return saving;
  };

  return {
    get spans() {
      return spans;
    },
    get serverTag() {
      return serverTag;
    },
    set serverTag(tag) {
      serverTag = tag;
    },
    async write(at, piece) {
      for (let done = 0; done < piece.length; ) {
        const { bytesWritten } = await file.write(piece, done, piece.length - done, at + done);
        done += bytesWritten;
      }
      spans = withSpan(spans, [at, at + piece.length]);
      if (Date.now() - savedAt > saveEveryMs) await save();
    },
    async clear() {
      spans = [];
      serverTag = null;
      await file.truncate(0);
      await save();
    },
    save,
    sha256: (signal, onBytes) => sha256Of(partPath, signal, onBytes),
    async finish(bytes) {
      await saving;
      await file.truncate(bytes);
      await file.sync();
      await file.close();
      await rename(partPath, path);
      isFinished = true;
      await rm(notePath, { force: true });
    },
    async close() {
      if (isFinished) return;
      await save().catch(() => undefined); // without the note the next process begins again
      await file.close().catch(() => undefined); // closed by `finish`
    },
  };
}

/** Of ours, by the note. Of the reference's, which has none, only where a checksum will tell whether it was right. */
async function spansLeft(path: string, facts: FileFacts): Promise<readonly Span[]> {
  const bytesThere = (at: string): Promise<number> =>
    stat(at)
      .then(({ size }) => size)
      .catch(() => 0);
  const note = await readNote(`${path}.part.json`);
  if (note !== null) {
    const same = note.tag === facts.tag && note.tag !== '' && note.bytes === facts.bytes;
    const there = await bytesThere(`${path}.part`);
    return same ? note.spans.filter(([from, to]) => from < to && to <= there) : [];
  }
  const theirs = await bytesThere(`${path}.download`);
  if (facts.sha256 === null || facts.bytes === null || theirs === 0 || theirs > facts.bytes) return [];
  await rename(`${path}.download`, `${path}.part`);
  return [[0, theirs]];
}

async function readNote(path: string): Promise<Note | null> {
  try {
    // Only ever written by the function above; a broken one is as good as none.
    const note = JSON.parse(await readFile(path, 'utf8')) as Note;
    return Array.isArray(note.spans) && typeof note.tag === 'string' ? note : null;
  } catch {
    return null;
  }
}

export async function sha256Of(path: string, signal: AbortSignal, onBytes: (bytes: number) => void): Promise<string> {
  const hash = createHash('sha256');
  const stream = createReadStream(path, { highWaterMark: 2 ** 20 });
  for await (const piece of stream) {
    if (signal.aborted) throw stopped();
    hash.update(piece);
    onBytes(piece.length);
  }
  return hash.digest('hex');
}
