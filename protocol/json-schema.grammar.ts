/**
 * A JSON Schema as a grammar whose every text is JSON that is valid against it.
 *
 * G1. The grammar may allow less than the schema (properties in their order, none that the schema does not name, numbers
 *     of at most 15 digits), never more.
 * G2. What cannot be held is refused with its place in the schema: nothing that restricts is passed over. What only
 *     describes (`title`, `default`, `examples` …) is.
 */
import { literal, numbers, oneOf, repeated, repeatsMax, wholeNumbers } from './gbnf.ts';
import { formatGrammar } from './json-schema.formats.ts';
import { exclude, merged, type Schema, SchemaUnheld, unheld } from './json-schema.merge.ts';
import { patternGrammar } from './json-schema.pattern.ts';

export type SchemaGrammar =
  /** The symbol of the whole, and the rules behind it. */
  | { readonly ok: true; readonly symbol: string }
  /** `path` as `properties.name.pattern`; empty for the whole. */
  | { readonly ok: false; readonly path: string; readonly why: string };

/** Rules that all values share. White space is bounded, so that a model cannot write it for ever. */
const shared: Readonly<Record<string, string>> = {
  ws: '(" " | "\\n"{1,2} [ \\t]{0,20})?',
  char: '[^"\\\\\\x00-\\x1F\\x7F] | "\\\\" (["\\\\/bfnrt] | "u" [0-9a-fA-F]{4})',
  // One character of a string whose length counts: an escape by number may be half a character.
  one: '[^"\\\\\\x00-\\x1F\\x7F] | "\\\\" ["\\\\/bfnrt]',
  string: '"\\"" char* "\\""',
  integer: '"-"? ("0" | [1-9] [0-9]{0,14})',
  number: 'integer ("." [0-9]{1,15})? ([eE] [-+]? [0-9]{1,2})?',
  boolean: '"true" | "false"',
  null: '"null"',
  value: 'object | array | string | number | boolean | null',
  object: '"{" ws (string ws ":" ws value (ws "," ws string ws ":" ws value)*)? ws "}"',
  array: '"[" ws (value (ws "," ws value)*)? ws "]"',
};
const sharedUses: Readonly<Record<string, readonly string[]>> = {
  string: ['char'],
  number: ['integer'],
  value: ['object', 'array', 'string', 'number', 'boolean', 'null'],
  object: ['ws', 'string', 'value'],
  array: ['ws', 'value'],
};

const rulesMax = 2000;
const types = ['object', 'array', 'string', 'number', 'integer', 'boolean', 'null'] as const;
type TypeName = (typeof types)[number];

/** Restrictions that a grammar of this kind cannot hold. */
const unheldWords = [
  'not',
  'if',
  'then',
  'else',
  'dependentRequired',
  'dependentSchemas',
  'dependencies',
  'patternProperties',
  'propertyNames',
  'contains',
  'minContains',
  'maxContains',
  '$dynamicRef',
  '$recursiveRef',
] as const;

/** A grammar that is being put together, out of one schema or several. */
export class GrammarRules {
  readonly #rules = new Map<string, string>();
  #count = 0;

