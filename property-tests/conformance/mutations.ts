/** Frames with something wrong in them: values, fields, keys, encodings, and the way in which they are sent. */
import * as fc from 'fast-check';
import { type Kinds, sample } from './contract.ts';

/** How a message goes over a socket. */
export interface Delivery {
  readonly text: string;
  readonly binary: boolean;
  /** Bytes after which it is cut into another frame. */
  readonly cuts: readonly number[];
}

const oddTexts = ['"x"', '""', '"\\u0000"', '"__proto__"', '"\\ud800"', '"1"', `"${'é'.repeat(300)}"`];
const oddNumbers = [
  '0',
  '-1',
  '1',
  '1.0',
  '1e2',
  '1.5',
  '-0.5',
  '1e999',
  '9007199254740993',
  '12345678901234567890123',
];
const oddValues = ['true', 'null', '{}', '[]', '[7]', '{"a":{}}', '[[]]', `${'['.repeat(400)}${']'.repeat(400)}`];
const odd = fc.constantFrom(...oddTexts, ...oddNumbers, ...oddValues);

/** Every place in a value, by its path; not those inside lists, of which the contract does not say what null is there. */
function places(value: unknown, path: readonly string[] = []): (readonly string[])[] {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return [path];
  return [path, ...Object.entries(value).flatMap(([key, inner]) => places(inner, [...path, key]))];
}

function replaced(value: unknown, path: readonly string[], text: string | null): string | null {
  const [first, ...rest] = path;
  if (first === undefined) return text;
  const fields = Object.entries(value ?? {}).flatMap(([key, inner]) => {
    const put = key === first ? replaced(inner, rest, text) : JSON.stringify(inner);
    return put === null ? [] : [`${JSON.stringify(key)}:${put}`];
  });
  return `{${fields.join()}}`;
}

/** `jobId` stands where the sample has a job. Frames of the types in `without` are left out. */
export function mutatedFrame(says: Kinds, jobId: string, without: readonly string[] = []): fc.Arbitrary<string> {
  const types = Object.keys(says).filter(type => !without.includes(type));
  return fc.constantFrom(...types).chain(type => {
    const kinds = says[type];
    const body = sample(kinds ?? {}) as Record<string, unknown>;
    const named = 'job_id' in body ? { job_id: jobId } : {};
    const frame = { type, ...named, ...body, ...named };
    const text = JSON.stringify(frame);
    const paths = places(frame).filter(path => path.length > 0);
    const value = fc
      .record({ path: fc.constantFrom(...paths), odd })
      .map(({ path, odd: put }) => replaced(frame, path, put) ?? '');
    const missing = fc.constantFrom(...paths).map(path => replaced(frame, path, null) ?? '');
    const extra = odd.map(put => `${text.slice(0, -1)},"no_such_field":${put}}`);
    const twice = fc
      .record({ field: fc.constantFrom(...Object.keys(frame)), odd })
      .map(({ field, odd: put }) => `${text.slice(0, -1)},${JSON.stringify(field)}:${put}}`);
    const cut = fc.nat(text.length).map(at => text.slice(0, at));
    const spaced = fc.constantFrom(
      `\n${text}\r\n`,
      `${text} `,
      `${text}${text}`,
      `${text}\u0000`,
      `\ufeff${text}`,
      `[${text}]`,
    );
    return fc.oneof(
      { weight: 6, arbitrary: value },
      { weight: 2, arbitrary: missing },
      { weight: 1, arbitrary: extra },
      { weight: 2, arbitrary: twice },
      { weight: 1, arbitrary: cut },
      { weight: 1, arbitrary: spaced },
      { weight: 1, arbitrary: fc.constant(text) },
    );
  });
}

export const delivered = (text: fc.Arbitrary<string>): fc.Arbitrary<Delivery> =>
  fc.record({ text, binary: fc.boolean(), cuts: fc.array(fc.nat(200), { maxLength: 3 }) });

/** The frames of a message, in order. */
export function piecesOf({ text, cuts }: Delivery): Buffer[] {
  const bytes = Buffer.from(text);
  const at = [...new Set(cuts.filter(cut => cut > 0 && cut < bytes.length))].sort((a, b) => a - b);
  return [0, ...at].map((from, index) => bytes.subarray(from, at[index] ?? bytes.length));
}
