/**
 * What only some workers can do. A worker says which of these it offers, a job needs some of them, and only a worker that
 * offers them all gets it: what a caller relies on is not dropped without a word (spec/http-api §8.0).
 */
import type { JobRequest } from './job-events.ts';

export const features = [
  'images',
  'response_format',
  'tool_choice',
  'n',
  'logprobs',
  'embeddings',
  /** Its vectors may be made shorter. */
  'embedding_dimensions',
  /** A restriction, in truth: it makes embeddings and nothing else. */
  'embeddings_only',
] as const;
export type Feature = (typeof features)[number];
export type Features = ReadonlySet<Feature>;

export const everyFeature: Features = new Set(features);

/** Those of a worker's words that are features known here. */
export const featuresIn = (names: readonly string[]): Feature[] => features.filter(feature => names.includes(feature));

/** What a worker must offer to run the job. */
export function featuresNeeded(request: JobRequest): Feature[] {
  const { responseFormat, toolChoice, choices = 1, logprobs = false, messages, embed } = request;
  if (embed !== undefined)
    return embed.dimensions === undefined ? ['embeddings'] : ['embeddings', 'embedding_dimensions'];
  const needs: Feature[] = [];
  if (messages.some(({ content }) => Array.isArray(content) && content.some(isImage))) needs.push('images');
  if (responseFormat !== undefined) needs.push('response_format');
  if (toolChoice !== undefined && toolChoice !== 'none' && toolChoice !== 'auto') needs.push('tool_choice');
  if (choices > 1) needs.push('n');
  if (logprobs) needs.push('logprobs');
  return needs;
}

/** Whether a worker with these features may have a job with these needs. */
export const mayServe = (features: readonly Feature[], needs: readonly Feature[]): boolean =>
  needs.every(feature => features.includes(feature)) &&
  (!features.includes('embeddings_only') || needs.includes('embeddings'));

/** Features of connected workers, each set once. Empty: none is connected, and whoever comes may offer anything. */
export type Offered = readonly (readonly Feature[])[];

/** What some worker of them can do; with none connected, everything. */
export const featuresOffered = (offered: Offered): Features =>
  offered.length === 0 ? everyFeature : new Set(offered.flat());

/** A feature that is missing from the worker that comes closest; null when one has them all. */
export function featureMissing(needs: readonly Feature[], offered: Offered): Feature | null {
  let fewest: readonly Feature[] | null = null;
  for (const offer of offered) {
    const missing = needs.filter(feature => !offer.includes(feature));
    if (fewest === null || missing.length < fewest.length) fewest = missing;
  }
  return fewest?.[0] ?? null;
}

const isImage = (part: unknown): boolean =>
  typeof part === 'object' && part !== null && 'type' in part && part.type === 'image_url';
