/**
 * The port of an inference engine: a model in memory that answers jobs, several at once.
 *
 * E1. Every `generate` settles exactly once: with a result, or with an EngineError that carries a code.
 * E2. Pieces arrive in order and never split a character. The ids of all pieces of a job, joined, are the tokens it
 *     sampled (without the one that ended it); the text given out up to a piece follows from the ids up to it.
 * E3. Nothing is lost silently: a prompt that does not fit is refused with the numbers, an answer that meets the end of
 *     the context finishes with `length`.
 */
import type { Feature } from '../../protocol/features.ts';
import type { TokenLogprob, Usage } from '../../protocol/job-events.ts';
import { cacheTypes } from './fit.ts';

/** `auto`: a model that was made for it makes embeddings only, any other none. */
export const embeddingsChoices = ['auto', 'also', 'only', 'never'] as const;
export type EmbeddingsChoice = (typeof embeddingsChoices)[number];

export interface EngineOptions {
  readonly modelPath: string;
  /** Tokens per slot; null = what the model was trained on, at most 8192. */
  readonly contextSize: number | null;
  /** Jobs that run at once; fewer, when memory is short. */
  readonly slots: number;
  /** null = chosen from the size of the model and the processor. */
  readonly threads: number | null;
  /** Layers to put on the GPU; null = as many as fit. 0 = none. */
  readonly gpuLayers: number | null;
  /** Whether it makes embeddings, also or only; `auto` if absent. */
  readonly embeddings?: EmbeddingsChoice;
  /** How the registry says that the model writes tool calls, for a file whose chat template does not tell. */
  readonly toolFormat?: string | null;
  /** Pieces of a job that come quicker than this go together; `joinMsDefault` if absent, 0: none do. */
  readonly joinMs?: number;
  /** How it is fitted into memory; `memoryChoiceDefault` if absent. */
  readonly memory?: MemoryChoice;
}

export const cacheChoices = [...cacheTypes, 'auto'] as const;

export interface MemoryChoice {
  /** False: everything is loaded as it was asked for, whatever is free. */
  readonly check: boolean;
  /** The context of a slot may become this short, tokens; or as short as was asked for, if that is less. */
  readonly contextSizeMin: number;
  /** `auto`: exact keys and values, and coarser ones before the context becomes shorter. */
  readonly cacheType: (typeof cacheChoices)[number];
}

export const memoryChoiceDefault: MemoryChoice = { check: true, contextSizeMin: 4096, cacheType: 'f16' };

export interface EngineInfo {
  readonly model: string;
  /** `llama.cpp`, as the wire wants it. */
  readonly backend: string;
  /** Tokens per slot, as it really is. */
  readonly contextSize: number;
  readonly slots: number;
  /** 0 = no GPU is used. */
  readonly vramGb: number;
  /** Size of the model as people say it (`8B`), '' when the file does not say. */
  readonly parameters: string;
  /** Digest of the model file: equal digests mean that tokens may be carried from one worker to another. */
  readonly modelFile: string;
  /** What it can do beyond plain answers. */
  readonly features: readonly Feature[];
  readonly threads: number;
  readonly gpu: string;
}

/** A hundred messages a second of a job: quicker than anybody reads, or a screen shows. */
export const joinMsDefault = 10;

/** What the engine's libraries find before anything is loaded. */
export interface MachineFacts {
  /** Of llama.cpp. */
  readonly release: string;
  /** `cuda`, `vulkan`, `metal`; '' = none. */
  readonly gpu: string;
  readonly gpuNames: readonly string[];
  readonly vram: { readonly totalBytes: number; readonly freeBytes: number };
  readonly ram: { readonly totalBytes: number; readonly freeBytes: number };
  /** Of main memory, set by control groups; null = none. */
  readonly limit: { readonly totalBytes: number; readonly freeBytes: number } | null;
  /** What of the model would be loaded now, or why nothing of it; null when none was asked for. */
  readonly fit: { readonly ok: boolean; readonly message: string } | null;
}

export interface Sampling {
  readonly temperature?: number | undefined;
  readonly topP?: number | undefined;
  readonly topK?: number | undefined;
  readonly minP?: number | undefined;
  readonly seed?: number | undefined;
  readonly repeatPenalty?: number | undefined;
  readonly frequencyPenalty?: number | undefined;
  readonly presencePenalty?: number | undefined;
  /** Added to the logit of a token id; -100 or less bans it. */
  readonly logitBias?: Readonly<Record<string, number>> | undefined;
}

/** How far an answer had come when its worker was lost. */
export interface ResumePoint {
  readonly text: string;
  readonly reasoning: string;
  readonly tokens: number;
  readonly reasoningTokens: number;
  /** All tokens so far, if they are this model's; null: it goes on from the text. */
  readonly ids: readonly number[] | null;
  /** Calls that were told of; the last may not be whole. */
  readonly calls?: readonly GeneratedToolCall[] | undefined;
  /** This choice is over. */
  readonly ended?: boolean | undefined;
  /** The choices after the first that have begun. */
  readonly others?: readonly ResumePoint[] | undefined;
}

