/**
 * Where an answer goes on that another worker began: which tokens stand behind the prompt, and what they mean.
 *
 * From ids it goes on exactly. From text, the text is put behind the prompt as the model would have written it; the cut
 * may fall inside a word, so that the model may go on differently, but nothing is said twice.
 */
import type { ResumePoint } from './engine.ts';

/** What the model had written, as far as the text tells: its thought comes first, in its tags, unless the prompt opened it. */
export function writtenSoFar({ text, reasoning }: ResumePoint, startsInThought: boolean): string {
  if (reasoning === '') return startsInThought && text !== '' ? `\n</think>\n\n${text}` : text;
  const opened = startsInThought ? reasoning : `<think>\n${reasoning}`;
  // A thought that no text follows may be unfinished: it goes on.
  return text === '' ? opened : `${opened}\n</think>\n\n${text}`;
}

/**
 * The seed of what follows `tokens` tokens. A sampler's state cannot be carried over; with the first seed it would repeat
 * the choices that it began with.
 */
export const seedAfter = (seed: number | undefined, tokens: number): number | undefined =>
  seed === undefined || seed < 0 ? seed : (seed + Math.imul(tokens, 0x9e3779b1)) >>> 0;
