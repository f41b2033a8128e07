/**
 * Requests that carry an `Idempotency-Key`: the same key and body is the same job, however often and over however many
 * connections it is asked for.
 *
 * K1. Of two requests with one key, one makes the job; the other follows it.
 * K2. A key stands for an answer. A job that ended without one, in a way that a second try may cure, hands its key on;
 *     who wants the rest of an answer gets that of the last job that had the key.
 * K3. A request that is refused made no job, and gives its key back.
 */
import { codeOf } from '../../protocol/codes.ts';
import type { JobEvent } from '../../protocol/job-events.ts';
import { within } from './membership.ts';
import type { Clock, Ids, RequestKeyPort } from './ports.ts';

export type Found =
  /** Nobody has asked for it yet: the request becomes this job. */
  | { readonly kind: 'new'; readonly jobId: string }
  | { readonly kind: 'known'; readonly jobId: string }
  /** Another request has this key. */
  | { readonly kind: 'conflict' };

export interface RequestKeysParts {
  readonly clock: Clock;
  readonly ids: Ids;
  readonly port: RequestKeyPort;
  /** Whether the job is open and ours. */
  readonly isOpen: (jobId: string) => boolean;
}

interface Claim {
  readonly key: string;
  /** True: the job was made. */
  readonly settled: Promise<boolean>;
  readonly settle: (made: boolean) => void;
}

/** A store that is hung answers nothing at all. */
const answerMs = 5000;
/** A claim without a log is a job in the making for this long; after that its router died. */
const makingMs = 5000;
const againMs = 50;
/** Jobs that one key may make one after the other. */
const handedOnMax = 32;

export class RequestKeys {
  readonly #parts: RequestKeysParts;
  /** Claims of requests whose shard has yet to say whether they become jobs. */
  readonly #claims = new Map<string, Claim>();

  constructor(parts: RequestKeysParts) {
    this.#parts = parts;
  }

  /** `resumes`: the caller wants the rest of an answer, and no other. Rejects when the store is in trouble. */
  async find(name: string, body: string, resumes: boolean): Promise<Found> {
    const { clock, ids, port, isOpen } = this.#parts;
    const jobId = ids.jobId();
    let key = name;
    let last = jobId;
    for (let handedOn = 0; ; ) {
      const there = await this.#asked(port.claim(key, `${jobId} ${body} ${clock.now()}`));
      if (there === null) {
        if (!resumes) return this.#claimed(jobId, key);
        await this.#asked(port.release(key));
        return { kind: 'known', jobId: last };
      }
      const [known = '', knownBody, claimedAt] = there.split(' ');
      if (knownBody !== body) return { kind: 'conflict' };
      const claim = this.#claims.get(known);
      if (claim !== undefined) {
        if (await claim.settled) return { kind: 'known', jobId: known };
        continue;
      }
      last = known;
      if (isOpen(known)) return { kind: 'known', jobId: known };
      const ending = await this.#asked(port.ending(known));
      if (ending === 'missing' && !resumes && clock.now() - Number(claimedAt) < makingMs) {
        await new Promise<void>(resolve => clock.after(againMs, resolve));
        continue;
      }
      handedOn += 1;
      if (ending === 'open' || handedOn > handedOnMax || (ending !== 'missing' && !handsOn(ending)))
        return { kind: 'known', jobId: known };
      key = `${name}/${known}`;
    }
  }

  /** The request became a job. */
  made(jobId: string): void {
    const claim = this.#claims.get(jobId);
    if (claim === undefined) return;
    this.#claims.delete(jobId);
    claim.settle(true);
  }

  /** The request became no job (K3). */
  refused(jobId: string): void {
    const claim = this.#claims.get(jobId);
    if (claim === undefined) return;
    // What cannot be given back lapses, or is found to stand for no job.
    void this.#asked(this.#parts.port.release(claim.key))
      .catch(() => undefined)
      .then(() => {
        this.#claims.delete(jobId);
        claim.settle(false);
      });
  }

  /** Nothing to be told of: no request waits to become a job. */
  get idle(): boolean {
    return this.#claims.size === 0;
  }

  #claimed(jobId: string, key: string): Found {
    let settle: (made: boolean) => void = () => undefined;
    const settled = new Promise<boolean>(resolve => {
      settle = resolve;
    });
    this.#claims.set(jobId, { key, settled, settle });
    return { kind: 'new', jobId };
  }

  #asked<T>(reply: Promise<T>): Promise<T> {
    return within(this.#parts.clock, answerMs, reply);
  }
}

/** K2. */
function handsOn(ending: JobEvent): boolean {
  switch (ending.type) {
    case 'job.failed':
      return codeOf(ending.code).retryable;
    case 'job.cancelled':
      return ending.reason !== 'requested';
    default:
      return ending.type === 'job.expired';
  }
}
