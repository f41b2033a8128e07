/**
 * Commands as bytes, in the form that Redis clients send and append-only files hold: `*2\r\n$3\r\nDEL\r\n$1\r\nk\r\n`.
 */
import type { Value } from './stream-value.ts';

/** Gathers commands into one run of bytes. Text stays text until the end, so that it is encoded in one go. */
export class RespWriter {
  private text = '';
  private parts: Buffer[] = [];
  bytes = 0;

  add(words: readonly Value[]): void {
    let text = `*${words.length}\r\n`;
    let bytes = text.length;
    for (const word of words) {
      if (typeof word === 'string') {
        const length = Buffer.byteLength(word);
        const head = `$${length}\r\n`;
        text += `${head}${word}\r\n`;
        bytes += head.length + length + 2;
      } else {
        const head = `$${word.length}\r\n`;
        this.parts.push(Buffer.from(this.text + text + head), word);
        this.text = '';
        text = '\r\n';
        bytes += head.length + word.length + 2;
      }
    }
    this.text += text;
    this.bytes += bytes;
  }

  /** Adds what `later` holds. */
  join(later: RespWriter): void {
    const { bytes } = later;
    this.parts.push(Buffer.from(this.text), later.take());
    this.text = '';
    this.bytes += bytes;
  }

  take(): Buffer {
    const rest = Buffer.from(this.text);
    const all = this.parts.length === 0 ? rest : Buffer.concat([...this.parts, rest]);
    this.text = '';
    this.parts = [];
    this.bytes = 0;
    return all;
  }
}

/** Bytes that are no command, at `offset` of what was parsed. */
export class NotResp extends Error {
  readonly offset: number;

  constructor(offset: number, found: string) {
    super(`no command at byte ${offset}: ${found}`);
    this.offset = offset;
  }
}

/** As in Redis: no word is longer, so a longer length is no length. */
const wordBytesMax = 512 * 1024 * 1024;
const wordsMax = 1024 * 1024;

/** One command from `bytes` at `offset`; null when it is not all there. Throws NotResp. */
export function parseCommand(bytes: Buffer, offset: number): { words: Value[]; end: number } | null {
  const count = header(bytes, offset, 0x2a, wordsMax);
  if (count === null) return null;
  let at = count.end;
  const words: Value[] = [];
  for (let i = 0; i < count.value; i++) {
    const length = header(bytes, at, 0x24, wordBytesMax);
    if (length === null) return null;
    const end = length.end + length.value;
    if (bytes.length < end + 2) {
      if (bytes.length === end + 1 && bytes[end] !== 0x0d) throw new NotResp(end, shown(bytes, end));
      return null;
    }
    if (bytes[end] !== 0x0d || bytes[end + 1] !== 0x0a) throw new NotResp(end, shown(bytes, end));
    words.push(wordOf(bytes, length.end, end));
    at = end + 2;
  }
  return { words, end: at };
}

/** `<mark><digits>\r\n`. */
function header(bytes: Buffer, offset: number, mark: number, max: number): { value: number; end: number } | null {
  if (offset >= bytes.length) return null;
  if (bytes[offset] !== mark) throw new NotResp(offset, shown(bytes, offset));
  let value = 0;
  for (let at = offset + 1; at < bytes.length; at++) {
    const byte = bytes[at] ?? 0;
    if (byte === 0x0d && at > offset + 1) {
      if (at + 1 >= bytes.length) return null;
      if (bytes[at + 1] !== 0x0a) throw new NotResp(at, shown(bytes, offset));
      return { value, end: at + 2 };
    }
    value = value * 10 + byte - 48;
    if (byte < 48 || byte > 57 || value > max) throw new NotResp(offset, shown(bytes, offset));
  }
  return null;
}

/** Text when it comes back the same as bytes, else the bytes, copied out of the big buffer they lie in. */
function wordOf(bytes: Buffer, start: number, end: number): Value {
  const part = bytes.subarray(start, end);
  const text = part.toString('utf8');
  return Buffer.byteLength(text) === part.length && !text.includes('\ufffd') ? text : exact(part, text);
}

function exact(part: Buffer, text: string): Value {
  return Buffer.from(text).equals(part) ? text : Buffer.from(part);
}

const shown = (bytes: Buffer, offset: number): string => JSON.stringify(bytes.toString('latin1', offset, offset + 20));
