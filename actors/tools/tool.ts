/**
 * The port of a tool: what the tools worker knows of everything that a model may call.
 *
 * What goes wrong inside a tool and is the model's business (a page that does not exist, an exception in its program) is
 * part of the result, so that the model can read it. What makes the call itself fail is a ToolError.
 */
import type { ToolErrorCode } from '../../protocol/worker-frames.tools.ts';

export interface ToolCall {
  readonly args: Readonly<Record<string, unknown>>;
  /** The conversation that the call belongs to; null when nobody said. */
  readonly threadId: string | null;
  /** Those meant for this tool, and no others. Secret. */
  readonly credentials: Readonly<Record<string, string>>;
  /** Fires when the call is cancelled or late; the tool then ends soon, and everything that it started ends with it. */
  readonly signal: AbortSignal;
  readonly deadlineAt: number;
  /** Tells who called how far it is; may be called as often as one likes. */
  readonly progressed?: (progress: ToolCallProgress) => void;
}

export interface ToolCallProgress {
  readonly progress: number;
  readonly total?: number | undefined;
  readonly message?: string | undefined;
}

export interface ToolImage {
  readonly mimeType: string;
  readonly base64: string;
}

export interface ToolOutput {
  /** JSON. */
  readonly result: unknown;
  readonly images?: readonly ToolImage[];
}

export interface Tool {
  readonly name: string;
  readonly description: string;
  /** JSON schema of the arguments. */
  readonly parameters: Readonly<Record<string, unknown>>;
  /** Running it twice is the same as running it once. */
  readonly idempotent: boolean;
  /** The group that an allow-list may name instead of the tool: an MCP server's name. */
  readonly group?: string;
  /** Whose credentials it gets, when that is not its own name. */
  readonly credentialsOf?: string;
  run(call: ToolCall): Promise<ToolOutput>;
}

/** Tools that come and go while the worker runs. */
export interface ToolSource {
  tools(): readonly Tool[];
  close(): Promise<void>;
}

/** The call failed. `message` is for the model and holds no secret. */
export class ToolError extends Error {
  override readonly name = 'ToolError';
  readonly code: ToolErrorCode;

  constructor(code: ToolErrorCode, message: string) {
    super(message);
    this.code = code;
  }
}

/** The argument as a text, or a refusal that names it. */
export function textArgument({ args }: ToolCall, name: string): string {
  const value = args[name];
  if (typeof value === 'string' && value.trim() !== '') return value;
  throw new ToolError('invalid_arguments', `"${name}" must be a text that is not empty`);
}

/** A whole number within bounds; anything else is `fallback`, as models often guess. */
export function intArgument(
  { args }: ToolCall,
  name: string,
  { min, max, fallback }: { min: number; max: number; fallback: number },
): number {
  const value = args[name];
  return typeof value === 'number' && Number.isInteger(value) && value >= min && value <= max ? value : fallback;
}
