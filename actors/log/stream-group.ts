/**
 * A consumer group of a stream: where its reading stands, and which entries were delivered but not acknowledged.
 *
 * G1. Every pending entry is in the group's list and in its consumer's list, as the same object.
 * G2. Both lists are sorted by id.
 */
import { compareIds, type StreamId } from './stream-id.ts';
import { countBelow } from './stream-value.ts';

export interface Pending extends StreamId {
  consumer: Consumer;
  /** Of the last delivery, epoch ms. */
  deliveredAt: number;
  deliveries: number;
}

export interface Consumer {
  readonly name: string;
  seenAt: number;
  readonly pending: Pending[];
}

export class Group {
  readonly name: string;
  lastId: StreamId;
  readonly consumers = new Map<string, Consumer>();
  readonly pending: Pending[] = [];

  constructor(name: string, lastId: StreamId) {
    this.name = name;
    this.lastId = lastId;
  }

  /** The consumer of that name, made if it is not there. */
  consumer(name: string, now: number): Consumer {
    let consumer = this.consumers.get(name);
    if (consumer === undefined) {
      consumer = { name, seenAt: now, pending: [] };
      this.consumers.set(name, consumer);
    }
    return consumer;
  }

  find(id: StreamId): Pending | null {
    const entry = this.pending[countBelow(this.pending, id)];
    return entry !== undefined && compareIds(entry, id) === 0 ? entry : null;
  }

  add(entry: Pending): void {
    insert(this.pending, entry);
    insert(entry.consumer.pending, entry);
  }

  remove(entry: Pending): void {
    removeFrom(this.pending, entry);
    removeFrom(entry.consumer.pending, entry);
  }

  move(entry: Pending, to: Consumer): void {
    if (entry.consumer === to) return;
    removeFrom(entry.consumer.pending, entry);
    entry.consumer = to;
    insert(to.pending, entry);
  }

  /** Removes the consumer and what is pending to it; answers how many entries that were. */
  removeConsumer(name: string): number {
    const consumer = this.consumers.get(name);
    if (consumer === undefined) return 0;
    for (const entry of consumer.pending) removeFrom(this.pending, entry);
    this.consumers.delete(name);
    return consumer.pending.length;
  }
}

function insert(list: Pending[], entry: Pending): void {
  const last = list.at(-1);
  if (last === undefined || compareIds(last, entry) < 0) list.push(entry);
  else list.splice(countBelow(list, entry), 0, entry);
}

function removeFrom(list: Pending[], entry: Pending): void {
  const at = countBelow(list, entry);
  if (list[at] === entry) list.splice(at, 1);
}
