/**
 * Items of the Responses API as we give them out: what a response consists of, and what it was asked with.
 */
import type { ResponseAnswerShape, ToolCall } from './job-events.ts';
import type { HostedItem } from './responses-api.hosted.ts';

export interface TextPart {
  readonly type: 'output_text';
  readonly text: string;
  readonly annotations: readonly [];
  readonly logprobs: readonly unknown[];
}
export interface ThoughtPart {
  readonly type: 'reasoning_text';
  readonly text: string;
}
export interface SummaryPart {
  readonly type: 'summary_text';
  readonly text: string;
}
export type ItemStatus = 'in_progress' | 'completed' | 'incomplete';

export interface MessageItem {
  readonly type: 'message';
  readonly id: string;
  readonly status: ItemStatus;
  readonly role: 'assistant';
  readonly content: readonly TextPart[];
}
export interface ReasoningItem {
  readonly type: 'reasoning';
  readonly id: string;
  readonly summary: readonly SummaryPart[];
  readonly content: readonly ThoughtPart[];
  readonly encrypted_content?: string;
  readonly status: ItemStatus;
}
export interface FunctionCallItem {
  readonly type: 'function_call';
  readonly id: string;
  readonly call_id: string;
  readonly name: string;
  readonly namespace?: string;
  readonly arguments: string;
  readonly status: ItemStatus;
}
export interface CustomCallItem {
  readonly type: 'custom_tool_call';
  readonly id: string;
  readonly call_id: string;
  readonly name: string;
  readonly namespace?: string;
  readonly input: string;
  readonly status: ItemStatus;
}
export type CallItem = FunctionCallItem | CustomCallItem;
export type OutputItem = MessageItem | ReasoningItem | CallItem | HostedItem;

export const textPart = (text: string, logprobs: readonly unknown[] = []): TextPart => ({
  type: 'output_text',
  text,
  annotations: [],
  logprobs,
});
export const thoughtPart = (text: string): ThoughtPart => ({ type: 'reasoning_text', text });
export const summaryPart = (text: string): SummaryPart => ({ type: 'summary_text', text });

export const messageItem = (
  id: string,
  status: ItemStatus,
  text: string | null,
  logprobs: readonly unknown[] = [],
): MessageItem => ({
  type: 'message',
  id,
  status,
  role: 'assistant',
  content: text === null ? [] : [textPart(text, logprobs)],
});

export interface ReasoningParts {
  readonly text: string | null;
  readonly summarises: boolean;
  readonly seals: boolean;
}

export const reasoningItem = (
  id: string,
  status: ItemStatus,
  { text, summarises, seals }: ReasoningParts,
): ReasoningItem => ({
  type: 'reasoning',
  id,
  summary: summarises && text !== null ? [summaryPart(text)] : [],
  content: text === null ? [] : [thoughtPart(text)],
  ...(seals && text !== null ? { encrypted_content: sealed(text) } : {}),
  status,
});

export const isCustom = (name: string, { customTools }: Pick<ResponseAnswerShape, 'customTools'>): boolean =>
  customTools?.includes(name) === true;

/** A tool that takes free text is offered to models as a function with this one argument. */
export const customArgument = 'input';

/** `shape` says which tools take free text, and which stand in a namespace. */
export function callItem(
  id: string,
  status: ItemStatus,
  { id: callId, name: known, arguments: json }: ToolCall,
  shape: Pick<ResponseAnswerShape, 'customTools' | 'namespaced'>,
): CallItem {
  const within =
    shape.namespaced !== undefined && Object.hasOwn(shape.namespaced, known) ? shape.namespaced[known] : null;
  const call = { id, call_id: callId, name: known, ...within };
  return isCustom(known, shape)
    ? { type: 'custom_tool_call', ...call, input: freeText(json), status }
    : { type: 'function_call', ...call, arguments: json, status };
}

/** What a model meant to say to a tool that takes free text: the argument, or all of what it wrote. */
function freeText(json: string): string {
  try {
    const given: unknown = JSON.parse(json);
    if (typeof given === 'string') return given;
    if (typeof given === 'object' && given !== null && customArgument in given) {
      const { [customArgument]: input } = given;
      if (typeof input === 'string') return input;
    }
  } catch {
    // Free text then, as it is.
  }
  return json;
}

/**
 * What was thought, in a form that callers keep and send back unread. It hides nothing: it is the caller's own, and the
 * field is the only part of a reasoning item that some callers send back.
 */
const seal = 'auxot1.';
export const sealed = (text: string): string =>
  seal + btoa(Array.from(new TextEncoder().encode(text), byte => String.fromCharCode(byte)).join(''));

/** Null for what others sealed: there is nothing in it for anybody here. */
export function unsealed(content: string): string | null {
  if (!content.startsWith(seal)) return null;
  try {
    const bytes = Uint8Array.from(atob(content.slice(seal.length)), character => character.charCodeAt(0));
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    // Cut or changed on its way.
    return null;
  }
}
