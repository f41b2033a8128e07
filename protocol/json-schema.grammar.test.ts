import fc from 'fast-check';
import { Compile } from 'typebox/schema';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { textOf } from './gbnf.fake.ts';
import { GrammarRules } from './json-schema.grammar.ts';

const runs = Number(process.env.FC_RUNS ?? 60);
const seed = process.env.FC_SEED === undefined ? {} : { seed: Number(process.env.FC_SEED) };

function grammarOf(schema: unknown): string {
  const rules = new GrammarRules();
  const read = rules.schema(schema);
  if (!read.ok) throw new Error(`${read.path} ${read.why}`);
  return rules.text(read.symbol);
}

function refusalOf(schema: unknown): string {
  const read = new GrammarRules().schema(schema);
  return read.ok ? '' : `${read.path} ${read.why}`;
}

/** Every text of the grammar is JSON of the schema. */
function holds(schema: object, valid: (value: unknown) => boolean = value => Compile(schema).Check(value)): void {
  const grammar = grammarOf(schema);
  fc.assert(
    fc.property(fc.infiniteStream(fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true })), stream => {
      const text = textOf(grammar, () => stream.next().value);
      let value: unknown;
      try {
        value = JSON.parse(text);
      } catch (error) {
        throw new Error(`no JSON: ${text}`, { cause: error });
      }
      assert.ok(valid(value), `${text} for ${JSON.stringify(schema)}`);
    }),
    { numRuns: runs, ...seed },
  );
}

const person = {
  type: 'object',
  properties: {
    name: { type: 'string', minLength: 1, maxLength: 5 },
    age: { type: 'integer', minimum: 0, maximum: 120 },
    nick: { type: ['string', 'null'] },
    tags: { type: 'array', items: { enum: ['a', 'b "c"', 3, null, { x: [1] }] }, minItems: 1, maxItems: 3 },
  },
  required: ['name', 'tags'],
  additionalProperties: false,
};

for (const [what, schema] of [
  ['anything', {}],
  ['an object with required and optional properties', person],
  ['only optional properties', { type: 'object', properties: { a: { type: 'null' }, b: {}, c: { type: 'boolean' } } }],
  ['a map', { type: 'object', additionalProperties: { type: 'integer' } }],
  ['a required property without a schema', { type: 'object', properties: { a: {} }, required: ['b', 'a'] }],
  ['a constant', { const: { a: ['x\n"\\', 1.5e-7] } }],
  ['a tuple', { type: 'array', prefixItems: [{ type: 'null' }, { type: 'string' }], items: false, minItems: 2 }],
  ['lists of lists', { type: 'array', items: { type: 'array', items: { type: 'boolean' }, maxItems: 2 } }],
  ['no items', { type: 'array', maxItems: 0 }],
  ['several types', { type: ['integer', 'string'], minimum: 5, maxLength: 2 }],
  ['either', { anyOf: [{ type: 'null' }, person] }],
  ['exactly one', { oneOf: [{ type: 'string' }, { type: 'integer' }] }],
  [
    'exactly one, told apart by a constant',
    {
      oneOf: ['cat', 'dog'].map(kind => ({
        type: 'object',
        properties: { kind: { const: kind }, legs: { type: 'integer' } },
        required: ['kind'],
      })),
    },
  ],
  ['all of', { allOf: [{ type: 'object', required: ['a'] }, { properties: { a: { type: 'string', maxLength: 2 } } }] }],
  ['alternatives beside properties', { ...person, anyOf: [{ required: ['age'] }, { required: ['nick'] }] }],
  [
    'a reference that leads back through a property',
    {
      $defs: {
        node: {
          type: 'object',
          properties: { next: { anyOf: [{ $ref: '#/$defs/node' }, { type: 'null' }] } },
          required: ['next'],
        },
      },
      $ref: '#/$defs/node',
    },
  ],
  ['a pattern', { type: 'string', pattern: '^[A-Z]{2,3}-\\d+(?:x|"y\\\\)?$' }],
  ['a pattern without anchors', { type: 'string', pattern: 'a[^b]c|d' }],
  ['whole numbers below zero', { type: 'integer', minimum: -317, exclusiveMaximum: -9 }],
  ['whole numbers around zero', { type: 'integer', exclusiveMinimum: -12, maximum: 1034 }],
  ['whole numbers without an upper bound', { type: 'integer', minimum: 97 }],
  ['numbers around zero', { type: 'number', minimum: -1, maximum: 1 }],
  ['numbers within one step', { type: 'number', exclusiveMinimum: 0, exclusiveMaximum: 1 }],
  ['numbers with fine bounds', { type: 'number', minimum: 0.25, maximum: 10.5 }],
  ['numbers below zero', { type: 'number', maximum: -2.5 }],
  ['numbers from zero', { type: 'number', minimum: 0 }],
] as const) {
  test(`every text of the grammar is valid: ${what}`, () => holds(schema));
}