export interface EngineJob extends Sampling {
  /** Messages in their OpenAI shape. */
  readonly messages: readonly Readonly<Record<string, unknown>>[];
  /** Instead of the messages: a text to go on with, without a template. */
  readonly prompt?: string | undefined;
  /** Instead of an answer: vectors of these, texts or tokens of the model; shorter than its own, if `dimensions` says so. */
  readonly embed?:
    | { readonly inputs: readonly (string | readonly number[])[]; readonly dimensions?: number | undefined }
    | undefined;
  readonly tools?: readonly Readonly<Record<string, unknown>>[] | undefined;
  /** `none`, `auto`, `required`, or `{type: 'function', function: {name}}`. */
  readonly toolChoice?: unknown;
  /** `{type: 'json_object'}` or `{type: 'json_schema', json_schema: {schema, …}}`: the answer is JSON, by grammar. */
  readonly responseFormat?: unknown;
  /** False: the answer ends after its first tool call. */
  readonly parallelToolCalls?: boolean | undefined;
  readonly stop?: readonly string[] | undefined;
  /** How many answers; 1 if absent. */
  readonly choices?: number | undefined;
  /** Tell how likely the tokens of the text were, and these many that were most likely in their place. */
  readonly logprobs?: boolean | undefined;
  readonly topLogprobs?: number | undefined;
  readonly maxTokens?: number | undefined;
  readonly reasoningEffort?: string | undefined;
  /** Tokens after which a thought is ended. */
  readonly thinkingBudget?: number | undefined;
  /** Variables for the chat template, e.g. `enable_thinking`. */
  readonly templateOptions?: Readonly<Record<string, unknown>> | undefined;
  /** For a model that paints: `size` (`512x512`) and `steps`. */
  readonly image?: Readonly<Record<string, unknown>> | undefined;
  /**
   * Go on from here. The result is that of the whole answer, and its usage too; pieces only say what is not out yet. From
   * ids the greedy answer is exactly the unbroken one; a sampled one is another that could have been.
   */
  readonly resume?: ResumePoint | undefined;
}

export interface Piece {
  readonly kind: 'text' | 'reasoning';
  /** May be empty: tokens that say nothing (yet), such as those of a tool call being written. */
  readonly text: string;
  readonly ids: readonly number[];
  /** Not all tokens are known: whoever goes on with this answer goes on from its text. */
  readonly isInexact?: boolean | undefined;
  /** Of the tokens of this text, and of those that became no text by themselves. */
  readonly logprobs?: readonly TokenLogprob[] | undefined;
  /** The next piece of a tool call; its first has the id and the name. `text` is empty then. */
  readonly call?: ToolCallPiece | undefined;
  /** Of several; the last piece of each says how it ended. */
  readonly choice?: number | undefined;
  readonly end?: Pick<EngineResult, 'finishReason' | 'toolCalls'> | undefined;
}

export interface ToolCallPiece {
  /** Counts the calls of the choice, from 0. */
  readonly index: number;
  readonly id?: string | undefined;
  readonly name?: string | undefined;
  readonly arguments: string;
}

export interface PromptProgress {
  readonly total: number;
  /** Tokens of the prompt that a slot still held from an earlier job. */
  readonly cached: number;
  readonly processed: number;
}

export interface GeneratedToolCall {
  readonly id: string;
  readonly name: string;
  /** JSON text of an object. */
  readonly arguments: string;
}

export interface EngineResult {
  readonly finishReason: 'stop' | 'length' | 'tool_calls';
  /** Here `input` counts only the newly evaluated prompt tokens: the whole prompt is `input + cached`. */
  readonly usage: Usage;
  readonly text: string;
  readonly reasoning: string;
  readonly toolCalls: readonly GeneratedToolCall[];
  /** Which stop string ended the answer. */
  readonly stopSequence?: string | undefined;
  /** It finished with `length` because the context was full. */
  readonly contextFull?: boolean | undefined;
  /** Of a job to `embed`, in its order: base64 of little-endian 32-bit floats. */
  readonly embeddings?: readonly string[] | undefined;
  readonly durationMs: number;
}

export interface GenerateHooks {
  readonly signal: AbortSignal;
  /** At least once a second while the prompt is evaluated, and once when it is done. */
  readonly onProgress: (progress: PromptProgress) => void;
  readonly onPiece: (piece: Piece) => void;
  /** Once, when the first tool call begins to show. */
  readonly onToolCall: () => void;
}

/** `restarting` and `broken` end by themselves: the engine comes back to `ready`. `closed` is for ever. */
export type EngineState = 'loading' | 'ready' | 'restarting' | 'broken' | 'closed';

export interface Engine {
  readonly state: EngineState;
  /** What is loaded; null before the first load is done. */
  readonly info: EngineInfo | null;
  /** Settles when the model is in memory for the first time, or with the reason why it cannot be. */
  load(): Promise<EngineInfo>;
  generate(job: EngineJob, hooks: GenerateHooks): Promise<EngineResult>;
  /** How many tokens the prompt of the job has. Takes no slot. */
  countTokens(job: EngineJob): Promise<number>;
  close(): Promise<void>;
}

export type EngineCode =
  | 'context_length_exceeded'
  | 'invalid_request'
  | 'unsupported_parameter'
  | 'server_overloaded'
  | 'malformed_tool_call'
  | 'engine_crashed'
  | 'engine_unavailable'
  | 'model_load_failed'
  | 'cancelled'
  | 'internal_error';

export class EngineError extends Error {
  readonly code: EngineCode;
  readonly retryable: boolean;
  /** For `server_overloaded`: how long, as far as that is known. */
  readonly retryAfterMs: number | null;

  constructor(code: EngineCode, message: string, cause?: unknown, retryAfterMs: number | null = null) {
    super(message, cause === undefined ? undefined : { cause });
    this.name = 'EngineError';
    this.code = code;
    this.retryAfterMs = retryAfterMs;
    this.retryable = code === 'engine_crashed' || code === 'engine_unavailable' || code === 'server_overloaded';
  }
}
