/**
 * Durations counted in buckets no wider than 1/64 of their value: quantiles within 1.6%, a fixed 13 KB however many
 * are counted, and plain numbers that cross a process border and add up.
 */
const subBits = 6;
const sub = 1 << subBits;
const bucketCount = (32 - subBits) * sub;

export class Histogram {
  readonly #counts: number[];
  #total = 0;
  #maxUs = 0;

  constructor(counts?: readonly number[], maxUs = 0) {
    this.#counts = counts === undefined ? new Array<number>(bucketCount).fill(0) : [...counts];
    this.#maxUs = maxUs;
    for (const count of this.#counts) this.#total += count;
  }

  get total(): number {
    return this.#total;
  }

  get maxMs(): number {
    return this.#maxUs / 1000;
  }

  record(ms: number, times = 1): void {
    const us = Math.min(Math.max(Math.round(ms * 1000), 0), 0x7fffffff);
    const at = bucketOf(us);
    this.#counts[at] = (this.#counts[at] ?? 0) + times;
    this.#total += times;
    if (us > this.#maxUs) this.#maxUs = us;
  }

  /** The duration that the share `q` of all does not exceed, in ms; NaN when nothing was counted. */
  quantileMs(q: number): number {
    if (this.#total === 0) return Number.NaN;
    const rank = Math.min(Math.max(Math.ceil(q * this.#total), 1), this.#total);
    let seen = 0;
    for (let at = 0; at < this.#counts.length; at++) {
      seen += this.#counts[at] ?? 0;
      if (seen >= rank) return Math.min(middleOf(at), this.#maxUs) / 1000;
    }
    return this.maxMs;
  }

  toJSON(): HistogramJson {
    return { counts: this.#counts, maxUs: this.#maxUs };
  }

  static of({ counts, maxUs }: HistogramJson): Histogram {
    return new Histogram(counts, maxUs);
  }
}

export interface HistogramJson {
  readonly counts: readonly number[];
  readonly maxUs: number;
}

/** Below 128 µs a bucket each µs; above, 64 buckets each doubling. */
function bucketOf(us: number): number {
  const shift = Math.max(0, 31 - Math.clz32(us | 1) - subBits);
  return shift * sub + (us >>> shift);
}

function middleOf(at: number): number {
  const shift = Math.max(0, Math.floor(at / sub) - 1);
  return (at - shift * sub) * 2 ** shift + (2 ** shift - 1) / 2;
}
