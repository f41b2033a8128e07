/**
 * A prompt that is too long, in the words that each API's clients look for: they shorten the conversation when they read
 * them, and give up on any others.
 */

/** What workers say names the prompt's tokens and the context's, in that order; null when it does not. */
function numbersIn(message: string): { prompt: number; limit: number } | null {
  const [prompt = 0, limit = 0] = (message.match(/\d+/g) ?? []).map(Number);
  return prompt >= limit && limit > 0 ? { prompt, limit } : null;
}

/** For clients of Anthropic's API (spec/http-api §8.3 row 29). */
export function promptTooLong(message: string): string {
  if (message.startsWith('prompt is too long')) return message;
  const found = numbersIn(message);
  return `prompt is too long: ${found ? `${found.prompt} tokens > ${found.limit} maximum` : message}`;
}

/** For clients of OpenAI's, some of which read the message and not the code. Without numbers nothing is added to it. */
export function beyondContext(message: string): string {
  const found = numbersIn(message);
  return found && !message.includes('maximum context length')
    ? `This model's maximum context length is ${found.limit} tokens, but the prompt has ${found.prompt}: shorten the messages`
    : message;
}
