/**
 * Where an event stands in a job's log: `<epoch>-<sequence>.<index>`.
 *
 * `sequence` is the running number, within the epoch, of an event that starts a batch, and `index` counts on from it, so
 * `sequence + index` numbers the event. Two positions of one epoch with the same sum name the same event: the log may
 * join batches (group commit, compaction) without any position given out before becoming wrong.
 */
export interface Position {
  readonly epoch: number;
  /** Running number of the event within its epoch, from 1. 0 stands before the epoch's first event. */
  readonly number: number;
}

/** How far a caller has got: it has all frames of the events up to `position`, or of that one only the first `frames`. */
export interface Cursor {
  readonly position: Position;
  /** Null: all. */
  readonly frames: number | null;
}

export const origin: Position = { epoch: 0, number: 0 };

export const formatPosition = ({ epoch, number }: Position): string => `${epoch}-${number}.0`;

/** Reads a position; null when `text` is none. */
export function parsePosition(text: string): Position | null {
  const match = /^(\d{1,15})-(\d{1,15})\.(\d{1,15})$/.exec(text);
  if (match === null) return null;
  const number = Number(match[2]) + Number(match[3]);
  return Number.isSafeInteger(number) ? { epoch: Number(match[1]), number } : null;
}

/** Reads the id of an SSE frame: `<position>`, or `<position>/<k>` behind the k-th of several frames of one event. */
export function parseCursor(text: string): Cursor | null {
  const [head = '', frames, ...more] = text.trim().split('/');
  const position = parsePosition(head);
  if (position === null || position.epoch === 0 || more.length > 0 || !/^\d{1,9}$/.test(frames ?? '0')) return null;
  return { position, frames: frames === undefined ? null : Number(frames) };
}

/** Negative when `a` stands before `b`, 0 when they are the same, positive when after. */
export const comparePositions = (a: Position, b: Position): number => a.epoch - b.epoch || a.number - b.number;
