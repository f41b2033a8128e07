/**
 * Jobs that wait, among the routers of one store: what finds no slot here is offered to all, and whoever has a slot takes
 * what was offered, its own or another's.
 *
 * S1. While another router lives, a job that is not matched at once is offered. A job that finds a slot at its own router
 *     never is, so that it costs no round trip more than on a store of its own.
 * S2. Offers are taken for free slots only. Those that were taken and have not come to the queue yet count as used.
 * S3. An offer is done with when its job is in its new writer's hands, goes on at its own, or has ended (log/offers.ts F2).
 */
import type { WaitingJob } from '../../machines/queue.ts';
import type { Diagnostics } from '../config/diagnostics.ts';
import type { Letter, ToolLetter } from '../log/inbox.ts';
import type { HandoverLetter } from './handovers.ts';
import { within } from './membership.ts';
import type { Clock, ClusterPort, Offer, OfferLine } from './ports.ts';

export interface SharingEvents {
  /** Other routers that live. */
  others(): readonly string[];
  free(): { readonly any: number; readonly begun: number };
  /** Jobs that wait here; from now on they wait for whoever is first. */
  lend(): readonly WaitingJob[];
  putBack(jobId: string): void;
  /** In which the job is written here; null when it is not. */
  epochOf(jobId: string): number | null;
  /** Becomes the job's writer, if nobody else has become it meanwhile. */
  take(jobId: string, epoch: number): Promise<boolean>;
  /** Another router writes the job now. */
  letGo(jobId: string): void;
  /** Nobody reads the job's answer at another router any more. */
  abandoned(jobId: string, from: string | null): void;
  /** A caller at the boot `from` reads our job's answer. */
  wanted(jobId: string, from: string): void;
  /** Somebody at another router wants our job to end. */
  unwanted(jobId: string): void;
  /** About a call that a tools worker took from one router to another. */
  tool(letter: ToolLetter): void;
  /** About a job that a worker takes from one router to another. */
  handover(letter: HandoverLetter): void;
}

/** What a job's writer is told of callers at another router. */
export type AboutCallers = 'wanted' | 'abandoned' | 'unwanted';

const answerMs = 3000;
const againMs = 500;
/** Offers taken in one round trip. */
const takenMax = 64;
/** Taken, and still not in the queue: it has ended, or its log cannot be read. */
const arrivalMs = 2000;
/** Tries to tell a job's writer that nobody reads the answer; each `againMs` after the one before. */
const triesMax = 10;

export class Sharing {
  readonly #boot: string;
  readonly #port: ClusterPort;
  readonly #clock: Clock;
  readonly #diagnostics: Diagnostics;
  readonly #events: SharingEvents;
  /** Our jobs that were offered, each with the id of its offer once that is known. */
  readonly #offered = new Map<string, { readonly line: OfferLine; id: string | null }>();
  /** S2. */
  readonly #arriving = new Set<string>();
  /** Offers that are being dealt with. */
  readonly #given = new Set<string>();
  #pulling = false;
  /** A reply may have been lost that gave us offers. */
  #mayHavePending = false;
  #stopHearing: (() => void) | null = null;
  #stopLetters: () => void = () => undefined;
  #stopped = false;

  constructor(boot: string, port: ClusterPort, clock: Clock, diagnostics: Diagnostics, events: SharingEvents) {
    this.#boot = boot;
    this.#port = port;
    this.#clock = clock;
    this.#diagnostics = diagnostics;
    this.#events = events;
  }

  start(): void {
    this.#stopLetters = this.#port.onLetters(letter => this.#read(letter));
    this.look();
  }

  /** Takes nothing more; what waits here may still be offered. */
  stop(): void {
    this.#stopped = true;
    this.#stopHearing?.();
    this.#stopHearing = null;
  }

  close(): void {
    this.stop();
    this.#stopLetters();
  }

