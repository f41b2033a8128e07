/**
 * What the simulated model says: the next token is a function of the prompt and of all tokens so far, so that the right
 * answer to every prompt is known, and a repeated, lost or foreign token makes everything behind it another text.
 */
import { hashText, mix } from './random.ts';

/** Every token begins with its first letter and has no other capital, so that text falls apart into its tokens again. */
const heads = 'ABCDEFGHIJKLMNOP';
const tails = ['', 'a ', 'é', '漢字', '😀', '\n', '"', '\\', ': x\n\n', ' the '];
const vocabulary = [...heads].flatMap(head => tails.map(tail => head + tail));
const idOf = new Map(vocabulary.map((text, id) => [text, id]));

/** Of a prompt: how many tokens it gives, how many of them are a thought, and whether a tool call ends it. */
export interface Shape {
  readonly tokens: number;
  readonly thought: number;
  readonly calls: boolean;
}

export function shapeOf(prompt: string): Shape {
  const hash = hashText(prompt);
  const tokens = 1 + (hash % 12);
  const thought = (hash >>> 8) % 4 === 0 ? (hash >>> 12) % tokens : 0;
  return { tokens, thought, calls: prompt.includes('#tools') && (hash >>> 16) % 2 === 0 };
}

export const startOf = (prompt: string): number => mix(hashText(prompt), 1);
/** The token behind a history, and the history with it. */
export const tokenAfter = (history: number): number => mix(history, 7) % vocabulary.length;
export const historyWith = (history: number, id: number): number => mix(history, id + 13);
export const textOf = (id: number): string => vocabulary[id] ?? '?';

/** The tokens of a text that tokens made. */
export function tokensOf(text: string): number[] {
  return text === '' ? [] : text.split(/(?=[A-Z])/).map(piece => idOf.get(piece) ?? -1);
}

/** What the model makes of a text instead of an answer: base64 of 32-bit floats. */
export function vectorOf(prompt: string): string {
  const { text } = truthOf(prompt, Number.POSITIVE_INFINITY);
  return Buffer.from(Float32Array.from(tokensOf(text)).buffer).toString('base64');
}

export interface Truth {
  readonly text: string;
  readonly reasoning: string;
  readonly finishReason: 'stop' | 'length' | 'tool_calls';
  readonly tokens: number;
  readonly call: { readonly name: string; readonly arguments: string } | null;
}

const known = new Map<string, Truth>();

export function truthOf(prompt: string, tokensMax: number): Truth {
  const key = `${tokensMax} ${prompt}`;
  let truth = known.get(key);
  if (truth === undefined) {
    truth = computed(prompt, tokensMax);
    if (known.size > 5000) known.clear();
    known.set(key, truth);
  }
  return truth;
}

function computed(prompt: string, tokensMax: number): Truth {
  const shape = shapeOf(prompt);
  const tokens = Math.min(shape.tokens, tokensMax);
  const said = { text: '', reasoning: '' };
  let history = startOf(prompt);
  for (let n = 0; n < tokens; n += 1) {
    const id = tokenAfter(history);
    said[n < shape.thought ? 'reasoning' : 'text'] += textOf(id);
    history = historyWith(history, id);
  }
  const cut = tokens < shape.tokens;
  const call = shape.calls && !cut ? callOf(history) : null;
  return { ...said, tokens, finishReason: cut ? 'length' : call === null ? 'stop' : 'tool_calls', call };
}

export const callOf = (history: number): { name: string; arguments: string } => ({
  name: 'look',
  arguments: JSON.stringify({ place: history % 1000 }),
});