  /** The grammar with `root` as its beginning. */
  text(root: string): string {
    return [`root ::= ${root}`, ...[...this.#rules].map(([name, body]) => `${name} ::= ${body}`), ''].join('\n');
  }

  /** A rule of its own for `body`; returns its symbol. */
  add(body: string): string {
    const name = this.reserve();
    this.#rules.set(name, body);
    return name;
  }

  reserve(): string {
    this.#count += 1;
    if (this.#count > rulesMax) throw new SchemaUnheld('', 'is too large');
    return `r${this.#count}`;
  }

  define(name: string, body: string): void {
    this.#rules.set(name, body);
  }

  /** One of the shared rules, with those that it uses. */
  use(name: string): string {
    if (this.#rules.has(name)) return name;
    this.#rules.set(name, shared[name] ?? '');
    for (const other of sharedUses[name] ?? []) this.use(other);
    return name;
  }

  /** The symbol for values of a schema. */
  schema(schema: unknown): SchemaGrammar {
    try {
      return { ok: true, symbol: new SchemaReader(this, schema).read(schema, '', new Set()) };
    } catch (error) {
      if (error instanceof SchemaUnheld) return { ok: false, path: error.path, why: error.why };
      throw error;
    }
  }
}

class SchemaReader {
  readonly #rules: GrammarRules;
  readonly #root: unknown;
  readonly #refs = new Map<string, string>();

  constructor(rules: GrammarRules, root: unknown) {
    this.#rules = rules;
    this.#root = root;
  }

  /** `open`: references being followed, with nothing written between. */
  read(given: unknown, path: string, open: ReadonlySet<string>): string {
    if (given === true) return this.#rules.use('value');
    if (given === false) unheld(path, 'allows no value');
    if (!isObject(given)) unheld(path, 'must be an object or a boolean');
    const schema = this.#plain(given, path);
    for (const word of unheldWords) if (schema[word] !== undefined) unheld(at(path, word), 'cannot be held');
    if (schema.uniqueItems === true) unheld(at(path, 'uniqueItems'), 'cannot be held');
    const { $ref, anyOf, oneOf: one, allOf, ...rest } = schema;
    if ($ref !== undefined) {
      if (
        Object.keys(restricting(rest)).length === 0 &&
        anyOf === undefined &&
        one === undefined &&
        allOf === undefined
      )
        return this.#reference($ref, at(path, '$ref'), open);
      if (typeof $ref === 'string' && open.has($ref)) unheld(at(path, '$ref'), 'leads back to itself');
      const target = this.#target($ref, at(path, '$ref'));
      const others = { ...rest, ...defined({ anyOf, oneOf: one, allOf }) };
      return this.read(merged(target, others, path), path, new Set([...open, String($ref)]));
    }
    if (allOf !== undefined) {
      let whole: Schema = { ...rest, ...defined({ anyOf, oneOf: one }) };
      for (const [index, part] of list(allOf, at(path, 'allOf')).entries())
        whole = merged(whole, this.#resolved(part, `${at(path, 'allOf')}[${index}]`), path);
      return this.read(whole, path, open);
    }
    if (anyOf !== undefined || one !== undefined) {
      const word = anyOf === undefined ? 'oneOf' : 'anyOf';
      if (anyOf !== undefined && one !== undefined) unheld(at(path, 'oneOf'), 'cannot be held beside anyOf');
      const parts = list(anyOf ?? one, at(path, word));
      if (word === 'oneOf') this.#checkExclusive(parts, at(path, word));
      const isBare = Object.keys(restricting(rest)).length === 0;
      const options = parts.map((part, index) => {
        const here = `${at(path, word)}[${index}]`;
        if (isBare) return this.read(part, here, open);
        return this.read(merged(rest, this.#resolved(part, here), here), here, open);
      });
      return this.#rules.add(oneOf(options));
    }
    return this.#values(rest, path);
  }

  /** `nullable` is how OpenAPI says that null is allowed as well. */
  #plain(given: Schema, path: string): Schema {
    if (given.nullable !== true) return given;
    const { nullable: _, ...rest } = given;
    if (typeof rest.type === 'string' && rest.enum === undefined) return { ...rest, type: [rest.type, 'null'] };
    return rest.type === undefined || rest.enum !== undefined
      ? { anyOf: [rest, { type: 'null' }] }
      : unheld(at(path, 'nullable'), 'cannot be held here');
  }

  #reference($ref: unknown, path: string, open: ReadonlySet<string>): string {
    const key = typeof $ref === 'string' ? $ref : unheld(path, 'must be string');
    if (open.has(key)) unheld(path, 'leads back to itself');
    const known = this.#refs.get(key);
    if (known !== undefined) return known;
    const name = this.#rules.reserve();
    this.#refs.set(key, name);
    this.#rules.define(name, this.read(this.#target($ref, path), path, new Set([...open, key])));
    return name;
  }

  #target($ref: unknown, path: string): unknown {
    if (typeof $ref !== 'string' || !/^#(\/|$)/.test($ref))
      unheld(path, 'must point into the schema itself, as #/$defs/name');
    let target: unknown = this.#root;
    for (const part of $ref.split('/').slice(1)) {
      const key = decodeURIComponent(part).replace(/~1/g, '/').replace(/~0/g, '~');
      target = isObject(target) || Array.isArray(target) ? (target as Schema)[key] : undefined;
    }
    if (target === undefined) unheld(path, 'points at nothing');
    return target;
  }

  /** What a reference stands for, where it has to be seen through. */
  #resolved(given: unknown, path: string, depth = 0): unknown {
    if (!isObject(given) || given.$ref === undefined || depth > 20) return given;
    const { $ref, ...rest } = given;
    return merged(this.#resolved(this.#target($ref, path), path, depth + 1), rest, path);
  }

  /** Only one of the alternatives may match, and that can be told from what they require. */
  #checkExclusive(parts: readonly unknown[], path: string): void {
    const seen = parts.map(part => this.#resolved(part, path));
    for (const [index, part] of seen.entries()) {
      for (const other of seen.slice(index + 1)) {
        if (!exclude(part, other)) unheld(path, 'cannot be held unless its alternatives exclude each other: use anyOf');
      }
    }
  }

  #values(schema: Schema, path: string): string {
    if (schema.const !== undefined) return this.#constants([schema.const], schema, at(path, 'const'));
    if (schema.enum !== undefined)
      return this.#constants(list(schema.enum, at(path, 'enum')), schema, at(path, 'enum'));
    const names = typesOf(schema, path);
    if (names === null) return this.#rules.use('value');
    const options = names.map(name => this.#ofType(name, schema, path));
    return options.length === 1 ? (options[0] ?? '') : this.#rules.add(oneOf(options));
  }

  #constants(values: readonly unknown[], schema: Schema, path: string): string {
    const names = schema.type === undefined ? null : typesOf(schema, path);
    const allowed = values.filter(value => names === null || names.some(name => isOf(value, name)));
    if (allowed.length === 0) unheld(path, 'allows no value');
    return this.#rules.add(oneOf(allowed.map(value => literal(JSON.stringify(value)))));
  }

  #ofType(name: TypeName, schema: Schema, path: string): string {
    switch (name) {
      case 'object':
        return this.#object(schema, path);
      case 'array':
        return this.#array(schema, path);
      case 'string':
        return this.#string(schema, path);
      case 'integer':
      case 'number':
        return this.#number(name, schema, path);
      case 'boolean':
      case 'null':
        return this.#rules.use(name);
    }
  }

  #string({ minLength, maxLength, pattern, format }: Schema, path: string): string {
    const min = count(minLength, at(path, 'minLength')) ?? 0;
    const max = count(maxLength, at(path, 'maxLength'));
    const bounded = min > 0 || max !== null;
    if (pattern !== undefined) {
      if (bounded) unheld(at(path, 'pattern'), 'cannot be held beside minLength or maxLength: put the length into it');
      if (format !== undefined) unheld(at(path, 'pattern'), 'cannot be held beside format');
      const inside = typeof pattern === 'string' ? patternGrammar(pattern, this.#rules.use('char')) : null;
      return inside === null
        ? unheld(at(path, 'pattern'), 'cannot be held: it looks around, refers back, or is no regular expression')
        : this.#rules.add(`"\\"" ${inside} "\\""`);
    }
    if (format !== undefined) {
      const inside = typeof format === 'string' ? formatGrammar(format) : null;
      if (inside === null) unheld(at(path, 'format'), `${JSON.stringify(format)} cannot be held`);
      if (bounded) unheld(at(path, 'format'), 'cannot be held beside minLength or maxLength');
      return this.#rules.add(`"\\"" ${inside} "\\""`);
    }
    if (!bounded) return this.#rules.use('string');
    checkBounds(min, max, at(path, 'minLength'));
    return this.#rules.add(`"\\"" ${repeated(this.#rules.use('one'), min, max)} "\\""`);
  }

  #number(name: 'integer' | 'number', schema: Schema, path: string): string {
    const { multipleOf } = schema;
    const whole = name === 'integer' || multipleOf === 1;
    if (multipleOf !== undefined && multipleOf !== 1) unheld(at(path, 'multipleOf'), 'other than 1 cannot be held');
    // Before 2019 the two were switches for the bounds beside them.
    const { minimum, maximum, exclusiveMinimum, exclusiveMaximum } = schema;
    const low = bound(exclusiveMinimum === true ? undefined : minimum, at(path, 'minimum'));
    const over = bound(exclusiveMinimum === true ? minimum : exclusiveMinimum, at(path, 'exclusiveMinimum'));
    const high = bound(exclusiveMaximum === true ? undefined : maximum, at(path, 'maximum'));
    const under = bound(exclusiveMaximum === true ? maximum : exclusiveMaximum, at(path, 'exclusiveMaximum'));
    const min = low === null ? over : over === null ? low : Math.max(low, over);
    const max = high === null ? under : under === null ? high : Math.min(high, under);
    if (min === null && max === null) return this.#rules.use(whole ? 'integer' : 'number');
    const exclusive = { min: over !== null && over === min, max: under !== null && under === max };
    const grammar = whole
      ? wholeNumbers(
          min !== null && exclusive.min ? Math.floor(min) + 1 : min,
          max !== null && exclusive.max ? Math.ceil(max) - 1 : max,
        )
      : numbers(min, max, exclusive);
    return grammar === null
      ? unheld(path, 'has bounds that leave no number, or too fine ones')
      : this.#rules.add(grammar);
  }

  #array(schema: Schema, path: string): string {
    const { items, prefixItems, minItems, maxItems } = schema;
    const min = count(minItems, at(path, 'minItems')) ?? 0;
    const max = count(maxItems, at(path, 'maxItems'));
    checkBounds(min, max, at(path, 'minItems'));
    // Before 2020 a list of items was what prefixItems is now.
    const listed = prefixItems ?? (Array.isArray(items) ? items : undefined);
    const ws = this.#rules.use('ws');
    const comma = `${ws} "," ${ws}`;
    const none = new Set<string>();
    if (listed !== undefined) {
      const word = prefixItems === undefined ? 'items' : 'prefixItems';
      const wanted = list(listed, at(path, word)).slice(0, max ?? undefined);
      const further = Array.isArray(items) ? schema.additionalItems : items;
      const places = wanted.map((item, index) => this.read(item, `${at(path, word)}[${index}]`, none));
      if (min > places.length) {
        if (further === false) unheld(at(path, 'minItems'), 'is more than there are items');
        const rest = this.read(further ?? true, at(path, 'items'), none);
        places.push(...Array.from({ length: min - places.length }, () => rest));
      }
      return this.#rules.add(['"["', places.join(` ${comma} `), '"]"'].filter(part => part !== '').join(` ${ws} `));
    }
    if (items === false) {
      return min === 0 ? this.#rules.add(`"[" ${ws} "]"`) : unheld(at(path, 'items'), 'allows no item');
    }
    if (max === 0) return this.#rules.add(`"[" ${ws} "]"`);
    const item = this.read(items ?? true, at(path, 'items'), none);
    const more = `${item} ${repeated(`(${comma} ${item})`, Math.max(0, min - 1), max === null ? null : max - 1)}`;
    return this.#rules.add(`"[" ${ws} ${min === 0 ? `(${more})?` : more} ${ws} "]"`);
  }

  #object(schema: Schema, path: string): string {
    const ws = this.#rules.use('ws');
    const none = new Set<string>();
    const given = schema.properties === undefined ? {} : schema.properties;
    if (!isObject(given)) unheld(at(path, 'properties'), 'must be an object');
    const required = list(schema.required ?? [], at(path, 'required'));
    const { additionalProperties: further = true } = schema;
    const names = Object.keys(given);
    const min = count(schema.minProperties, at(path, 'minProperties')) ?? 0;
    const max = count(schema.maxProperties, at(path, 'maxProperties'));
    for (const name of required) {
      if (typeof name !== 'string') unheld(at(path, 'required'), 'must be a list of names');
      if (names.includes(name)) continue;
      if (further === false) unheld(at(path, 'required'), `names ${JSON.stringify(name)}, which is not allowed`);
      names.push(name);
    }
    const property = (name: string): string => {
      const here = at(path, `properties.${name}`);
      const value = this.read(Object.hasOwn(given, name) ? given[name] : further, here, none);
      return this.#rules.add(`${literal(JSON.stringify(name))} ${ws} ":" ${ws} ${value}`);
    };
    if (names.length === 0) {
      if (further === false) return min === 0 ? this.#rules.add(`"{" ${ws} "}"`) : unheld(path, 'allows no value');
      if (min > 1) unheld(at(path, 'minProperties'), 'above 1 cannot be held without properties');
      if (max === 0) return this.#rules.add(`"{" ${ws} "}"`);
      const value = this.read(further, at(path, 'additionalProperties'), none);
      const pair = `${this.#rules.use('string')} ${ws} ":" ${ws} ${value}`;
      const pairs = `${pair} ${repeated(`(${ws} "," ${ws} ${pair})`, 0, max === null ? null : max - 1)}`;
      return this.#rules.add(`"{" ${ws} ${min === 0 ? `(${pairs})?` : pairs} ${ws} "}"`);
    }
    if (min > required.length)
      unheld(at(path, 'minProperties'), 'above the number of required properties cannot be held');
    if (max !== null && max < names.length) {
      if (max < required.length) unheld(at(path, 'maxProperties'), 'is below the number of required properties');
      if (max !== required.length) unheld(at(path, 'maxProperties'), 'below the number of properties cannot be held');
    }
    const optional = max !== null && max < names.length ? [] : names;
    const pairs = names
      .filter(name => required.includes(name) || optional.includes(name))
      .map(name => ({ pair: property(name), needed: required.includes(name) }));
    return this.#rules.add(`"{" ${ws} ${this.#members(pairs, ws)} ${ws} "}"`);
  }

