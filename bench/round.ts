/**
 * What the benchmark's processes tell each other: what one round is, and what came of it. Plain data, over the
 * channel that Node gives a forked process.
 */
import type { HistogramJson } from './histogram.ts';

export interface Load {
  readonly connections: number;
  /** The connections start spread over this time. */
  readonly rampMs: number;
  /** Answers are checked from the first on; they are counted from here on. */
  readonly warmMs: number;
  readonly windowMs: number;
  readonly tokens: number;
  readonly everyMs: number;
  readonly streamed: boolean;
  /** Ask again when answered, or keep the one answer. */
  readonly repeat: boolean;
  /** See script.ts. Held streams are counted while silent, then released and checked. */
  readonly holdAfter: number;
}

export interface CallerOrder {
  readonly kind: 'round';
  readonly load: Load;
  readonly url: string;
  readonly path: string;
  readonly key: string;
  /** Whose processor time is read at both ends of the window; a server elsewhere has no id here. */
  readonly serverPid: number | undefined;
  readonly workerPid: number;
}

export interface RoundResult {
  readonly windowMs: number;
  readonly tokens: number;
  readonly requests: number;
  /** How many socket reads brought the tokens. */
  readonly arrivals: number;
  readonly serverCpuMs: number | undefined;
  readonly workerCpuMs: number;
  readonly callerCpuMs: number;
  /** What the machine did besides: a round with much of it says little. */
  readonly otherCpuMs: number;
  readonly firstToken: HistogramJson;
  readonly gap: HistogramJson;
  /** When the last held stream had its first token, and its last one after the release. */
  readonly openedMs: number | undefined;
  readonly releasedMs: number | undefined;
  readonly answers: number;
  readonly failures: number;
  readonly examples: readonly string[];
}

export type CallerReport =
  | { readonly kind: 'holding' }
  | { readonly kind: 'result'; readonly result: RoundResult }
  | { readonly kind: 'failed'; readonly reason: string };

export interface WorkerOrder {
  readonly kind: 'start';
  readonly url: string;
  readonly key: string;
  readonly connections: number;
  readonly slotsEach: number;
}

export type WorkerReport = { readonly kind: 'ready' } | { readonly kind: 'failed'; readonly reason: string };

/** Lets the held jobs go on. */
export interface Release {
  readonly kind: 'release';
}
