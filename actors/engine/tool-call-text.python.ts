/**
 * Calls written as Python's: `[NAME(a=1, b="x"), NAME()]`, or one `NAME(…)` without the brackets. What names a tool that
 * was not offered is no call, because lists and brackets stand in any answer.
 */
import { argumentsReader, type CallReader, more, none, type ToolsOffered } from './tool-call-text.ts';

/** `closings`: what may stand behind the last call. */
export function pythonReader(tools: ToolsOffered, closings: readonly string[]): CallReader {
  return callReader(tools, closings, /^\s*\[?\s*([\w.-]{1,256})\s*(?=\()/, (text, ended) =>
    /^\s*\[?\s*([\w.-]{1,256}\s*)?$/.test(text) && !ended ? more(false) : none(false),
  );
}

function nextReader(tools: ToolsOffered, closings: readonly string[]): CallReader {
  return callReader(tools, closings, /^\s*,\s*([\w.-]{1,256})\s*(?=\()/, (text, ended) => {
    const bracket = /^\s*(,?\s*\])?/.exec(text)?.[0] ?? '';
    const rest = text.slice(bracket.length).trimStart();
    const closing = closings.find(mark => rest.startsWith(mark));
    if (closing !== undefined) return { kind: 'end', length: text.indexOf(closing) + closing.length };
    if (ended && rest === '') return { kind: 'end', length: text.length };
    const isOpen = closings.some(mark => mark.startsWith(rest)) || /^(,\s*([\w.-]{1,256}\s*)?)?$/.test(rest);
    if (isOpen && !ended && (bracket.trim() === '' || closings.length > 0)) return more(true);
    return { kind: 'end', length: bracket.length };
  });
}

function callReader(tools: ToolsOffered, closings: readonly string[], head: RegExp, otherwise: CallReader): CallReader {
  let call: CallReader | null = null;
  return (text, ended) => {
    if (call === null) {
      const found = head.exec(text);
      const name = found?.[1]?.replace(/\.call$/, '');
      if (found === null || name === undefined) return otherwise(text, ended);
      if (!tools.isOffered(name)) return none(false);
      call = argumentsReader('text', name, found[0].length, [], closings);
    }
    const reading = call(text, ended);
    return reading.kind === 'call' ? { ...reading, next: nextReader(tools, closings) } : reading;
  };
}
