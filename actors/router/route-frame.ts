/**
 * Finds out which job a worker's frame is about, from its first bytes where it is written as PROTOCOL.md advises
 * (`{"type":"…","job_id":"…"`), else by a full parse.
 */
import { peekFrame } from '../../protocol/worker-frames.codec.ts';

/** The `job_id` of a frame; null when it has none, or is no JSON object at all (its reader will say so). */
export function jobIdOf(text: string): string | null {
  const peeked = peekFrame(text);
  if (peeked !== null) return peeked.jobId;
  try {
    const frame: unknown = JSON.parse(text);
    if (typeof frame !== 'object' || frame === null || !('job_id' in frame)) return null;
    return typeof frame.job_id === 'string' && frame.job_id !== '' ? frame.job_id : null;
  } catch {
    // Not JSON: the connection's machine answers that.
    return null;
  }
}
