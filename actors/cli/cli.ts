/**
 * The port of a command-line agent (Claude Code, Codex, Cursor) as an inference backend. One file implements it for one
 * program, one row in drivers.ts names that file; everything else (folders, processes, limits, frames) is shared.
 *
 * D1. A driver starts nothing and waits for nothing: it says how to start, what to write, and what a line means.
 * D2. A driver tells an answer from an error. What the program prints as text when its provider refuses is an error.
 * D3. What the program cannot do is refused by the field's name, before anything is started.
 */
import type { Feature } from '../../protocol/features.ts';
import type { EngineCode, EngineJob } from '../engine/engine.ts';
import type { Conversation } from './conversation.ts';
import type { Place } from './places.ts';

export interface CliTool {
  readonly name: string;
  readonly description: string;
  /** JSON Schema of an object. */
  readonly schema: Readonly<Record<string, unknown>>;
}

/** One job, as a driver wants it. */
export interface CliJob {
  /** '' = the program's own default. */
  readonly model: string;
  readonly conversation: Conversation;
  /** The caller's tools: the program names their calls, and the caller makes them. */
  readonly tools: readonly CliTool[];
  /** The program's own tools that the policy allows. */
  readonly builtins: readonly string[];
  readonly effort: string | undefined;
  /** Tokens after which a thought is ended. */
  readonly thinkingBudget: number | undefined;
  readonly maxTokens: number | undefined;
  readonly place: Place;
  /** Where the program finds the caller's tools by MCP; null when there are none. */
  readonly toolServer: ToolServerAddress | null;
  /** What the program's help text says it understands. */
  readonly flags: ReadonlySet<string>;
  /** What is passed on to it of the worker's environment. */
  readonly env: Readonly<Record<string, string>>;
}

export interface ToolServerAddress {
  readonly url: string;
  readonly token: string;
}

export interface Launch {
  readonly args: readonly string[];
  /** Beside what is passed on from the worker's own environment (`passes`). */
  readonly env: Readonly<Record<string, string>>;
}

export interface CliUsage {
  readonly input: number;
  readonly cached: number;
  readonly output: number;
  readonly reasoning: number;
}

export type CliSaying =
  | { readonly kind: 'text' | 'reasoning'; readonly text: string }
  /** A call of a caller's tool begins to be written. */
  | { readonly kind: 'callBegun' }
  | { readonly kind: 'call'; readonly id: string; readonly name: string; readonly arguments: string }
  | { readonly kind: 'usage'; readonly usage: CliUsage }
  /** A line to its standard input. */
  | { readonly kind: 'write'; readonly line: string }
  /** The answer is over; what the program still does is of no interest. */
  | { readonly kind: 'done'; readonly finishReason: 'stop' | 'length' | 'tool_calls' }
  /** The provider takes no more for now. */
  | { readonly kind: 'limit'; readonly message: string; readonly retryAfterMs: number | null }
  | { readonly kind: 'failed'; readonly code: EngineCode; readonly message: string };

/** What a program says, line by line, about one job. */
export interface Listener {
  /** Lines to write when it has started. */
  readonly opening: readonly string[];
  /** One line of its standard output that is a JSON object. */
  hear(event: Readonly<Record<string, unknown>>): CliSaying[];
}

export interface CliDriver {
  readonly name: string;
  /** What people call it. */
  readonly title: string;
  readonly command: string;
  /** The variable that holds another path to it. */
  readonly pathVariable: string;
  /** Oldest version that this driver was written for. */
  readonly versionMin: string;
  /** Arguments that make it list its flags. */
  readonly helpArgs: readonly string[];
  /** Flags it must have. */
  readonly needs: readonly string[];
  /** Variables of the worker's environment that it gets, beside the common ones. */
  readonly passes: readonly RegExp[];
  /** A login kept in files: from the operator's home to the job's, as [variable of the folder, folder, file]. */
  readonly login: { readonly variable: string; readonly folder: string; readonly file: string };
  /** What it can do beyond plain answers and tools. */
  readonly features: readonly Feature[];
  /** Whether caller tools come to it by MCP. */
  readonly toolsByMcp: boolean;
  /** The field that it cannot do and what it can instead; null when it can do the job. */
  refuses(job: EngineJob): string | null;
  /** Prepares the job's folder. */
  launch(job: CliJob): Launch;
  listen(job: CliJob): Listener;
}
