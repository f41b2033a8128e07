/**
 * Brings JSON into the form that a schema describes, before it is checked: known fields only, in the schema's order, and
 * `null` in its meaning as "nothing" (spec/worker-protocol §4.0, spec/http-api §0).
 *
 * - An optional field that is `null` is left out.
 * - With `missing: 'zero'`, a required field that is `null` or absent gets its type's zero value, as Go peers expect;
 *   with `missing: 'absent'` it is left out, and the check names it.
 * - `whole: true` (for sending) makes every integer a plain one, whatever came out of a division.
 *
 * What does not look as described is passed on unchanged: saying no is the check's business. Fields with any JSON in
 * them (`Raw`) are never looked into, so their nulls stay. Works for objects, lists, maps and scalars; alternatives
 * (unions) are passed on as they are.
 */
import type { TSchema } from 'typebox';

export interface FitOptions {
  readonly missing: 'zero' | 'absent';
  readonly whole?: boolean;
}

export type Fit = (value: unknown) => unknown;

interface Shape {
  readonly type?: unknown;
  readonly properties?: Readonly<Record<string, TSchema>>;
  readonly required?: readonly string[];
  readonly items?: TSchema;
  readonly additionalProperties?: TSchema;
}

/** Compiles once; the result is called for every frame. */
export function fit(schema: TSchema, options: FitOptions): Fit {
  const shape: Shape = schema;
  if (shape.type === 'object' && shape.properties !== undefined) return fitObject(shape, options);
  if (shape.type === 'array' && shape.items !== undefined) return fitList(shape.items, options);
  if (shape.type === 'object' && typeof shape.additionalProperties === 'object') {
    return fitMap(shape.additionalProperties, options);
  }
  if (shape.type === 'integer' && options.whole === true) return wholeNumber;
  if (shape.type === 'number' && options.whole === true) return value => (Number.isFinite(value) ? value : undefined);
  return value => value;
}

function fitObject({ properties = {}, required = [] }: Shape, options: FitOptions): Fit {
  const fields = Object.entries(properties).map(([key, schema]) => ({
    key,
    fit: fit(schema, options),
    zero: required.includes(key) && options.missing === 'zero' ? zeroOf(schema, options) : () => undefined,
  }));
  return value => {
    if (!isObject(value)) return value;
    const fitted: Record<string, unknown> = {};
    for (const { key, fit, zero } of fields) {
      const given = value[key];
      const kept = given === undefined || given === null ? zero() : fit(given);
      if (kept !== undefined) fitted[key] = kept;
    }
    return fitted;
  };
}

function fitList(items: TSchema, options: FitOptions): Fit {
  const fitItem = fit(items, options);
  const zero = options.missing === 'zero' ? zeroOf(items, options) : () => null;
  const each = (item: unknown): unknown => (item === null || item === undefined ? zero() : fitItem(item));
  return value => (Array.isArray(value) ? value.map(each) : value);
}

function fitMap(values: TSchema, options: FitOptions): Fit {
  const fitValue = fit(values, options);
  const zero = zeroOf(values, options);
  return value => {
    if (!isObject(value)) return value;
    return Object.fromEntries(Object.entries(value).map(([key, v]) => [key, v === null ? zero() : fitValue(v)]));
  };
}

/** What a peer in Go has in a field that was never set. A field with any JSON in it has `null`. */
function zeroOf(schema: TSchema, options: FitOptions): () => unknown {
  const shape: Shape = schema;
  switch (shape.type) {
    case 'string':
      return () => '';
    case 'integer':
    case 'number':
      return () => 0;
    case 'boolean':
      return () => false;
    case 'array':
      return () => [];
    case 'object': {
      const fitted = fit(schema, options);
      return () => fitted({});
    }
    default:
      return () => null;
  }
}

/** A peer drops a whole frame for one fraction: a wrong count must not cost a finished answer. */
function wholeNumber(value: unknown): unknown {
  if (typeof value !== 'number') return value;
  if (Number.isNaN(value)) return 0;
  return Math.min(Math.max(Math.round(value), Number.MIN_SAFE_INTEGER), Number.MAX_SAFE_INTEGER);
}

const isObject = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

export type OrUndefined<T> = { [K in keyof T]: object extends Pick<T, K> ? T[K] | undefined : T[K] };

/** Leaves out what is undefined: to the types, an absent field and an undefined one are two things. */
export const defined = <T extends object>(fields: OrUndefined<T>): T =>
  Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as T;
