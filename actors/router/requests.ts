/**
 * What callers ask for: a new answer, the answer of a job that was asked for before, a job's end, a count of tokens. Each becomes an input of the shard that owns its job.
 *
 * R1. A request whose key waits for a job (request-keys.ts) either makes that job or gives the key back.
 * R2. A job that its last caller has left is known as such, and if another router writes it, that router is told.
 */
import type { CodeName } from '../../protocol/codes.ts';
import type { AnswerShape } from '../../protocol/job-events.ts';
import type { Effect, Follow, ShardInput } from '../../protocol/shard-messages.ts';
import type { Diagnostics } from '../config/diagnostics.ts';
import type { Callers } from './callers.ts';
import type { Looks } from './looks.ts';
import type { OwnJobs } from './own-jobs.ts';
import type { CallerPort, Clock, Ids } from './ports.ts';
import type { Found, RequestKeys } from './request-keys.ts';
import type { AboutCallers } from './sharing.ts';
import type { CountPort, TokenCounts } from './token-counts.ts';

export interface Request {
  readonly api: AnswerShape['api'];
  readonly requestId: string;
  readonly body: Uint8Array;
  readonly idempotency?: string;
  /** The id that `jobFor` has given out for it. */
  readonly jobId?: string;
  /** How long the job goes on when its callers have gone, ms. */
  readonly keepMs?: number;
  /** False: the model is not offered the router's tools. */
  readonly tools?: boolean;
}

/** A request to count tokens, with its body. */
export interface CountRequest {
  readonly api: 'anthropic.messages' | 'openai.responses';
  readonly requestId: string;
  readonly body: Uint8Array;
}

type RequestInput = Extract<ShardInput, { kind: 'requestArrived' }>;

/** What every request is told of this router, and what of its workers. */
export type RequestTerms = Pick<RequestInput, 'writer' | 'modelDefault' | 'strict' | 'offered' | 'routerTools'>;

export interface RequestsParts {
  readonly clock: Clock;
  readonly ids: Ids;
  readonly diagnostics: Diagnostics;
  readonly jobTimeoutMs: number;
  readonly callers: Callers;
  readonly counts: TokenCounts;
  readonly looks: Looks;
  readonly jobs: OwnJobs;
  /** Null: keys are not kept. */
  readonly keys: RequestKeys | null;
  readonly post: (jobId: string, input: ShardInput) => void;
  /** To any shard, always the same for the same count. */
  readonly postCount: (countId: string, input: ShardInput) => void;
  readonly terms: (withTools: boolean) => RequestTerms;
  /** Null: there are no other routers. */
  readonly tellWriter: ((kind: AboutCallers, jobId: string) => void) | null;
}

export class Requests {
  readonly #parts: RequestsParts;

  constructor(parts: RequestsParts) {
    this.#parts = parts;
  }

  arrived(
    port: CallerPort,
    { api, requestId, body, idempotency, keepMs, jobId: given, tools = true }: Request,
  ): number {
    const { clock, ids, callers, jobTimeoutMs, post, terms } = this.#parts;
    const at = clock.now();
    const jobId = given ?? ids.jobId();
    const deadlineAt = at + jobTimeoutMs;
    const { streamId } = callers.add(jobId, port, at, deadlineAt);
    post(jobId, {
      kind: 'requestArrived',
      at,
      streamId,
      jobId,
      requestId,
      api,
      body,
      deadlineAt,
      ...terms(tools),
      ...(idempotency === undefined ? {} : { idempotency }),
      ...(keepMs === undefined ? {} : { keepMs }),
    });
    return streamId;
  }

  follow(port: CallerPort, jobId: string, follow: Follow): number {
    const { clock, callers, jobs, jobTimeoutMs, post, tellWriter } = this.#parts;
    const at = clock.now();
    jobs.wanted(jobId);
    if (follow.waits && !jobs.has(jobId)) tellWriter?.('wanted', jobId);
    const { streamId, turn } = callers.add(jobId, port, at, at + jobTimeoutMs, follow);
    post(jobId, { kind: 'streamFollows', streamId, turn, jobId, follow });
    return streamId;
  }

  async jobFor(key: string, body: string, resumes: boolean): Promise<Found> {
    const found = await this.#parts.keys?.find(key, body, resumes);
    return found ?? { kind: 'new', jobId: this.#parts.ids.jobId() };
  }

  noJobFor(jobId: string): void {
    this.#parts.keys?.refused(jobId);
  }

  cancel(port: CallerPort, jobId: string): number {
    const { clock, jobs, post, tellWriter } = this.#parts;
    const ours = jobs.has(jobId);
    if (ours) post(jobId, { kind: 'jobCancel', at: clock.now(), jobId, reason: 'requested' });
    else tellWriter?.('unwanted', jobId);
    return this.follow(port, jobId, { cursor: null, shape: 'standing', waits: ours || tellWriter !== null });
  }

  count(port: CountPort, { requestId, api, body }: CountRequest): void {
    const { counts, postCount } = this.#parts;
    const countId = counts.add(port);
    if (countId === null) return;
    postCount(countId, { kind: 'countArrived', countId, requestId, api, body });
  }

  /** R2. */
  closed(streamId: number): void {
    const { callers, jobs, tellWriter } = this.#parts;
    const left = callers.close(streamId);
    if (left === undefined || callers.watch(left.jobId)) return;
    if (!jobs.leaveAlone(left.jobId) && left.follow?.waits === true) tellWriter?.('abandoned', left.jobId);
  }

  /** Resolves when the job has ended, if it is ours to end. */
  end(jobId: string): Promise<void> {
    return new Promise(resolve => {
      const done = (): void => resolve();
      const nothing = (): void => undefined;
      const port = { respond: done, refuse: done, open: nothing, write: nothing, end: done, destroy: done };
      this.cancel({ ...port, bufferedBytes: 0 }, jobId);
    });
  }

  /** A request that is answered while its key still waits for a job has made none (R1). */
  madeNoJob(streamId: number): void {
    const { keys, callers } = this.#parts;
    if (keys === null || keys.idle) return;
    const jobId = callers.jobOf(streamId);
    if (jobId !== null) keys.refused(jobId);
  }

  /** Makes no job, for a reason that no machine can say. */
  refuse(streamId: number, code: CodeName, message: string): void {
    this.madeNoJob(streamId);
    this.#parts.callers.refuse(streamId, code, message);
  }

  /** A request goes on from other jobs: it comes again with their logs. */
  async bringHistories({ input, jobIds }: Extract<Effect, { kind: 'readHistories' }>): Promise<void> {
    const { callers, counts, diagnostics, keys, looks, post, postCount } = this.#parts;
    const counting = input.kind === 'countArrived';
    try {
      const histories = await looks.histories(jobIds);
      if (counting) postCount(input.countId, { ...input, histories });
      else if (callers.has(input.streamId)) post(input.jobId, { ...input, histories });
      else keys?.refused(input.jobId);
    } catch (error) {
      const message = 'the log of a response that the request names cannot be read now';
      diagnostics.error(message, { reason: String(error) });
      if (counting) counts.refuse(input.countId, 'store_unavailable', message);
      else {
        keys?.refused(input.jobId);
        callers.refuse(input.streamId, 'store_unavailable', message);
      }
    }
  }
}
