/** What the engine's two halves say to each other over IPC. Both are of one version, started together. */
import type {
  EngineCode,
  EngineInfo,
  EngineJob,
  EngineOptions,
  EngineResult,
  Piece,
  PromptProgress,
} from './engine.ts';
import type { Bytes } from './fit.ts';

export type ToEngineProcess =
  /** `failed`: what the process before this one needed, which ended while it loaded. */
  | { readonly type: 'load'; readonly options: EngineOptions; readonly failed: Bytes | null }
  | { readonly type: 'generate'; readonly id: number; readonly job: EngineJob }
  | { readonly type: 'count'; readonly id: number; readonly job: EngineJob }
  | { readonly type: 'cancel'; readonly id: number }
  | { readonly type: 'close' };

export interface EngineFailure {
  readonly code: EngineCode;
  readonly message: string;
}

/** Exactly one `result` or `error` ends a job; a count has one `counted` or `error`. */
export type JobNews =
  | { readonly id: number; readonly type: 'piece'; readonly piece: Piece }
  | { readonly id: number; readonly type: 'progress'; readonly progress: PromptProgress }
  | { readonly id: number; readonly type: 'toolCall' }
  | { readonly id: number; readonly type: 'result'; readonly result: EngineResult }
  | { readonly id: number; readonly type: 'counted'; readonly tokens: number }
  | { readonly id: number; readonly type: 'error'; readonly failure: EngineFailure };

export type FromEngineProcess =
  | { readonly type: 'loading'; readonly share: number }
  /** Told before it is tried. */
  | { readonly type: 'chosen'; readonly message: string; readonly need: Bytes }
  | { readonly type: 'loaded'; readonly info: EngineInfo }
  | { readonly type: 'loadFailed'; readonly failure: EngineFailure }
  /** All that happened since the last of these, in order (joined-news.ts). */
  | { readonly type: 'news'; readonly news: readonly JobNews[] };
