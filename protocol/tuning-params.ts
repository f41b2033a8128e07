/**
 * Fields of requests that are accepted and change nothing here (spec/http-api §8.0.3): they tune, label or save costs. With
 * AUXOT_STRICT_PARAMS a request that has one is refused by its name.
 */
import type { AnswerShape } from './job-events.ts';

const shared = ['service_tier', 'user', 'safety_identifier', 'prompt_cache_key', 'prompt_cache_retention'];

const withoutEffect: Readonly<Record<AnswerShape['api'], readonly string[]>> = {
  'openai.chat': [...shared, 'verbosity'],
  'openai.responses': [...shared, 'text.verbosity'],
  'openai.completions': shared,
  'openai.embeddings': shared,
  'anthropic.messages': ['metadata', 'service_tier', 'container', 'cache_control'],
};

/** The first such field that the body has; null when it has none. */
export function ineffectiveParam(api: AnswerShape['api'], body: unknown): string | null {
  // Metadata is for completions that are stored.
  if (api === 'openai.chat' && has(body, 'metadata') && valueAt(body, 'store') !== true) return 'metadata';
  return withoutEffect[api].find(path => has(body, path)) ?? null;
}

const has = (body: unknown, path: string): boolean => {
  const value = valueAt(body, path);
  return value !== undefined && value !== null;
};

function valueAt(body: unknown, path: string): unknown {
  let value = body;
  for (const name of path.split('.')) {
    if (typeof value !== 'object' || value === null) return undefined;
    value = Object.hasOwn(value, name) ? (value as Readonly<Record<string, unknown>>)[name] : undefined;
  }
  return value;
}
