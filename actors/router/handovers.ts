/**
 * Jobs that a worker takes with it when it redials another router than the one that writes them (design §2a.8): this
 * router asks for them, and gives away its own when another asks.
 *
 * H1. Whether the worker may go on with the job is decided by the job's writer, by the same rule as at home
 *     (machines/job.losses.ts), so that a race with a standby is settled in one place.
 * H2. A writer that has answered yes writes nothing more: it lets the job go first and answers then.
 *     One whose answer does not arrive, or arrives when nobody waits for it any more, leaves nothing behind that nobody
 *     writes: the asker takes the job whenever it hears of it, and the former writer after `unclaimedMs` itself. Until
 *     then it stands in the index in the former writer's name: should both die now, others find it there.
 * H3. A writer that does not answer is asked again until its lease lapses; the job is inherited then, as any job of a
 *     router that is gone.
 */
import type { ClaimLetter, Letter } from '../log/inbox.ts';
import { within } from './membership.ts';
import type { Clock, ClusterPort } from './ports.ts';

export type HandoverLetter = Extract<Letter, { kind: 'asked' | 'released' | 'refused' }>;

export interface HandoverEvents {
  isOurs(jobId: string): boolean;
  /** Whether the worker at the boot `from` may go on with our job; `answered` is told. */
  ask(jobId: string, from: string, claim: ClaimLetter): void;
  /** Stops writing the job. Returns the epoch it was written in; null when it is not ours any more. */
  letGo(jobId: string): Promise<number | null>;
  /** What we let go has another writer now. */
  claimed(jobId: string): void;
  take(jobId: string, epoch: number): Promise<boolean>;
  inherit(jobId: string, isGone: (boot: string) => boolean): Promise<boolean>;
}

const answerMs = 1000;
/** Between questions to a writer that does not answer. */
const againMs = 250;
/** A job that was let go and that nobody has taken for so long is taken back. */
const unclaimedMs = 5000;
/** All in all: below what a worker with jobs waits for its greeting, and above the length of a lease. */
const fetchMsMax = 2800;

export class Handovers {
  readonly #boot: string;
  readonly #port: ClusterPort;
  readonly #clock: Clock;
  readonly #events: HandoverEvents;
  /** Who waits for a job's writer to answer. */
  readonly #asking = new Map<string, (answer: HandoverLetter | null) => void>();

  #stopped = false;

  constructor(boot: string, port: ClusterPort, clock: Clock, events: HandoverEvents) {
    this.#boot = boot;
    this.#port = port;
    this.#clock = clock;
    this.#events = events;
  }

  stop(): void {
    this.#stopped = true;
  }

  /** Makes the job ours for a worker that has dialled in here and holds it. Resolves when it is, or will not be. */
  async fetch(jobId: string, claim: ClaimLetter): Promise<void> {
    const giveUpAt = this.#clock.now() + fetchMsMax;
    while (this.#clock.now() < giveUpAt && !this.#events.isOurs(jobId)) {
      try {
        const owner = await within(this.#clock, answerMs, this.#port.ownerOf(jobId));
        if (owner === null) return;
        if (owner !== this.#boot && (await this.#settled(jobId, owner, claim))) return;
      } catch {
        // Trouble with the store: it may be over before the time is.
      }
      if (!this.#events.isOurs(jobId)) await new Promise<void>(resolve => this.#clock.after(againMs, resolve));
    }
  }

  read(letter: HandoverLetter): void {
    if (letter.kind === 'asked') {
      if (this.#events.isOurs(letter.jobId)) this.#events.ask(letter.jobId, letter.from, letter.claim);
      return;
    }
    const asker = this.#asking.get(letter.jobId);
    if (asker !== undefined) asker(letter);
    else if (letter.kind === 'released') void this.#events.take(letter.jobId, letter.epoch);
  }

  /** H2. */
  answered({
    jobId,
    boot,
    granted,
  }: {
    readonly jobId: string;
    readonly boot: string;
    readonly granted: boolean;
  }): void {
    void (async () => {
      const epoch = granted ? await this.#events.letGo(jobId) : null;
      const letter: Letter = epoch === null ? { kind: 'refused', jobId } : { kind: 'released', jobId, epoch };
      if (epoch !== null) this.#takeBackLater(jobId, epoch);
      // A letter that is lost is no harm: the asker asks again, or we take the job back.
      await this.#port.tell(boot, letter).catch(() => undefined);
    })();
  }

  /** A job that we let go in `epoch`, and that nobody has taken since. The log lets only one of several take it. */
  #takeBackLater(jobId: string, epoch: number): void {
    this.#clock.after(unclaimedMs, async () => {
      if (this.#stopped || this.#events.isOurs(jobId)) return;
      try {
        const [top] = await within(this.#clock, answerMs, this.#port.tops([jobId]));
        if (top?.epoch === epoch) await this.#events.take(jobId, epoch);
        else this.#events.claimed(jobId);
      } catch {
        this.#takeBackLater(jobId, epoch); // trouble with the store
      }
    });
  }

  /** Whether there is nothing more to be done. */
  async #settled(jobId: string, owner: string, claim: ClaimLetter): Promise<boolean> {
    const boots = await within(this.#clock, answerMs, this.#port.boots());
    if ((boots.get(owner) ?? 0) <= 0) return this.#events.inherit(jobId, boot => (boots.get(boot) ?? 0) <= 0);
    const answer = await this.#ask(jobId, owner, claim);
    if (answer?.kind === 'released') return this.#events.take(jobId, answer.epoch);
    return answer?.kind === 'refused';
  }

  #ask(jobId: string, owner: string, claim: ClaimLetter): Promise<HandoverLetter | null> {
    return new Promise(resolve => {
      const answer = (letter: HandoverLetter | null): void => {
        stop();
        if (this.#asking.get(jobId) === answer) this.#asking.delete(jobId);
        resolve(letter);
      };
      const stop = this.#clock.after(againMs, () => answer(null));
      this.#asking.set(jobId, answer);
      this.#port.tell(owner, { kind: 'asked', jobId, from: this.#boot, claim }).catch(() => answer(null));
    });
  }
}
