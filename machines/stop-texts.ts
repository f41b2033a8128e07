/**
 * Where a text ends that must end before the first of some stop texts, as far as that can be told: the text may go on.
 *
 * What could be the beginning of a stop text is held back. Of several that match, the one that begins first wins; of those
 * that begin at the same place, the one that was asked for first. So the outcome does not depend on how the text was cut.
 */
export interface Cut {
  /** Certain: nothing that comes can change it. */
  readonly text: string;
  /** May be the beginning of a stop text. */
  readonly held: string;
  /** The stop text that was met. */
  readonly stopped: string | null;
}

/** `ends`: nothing follows, so nothing is held. */
export function cutAtStop(text: string, stops: readonly string[], ends = false): Cut {
  for (let at = 0; at < text.length; at += 1) {
    const stop = stops.find(
      stop =>
        stop !== '' && (text.startsWith(stop, at) || (!ends && stop.startsWith(text.slice(at, at + stop.length)))),
    );
    if (stop === undefined) continue;
    if (text.startsWith(stop, at)) return { text: text.slice(0, at), held: '', stopped: stop };
    return { text: text.slice(0, at), held: text.slice(at), stopped: null };
  }
  return { text, held: '', stopped: null };
}
