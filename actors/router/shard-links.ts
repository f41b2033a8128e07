/**
 * The front's side of the shards: batches out, outputs in, and a successor for a shard that dies.
 *
 * L1. Inputs of a tick go to a shard as one batch; a batch is kept until its output is back.
 * L2. A shard that died is followed by another: first its appends settle, then its machines are rebuilt, then it gets
 *     the batches whose outputs never came, in order, with the same times and ids.
 * L3. A batch that was being handled at a death is given again input by input; the input that kills once more is
 *     quarantined: it is dropped, and whoever it came from is told (`poisoned`). A shard that dies before it was rebuilt
 *     was killed by no input.
 * L4. A shard that has not answered for `answerMs` hangs, and is ended.
 * L5. More deaths than `deathsMax` within `deathsMs` end the router: something is wrong that a new thread does not cure.
 */

import type { ShardBatch, ShardInput, ShardOutput } from '../../protocol/shard-messages.ts';
import type { Diagnostics } from '../config/diagnostics.ts';
import type { Clock, ShardHost, ShardPort } from './ports.ts';

export interface ShardEvents {
  heard(output: ShardOutput, shard: number): void;
  /** What the successor must be given first. Called when the dead shard's last outputs have been heard. */
  rebuild(shard: number): Promise<readonly ShardInput[]>;
  poisoned(input: ShardInput): void;
  gaveUp(shard: number, reason: string): void;
}

interface Sent {
  readonly batch: ShardBatch;
  readonly at: number;
  /**
   * `suspect`: was being handled when a shard died; holds one input. `rebuild`: machines as they stood at a death; the
   * next death makes it anew.
   */
  readonly role: 'plain' | 'suspect' | 'rebuild';
}

type JobFrames = Extract<ShardInput, { kind: 'jobFrames' }>;

interface Link {
  readonly index: number;
  port: ShardPort | null;
  gathered: ShardInput[];
  /** By job, the frames of this tick that more can be added to: nothing else came for the job since. */
  frames: Map<string, { -readonly [K in keyof JobFrames]: JobFrames[K] }>;
  sent: Sent[];
  deaths: number[];
}

/** A batch takes microseconds to milliseconds, a 32 MiB request a second or two. */
const answerMs = 15_000;
/** Waking a thread costs more than most of what it is woken for. */
const lazyMs = 5;
const deathsMax = 8;
const deathsMs = 60_000;

export class ShardLinks {
  readonly #host: ShardHost;
  readonly #clock: Clock;
  readonly #events: ShardEvents;
  readonly #diagnostics: Diagnostics;
  readonly #links: Link[] = [];
  #lastBatch = 0;
  #flushing = false;
  #lazy = false;
  #stopped = false;

  constructor(host: ShardHost, clock: Clock, events: ShardEvents, diagnostics: Diagnostics) {
    this.#host = host;
    this.#clock = clock;
    this.#events = events;
    this.#diagnostics = diagnostics;
    for (let index = 0; index < host.count; index += 1) {
      const link: Link = { index, port: null, gathered: [], frames: new Map(), sent: [], deaths: [] };
      this.#links.push(link);
      this.#start(link);
    }
  }

  get count(): number {
    return this.#links.length;
  }

  /** What the shards have not answered yet: batches sent, and inputs that wait to be. */
  get backlog(): { batches: number; inputs: number } {
    let [batches, inputs] = [0, 0];
    for (const { sent, gathered } of this.#links) {
      batches += sent.length;
      inputs += gathered.length;
    }
    return { batches, inputs };
  }

  post(shard: number, input: ShardInput): void {
    const link = this.#link(shard);
    if (link.frames.size > 0 && 'jobId' in input) link.frames.delete(input.jobId);
    link.gathered.push(input);
    this.#flushSoon();
  }

