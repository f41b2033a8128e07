/** Whether the model that a worker was given can be the one that the router promises its callers. */
import { basename } from 'node:path';

/**
 * A sentence when the two names do not fit. Names are compared by their words, because a file says less or more than a
 * catalogue does: `Qwen3-8B` and `qwen3-8b-instruct-q4_k_m.gguf` fit, `Qwen3-8B` and `Qwen3-4B` do not.
 */
export function nameTrouble(promised: string, served: string, modelPath: string): string | null {
  if (promised === '' || served === '') return null;
  const wanted = wordsOf(promised);
  if ([served, basename(modelPath)].some(name => name !== '' && fits(wanted, wordsOf(name)))) return null;
  return `this worker serves ${served}, but the router offers it as ${promised}: if that is another model, set AUXOT_MODEL at the router or give this worker that model`;
}

const fits = (a: ReadonlySet<string>, b: ReadonlySet<string>): boolean => isWithin(a, b) || isWithin(b, a);

const isWithin = (few: ReadonlySet<string>, many: ReadonlySet<string>): boolean =>
  few.size > 0 && [...few].every(word => many.has(word));

/** How the weights are kept tells no models apart, nor who published them. */
const wordsOf = (name: string): ReadonlySet<string> =>
  new Set(
    name
      .toLowerCase()
      .replace(/^.*[/\\]/, '')
      .replace(/\.gguf$/, '')
      .replace(/(^|[-_. ])((ud-)?i?q\d\w*|bf16|f16|f32|mxfp4\w*|gguf|\d{5}-of-\d{5})(?=$|[-_. ])/g, ' ')
      .split(/[^a-z0-9.]+/)
      .filter(word => word !== ''),
  );
