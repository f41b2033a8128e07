/**
 * WebSocket text frames of a client, encoded into one piece of memory and written to the socket at once. `ws` makes
 * two writes and a random mask for each frame, several times the cost of the token in it; a scripted worker must cost
 * less than what it drives. The mask is fixed but not zero, so that the receiver has its whole work to do.
 */
const mask = [0x5a, 0x17, 0xc3, 0x88] as const;
const headBytesMax = 14;

export class FrameBatch {
  #memory = Buffer.allocUnsafeSlow(64 * 1024);
  #used = 0;

  get isEmpty(): boolean {
    return this.#used === 0;
  }

  /** `text` is a byte string (see script.ts). */
  add(text: string): void {
    const need = this.#used + headBytesMax + text.length;
    if (need > this.#memory.length) {
      const larger = Buffer.allocUnsafeSlow(need * 2);
      this.#memory.copy(larger, 0, 0, this.#used);
      this.#memory = larger;
    }
    const memory = this.#memory;
    let at = this.#used;
    memory[at++] = 0x81;
    if (text.length < 126) memory[at++] = 0x80 | text.length;
    else if (text.length < 65_536) {
      memory[at++] = 0x80 | 126;
      at = memory.writeUInt16BE(text.length, at);
    } else {
      memory[at++] = 0x80 | 127;
      at = memory.writeBigUInt64BE(BigInt(text.length), at);
    }
    for (const byte of mask) memory[at++] = byte;
    memory.write(text, at, 'latin1');
    const [m0, m1, m2, m3] = mask;
    const end = at + text.length;
    // Up to three bytes past the end are masked as well; the next frame overwrites them.
    for (; at < end; at += 4) {
      memory[at] = (memory[at] ?? 0) ^ m0;
      memory[at + 1] = (memory[at + 1] ?? 0) ^ m1;
      memory[at + 2] = (memory[at + 2] ?? 0) ^ m2;
      memory[at + 3] = (memory[at + 3] ?? 0) ^ m3;
    }
    this.#used = end;
  }

  /** The frames so far, in memory of their own; the batch is empty afterwards. */
  take(): Buffer {
    const frames = Buffer.from(this.#memory.subarray(0, this.#used));
    this.#used = 0;
    return frames;
  }
}
