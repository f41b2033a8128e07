/**
 * What was done to a world. A fault counts when it hit something that lived, and once: a frozen worker is one fault,
 * however much waited for it. Delays are told apart: they lose nothing.
 */
export const faultKinds = [
  'connection cut',
  'connection half-open',
  'network partition',
  'frame lost',
  'frame doubled',
  'frame garbled',
  'store reply lost',
  'store command lost',
  'store command doubled',
  'store down',
  'store restarted',
  'disk write failed',
  'disk write cut short',
  'append file cut',
  'shard killed',
  'router killed',
  'router frozen',
  'router drained',
  'clock jumped',
  'worker killed',
  'worker stopped',
  'worker frozen',
  'engine failed',
  'engine crashed',
  'caller left',
  'caller cut off',
  'caller stopped reading',
  'request malformed',
  'tools worker killed',
  'tools worker frozen',
  'tools worker stopped',
  'tool result nonsense',
] as const;
export type FaultKind = (typeof faultKinds)[number];

export const delayKinds = [
  'frame delayed',
  'link slow',
  'store slow',
  'disk slow',
  'shard slow',
  'worker slow',
  'tools slow',
] as const;
export type DelayKind = (typeof delayKinds)[number];

export class Tally {
  readonly faults = new Map<FaultKind, number>();
  readonly delays = new Map<DelayKind, number>();
  /** Instant of every fault, for who asks whether anything was wrong at a time. */
  readonly at: { readonly at: number; readonly kind: FaultKind }[] = [];

  fault(kind: FaultKind, at: number): void {
    this.faults.set(kind, (this.faults.get(kind) ?? 0) + 1);
    this.at.push({ at, kind });
  }

  delay(kind: DelayKind): void {
    this.delays.set(kind, (this.delays.get(kind) ?? 0) + 1);
  }

  /** Whether one of `kinds` happened in that time. */
  had(kinds: readonly FaultKind[], from: number, until: number): boolean {
    return this.at.some(({ at, kind }) => at >= from && at <= until && kinds.includes(kind));
  }
}

export const total = (counts: Iterable<number>): number => {
  let sum = 0;
  for (const count of counts) sum += count;
  return sum;
};
