/**
 * What a scripted worker says. The caller writes the script into the prompt, the worker reads it there, and both can
 * compute the text, so every answer is checked byte for byte. The first token names the seed: an answer that reached
 * the wrong caller cannot look right.
 *
 * Texts and pieces are handled as "byte strings": one character a UTF-8 byte. They are cut and compared without
 * decoding, which keeps the load generator light on the machine that it shares with what it measures.
 */
export interface Script {
  readonly tokens: number;
  readonly everyMs: number;
  readonly seed: number;
  /** After this many tokens the worker waits to be released; 0 means that it never waits. */
  readonly holdAfter: number;
}

/** About what a tokenizer makes of prose in several languages, with all that JSON has to escape. */
const vocabulary = (
  ' the| router| hands|,| and|.| a| slot| free|s| to| it| that| wait|ed| longest| über| die| Straße| für| naïve|' +
  ' café| 東|京|の|路| из| дом|а| сло|во| و| سلام|🙂|👩‍🚀|\n|\n\n|\t| "|"| \\|`|</p>| &| <b>| 42|.5| {|}:| [|]| €| №|' +
  ' e\u0301|\u2028| token| stream|ing| answer| of| worker|-|!'
).split('|');

export const bytesOf = (text: string): string => Buffer.from(text, 'utf8').toString('latin1');
export const textOf = (bytes: string): string => Buffer.from(bytes, 'latin1').toString('utf8');

const tokenBytes = vocabulary.map(bytesOf);
const tokenJsonBytes = vocabulary.map(token => bytesOf(JSON.stringify(token)));

export const promptOf = ({ tokens, everyMs, seed, holdAfter }: Script): string =>
  `say ${tokens} tokens every ${everyMs} ms from ${seed} holding after ${holdAfter}`;

export function readPrompt(prompt: unknown): Script | undefined {
  const found = /^say (\d+) tokens every (\d+) ms from (\d+) holding after (\d+)$/.exec(String(prompt));
  if (found === null) return undefined;
  const [tokens = 0, everyMs = 0, seed = 0, holdAfter = 0] = found.slice(1).map(Number);
  return { tokens, everyMs, seed, holdAfter };
}

const cycle = (seed: number, index: number): number => (seed * 7 + index) % vocabulary.length;

/** Token `index` as the bytes of a JSON string, quotes included. */
export const tokenJsonOf = (seed: number, index: number): string =>
  index === 0 ? `"#${seed}"` : (tokenJsonBytes[cycle(seed, index)] ?? '');

export interface Expected {
  readonly bytes: string;
  /** How many tokens are whole in the first `length` bytes, counting on from `known`, which were whole before. */
  readonly tokensIn: (length: number, known: number) => number;
}

/** The tail after the first token depends on few numbers, so the few tails are kept. */
const tails = new Map<string, { bytes: string; ends: readonly number[] }>();

export function expectedOf({ seed, tokens }: Script): Expected {
  const key = `${cycle(seed, 0)}/${tokens}`;
  let tail = tails.get(key);
  if (tail === undefined) {
    let bytes = '';
    const ends = [0];
    for (let index = 1; index < tokens; index++) {
      bytes += tokenBytes[cycle(seed, index)] ?? '';
      ends.push(bytes.length);
    }
    tail = { bytes, ends };
    tails.set(key, tail);
  }
  const first = tokens > 0 ? `#${seed}` : '';
  const { ends } = tail;
  const tokensIn = (length: number, known: number): number => {
    let count = known;
    while (count < tokens && first.length + (ends[count] ?? 0) <= length) count++;
    return count;
  };
  return { bytes: first + tail.bytes, tokensIn };
}
