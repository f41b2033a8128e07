/** Long texts in pages of whole characters, and the lines of a text around what is searched for. */

const linesAround = 3;
/** A page ends behind a line break if there is one among its last characters. */
const breakChars = 200;

export interface TextPage {
  readonly content: string;
  readonly total_chars: number;
  readonly truncated?: string;
}

/** Counts characters as people do, not the halves that some are stored in. */
export function pageOf(text: string, offset: number, limit: number): TextPage {
  const chars: string | string[] = /[\ud800-\udfff]/.test(text) ? Array.from(text) : text;
  const total = chars.length;
  const part = (from: number, to: number): string => {
    const piece = chars.slice(from, to);
    return typeof piece === 'string' ? piece : piece.join('');
  };
  if (offset >= total && offset > 0)
    return {
      content: '',
      total_chars: total,
      truncated: `offset=${offset} is behind the end; there are ${total} characters in all.`,
    };
  let end = Math.min(total, offset + limit);
  if (end < total) {
    for (let at = end; at > Math.max(offset, end - breakChars); at--)
      if (chars[at - 1] === '\n') {
        end = at;
        break;
      }
  }
  const hint = { truncated: `Characters ${offset}–${end} of ${total}; go on with offset=${end}.` };
  return { content: part(offset, end), total_chars: total, ...(end < total ? hint : {}) };
}

/** Null when the pattern is none. `(?i)` at its beginning, as other languages write it, is understood. */
export function matching(text: string, pattern: string): string | null {
  const [, flags = '', rest = ''] = /^(?:\(\?([ims]+)\))?([\s\S]*)$/.exec(pattern) ?? [];
  let regex: RegExp;
  try {
    regex = new RegExp(rest, flags);
  } catch {
    return null;
  }
  const lines = text.split('\n');
  const groups: string[] = [];
  let shownTo = 0;
  lines.forEach((line, at) => {
    if (!regex.test(line)) return;
    const from = Math.max(shownTo, at - linesAround);
    const to = Math.min(lines.length, at + linesAround + 1);
    if (groups.length > 0 && at - linesAround > shownTo) groups.push('---');
    if (to > from) groups.push(...lines.slice(from, to));
    shownTo = Math.max(shownTo, to);
  });
  return groups.join('\n');
}
