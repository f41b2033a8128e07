/** The marks that a model's text is searched for while it comes. */
import type { CallReader, ToolsOffered } from './tool-call-text.ts';

export interface Opening {
  readonly mark: string;
  /** Reads what the mark opens; null: it opens nothing, and is only not to be seen. */
  readonly reader: ((tools: ToolsOffered) => CallReader) | null;
  /** The mark is a control token: no prose contains it, and it is never shown. */
  readonly isToken?: boolean;
  /** The mark is the beginning of what its reader reads. */
  readonly isPart?: boolean;
}

/** Length of the longest end of `text` that could be the beginning of one of `tags`. */
export function tagStart(text: string, tags: readonly string[]): number {
  let longest = 0;
  for (const tag of tags) {
    for (let length = Math.min(tag.length - 1, text.length); length > longest; length -= 1) {
      if (tag.startsWith(text.slice(-length))) {
        longest = length;
        break;
      }
    }
  }
  return longest;
}

interface Found {
  readonly at: number;
  readonly opening: Opening;
}

export function firstOpening(text: string, openings: readonly Opening[]): Found | null {
  let first: Found | null = null;
  for (const opening of openings) {
    const at = text.indexOf(opening.mark);
    if (at !== -1 && (first === null || at < first.at)) first = { at, opening };
  }
  return first;
}