test('bounds of whole numbers hold, whatever they are', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: -5000, max: 5000 }),
      fc.nat(3000),
      fc.infiniteStream(fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true })),
      (minimum, more, stream) => {
        const grammar = grammarOf({ type: 'integer', minimum, maximum: minimum + more });
        for (let round = 0; round < 20; round += 1) {
          const value = Number(textOf(grammar, () => stream.next().value));
          assert.ok(Number.isInteger(value) && value >= minimum && value <= minimum + more, `${value}`);
        }
      },
    ),
    { numRuns: runs, ...seed },
  );
});

for (const format of ['date', 'time', 'date-time', 'uuid', 'ipv4', 'email', 'hostname', 'uri', 'duration', 'ipv6']) {
  const known: Record<string, RegExp> = {
    date: /^\d{4}-\d\d-\d\d$/,
    'date-time': /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$/,
    uuid: /^[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}$/,
    ipv4: /^(\d{1,3}\.){3}\d{1,3}$/,
    email: /^[^@\s]+@[^@\s]+\.[a-z]+$/,
  };
  test(`the format ${format} is kept`, () =>
    holds({ type: 'string', format }, value => {
      if (format === 'date' || format === 'date-time')
        assert.ok(!Number.isNaN(Date.parse(String(value))), String(value));
      if (format === 'uri') assert.ok(URL.canParse(String(value)), String(value));
      return typeof value === 'string' && (known[format]?.test(value) ?? true);
    }));
}

test('what a grammar cannot hold is refused, with its place', () => {
  const inA = (a: object) => ({ type: 'object', properties: { a } });
  assert.match(refusalOf(inA({ not: {} })), /^properties\.a\.not /);
  assert.match(refusalOf(inA({ type: 'array', uniqueItems: true })), /^properties\.a\.uniqueItems /);
  assert.match(refusalOf(inA({ type: 'string', pattern: '^(?=x)' })), /^properties\.a\.pattern /);
  assert.match(refusalOf(inA({ type: 'string', format: 'iri' })), /^properties\.a\.format "iri"/);
  assert.match(refusalOf(inA({ type: 'thing' })), /^properties\.a\.type /);
  assert.match(refusalOf(inA({ $ref: '#/$defs/none' })), /points at nothing/);
  assert.match(refusalOf(inA({ $ref: 'https://example.com/s' })), /must point into/);
  assert.match(refusalOf({ $ref: '#' }), /leads back to itself/);
  assert.match(refusalOf({ oneOf: [{ type: 'integer' }, { type: 'number' }] }), /^oneOf .*use anyOf/);
  assert.match(refusalOf({ type: 'integer', minimum: 3, maximum: 2 }), /no number/);
  assert.match(refusalOf({ type: 'number', multipleOf: 0.1 }), /^multipleOf /);
  assert.match(refusalOf({ patternProperties: { a: {} } }), /^patternProperties /);
  assert.match(refusalOf(false), /allows no value/);
  assert.match(refusalOf('text'), /must be an object/);
  assert.match(
    refusalOf({ allOf: [{ ...inA({}), additionalProperties: false }, { properties: { b: {} } }] }),
    /^additionalProperties /,
  );
});

test('what only describes makes no difference', () => {
  const plain = { type: 'object', properties: { a: { type: 'string' } } };
  const described = {
    $schema: 'https://json-schema.org/draft/2020-12/schema',
    title: 't',
    ...plain,
    properties: { a: { type: 'string', description: 'd', default: 'x', examples: ['y'] } },
  };
  assert.is(grammarOf(described), grammarOf(plain));
});

test.run();
