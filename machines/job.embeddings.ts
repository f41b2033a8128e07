/** The vectors that a worker made, before they become facts: one for each text, all of one length. */
import type { JobRequest } from '../protocol/job-events.ts';
import type { CompleteFrame } from '../protocol/worker-frames.ts';

/** Base64 of whole 32-bit floats. */
const wholeFloats = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/;

/** What is wrong with the vectors of a frame that ends such a job; null when nothing is. */
export function embeddingsTrouble(
  { embed }: Pick<JobRequest, 'embed'>,
  { embeddings = [] }: CompleteFrame,
): string | null {
  if (embed === undefined) return null;
  const { inputs, dimensions } = embed;
  if (embeddings.length !== inputs.length)
    return `the worker made ${embeddings.length} vectors of ${inputs.length} texts`;
  const [first = ''] = embeddings;
  for (const vector of embeddings) {
    const bytes = Math.floor((vector.length * 3) / 4) - (vector.endsWith('==') ? 2 : vector.endsWith('=') ? 1 : 0);
    if (vector === '' || bytes % 4 !== 0 || !wholeFloats.test(vector)) return 'the worker made a vector of no numbers';
    if (vector.length !== first.length) return 'the worker made vectors of several lengths';
    if (dimensions !== undefined && bytes !== dimensions * 4)
      return `the worker made vectors of ${bytes / 4} numbers instead of ${dimensions}`;
  }
  return null;
}
