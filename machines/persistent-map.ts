/**
 * A map by string key whose old versions stay as they were: a change copies one short path, never the whole.
 *
 * Two levels of 64 branches over a hash of the key, so 4,096 buckets: some tens of thousands of entries stay at a few
 * per bucket, and `with` costs well under a microsecond. Order of iteration is by hash: deterministic, but no order
 * that anybody should rely on.
 */
type Entry<V> = readonly [key: string, value: V];
type Bucket<V> = readonly Entry<V>[];
type Branch<V> = readonly (Bucket<V> | undefined)[];

const width = 64;
const noBranches: readonly undefined[] = Array.from({ length: width }, () => undefined);

export class PersistentMap<V> {
  readonly size: number;
  readonly #root: readonly (Branch<V> | undefined)[];

  private constructor(root: readonly (Branch<V> | undefined)[], size: number) {
    this.#root = root;
    this.size = size;
  }

  static empty<V>(): PersistentMap<V> {
    return new PersistentMap<V>(noBranches, 0);
  }

  get(key: string): V | undefined {
    const hash = hashOf(key);
    const bucket = this.#root[hash >>> 6]?.[hash & 63];
    if (bucket !== undefined) for (const [k, value] of bucket) if (k === key) return value;
    return undefined;
  }

  has(key: string): boolean {
    return this.get(key) !== undefined;
  }

  /** This map with `key` set. `undefined` is no value: it means absent. */
  with(key: string, value: V): PersistentMap<V> {
    const hash = hashOf(key);
    const bucket = this.#root[hash >>> 6]?.[hash & 63] ?? [];
    const index = bucket.findIndex(([k]) => k === key);
    const next = index < 0 ? [...bucket, [key, value] as const] : bucket.with(index, [key, value]);
    return this.#replaced(hash, next, index < 0 ? this.size + 1 : this.size);
  }

  without(key: string): PersistentMap<V> {
    const hash = hashOf(key);
    const bucket = this.#root[hash >>> 6]?.[hash & 63] ?? [];
    const next = bucket.filter(([k]) => k !== key);
    return next.length === bucket.length ? this : this.#replaced(hash, next, this.size - 1);
  }

  *entries(): Generator<Entry<V>> {
    for (const branch of this.#root) for (const bucket of branch ?? []) yield* bucket ?? [];
  }

  *values(): Generator<V> {
    for (const [, value] of this.entries()) yield value;
  }

  #replaced(hash: number, bucket: Bucket<V>, size: number): PersistentMap<V> {
    const branch = (this.#root[hash >>> 6] ?? noBranches).slice();
    branch[hash & 63] = bucket.length === 0 ? undefined : bucket;
    const root = this.#root.slice();
    root[hash >>> 6] = branch;
    return new PersistentMap<V>(root, size);
  }
}

/** FNV-1a folded to 12 bits. Keys are ids that the router made, so nobody can aim at one bucket. */
function hashOf(key: string): number {
  let hash = 0x811c9dc5;
  for (let index = 0; index < key.length; index += 1) hash = Math.imul(hash ^ key.charCodeAt(index), 0x01000193);
  return (hash ^ (hash >>> 12) ^ (hash >>> 24)) & 0xfff;
}
