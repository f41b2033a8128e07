/**
 * The few things that are asked of the schema library: compile once, say whether a value fits, and when it does not,
 * name the first path that failed and what was expected there.
 *
 * What stays true: a value that fits costs one run of compiled code and nothing else; all the work of explaining is done
 * for values that fail. Nothing here throws for any input that came out of JSON.
 */
import Type, { type Static, type TSchema } from 'typebox';
import { Compile } from 'typebox/compile';

export type Parsed<T> =
  | { readonly ok: true; readonly value: T }
  | { readonly ok: false; readonly path: string; readonly message: string };

/** Compiles `schema`; the result tells whether a value fits, and if not, where and why (`$.messages[2].content`). */
export function check<S extends TSchema>(schema: S): (value: unknown) => Parsed<Static<S>> {
  const validator = Compile(schema);
  const fits = (value: unknown): value is Static<S> => validator.Check(value);
  return value => {
    if (fits(value)) return { ok: true, value };
    return { ok: false, ...firstFailure(validator.Errors(value)) };
  };
}

interface Failure {
  readonly keyword: string;
  readonly schemaPath: string;
  readonly instancePath: string;
  readonly params: object;
  readonly message: string;
}

/**
 * The library reports every alternative of a union before the union itself. One alternative that failed deeper than the
 * others is what the sender meant; when all failed at the union's own place, the message lists what was possible.
 */
function firstFailure(failures: readonly Failure[]): { path: string; message: string } {
  const first = failures[0];
  if (first === undefined) return { path: '$', message: 'does not fit' };
  const within = ({ keyword, schemaPath, instancePath }: Failure): boolean =>
    isUnion(keyword) && isUnder(first.schemaPath, schemaPath) && isUnder(first.instancePath, instancePath);
  const end = failures.findIndex(within);
  const union = failures[end];
  if (union === undefined) return { path: pathOf(first), message: messageOf(first) };
  const alternatives = failures.slice(0, end);
  const deepest = alternatives.reduce((a, b) => (b.instancePath.length > a.instancePath.length ? b : a), first);
  if (deepest.instancePath !== union.instancePath) return { path: pathOf(deepest), message: messageOf(deepest) };
  const wanted = alternatives.map(failure => messageOf(failure).replace(/^must be /, ''));
  return { path: pathOf(union), message: `must be ${[...new Set(wanted)].join(' or ')}` };
}

const isUnder = (path: string, above: string): boolean => path === above || path.startsWith(`${above}/`);
const isUnion = (keyword: string): boolean => keyword === 'anyOf' || keyword === 'oneOf';

/** The library's words, but for the two that name no value. */
function messageOf({ keyword, params, message }: Failure): string {
  if (keyword === 'required') return 'is required';
  if (keyword === 'const' && 'allowedValue' in params) return `must be ${JSON.stringify(params.allowedValue)}`;
  return message;
}

/** JSON pointer to `$.a[0].b`; a missing property is named itself, not the object that lacks it. */
function pathOf({ keyword, instancePath, params }: Failure): string {
  const keys = instancePath
    .split('/')
    .slice(1)
    .map(key => key.replaceAll('~1', '/').replaceAll('~0', '~'));
  if (keyword === 'required' && 'requiredProperties' in params && Array.isArray(params.requiredProperties)) {
    keys.push(String(params.requiredProperties[0]));
  }
  return `$${keys.map(step).join('')}`;
}

function step(key: string): string {
  if (/^\d+$/.test(key)) return `[${key}]`;
  return /^[\w-]+$/.test(key) ? `.${key}` : `[${JSON.stringify(key)}]`;
}

/** Integers that a double holds exactly; anything beyond would change on its way. */
export const Int = Type.Integer({ minimum: Number.MIN_SAFE_INTEGER, maximum: Number.MAX_SAFE_INTEGER });
/** Counts from 1: attempts and frame sequences. */
export const Ordinal = Type.Integer({ minimum: 1, maximum: Number.MAX_SAFE_INTEGER });

/** Deeper values would exhaust the stack of `JSON.stringify` when they are logged or passed on. Real schemas stay under 50. */
export const levelsMax = 200;
export const isShallow = (value: unknown): boolean => shallowerThan(levelsMax, value);
const tooDeep = (): string => `must not be nested deeper than ${levelsMax} levels`;

/** Any JSON, passed on unchanged. */
export const Raw = Type.Refine(Type.Unknown(), isShallow, tooDeep);

function shallowerThan(levels: number, value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return true;
  if (levels === 0) return false;
  for (const inner of Object.values(value)) if (!shallowerThan(levels - 1, inner)) return false;
  return true;
}

/** An object with free keys and text values (environments, headers). A pattern of keys would let keys with a line break pass unread. */
export const StringMap = Type.Unsafe<Record<string, string>>({
  type: 'object',
  additionalProperties: { type: 'string' },
});

export const NumberMap = Type.Unsafe<Record<string, number>>({
  type: 'object',
  additionalProperties: { type: 'number' },
});
/** An object with free keys and any JSON in them. */
export const OpenMap = Type.Refine(Type.Unsafe<Record<string, unknown>>({ type: 'object' }), isShallow, tooDeep);

/** Bytes as base64 text: standard alphabet, with padding. */
export const Base64 = Type.Refine(
  Type.String(),
  text => text.length % 4 === 0 && /^[A-Za-z0-9+/]*={0,2}$/.test(text),
  () => 'must be base64 in the standard alphabet, with padding',
);
