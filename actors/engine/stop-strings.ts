/**
 * Finds stop strings in text that comes in pieces.
 *
 * Whatever could be the beginning of a stop string is held back, so no part of one is ever given out. Of several that
 * match, the one that begins first wins; of those that begin at the same place, the one that was asked for first.
 * So the result does not depend on how the text was cut.
 */
export interface StopStrings {
  /** Text that is certain; `stopped` names the stop string when one was met, and nothing follows it. */
  push(text: string): { readonly text: string; readonly stopped: string | null };
  /** What was held back, when the text has ended; a stop string may stand complete in it. */
  flush(): { readonly text: string; readonly stopped: string | null };
}

export function stopStrings(wanted: readonly string[]): StopStrings {
  const stops = wanted.filter(stop => stop !== '');
  let held = '';

  return {
    push(text) {
      if (stops.length === 0) return { text, stopped: null };
      held += text;
      for (let at = 0; at < held.length; at += 1) {
        const rest = held.slice(at);
        const stopped = stops.find(stop => rest.startsWith(stop) || stop.startsWith(rest));
        if (stopped === undefined) continue;
        const out = held.slice(0, at);
        if (rest.startsWith(stopped)) {
          held = '';
          return { text: out, stopped };
        }
        held = rest;
        return { text: out, stopped: null };
      }
      const out = held;
      held = '';
      return { text: out, stopped: null };
    },
    flush() {
      const text = held;
      held = '';
      for (let at = 0; at < text.length; at += 1) {
        const stopped = stops.find(stop => text.startsWith(stop, at));
        if (stopped !== undefined) return { text: text.slice(0, at), stopped };
      }
      return { text, stopped: null };
    },
  };
}
