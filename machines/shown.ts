/** What an answer's fold gives out for an event, and what is the same in the answers of all APIs. */
import type { JobEvent } from '../protocol/job-events.ts';

export interface WholeAnswer {
  readonly kind: 'whole';
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

export type Shown =
  | { readonly kind: 'nothing' }
  /** SSE frames, each ending in an empty line; `last` when nothing follows. */
  | { readonly kind: 'frames'; readonly frames: readonly string[]; readonly last: boolean }
  /** Not streamed, or nothing streamed yet: the whole answer with its status. */
  | WholeAnswer;

export const streamHeaders = {
  'content-type': 'text/event-stream',
  'cache-control': 'no-cache',
  'x-accel-buffering': 'no',
} as const;

export const jsonHeaders = { 'content-type': 'application/json' } as const;

/** A job's end without an answer. */
export type Unanswered = Extract<JobEvent, { type: 'job.failed' | 'job.expired' | 'job.cancelled' }>;

/** What a caller is told of it. */
export function failureOf(event: Unanswered): {
  readonly code: string;
  readonly message: string;
} {
  switch (event.type) {
    case 'job.failed':
      return { code: event.code, message: event.message };
    case 'job.expired':
      return { code: 'timeout', message: 'the job did not finish before its deadline (AUXOT_JOB_TIMEOUT)' };
    case 'job.cancelled':
      return event.reason === 'shutdown'
        ? { code: 'shutting_down', message: 'the router is shutting down' }
        : { code: 'cancelled', message: 'the job was cancelled' };
  }
}
