/**
 * Calls of tools that the caller asked for by OpenAI's names, as items of a response: they begin with their round, side by
 * side, and each is over when its own call is. Calls of other tools of the router are not shown.
 */
import type { RoundCall, ToolCallFinished } from '../protocol/job-events.tools.ts';
import {
  type HostedItem,
  type HostedOutcome,
  hostedEvents,
  hostedItem,
  hostedItemDone,
} from '../protocol/responses-api.hosted.ts';
import { responseEvents } from '../protocol/responses-api.ts';
import { close, type Items } from './answer.openai-responses.items.ts';

export function hostedBegun(items: Items, calls: readonly RoundCall[]): [Items, string[]] {
  const { hosted = {} } = items.shape;
  let [next, frames] = [items, [] as string[]];
  for (const { callId, name, arguments: json } of calls) {
    if (!Object.hasOwn(hosted, name)) continue;
    if (next.running.size === 0) [next, frames] = close(next);
    const index = next.done.length;
    const item = hostedItem(name, json, next.jobId, index);
    const shown = item.type === 'code_interpreter_call' ? { ...item, code: '' } : item;
    let n = next.sequence;
    frames = [...frames, responseEvents.itemAdded(n++, index, shown)];
    for (const [type, fields] of hostedEvents.begun(item))
      frames.push(responseEvents.hosted(n++, { item_id: item.id, output_index: index }, type, fields));
    const running = new Map(next.running).set(callId, index);
    next = { ...next, done: [...next.done, item], running, sequence: n };
  }
  return [next, frames];
}

export function hostedEnded(items: Items, { callId, error, result }: ToolCallFinished): [Items, string[]] {
  const index = items.running.get(callId);
  return index === undefined ? [items, []] : over(items, callId, index, { failed: error !== undefined, result });
}

/** The response ends before them. */
export function hostedCut(items: Items): [Items, string[]] {
  let [next, frames] = [items, [] as string[]];
  for (const [callId, index] of items.running) {
    const [after, more] = over(next, callId, index, null);
    next = after;
    frames = [...frames, ...more];
  }
  return [next, frames];
}

function over(items: Items, callId: string, index: number, outcome: HostedOutcome | null): [Items, string[]] {
  const begun = items.done[index];
  if (begun === undefined || !isHosted(begun)) return [items, []];
  const item = hostedItemDone(begun, outcome, items.shape);
  let n = items.sequence;
  const frames: string[] = [];
  for (const [type, fields] of hostedEvents.ended(item))
    frames.push(responseEvents.hosted(n++, { item_id: item.id, output_index: index }, type, fields));
  frames.push(responseEvents.itemDone(n++, index, item));
  const running = new Map(items.running);
  running.delete(callId);
  return [{ ...items, done: items.done.with(index, item), running, sequence: n }, frames];
}

const isHosted = (item: Items['done'][number]): item is HostedItem =>
  item.type === 'code_interpreter_call' || item.type === 'web_search_call';
