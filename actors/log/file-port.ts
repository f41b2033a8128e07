/** The few things that the append-only file asks of a file system. A test puts a failing one in its place. */
import { constants, writeSync } from 'node:fs';
import { type FileHandle, mkdir, open, rename, rm } from 'node:fs/promises';

export interface OpenFile {
  /** Reads into `buffer` from `position` of the file; answers how many bytes there were. */
  read(buffer: Buffer, position: number): Promise<number>;
  /** Writes some of `buffer` at `position`; answers how many bytes. */
  write(buffer: Buffer, position: number): Promise<number>;
  truncate(length: number): Promise<void>;
  /** Settles when what was written would survive a power cut. */
  sync(): Promise<void>;
  size(): Promise<number>;
  close(): Promise<void>;
}

export interface Files {
  openToRead(path: string): Promise<OpenFile>;
  /** Made if it is not there. Only its owner can read it. */
  openToWrite(path: string): Promise<OpenFile>;
  rename(from: string, to: string): Promise<void>;
  remove(path: string): Promise<void>;
  makeDirectory(path: string): Promise<void>;
  /** Makes renames in the directory survive a power cut. */
  syncDirectory(path: string): Promise<void>;
}

export const nodeFiles: Files = {
  openToRead: async path => over(await open(path, 'r')),
  openToWrite: async path => over(await open(path, constants.O_RDWR | constants.O_CREAT, 0o600)),
  rename,
  remove: path => rm(path, { force: true }),
  makeDirectory: async path => {
    await mkdir(path, { recursive: true, mode: 0o700 });
  },
  syncDirectory: async path => {
    const directory = await open(path, 'r');
    try {
      await directory.sync();
    } finally {
      await directory.close();
    }
  },
};

const over = (handle: FileHandle): OpenFile => ({
  read: async (buffer, position) => (await handle.read(buffer, 0, buffer.length, position)).bytesRead,
  // On this thread, as Redis does it: the page cache takes a batch in microseconds, while handing it to another thread and
  // waking up for the answer costs ten times that. Forcing it to the disk (`sync`) is what may take long.
  write: async (buffer, position) => writeSync(handle.fd, buffer, 0, buffer.length, position),
  truncate: length => handle.truncate(length),
  sync: () => handle.datasync(),
  size: async () => (await handle.stat()).size,
  close: () => handle.close(),
});
