/** What an answer's fold gives out for an event. */

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
