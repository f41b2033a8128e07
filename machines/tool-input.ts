/**
 * The input of a tool call from the text that a model wrote for it. Small models write JSON that lacks its end, or JSON
 * inside a JSON string; what they meant is plain then, and a client that needs an object gets it.
 */
import { isShallow } from '../protocol/schema.ts';

/** Null when no object can be read from it. */
export function inputOf(json: string): object | null {
  if (json.trim() === '') return {};
  const whole = parsed(json);
  if (isObject(whole)) return whole;
  if (typeof whole === 'string') {
    const inner = parsed(whole);
    return isObject(inner) ? inner : null;
  }
  if (whole !== undefined) return null;
  const ended = parsed(json + missingEnd(json));
  return isObject(ended) ? ended : null;
}

/** What text that was said of an object lacks to be one; '' when nothing, or no end would help. */
export function endOf(json: string): string {
  if (json === '' || parsed(json) !== undefined) return '';
  const end = missingEnd(json);
  return isObject(parsed(json + end)) ? end : '';
}

/** Undefined when it is no JSON. */
function parsed(json: string): unknown {
  try {
    return JSON.parse(json);
  } catch {
    // The caller knows what else to try.
    return undefined;
  }
}

/** What closes the text and the brackets that `json` leaves open. */
function missingEnd(json: string): string {
  const open: string[] = [];
  let inText = false;
  for (let at = 0; at < json.length; at += 1) {
    const character = json[at];
    if (inText) {
      if (character === '\\') at += 1;
      else if (character === '"') inText = false;
    } else if (character === '"') inText = true;
    else if (character === '{') open.push('}');
    else if (character === '[') open.push(']');
    else if (character === '}' || character === ']') open.pop();
  }
  return (inText ? '"' : '') + open.reverse().join('');
}

/** One that is nested without end is none that could be written out again. */
const isObject = (value: unknown): value is object =>
  typeof value === 'object' && value !== null && !Array.isArray(value) && isShallow(value);
