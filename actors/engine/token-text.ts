/**
 * Turns tokens into text as they come, never splitting a character.
 *
 * A token may end in the middle of a UTF-8 character; its text then shows replacement characters at the end, and they
 * are held back until the tokens that follow complete it. A model can also write bytes that are no text at all: no more
 * than `heldMax` replacement characters are held, because a character has no more than three bytes missing.
 */
const replacement = '\uFFFD';
const heldMax = 3;

/** How many tokens of context a detokenizer gets, so that it decides on spaces as it would in the whole text. */
const contextTokens = 4;

export interface TokenText {
  /** The text that is certain after one more token. */
  push(token: number): string;
  /** What was held back, at the end. */
  flush(): string;
  /** No character is under way. */
  readonly isWhole: boolean;
}

export function tokenText(detokenize: (tokens: number[], last: number[]) => string): TokenText {
  let last: number[] = [];
  let pending: number[] = [];
  /** Characters of the pending tokens' text that are given out already. */
  let given = 0;

  const settle = (text: string): string => {
    const out = text.slice(given);
    last = [...last, ...pending].slice(-contextTokens);
    pending = [];
    given = 0;
    return out;
  };

  return {
    push(token) {
      pending.push(token);
      const text = detokenize(pending, last);
      let certain = text.length;
      while (certain > given && text.length - certain < heldMax && text[certain - 1] === replacement) certain -= 1;
      if (certain === text.length) return settle(text);
      const out = text.slice(given, certain);
      given = certain;
      return out;
    },
    flush: () => (pending.length === 0 ? '' : settle(detokenize(pending, last))),
    get isWhole() {
      return pending.length === 0;
    },
  };
}