  /** Properties in order, with commas only between those that are there. */
  #members(pairs: readonly { readonly pair: string; readonly needed: boolean }[], ws: string): string {
    const later = (from: number): string =>
      pairs
        .slice(from)
        .map(({ pair, needed }) => (needed ? `${ws} "," ${ws} ${pair}` : `(${ws} "," ${ws} ${pair})?`))
        .join(' ');
    const firstNeeded = pairs.findIndex(({ needed }) => needed);
    const last = firstNeeded === -1 ? pairs.length - 1 : firstNeeded;
    const options = pairs.slice(0, last + 1).map(({ pair }, index) => `${pair} ${later(index + 1)}`.trimEnd());
    return `(${options.join(' | ')})${firstNeeded === -1 ? '?' : ''}`;
  }
}

/** Null when the schema says nothing about the value. */
function typesOf(schema: Schema, path: string): readonly TypeName[] | null {
  const { type } = schema;
  if (type === undefined) {
    const has = (...words: string[]): boolean => words.some(word => schema[word] !== undefined);
    if (has('properties', 'required', 'additionalProperties', 'minProperties', 'maxProperties')) return ['object'];
    if (has('items', 'prefixItems', 'minItems', 'maxItems')) return ['array'];
    if (has('pattern', 'format', 'minLength', 'maxLength')) return ['string'];
    if (has('minimum', 'maximum', 'exclusiveMinimum', 'exclusiveMaximum', 'multipleOf')) return ['number'];
    return null;
  }
  const names = (Array.isArray(type) ? type : [type]).map(name => types.find(known => known === name));
  const known = names.filter(name => name !== undefined);
  if (known.length !== names.length || known.length === 0)
    unheld(at(path, 'type'), `must be among ${types.join(', ')}`);
  return known;
}

