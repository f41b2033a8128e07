/**
 * The output items of a response as they are written: which is open, and the events that each step gives.
 *
 * R1. Items are numbered 0, 1, 2 …, and each is done before the next begins: a change between thinking and text, in
 *     either direction, begins a new one. Only calls that the router has run are open side by side, and nothing beside them.
 * R2. Sequence numbers count events, without a gap, whoever looks on.
 * R3. An item's deltas put together are what its done events and the whole response say.
 * R4. A call for a tool that takes free text is shown when it is whole: its text stands inside its JSON.
 */
import type { CallPiece, ResponseAnswerShape, TokenLogprob, ToolCall } from '../protocol/job-events.ts';
import { itemIdOf } from '../protocol/responses-api.ids.ts';
import {
  type CallItem,
  callItem,
  type ItemStatus,
  isCustom,
  messageItem,
  type OutputItem,
  reasoningItem,
  summaryPart,
  textPart,
  thoughtPart,
} from '../protocol/responses-api.items.ts';
import { type At, responseEvents, responseLogprobs } from '../protocol/responses-api.ts';
import { callsWith } from './job.output.ts';
import { leftOf } from './streamed-calls.ts';

export interface OpenText {
  readonly kind: 'text' | 'reasoning';
  readonly text: string;
  /** Of its tokens, where the caller asked for them. */
  readonly logprobs: readonly TokenLogprob[];
}

/** A call that is being written: the last of `Items.calls`. */
export interface OpenCall {
  readonly kind: 'call';
  readonly call: ToolCall;
}

export type OpenItem = OpenText | OpenCall;

/** What a response consists of so far. */
export interface Items {
  readonly jobId: string;
  readonly shape: ResponseAnswerShape;
  readonly done: readonly OutputItem[];
  readonly open: OpenItem | null;
  /** Calls that were told in pieces. */
  readonly calls: readonly ToolCall[];
  /** Calls that a tools worker runs, by their ids: where in `done` their items stand, which are not done yet. */
  readonly running: ReadonlyMap<string, number>;
  /** Of the next event (R2). */
  readonly sequence: number;
}

export const noItems = (jobId: string, shape: ResponseAnswerShape, sequence: number): Items => ({
  jobId,
  shape,
  done: [],
  open: null,
  calls: [],
  running: new Map(),
  sequence,
});

/** All items as they stand, the open one with what it has so far. */
export function itemsSoFar(items: Items, status: ItemStatus = 'in_progress'): readonly OutputItem[] {
  return items.open === null ? items.done : [...items.done, itemOf(items, items.open, status)];
}

export function said(
  items: Items,
  kind: OpenText['kind'],
  text: string,
  logprobs: readonly TokenLogprob[] = [],
): [Items, string[]] {
  const [ready, frames] = items.open?.kind === kind ? [items, []] : begin(items, kind);
  const before = ready.open === null || ready.open.kind === 'call' ? null : ready.open;
  const known = before?.logprobs ?? [];
  const open: OpenText = {
    kind,
    text: (before?.text ?? '') + text,
    logprobs: logprobs.length === 0 ? known : [...known, ...logprobs],
  };
  let n = ready.sequence;
  const at = atOf(ready, kind);
  if (kind === 'text') frames.push(responseEvents.text(n++, at, text, logprobs));
  else {
    frames.push(responseEvents.thought(n++, at, text));
    if (ready.shape.summarises === true) frames.push(responseEvents.summary(n++, at, text));
  }
  return [{ ...ready, open, sequence: n }, frames];
}

function begin(items: Items, kind: OpenText['kind']): [Items, string[]] {
  const [closed, frames] = close(items);
  const at = atOf(closed, kind);
  let n = closed.sequence;
  const open: OpenText = { kind, text: '', logprobs: [] };
  frames.push(
    responseEvents.itemAdded(n++, at.output_index, itemOf(closed, open, 'in_progress', true)),
    responseEvents.partAdded(n++, at, kind === 'text' ? textPart('') : thoughtPart('')),
  );
  if (kind === 'reasoning' && closed.shape.summarises === true)
    frames.push(responseEvents.summaryAdded(n++, at, summaryPart('')));
  return [{ ...closed, open, sequence: n }, frames];
}

/** Ends the open item, if there is one. */
export function close(items: Items, status: ItemStatus = 'completed'): [Items, string[]] {
  const { open } = items;
  if (open === null) return [items, []];
  if (open.kind === 'call') return closeCall(items, open.call, status);
  const { kind, text, logprobs } = open;
  const at = atOf(items, kind);
  const item = itemOf(items, open, status);
  let n = items.sequence;
  const frames: string[] = [];
  if (kind === 'text') {
    const part = textPart(text, responseLogprobs(logprobs));
    frames.push(responseEvents.textDone(n++, at, part), responseEvents.partDone(n++, at, part));
  } else {
    frames.push(responseEvents.thoughtDone(n++, at, text), responseEvents.partDone(n++, at, thoughtPart(text)));
    if (items.shape.summarises === true) {
      const part = summaryPart(text);
      frames.push(responseEvents.summaryDone(n++, at, text), responseEvents.summaryPartDone(n++, at, part));
    }
  }
  frames.push(responseEvents.itemDone(n++, at.output_index, item));
  return [{ ...items, open: null, done: [...items.done, item], sequence: n }, frames];
}

