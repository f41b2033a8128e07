/**
 * Ids of the Responses API. They are made of the job's id, so that the log of a response, or of the response that an
 * item belongs to, is found from the id alone.
 */

/** What stands before the underscore in an item's id. */
const itemPrefixes = {
  message: 'msg',
  reasoning: 'rs',
  function_call: 'fc',
  custom_tool_call: 'ctc',
  function_call_output: 'fco',
  custom_tool_call_output: 'ctco',
  code_interpreter_call: 'ci',
  web_search_call: 'ws',
} as const;
export type ItemType = keyof typeof itemPrefixes;

const jobPrefix = 'chatcmpl-';
const tailOf = (jobId: string): string => jobId.slice(jobId.lastIndexOf('-') + 1);

export const responseIdOf = (jobId: string): string => `resp_${tailOf(jobId)}`;

/** `place` counts the items of the output, or, after an `i`, those of the input. */
export const itemIdOf = (type: ItemType, jobId: string, place: number | `i${number}`): string =>
  `${itemPrefixes[type]}_${tailOf(jobId)}_${place}`;

/** The job behind a response's id; null for what is none of ours. */
export function jobOfResponse(responseId: string): string | null {
  const tail = /^resp_([0-9A-Za-z]{24,64})$/.exec(responseId)?.[1];
  return tail === undefined ? null : jobPrefix + tail;
}

/** The response that an item is part of; null for what is none of ours. */
export function responseOfItem(itemId: string): string | null {
  const tail = /^[a-z]+_([0-9A-Za-z]{24,64})_i?\d+$/.exec(itemId)?.[1];
  return tail === undefined ? null : `resp_${tail}`;
}
