/**
 * The output items of a response as they are written: which is open, and the events that each step gives.
 *
 * R1. Items are numbered 0, 1, 2 …, and each is done before the next begins: a change between thinking and text, in
 *     either direction, begins a new one.
 * R2. Sequence numbers count events, without a gap, whoever looks on.
 * R3. An item's deltas put together are what its done events and the whole response say.
 */
import type { ResponseAnswerShape, TokenLogprob, ToolCall } from '../protocol/job-events.ts';
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

export interface OpenItem {
  readonly kind: 'text' | 'reasoning';
  readonly text: string;
  /** Of its tokens, where the caller asked for them. */
  readonly logprobs: readonly TokenLogprob[];
}

/** What a response consists of so far. */
export interface Items {
  readonly jobId: string;
  readonly shape: ResponseAnswerShape;
  readonly done: readonly OutputItem[];
  readonly open: OpenItem | null;
  /** Of the next event (R2). */
  readonly sequence: number;
}

export const noItems = (jobId: string, shape: ResponseAnswerShape, sequence: number): Items => ({
  jobId,
  shape,
  done: [],
  open: null,
  sequence,
});

/** All items as they stand, the open one with what it has so far. */
export function itemsSoFar(items: Items, status: ItemStatus = 'in_progress'): readonly OutputItem[] {
  return items.open === null ? items.done : [...items.done, itemOf(items, items.open, status)];
}

export function said(
  items: Items,
  kind: OpenItem['kind'],
  text: string,
  logprobs: readonly TokenLogprob[] = [],
): [Items, string[]] {
  const [ready, frames] = items.open?.kind === kind ? [items, []] : begin(items, kind);
  const known = ready.open?.logprobs ?? [];
  const open: OpenItem = {
    kind,
    text: (ready.open?.text ?? '') + text,
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

function begin(items: Items, kind: OpenItem['kind']): [Items, string[]] {
  const [closed, frames] = close(items);
  const at = atOf(closed, kind);
  let n = closed.sequence;
  const open: OpenItem = { kind, text: '', logprobs: [] };
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

/** A whole call, after what is open. */
export function called(items: Items, call: ToolCall): [Items, string[]] {
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

const typeOf = (kind: OpenItem['kind']): 'message' | 'reasoning' => (kind === 'text' ? 'message' : 'reasoning');

const atOf = ({ jobId, done }: Items, kind: OpenItem['kind']): At => ({
  item_id: itemIdOf(typeOf(kind), jobId, done.length),
  output_index: done.length,
});

/** An item that has just begun has no part yet. */
function itemOf(
  { jobId, done, shape }: Items,
  { kind, text: said, logprobs }: OpenItem,
  status: ItemStatus,
  begins = false,
): OutputItem {
  const text = begins ? null : said;
  const id = itemIdOf(typeOf(kind), jobId, done.length);
  if (kind === 'text') return messageItem(id, status, text, responseLogprobs(logprobs));
  return reasoningItem(id, status, { text, summarises: shape.summarises === true, seals: shape.seals === true });
}
