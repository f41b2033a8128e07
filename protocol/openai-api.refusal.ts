/**
 * How a request is refused: with a code, a sentence, and the place in the request that it is about (spec/http-api §8.0).
 */

export type { Feature, Features } from './features.ts';

export interface ChatRequestRefusal {
  readonly ok: false;
  readonly code: 'invalid_request' | 'unsupported_parameter';
  readonly message: string;
  /** Where in the request, as `messages[2].content`; null for the whole of it. */
  readonly param: string | null;
}

/** A part of the request, read; or why the request is refused. */
export type Read<T> = { readonly ok: true; readonly value: T } | ChatRequestRefusal;

export const read = <T>(value: T): Read<T> => ({ ok: true, value });

export const invalid = (param: string | null, message: string): ChatRequestRefusal => ({
  ok: false,
  code: 'invalid_request',
  message: param === null ? message : `${param} ${message}`,
  param,
});

export const unsupported = (param: string, why: string): ChatRequestRefusal => ({
  ok: false,
  code: 'unsupported_parameter',
  message: `${param} ${why}`,
  param,
});

/** Reads every item of a list; the first refusal is that of the list. */
export function readEach<T, R>(items: readonly T[], at: string, readItem: (item: T, at: string) => Read<R>): Read<R[]> {
  const values: R[] = [];
  for (const [index, item] of items.entries()) {
    const outcome = readItem(item, `${at}[${index}]`);
    if (!outcome.ok) return outcome;
    values.push(outcome.value);
  }
  return read(values);
}
