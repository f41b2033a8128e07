/** Two schemas that a value has to fit at once, as one; and whether two can never fit the same value. */
export type Schema = Readonly<Record<string, unknown>>;

/** What a grammar cannot hold, and where in the schema it stands. */
export class SchemaUnheld extends Error {
  readonly path: string;
  readonly why: string;

  constructor(path: string, why: string) {
    super(`${path} ${why}`);
    this.path = path;
    this.why = why;
  }
}

export function unheld(path: string, why: string): never {
  throw new SchemaUnheld(path, why);
}

/** The greater of two lower bounds, the smaller of two upper ones. */
const narrower: Readonly<Record<string, (a: number, b: number) => number>> = {
  minimum: Math.max,
  exclusiveMinimum: Math.max,
  minLength: Math.max,
  minItems: Math.max,
  minProperties: Math.max,
  maximum: Math.min,
  exclusiveMaximum: Math.min,
  maxLength: Math.min,
  maxItems: Math.min,
  maxProperties: Math.min,
};
const describing: ReadonlySet<string> = new Set(['title', 'description', 'default', 'examples', 'example', '$comment']);

export function merged(a: unknown, b: unknown, path: string): Schema {
  if (a === true) return isObject(b) ? b : {};
  if (b === true) return isObject(a) ? a : {};
  if (!isObject(a) || !isObject(b)) return unheld(path, 'allows no value');
  checkAllowed(a, b, path);
  checkAllowed(b, a, path);
  const whole: Record<string, unknown> = { ...a };
  for (const [word, theirs] of Object.entries(b)) {
    const ours = whole[word];
    if (ours === undefined || describing.has(word) || JSON.stringify(ours) === JSON.stringify(theirs)) {
      whole[word] = theirs;
      continue;
    }
    whole[word] = both(word, ours, theirs, `${path === '' ? '' : `${path}.`}${word}`);
  }
  return whole;
}

/** What the one says of properties that it does not name would hold for those that only the other names. */
function checkAllowed(a: Schema, b: Schema, path: string): void {
  const { additionalProperties: further = true, properties } = a;
  if (further === true || !isObject(b.properties)) return;
  const known = isObject(properties) ? properties : {};
  if (Object.keys(b.properties).some(name => !Object.hasOwn(known, name)))
    unheld(
      path === '' ? 'additionalProperties' : `${path}.additionalProperties`,
      'cannot be held beside other schemas',
    );
}

function both(word: string, ours: unknown, theirs: unknown, path: string): unknown {
  if (word === 'properties' && isObject(ours) && isObject(theirs)) {
    const names = new Set([...Object.keys(ours), ...Object.keys(theirs)]);
    return Object.fromEntries(
      [...names].map(name => [
        name,
        !Object.hasOwn(ours, name)
          ? theirs[name]
          : Object.hasOwn(theirs, name)
            ? { allOf: [ours[name], theirs[name]] }
            : ours[name],
      ]),
    );
  }
  if (word === 'required' && Array.isArray(ours) && Array.isArray(theirs)) return [...new Set([...ours, ...theirs])];
  if (word === 'enum' && Array.isArray(ours) && Array.isArray(theirs)) {
    const known = new Set(theirs.map(value => JSON.stringify(value)));
    return ours.filter(value => known.has(JSON.stringify(value)));
  }
  if (word === 'type') {
    const [mine, other] = [names(ours), names(theirs)];
    const shared = mine.filter(name => other.includes(name) || (name === 'integer' && other.includes('number')));
    if (other.includes('integer') && mine.includes('number') && !shared.includes('integer')) shared.push('integer');
    return shared.length > 0 ? shared : unheld(path, 'allows no value');
  }
  // What the one allows beside its own properties, the other has to allow too: none is the narrowest.
  if (word === 'additionalProperties') return ours === false || theirs === false ? false : { allOf: [ours, theirs] };
  if (word.startsWith('$') || word === 'definitions') return ours;
  const narrow = narrower[word];
  if (narrow !== undefined && typeof ours === 'number' && typeof theirs === 'number') return narrow(ours, theirs);
  return unheld(path, 'cannot be held twice at one place');
}

/** Whether no value that a grammar of the one gives fits the other: it gives only what the schema names. */
export function exclude(a: unknown, b: unknown): boolean {
  if (!isObject(a) || !isObject(b)) return false;
  const [ours, theirs] = [constants(a), constants(b)];
  if (ours !== null && theirs !== null) return !ours.some(value => theirs.includes(value));
  const [mine, other] = [kinds(a), kinds(b)];
  if (mine !== null && other !== null && !mine.some(kind => other.includes(kind))) return true;
  if (!isObject(a.properties) || !isObject(b.properties)) return false;
  const [myProperties, otherProperties] = [a.properties, b.properties];
  const needs = (schema: Schema): string[] =>
    Array.isArray(schema.required) ? schema.required.filter(name => typeof name === 'string') : [];
  if (needs(a).some(name => needs(b).includes(name) && exclude(myProperties[name], otherProperties[name]))) return true;
  return (
    needs(b).some(name => !Object.hasOwn(myProperties, name) && !needs(a).includes(name)) &&
    needs(a).some(name => !Object.hasOwn(otherProperties, name) && !needs(b).includes(name))
  );
}

function constants(schema: Schema): string[] | null {
  if (schema.const !== undefined) return [JSON.stringify(schema.const)];
  return Array.isArray(schema.enum) ? schema.enum.map(value => JSON.stringify(value)) : null;
}

/** An integer is a number. */
function kinds(schema: Schema): string[] | null {
  const fixed = constants(schema);
  if (fixed !== null && schema.type === undefined)
    return fixed.map(text => {
      const value: unknown = JSON.parse(text);
      return value === null ? 'null' : Array.isArray(value) ? 'array' : typeof value;
    });
  if (schema.type === undefined) return null;
  return names(schema.type).map(name => (name === 'integer' ? 'number' : name));
}

const names = (type: unknown): string[] =>
  (Array.isArray(type) ? type : [type]).filter(name => typeof name === 'string');

const isObject = (value: unknown): value is Schema =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
