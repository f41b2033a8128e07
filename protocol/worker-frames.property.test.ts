/**
 * Claims about all frames: what is written is read again as it was, and nothing that is read can throw.
 * FC_RUNS and FC_SEED repeat or lengthen a run.
 */
import fc from 'fast-check';
import type { TSchema } from 'typebox';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { peekFrame } from './worker-frames.codec.ts';
import {
  parseRouterFrame,
  parseWorkerFrame,
  routerFrames,
  serialiseFrame,
  type WorkerFrame,
  workerFrames,
} from './worker-frames.ts';

const { FC_RUNS = '300', FC_SEED } = process.env;
const runs = { numRuns: Number(FC_RUNS), ...(FC_SEED === undefined ? {} : { seed: Number(FC_SEED) }) };

interface Shape {
  readonly const?: unknown;
  readonly type?: unknown;
  readonly anyOf?: readonly TSchema[];
  readonly properties?: Readonly<Record<string, TSchema>>;
  readonly required?: readonly string[];
  readonly items?: TSchema;
  readonly additionalProperties?: TSchema;
  readonly minimum?: number;
  readonly '~refine'?: unknown;
}

/** Any value that fits `schema`. Numbers that JSON spells in one way only; −0 is not among them. */
function anyOf(schema: TSchema): fc.Arbitrary<unknown> {
  const shape: Shape = schema;
  if (shape.const !== undefined) return fc.constant(shape.const);
  if (shape.anyOf !== undefined) return fc.oneof(...shape.anyOf.map(anyOf));
  if (shape.properties !== undefined) {
    const fields = Object.fromEntries(Object.entries(shape.properties).map(([key, field]) => [key, anyOf(field)]));
    return fc.record(fields, { requiredKeys: [...(shape.required ?? [])], noNullPrototype: true });
  }
  if (shape.items !== undefined) return fc.array(anyOf(shape.items), { maxLength: 3 });
  if (shape.additionalProperties !== undefined)
    return fc.dictionary(fc.string(), anyOf(shape.additionalProperties), { maxKeys: 3, noNullPrototype: true });
  switch (shape.type) {
    case 'string':
      return shape['~refine'] === undefined ? fc.string({ unit: 'grapheme' }) : fc.base64String();
    case 'integer':
      return fc.oneof(
        fc.integer({ min: Math.max(shape.minimum ?? 0, -9), max: 999 }),
        fc.maxSafeInteger().filter(n => n >= (shape.minimum ?? 0)),
      );
    case 'number':
      return fc.double({ noNaN: true, noDefaultInfinity: true }).map(n => n + 0);
    case 'boolean':
      return fc.boolean();
    case 'object':
      return fc.dictionary(fc.string(), anyJson, { maxKeys: 3, noNullPrototype: true });
    default:
      return anyJson;
  }
}

/** Any JSON but null, which means "absent" in an optional field. */
const anyJson = fc
  .jsonValue({ maxDepth: 3 })
  .filter(value => value !== null)
  .map(value => JSON.parse(JSON.stringify(value)) as unknown);

const anyWorkerFrame = fc.oneof(...Object.values(workerFrames).map(anyOf)) as fc.Arbitrary<WorkerFrame>;
const anyRouterFrame = fc.oneof(...Object.values(routerFrames).map(anyOf)) as fc.Arbitrary<WorkerFrame>;

test('a frame that is written is read again as it was, from text and from bytes', () => {
  for (const [frames, parse] of [
    [anyWorkerFrame, parseWorkerFrame],
    [anyRouterFrame, parseRouterFrame],
  ] as const) {
    fc.assert(
      fc.property(frames, frame => {
        const text = serialiseFrame(frame);
        assert.equal(parse(text), { ok: true, frame });
        assert.equal(parse(Buffer.from(text)), { ok: true, frame });
      }),
      runs,
    );
  }
});

test('N23: no integer field is ever written with a fraction or an exponent', () => {
  fc.assert(
    fc.property(fc.double(), fc.double(), (duration, tokens) => {
      const text = serialiseFrame({
        type: 'complete',
        job_id: 'j',
        full_response: '',
        duration_ms: duration,
        input_tokens: tokens,
      });
      assert.match(text, /"duration_ms":-?\d+,"input_tokens":-?\d+\}$/);
    }),
    runs,
  );
});

test('a canonical frame is known by its first bytes to be what a full parse says', () => {
  fc.assert(
    fc.property(anyWorkerFrame, frame => {
      const peeked = peekFrame(serialiseFrame(frame));
      if (peeked === null) return;
      assert.is(peeked.type, frame.type);
      assert.is(peeked.jobId, 'job_id' in frame ? frame.job_id : null);
    }),
    runs,
  );
});

test('any JSON and any text is read without throwing', () => {
  fc.assert(
    fc.property(fc.oneof(fc.json(), fc.string(), fc.string({ unit: 'binary' })), text => {
      assert.type(parseWorkerFrame(text).ok, 'boolean');
      assert.type(parseRouterFrame(text).ok, 'boolean');
      assert.type(parseWorkerFrame(Buffer.from(text, 'latin1')).ok, 'boolean');
    }),
    runs,
  );
});

/** Replaces, removes or adds one field, at the top or in an object below. */
const mutations = fc.record({
  frame: anyWorkerFrame,
  pick: fc.nat(),
  deeper: fc.boolean(),
  value: fc.option(fc.jsonValue(), { nil: undefined }),
  added: fc.boolean(),
});

test('a mutated frame is refused, or read with known fields only, and then reads the same again', () => {
  fc.assert(
    fc.property(mutations, ({ frame, pick, deeper, value, added }) => {
      const mutated: Record<string, unknown> = structuredClone(frame);
      const inner = Object.values(mutated).find(
        field => typeof field === 'object' && field !== null && !Array.isArray(field),
      );
      const target = deeper && inner !== undefined ? (inner as Record<string, unknown>) : mutated;
      const keys = Object.keys(target);
      const key = added ? 'wibble' : (keys[pick % Math.max(1, keys.length)] ?? 'wibble');
      if (value === undefined) delete target[key];
      else target[key] = value;
      const result = parseWorkerFrame(JSON.stringify(mutated));
      if (!result.ok) {
        assert.type(result.message, 'string');
        assert.not(result.kind === 'json');
        return;
      }
      const known: object = workerFrames[result.frame.type].properties;
      for (const field of Object.keys(result.frame)) assert.ok(Object.hasOwn(known, field), field);
      const again = parseWorkerFrame(serialiseFrame(result.frame));
      assert.equal(again, result);
    }),
    runs,
  );
});

test.run();