const isOf = (value: unknown, name: TypeName): boolean => {
  switch (name) {
    case 'object':
      return isObject(value);
    case 'array':
      return Array.isArray(value);
    case 'integer':
      return Number.isInteger(value);
    case 'null':
      return value === null;
    default:
      return typeof value === name;
  }
};

/** Only what says which values are allowed. */
const describing: ReadonlySet<string> = new Set([
  'title',
  'description',
  'default',
  'examples',
  'example',
  'deprecated',
  'readOnly',
  'writeOnly',
  'discriminator',
  'definitions',
]);
const restricting = (schema: Schema): Schema =>
  Object.fromEntries(Object.entries(schema).filter(([word]) => !describing.has(word) && !word.startsWith('$')));

const defined = (schema: Schema): Schema =>
  Object.fromEntries(Object.entries(schema).filter(([, value]) => value !== undefined));

const at = (path: string, word: string): string => (path === '' ? word : `${path}.${word}`);

function list(value: unknown, path: string): readonly unknown[] {
  return Array.isArray(value) ? value : unheld(path, 'must be a list');
}

function count(value: unknown, path: string): number | null {
  if (value === undefined) return null;
  return typeof value === 'number' && Number.isInteger(value) && value >= 0 ? value : unheld(path, 'must be a count');
}

function bound(value: unknown, path: string): number | null {
  if (value === undefined || value === false) return null;
  return typeof value === 'number' && Number.isFinite(value) ? value : unheld(path, 'must be a number');
}

function checkBounds(min: number, max: number | null, path: string): void {
  if (min > repeatsMax) unheld(path, `above ${repeatsMax} cannot be held`);
  if (max !== null && min > max) unheld(path, 'is above the maximum');
}

const isObject = (value: unknown): value is Schema =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
