/**
 * Finds out which job a worker's frame is about, from its first bytes where it is written as PROTOCOL.md advises
 * (`{"type":"…","job_id":"…"`), else by a full parse.
 */
import { peekFrame } from '../../protocol/worker-frames.codec.ts';

/** The `job_id` of a frame; null when it has none, or is no JSON object at all (its reader will say so). */
export const jobIdOf = (text: string): string | null => aboutJob(text)?.jobId ?? null;

/** The frame says that it is something else than a tool's result: a word of a later version, which nobody here knows. */
export function isNoResult(text: string): boolean {
  const about = aboutJob(text);
  return about !== null && about.type !== 'tool_result';
}

function aboutJob(text: string): { readonly type: string; readonly jobId: string } | null {
  const peeked = peekFrame(text);
  if (peeked !== null) return peeked;
  try {
    const frame: unknown = JSON.parse(text);
    if (typeof frame !== 'object' || frame === null || !('job_id' in frame)) return null;
    const { job_id: jobId, type = '' } = frame as { job_id: unknown; type?: unknown };
    return typeof jobId === 'string' && jobId !== '' ? { type: String(type), jobId } : null;
  } catch {
    // Not JSON: the connection's machine answers that.
    return null;
  }
}