/** The next piece of a call, or its first. */
export function calling(items: Items, piece: CallPiece): [Items, string[]] {
  const calls = callsWith(items.calls, piece);
  const call = calls.at(-1);
  const begins = calls.length > items.calls.length;
  if (calls === items.calls || call === undefined || (!begins && items.open?.kind !== 'call')) return [items, []];
  const [ready, frames] = begins ? close(items) : [items, []];
  const next: Items = { ...ready, calls, open: { kind: 'call', call } };
  const at = callAt(next, call);
  let n = ready.sequence;
  if (!isCustom(call.name, next.shape)) {
    if (begins) frames.push(responseEvents.itemAdded(n++, at.output_index, begun(callOf(next, call, 'in_progress'))));
    if (piece.arguments !== '') frames.push(responseEvents.call(n++, at, 'function_call', piece.arguments));
  }
  return [{ ...next, sequence: n }, frames];
}

function closeCall(items: Items, call: ToolCall, status: ItemStatus): [Items, string[]] {
  const item = callOf(items, call, status);
  const at = callAt(items, call);
  const frames: string[] = [];
  let n = items.sequence;
  if (item.type === 'custom_tool_call') {
    frames.push(responseEvents.itemAdded(n++, at.output_index, begun(item)));
    if (item.input !== '') frames.push(responseEvents.call(n++, at, item.type, item.input));
  }
  frames.push(responseEvents.callDone(n++, at, item), responseEvents.itemDone(n++, at.output_index, item));
  return [{ ...items, open: null, done: [...items.done, item], sequence: n }, frames];
}

/** The calls as they are at the end: what of them was not said. `status`: of what is open. */
export function callsEnded(items: Items, whole: readonly ToolCall[], status: ItemStatus): [Items, string[]] {
  const last = items.calls.length - 1;
  const known = items.open?.kind === 'call' ? whole[last] : undefined;
  const left = known === undefined ? null : leftOf(items.calls, known, last);
  const [written, rest] = left === null ? [items, []] : calling(items, { index: last, arguments: left.text });
  let [next, frames] = close(written, status);
  frames = [...rest, ...frames];
  for (const call of whole.slice(items.calls.length)) {
    const [after, more] = called(next, call);
    next = after;
    frames = [...frames, ...more];
  }
  return [next, frames];
}

const callAt = ({ jobId, done, shape }: Items, { name }: ToolCall): At => ({
  item_id: itemIdOf(isCustom(name, shape) ? 'custom_tool_call' : 'function_call', jobId, done.length),
  output_index: done.length,
});

const callOf = (items: Items, call: ToolCall, status: ItemStatus): CallItem =>
  callItem(callAt(items, call).item_id, status, call, items.shape);

/** A whole call, after what is open. */
function called(items: Items, call: ToolCall): [Items, string[]] {
  const [closed, frames] = close(items);
  const index = closed.done.length;
  const id = itemIdOf(isCustom(call.name, closed.shape) ? 'custom_tool_call' : 'function_call', closed.jobId, index);
  const item = callItem(id, 'completed', call, closed.shape);
  const at: At = { item_id: id, output_index: index };
  const text = textOf(item);
  let n = closed.sequence;
  frames.push(responseEvents.itemAdded(n++, index, begun(item)));
  if (text !== '') frames.push(responseEvents.call(n++, at, item.type, text));
  frames.push(responseEvents.callDone(n++, at, item), responseEvents.itemDone(n++, index, item));
  return [{ ...closed, done: [...closed.done, item], sequence: n }, frames];
}

const textOf = (item: CallItem): string => (item.type === 'function_call' ? item.arguments : item.input);

const begun = (item: CallItem): CallItem =>
  item.type === 'function_call'
    ? { ...item, arguments: '', status: 'in_progress' }
    : { ...item, input: '', status: 'in_progress' };

const typeOf = (kind: OpenText['kind']): 'message' | 'reasoning' => (kind === 'text' ? 'message' : 'reasoning');

const atOf = ({ jobId, done }: Items, kind: OpenText['kind']): At => ({
  item_id: itemIdOf(typeOf(kind), jobId, done.length),
  output_index: done.length,
});

/** An item that has just begun has no part yet. */
function itemOf(items: Items, open: OpenItem, status: ItemStatus, begins = false): OutputItem {
  if (open.kind === 'call') return callOf(items, open.call, status);
  const { jobId, done, shape } = items;
  const { kind, logprobs } = open;
  const text = begins ? null : open.text;
  const id = itemIdOf(typeOf(kind), jobId, done.length);
  if (kind === 'text') return messageItem(id, status, text, responseLogprobs(logprobs));
  return reasoningItem(id, status, { text, summarises: shape.summarises === true, seals: shape.seals === true });
}
