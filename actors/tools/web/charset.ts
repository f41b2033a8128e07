/** Bytes of a page to text, as browsers find out: byte order mark, header, `meta`, and last what the bytes look like. */

const labelMax = 40;
/** How far into a page its own word on the matter may stand. */
const metaBytes = 4096;

export function decodeText(bytes: Uint8Array, contentType: string): string {
  const label = markOf(bytes) ?? charsetIn(contentType) ?? metaOf(bytes);
  if (label !== null) {
    try {
      return new TextDecoder(label).decode(bytes);
    } catch {
      // A label that nobody knows says nothing.
    }
  }
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    // A cut in the middle of a character is no reason to take UTF-8 for something else.
    const text = new TextDecoder('utf-8').decode(bytes);
    const strange = text.slice(0, -1).split('\ufffd').length - 1;
    return strange === 0 ? text : new TextDecoder('windows-1252').decode(bytes);
  }
}

function markOf(bytes: Uint8Array): string | null {
  if (bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf) return 'utf-8';
  if (bytes[0] === 0xff && bytes[1] === 0xfe) return 'utf-16le';
  if (bytes[0] === 0xfe && bytes[1] === 0xff) return 'utf-16be';
  return null;
}

const charsetIn = (text: string): string | null =>
  /charset\s*=\s*["']?\s*([\w.:-]+)/i.exec(text)?.[1]?.slice(0, labelMax) ?? null;

function metaOf(bytes: Uint8Array): string | null {
  const head = Buffer.from(bytes.subarray(0, metaBytes)).toString('latin1');
  const xml = /^\s*<\?xml[^>]{0,200}encoding\s*=\s*["']([\w.:-]+)/i.exec(head)?.[1];
  if (xml !== undefined) return xml.slice(0, labelMax);
  for (const [tag] of head.matchAll(/<meta\b[^>]{0,500}>/gi)) {
    const label = charsetIn(tag);
    // A page that could be read so far is in no encoding of 16 bits, whatever it says.
    if (label !== null) return /^utf-?16/i.test(label) ? 'utf-8' : label;
  }
  return null;
}
