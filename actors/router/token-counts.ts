/**
 * Requests to count tokens, on their way: to a shard that reads them, to a worker that counts, back to the caller.
 *
 * T1. Every request is answered: with the worker's number, or with the estimate when that has not come in `budgetMs`.
 * T2. Only the worker that was asked is heard, and only once.
 * T3. No more than `countsMax` are on their way.
 */
import type { CodeName } from '../../protocol/codes.ts';
import type { CountRefusal, Effect } from '../../protocol/shard-messages.ts';
import type { Clock } from './ports.ts';

/** The caller's connection. */
export interface CountPort {
  counted(tokens: number): void;
  respond(answer: CountRefusal): void;
  refuse(code: CodeName, message: string): void;
}

/** Asks a worker; its id, or null when there is none to ask. */
export type AskWorker = (model: string, frame: string) => string | null;

interface Count {
  readonly port: CountPort;
  estimate: number | null;
  workerId: string | null;
  callOff: () => void;
}

const budgetMs = 2000;
/** For the shard, whose successor gets the request again when it dies. */
const giveUpMs = 15_000;
const countsMax = 256;

export class TokenCounts {
  readonly #clock: Clock;
  readonly #ask: AskWorker;
  readonly #counts = new Map<string, Count>();
  #last = 0;

  constructor(clock: Clock, ask: AskWorker) {
    this.#clock = clock;
    this.#ask = ask;
  }

  get size(): number {
    return this.#counts.size;
  }

  /** The id under which the request goes to a shard; null when it was refused. */
  add(port: CountPort): string | null {
    if (this.#counts.size >= countsMax) {
      port.refuse('server_overloaded', 'too many requests to count tokens at once');
      return null;
    }
    this.#last += 1;
    const countId = String(this.#last);
    const callOff = this.#clock.after(giveUpMs, () => this.refuse(countId, 'server_overloaded', 'nobody has counted'));
    this.#counts.set(countId, { port, estimate: null, workerId: null, callOff });
    return countId;
  }

  /** The request was read. */
  ask({ countId, model, frame, estimate }: Extract<Effect, { kind: 'countTokens' }>): void {
    const count = this.#counts.get(countId);
    if (count === undefined || count.estimate !== null) return;
    count.callOff();
    count.callOff = this.#clock.after(budgetMs, () => this.#answer(countId, estimate));
    count.estimate = estimate;
    count.workerId = this.#ask(model, frame);
    if (count.workerId === null) this.#answer(countId, estimate);
  }

  counted({ workerId, countId, tokens }: Extract<Effect, { kind: 'tokensCounted' }>): void {
    const count = this.#counts.get(countId);
    if (count === undefined || count.estimate === null || count.workerId !== workerId) return;
    this.#answer(countId, tokens === null || tokens < 0 ? count.estimate : tokens);
  }

  respond({ countId, answer }: Extract<Effect, { kind: 'refuseCount' }>): void {
    this.#end(countId)?.port.respond(answer);
  }

  refuse(countId: string, code: CodeName, message: string): void {
    this.#end(countId)?.port.refuse(code, message);
  }

  workerGone(workerId: string): void {
    for (const [countId, count] of [...this.#counts])
      if (count.workerId === workerId && count.estimate !== null) this.#answer(countId, count.estimate);
  }

  stop(): void {
    for (const countId of [...this.#counts.keys()])
      this.refuse(countId, 'shutting_down', 'the router is shutting down');
  }

  #answer(countId: string, tokens: number): void {
    this.#end(countId)?.port.counted(tokens);
  }

  #end(countId: string): Count | undefined {
    const count = this.#counts.get(countId);
    this.#counts.delete(countId);
    count?.callOff();
    return count;
  }
}
