/** How far apart two words are, and which of many is nearest to one that was mistyped. */

/** Insertions, deletions, replacements and swapped neighbours, each counting one. */
export function editDistance(from: string, to: string): number {
  let twoAgo: number[] = [];
  let previous = Array.from({ length: to.length + 1 }, (_, n) => n);
  for (let i = 1; i <= from.length; i++) {
    const row = [i];
    for (let j = 1; j <= to.length; j++) {
      const replaced = (previous[j - 1] ?? 0) + (from[i - 1] === to[j - 1] ? 0 : 1);
      let edits = Math.min((previous[j] ?? 0) + 1, (row[j - 1] ?? 0) + 1, replaced);
      if (i > 1 && j > 1 && from[i - 1] === to[j - 2] && from[i - 2] === to[j - 1])
        edits = Math.min(edits, (twoAgo[j - 2] ?? 0) + 1);
      row.push(edits);
    }
    twoAgo = previous;
    previous = row;
  }
  return previous[to.length] ?? 0;
}

const wordCharsMax = 80;

/**
 * The nearest first, all of them: letters and digits count, signs between them do not, and what begins like the word
 * wins among equals. Pass `byDistance` on to say how near is near enough.
 */
export function nearest(word: string, candidates: readonly string[]): { word: string; edits: number }[] {
  const asked = plain(word).slice(0, wordCharsMax);
  return candidates
    .map((candidate, order) => {
      const bare = plain(candidate);
      const starts = bare.startsWith(asked) || asked.startsWith(bare) ? 0 : 1;
      return { word: candidate, edits: editDistance(asked, bare), starts, order };
    })
    .sort((a, b) => a.edits - b.edits || a.starts - b.starts || a.order - b.order)
    .map(({ word, edits }) => ({ word, edits }));
}

/** What of a name is compared when its spelling is forgiven. */
export const plain = (text: string): string => text.toLowerCase().replace(/[^a-z0-9]/g, '');
