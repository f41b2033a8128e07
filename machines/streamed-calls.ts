/**
 * Tool calls of a streamed answer: what of them is out, and what of the whole calls, known at the end, still is not.
 *
 * Whole calls are the truth. A call whose pieces are no beginning of its whole is left as it was said.
 */
import type { ToolCall } from '../protocol/job-events.ts';

/** The part of call `index` that was not said; null when nothing is left. `begins`: no piece of it was said. */
export function leftOf(
  said: readonly ToolCall[],
  call: ToolCall,
  index: number,
): { readonly begins: boolean; readonly text: string } | null {
  const before = said[index];
  if (before === undefined) return { begins: true, text: call.arguments };
  const { length } = before.arguments;
  return call.arguments.length > length && call.arguments.startsWith(before.arguments)
    ? { begins: false, text: call.arguments.slice(length) }
    : null;
}
