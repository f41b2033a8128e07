/**
 * Finds stop strings in text that comes in pieces (machines/stop-texts.ts says which): whatever could be the beginning of
 * one is held back, so no part of one is ever given out.
 */
import { cutAtStop } from '../../machines/stop-texts.ts';

export interface StopStrings {
  /** Text that is certain; `stopped` names the stop string when one was met, and nothing follows it. */
  push(text: string): { readonly text: string; readonly stopped: string | null };
  /** What was held back, when the text has ended; a stop string may stand complete in it. */
  flush(): { readonly text: string; readonly stopped: string | null };
}

export function stopStrings(wanted: readonly string[]): StopStrings {
  let held = '';
  const take = (more: string, ends: boolean): { readonly text: string; readonly stopped: string | null } => {
    const cut = cutAtStop(held + more, wanted, ends);
    held = cut.held;
    return { text: cut.text, stopped: cut.stopped };
  };
  return { push: text => take(text, false), flush: () => take('', true) };
}
