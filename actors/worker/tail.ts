/**
 * The token frames of one job that the router has not acknowledged yet, in order, so that they can be sent again after
 * a redial. Bounded: past the cap the oldest are forgotten, and the tail then says that it cannot fill a gap before them.
 */
import type { TokenFrame } from '../../protocol/worker-frames.ts';

const tailBytesMax = 4 * 2 ** 20;
/** A frame's share of the cap beside its text and ids. */
const frameBytes = 100;

export interface Tail {
  push(frame: TokenFrame): void;
  /** Everything up to `seq` is safe with the router. */
  acknowledge(seq: number): void;
  /** Those that are kept, in order. */
  all(): readonly TokenFrame[];
  /** The frames after `seq`; null when some of them are forgotten. */
  after(seq: number): readonly TokenFrame[] | null;
  readonly bytes: number;
}

export function openTail(bytesMax: number = tailBytesMax): Tail {
  const frames: TokenFrame[] = [];
  let bytes = 0;
  /** Frames up to this one are not here any more. */
  let goneSeq = 0;

  const shift = (): void => {
    const frame = frames.shift();
    if (frame === undefined) return;
    bytes -= sizeOf(frame);
    goneSeq = frame.seq ?? goneSeq;
  };

  return {
    push(frame) {
      frames.push(frame);
      bytes += sizeOf(frame);
      while (bytes > bytesMax) shift();
    },
    acknowledge(seq) {
      while (frames[0] !== undefined && (frames[0].seq ?? 0) <= seq) shift();
    },
    all: () => [...frames],
    after(seq) {
      if (seq < goneSeq) return null;
      return frames.filter(frame => (frame.seq ?? 0) > seq);
    },
    get bytes() {
      return bytes;
    },
  };
}

const sizeOf = ({ token, ids = [] }: TokenFrame): number => frameBytes + 2 * token.length + 8 * ids.length;
