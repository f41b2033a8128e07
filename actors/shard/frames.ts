/** The frames of one tick about one job, read: all together where that works, else one by one. */
import { parseWorkerFrame, readWorkerFrame } from '../../protocol/worker-frames.ts';

type ReadFrame = ReturnType<typeof parseWorkerFrame>;

export function framesOf(lines: string): ReadFrame[] {
  if (!lines.includes('\n')) return [parseWorkerFrame(lines)];
  const texts = lines.split('\n');
  const values = together(texts);
  return values === null ? texts.map(text => parseWorkerFrame(text)) : values.map(value => readWorkerFrame(value));
}

/**
 * One parse for many frames costs half of many parses. Null when it cannot say what each frame holds: when one of them
 * is no JSON object.
 */
function together(texts: readonly string[]): unknown[] | null {
  if (!texts.every(text => text.startsWith('{') && text.endsWith('}'))) return null;
  try {
    const values: unknown = JSON.parse(`[${texts.join(',')}]`);
    return Array.isArray(values) && values.length === texts.length ? values : null;
  } catch {
    // One of them is broken: each is read by itself, so that only that one counts as broken.
    return null;
  }
}
