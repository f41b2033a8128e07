/** How likely a token was, told from what the sampler chose among. */
import type { LlamaModel, Token } from 'node-llama-cpp';
import type { TokenLogprob } from '../../protocol/job-events.ts';

/** What a token that cannot come has; JSON knows no infinity. */
const impossible = -9999;

/**
 * `probabilities` are those of the sampler, behind its temperature, which is taken out again: what is told is how likely
 * the model found the token.
 */
export function tokenChance(
  model: Pick<LlamaModel, 'detokenize'>,
  token: Token,
  probabilities: ReadonlyMap<Token, number>,
  { temperature, top }: { readonly temperature: number; readonly top: number },
): TokenLogprob {
  const scale = temperature > 0 ? temperature : 1;
  let sum = 0;
  const best: [Token, number][] = [];
  for (const [one, probability] of probabilities) {
    if (probability <= 0) continue;
    const logprob = Math.log(probability) * scale;
    sum += Math.exp(logprob);
    const last = best.at(-1);
    if (top === 0 || (best.length === top && last !== undefined && last[1] >= logprob)) continue;
    const place = best.findIndex(([, other]) => other < logprob);
    best.splice(place === -1 ? best.length : place, 0, [one, logprob]);
    best.length = Math.min(best.length, top);
  }
  const whole = Math.log(sum);
  const told = (one: Token, logprob: number) => {
    const text = model.detokenize([one], true);
    return { token: text, logprob, ...(text.includes('\ufffd') ? {} : { bytes: [...Buffer.from(text)] }) };
  };
  const chosen = probabilities.get(token) ?? 0;
  const logprob = chosen > 0 ? Math.min(0, Math.log(chosen) * scale - whole) : impossible;
  return {
    ...told(token, logprob),
    top_logprobs: best.map(([one, other]) => told(one, Math.min(0, other - whole))),
  };
}