  /** For what nobody waits for: it goes with the next batch, or after `lazyMs`. */
  postLazily(shard: number, input: ShardInput): void {
    this.#link(shard).gathered.push(input);
    if (this.#flushing || this.#lazy) return;
    this.#lazy = true;
    this.#clock.after(lazyMs, () => {
      this.#lazy = false;
      this.flush();
    });
  }

  /** A frame about a job; frames of one tick become one input. */
  postFrame(shard: number, at: number, jobId: string, workerId: string, text: string): void {
    const link = this.#link(shard);
    const line = text.includes('\n') ? text.replaceAll('\n', ' ') : text;
    const open = link.frames.get(jobId);
    if (open !== undefined && open.workerId === workerId) {
      open.lines += `\n${line}`;
      return;
    }
    const input = { kind: 'jobFrames' as const, at, jobId, workerId, lines: line };
    link.frames.set(jobId, input);
    link.gathered.push(input);
    this.#flushSoon();
  }

  flush(): void {
    this.#flushing = false;
    for (const link of this.#links) {
      if (link.port === null || link.gathered.length === 0) continue;
      const inputs = link.gathered;
      link.gathered = [];
      link.frames = new Map();
      this.#give(link, inputs, 'plain');
    }
  }

  /** Ends a shard that has not answered for too long: it hangs. */
  sweep(now: number): void {
    for (const { index, port, sent } of this.#links) {
      const [oldest] = sent;
      if (port !== null && oldest !== undefined && now - oldest.at > answerMs) this.#host.kill(index);
    }
  }

  stop(): Promise<void> {
    this.#stopped = true;
    return this.#host.stop();
  }

  #flushSoon(): void {
    if (this.#flushing) return;
    this.#flushing = true;
    this.#clock.defer(() => this.flush());
  }

  #give(link: Link, inputs: readonly ShardInput[], role: Sent['role']): void {
    this.#lastBatch += 1;
    const batch = { n: this.#lastBatch, inputs };
    link.sent.push({ batch, role, at: this.#clock.now() });
    link.port?.post(batch);
  }

  #start(link: Link): void {
    let current = true;
    link.port = this.#host.start(
      link.index,
      output => {
        if (!current) return;
        if (link.sent[0]?.batch.n === output.n) link.sent.shift();
        this.#events.heard(output, link.index);
      },
      reason => {
        if (!current) return;
        current = false;
        this.#died(link, reason);
      },
    );
  }

  #died(link: Link, reason: string): void {
    link.port = null;
    if (this.#stopped) return;
    const now = this.#clock.now();
    link.deaths = [...link.deaths.filter(at => at > now - deathsMs), now];
    this.#diagnostics.error('a shard died and is replaced', {
      shard: link.index,
      reason,
      unanswered: link.sent.length,
    });
    if (link.deaths.length > deathsMax) {
      this.#events.gaveUp(link.index, reason);
      return;
    }
    this.#replace(link).catch(error => this.#events.gaveUp(link.index, String(error)));
  }

  async #replace(link: Link): Promise<void> {
    const rebuilt = await this.#events.rebuild(link.index);
    if (this.#stopped) return;
    // The answer to the rebuild shows that the successor lives. One that died before never looked at an input.
    const looked = link.sent[0]?.role !== 'rebuild';
    const unanswered = link.sent.filter(({ role }) => role !== 'rebuild');
    link.sent = [];
    this.#start(link);
    this.#give(link, rebuilt, 'rebuild');
    for (const [place, { batch, role }] of unanswered.entries()) {
      const [only] = batch.inputs;
      if (place > 0 || !looked) this.#give(link, batch.inputs, role);
      else if (role === 'suspect' && only !== undefined) this.#events.poisoned(only);
      else for (const input of batch.inputs) this.#give(link, [input], 'suspect');
    }
    this.flush();
  }

  #link(shard: number): Link {
    const link = this.#links[shard];
    if (link === undefined) throw new Error(`there is no shard ${shard}`);
    return link;
  }
}