  /** Something has changed: jobs wait, slots are free, or routers have come or gone. */
  look(): void {
    if (this.#events.others().length > 0) for (const job of this.#events.lend()) void this.#offer(job);
    void this.#pull();
  }

  /** A job that was taken has come to the queue. */
  arrived(jobId: string): void {
    this.#arriving.delete(jobId);
  }

  /** A job that was offered need not be run by anybody else any more. */
  recall(jobId: string): void {
    const offered = this.#offered.get(jobId);
    this.#offered.delete(jobId);
    if (offered !== undefined && offered.id !== null) this.#done({ line: offered.line, id: offered.id });
  }

  /** Takes what gone routers had taken and not yet made their own. */
  async inherit(isGone: (boot: string) => boolean): Promise<void> {
    for (const offer of await this.#port.inherit(isGone)) await this.#deal(offer);
  }

  /**
   * A caller here has come for the answer of a job that another router writes (wanted), or the last one has left
   * (abandoned), or one wants it to end (unwanted).
   */
  async tellWriter(kind: AboutCallers, jobId: string): Promise<void> {
    const letter: Letter = kind === 'unwanted' ? { kind, jobId } : { kind, jobId, from: this.#boot };
    for (let tries = 0; tries < triesMax; tries += 1) {
      if ((await this.#toWriter(jobId, letter)) !== 'nobody') return;
      await new Promise<void>(resolve => this.#clock.after(againMs, resolve));
    }
  }

  /** A tools worker here has a call of a job that another router writes. Who says so says it again until it is over. */
  async tellOfCall(jobId: string, callId: string, workerInstance: string, result: string | null): Promise<void> {
    const more = result === null ? {} : { result };
    const letter: Letter = { kind: 'toolHeld', jobId, callId, workerInstance, from: this.#boot, ...more };
    if ((await this.#toWriter(jobId, letter)) === 'ended') this.#events.tool({ kind: 'toolOver', callId });
  }

  tell(boot: string, letter: Letter): void {
    if (boot === this.#boot) this.#read(letter);
    else this.#port.tell(boot, letter).catch(() => undefined); // it is asked for again
  }

  async #toWriter(jobId: string, letter: Letter): Promise<'told' | 'ended' | 'nobody'> {
    try {
      if (this.#events.epochOf(jobId) !== null) {
        this.#read(letter);
        return 'told';
      }
      const owner = await within(this.#clock, answerMs, this.#port.ownerOf(jobId));
      if (owner === null) return 'ended';
      // By the log it may be ours, when we have just let it go, or do not have it yet.
      if (!this.#events.others().includes(owner)) return 'nobody';
      await this.#port.tell(owner, letter);
      return 'told';
    } catch {
      // Trouble with the store, or a writer that has just gone: the next try may find another one.
      return 'nobody';
    }
  }

  async #offer({ jobId, continues, again }: WaitingJob): Promise<void> {
    const epoch = this.#events.epochOf(jobId);
    // It is on its way to another router, or from one. Not at once: whoever puts a job back is asked to lend it again.
    if (epoch === null) return void this.#clock.after(againMs, () => this.#events.putBack(jobId));
    const line = continues ? 'begun' : again ? 'again' : 'new';
    const offered: { readonly line: OfferLine; id: string | null } = { line, id: null };
    this.#offered.set(jobId, offered);
    try {
      offered.id = await within(this.#clock, answerMs, this.#port.offer(jobId, epoch, line));
      // It has ended meanwhile, or got a worker.
      if (this.#offered.get(jobId) !== offered) this.#done({ line, id: offered.id });
    } catch {
      // Trouble with the store, which the log tells. It waits here until that is over.
      if (this.#offered.get(jobId) !== offered) return;
      this.#offered.delete(jobId);
      this.#clock.after(againMs, () => this.#events.putBack(jobId));
    }
  }

  async #pull(): Promise<void> {
    if (this.#pulling || this.#stopped) return;
    const { any, begun } = this.#events.free();
    const slots = Math.min(takenMax, any - this.#arriving.size);
    if (slots <= 0) {
      this.#stopHearing?.();
      this.#stopHearing = null;
      return;
    }
    this.#pulling = true;
    let offers: readonly Offer[] = [];
    try {
      if (this.#mayHavePending) {
        offers = await within(
          this.#clock,
          answerMs,
          this.#port.inherit(boot => boot === this.#boot),
        );
        this.#mayHavePending = false;
      }
      const lines: OfferLine[] = begun > 0 ? ['begun', 'again', 'new'] : ['again', 'new'];
      offers = [...offers, ...(await within(this.#clock, answerMs, this.#port.take(slots, lines)))];
    } catch {
      this.#mayHavePending = true;
      this.#clock.after(againMs, () => this.look());
    } finally {
      this.#pulling = false;
    }
    for (const offer of offers) void this.#deal(offer);
    if (offers.length > 0) void this.#pull();
    else if (!this.#stopped) this.#stopHearing ??= this.#port.onOffers(() => void this.#pull());
  }

  /** S3. */
  async #deal(offer: Offer): Promise<void> {
    if (this.#given.has(offer.id)) return;
    this.#given.add(offer.id);
    try {
      await this.#settle(offer);
    } finally {
      this.#given.delete(offer.id);
    }
  }

  async #settle(offer: Offer): Promise<void> {
    const { jobId, epoch, boot } = offer;
    if (boot === this.#boot || this.#events.epochOf(jobId) !== null) {
      const waits = this.#offered.delete(jobId) && this.#events.epochOf(jobId) === epoch;
      if (waits) this.#events.putBack(jobId);
      return this.#done(offer);
    }
    this.#arriving.add(jobId);
    this.#clock.after(arrivalMs, () => this.#arriving.delete(jobId));
    const took = await this.#events.take(jobId, epoch);
    if (took)
      this.#port.tell(boot, { kind: 'taken', jobId, epoch: epoch + 1 }).catch(() => undefined); // its next append tells it
    else this.#arriving.delete(jobId);
    this.#done(offer);
  }

  #done(offer: Pick<Offer, 'line' | 'id'>): void {
    // One that stays is found to be over by whoever takes it next.
    this.#port.done(offer).catch(error => this.#diagnostics.debug('an offer stays', { reason: String(error) }));
  }

  #read(letter: Letter): void {
    switch (letter.kind) {
      case 'taken': {
        this.#offered.delete(letter.jobId);
        const mine = this.#events.epochOf(letter.jobId);
        if (mine !== null && mine < letter.epoch) this.#events.letGo(letter.jobId);
        return;
      }
      case 'abandoned':
        return this.#events.abandoned(letter.jobId, letter.from ?? null);
      case 'wanted':
        return this.#events.wanted(letter.jobId, letter.from);
      case 'unwanted':
        return this.#events.unwanted(letter.jobId);
      case 'toolHeld':
      case 'toolOver':
        return this.#events.tool(letter);
      default:
        return this.#events.handover(letter);
    }
  }
}
