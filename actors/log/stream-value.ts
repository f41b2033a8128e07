/**
 * A stream: entries in the order of their ids, none ever added below the top one, and the consumer groups on it.
 *
 * Entries lie in nodes of at most a hundred, as a Redis server keeps them by default: finding one is a binary search, the
 * front is cut off a node at a time, and "about" trimming (`~`), which only ever drops whole nodes, drops the same ones.
 * An entry costs its field list and two numbers, nothing else. No node is empty.
 */
import type { Group } from './stream-group.ts';
import { compareIds, type StreamId } from './stream-id.ts';

/** What a client gave: text, or bytes that may be no text. */
export type Value = string | Buffer;

export interface StreamEntry extends StreamId {
  /** Fields and values in turn. */
  readonly fields: readonly Value[];
}

interface Node {
  readonly entries: StreamEntry[];
  /** Places in this node whose entries were deleted. They count when the node is filled. */
  deleted: number;
  /** The highest id ever put into this node. */
  top: StreamId;
}

/** `stream-node-max-entries` of a Redis server. */
const nodeEntriesMax = 100;

export type Trim = {
  readonly by: { readonly lengthMax: number } | { readonly idMin: StreamId };
  /** Drops whole nodes only. */
  readonly about: boolean;
  /** Most entries to drop; null: no limit. Only with `about`. */
  readonly limit: number | null;
};

/** `~` without LIMIT stops here, so that no single command takes long. */
export const aboutLimit = 100 * nodeEntriesMax;

export class Stream {
  length = 0;
  /** The highest id ever given here, also when its entry is deleted. */
  lastId: StreamId = { ms: 0, seq: 0 };
  groups: Map<string, Group> | null = null;
  private readonly nodes: Node[] = [];

  append(entry: StreamEntry): void {
    const last = this.nodes.at(-1);
    if (last === undefined || last.entries.length + last.deleted >= nodeEntriesMax)
      this.nodes.push({ entries: [entry], deleted: 0, top: entry });
    else {
      last.entries.push(entry);
      last.top = entry;
    }
    this.length += 1;
    this.lastId = entry;
  }

  get(id: StreamId): StreamEntry | null {
    const place = this.placeOf(id);
    const entry = this.nodes[place.node]?.entries[place.at];
    return entry !== undefined && compareIds(entry, id) === 0 ? entry : null;
  }

  get nodeCount(): number {
    return this.nodes.length;
  }

  first(): StreamEntry | null {
    return this.nodes[0]?.entries[0] ?? null;
  }

  last(): StreamEntry | null {
    return this.nodes.at(-1)?.entries.at(-1) ?? null;
  }

  /** Entries from `from` to `to`, both included, at most `count`. */
  range(from: StreamId, to: StreamId, count = Number.POSITIVE_INFINITY): StreamEntry[] {
    const found: StreamEntry[] = [];
    let { node, at } = this.placeOf(from);
    for (; found.length < count; at++) {
      const entries = this.nodes[node]?.entries;
      if (entries === undefined) break;
      const entry = entries[at];
      if (entry === undefined) {
        node += 1;
        at = -1;
      } else if (compareIds(entry, to) > 0) break;
      else found.push(entry);
    }
    return found;
  }

  /** The same backwards: from `from` down to `to`. */
  rangeBack(from: StreamId, to: StreamId, count = Number.POSITIVE_INFINITY): StreamEntry[] {
    const found: StreamEntry[] = [];
    let { node, at } = this.placeOf(from);
    const here = this.nodes[node]?.entries[at];
    if (here === undefined || compareIds(here, from) > 0) at -= 1;
    for (; found.length < count; at--) {
      if (at < 0) {
        node -= 1;
        const entries = this.nodes[node]?.entries;
        if (entries === undefined) break;
        at = entries.length - 1;
      }
      const entry = this.nodes[node]?.entries[at];
      if (entry === undefined || compareIds(entry, to) < 0) break;
      found.push(entry);
    }
    return found;
  }

  delete(id: StreamId): boolean {
    const { node, at } = this.placeOf(id);
    const home = this.nodes[node];
    const entry = home?.entries[at];
    if (home === undefined || entry === undefined || compareIds(entry, id) !== 0) return false;
    this.drop(node, home, at, 1);
    return true;
  }

  /** Drops entries from the front; answers how many. */
  trim({ by, about, limit }: Trim): number {
    const excess = 'lengthMax' in by ? this.length - by.lengthMax : 0;
    let dropped = 0;
    for (let node = this.nodes[0]; node !== undefined; node = this.nodes[0]) {
      const { entries } = node;
      const wanted = 'lengthMax' in by ? Math.min(excess - dropped, entries.length) : countBelow(entries, by.idMin);
      if (wanted <= 0) break;
      const whole = wanted === entries.length;
      if (about && (!whole || ('idMin' in by && compareIds(node.top, by.idMin) >= 0))) break;
      if (limit !== null && dropped + wanted > limit) break;
      this.drop(0, node, 0, wanted);
      dropped += wanted;
      if (!whole) break;
    }
    return dropped;
  }

  *[Symbol.iterator](): Generator<StreamEntry> {
    for (const { entries } of this.nodes) yield* entries;
  }

  private drop(node: number, home: Node, at: number, count: number): void {
    this.length -= count;
    if (home.entries.length === count) {
      this.nodes.splice(node, 1);
      return;
    }
    home.entries.splice(at, count);
    home.deleted += count;
  }

  /** Where the first entry not below `id` stands, or would stand. */
  private placeOf(id: StreamId): { node: number; at: number } {
    let low = 0;
    let high = this.nodes.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      const last = this.nodes[middle]?.entries.at(-1);
      if (last !== undefined && compareIds(last, id) < 0) low = middle + 1;
      else high = middle;
    }
    const entries = this.nodes[low]?.entries;
    return { node: low, at: entries === undefined ? 0 : countBelow(entries, id) };
  }
}

/** How many of the sorted `entries` have an id below `id`. */
export function countBelow(entries: readonly StreamId[], id: StreamId): number {
  let low = 0;
  let high = entries.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    const entry = entries[middle];
    if (entry !== undefined && compareIds(entry, id) < 0) low = middle + 1;
    else high = middle;
  }
  return low;
}
