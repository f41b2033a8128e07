/**
 * How the next token is chosen. What a job leaves open is what llama-server does, said here in full, because the library
 * would choose otherwise (greedily).
 */
import { randomInt } from 'node:crypto';
import { type LlamaModel, type SequenceEvaluateOptions, type Token, TokenBias } from 'node-llama-cpp';
import { EngineError, type Sampling } from './engine.ts';

const defaults = { temperature: 0.8, topK: 40, topP: 0.95, minP: 0.05 };
/** Who asks how likely tokens are wants to hear of all of them: nothing is cut off that the caller does not cut off. */
const open = { ...defaults, topK: 0, topP: 1, minP: 0 };

export const temperatureOf = (job: Sampling): number => job.temperature ?? defaults.temperature;
/** Tokens of the answer that penalties look back on. */
export const penaltyTokens = 512;

export function samplingOptions(
  model: LlamaModel,
  job: Sampling & { readonly logprobs?: boolean | undefined },
  recent: () => Token[],
): SequenceEvaluateOptions {
  const otherwise = job.logprobs === true ? open : defaults;
  const { repeatPenalty = 1, frequencyPenalty = 0, presencePenalty = 0, logitBias = {} } = job;
  const penalised = repeatPenalty !== 1 || frequencyPenalty !== 0 || presencePenalty !== 0;
  const biases = Object.entries(logitBias);
  return {
    temperature: temperatureOf(job),
    topK: job.topK ?? otherwise.topK,
    topP: job.topP ?? otherwise.topP,
    minP: job.minP ?? otherwise.minP,
    // The sampler takes 32 bits; negative means "any" elsewhere.
    seed: job.seed === undefined || job.seed < 0 ? randomInt(2 ** 32) : job.seed % 2 ** 32,
    ...(penalised
      ? {
          repeatPenalty: {
            punishTokens: recent,
            maxPunishTokens: penaltyTokens,
            penalty: repeatPenalty,
            frequencyPenalty,
            presencePenalty,
          },
        }
      : {}),
    ...(biases.length > 0 ? { tokenBias: tokenBias(model, biases) } : {}),
  };
}

function tokenBias(model: LlamaModel, biases: readonly (readonly [string, number])[]): TokenBias {
  const bias = TokenBias.for(model);
  for (const [key, logit] of biases) {
    // Token is a branded number; a caller's ids are the model's own.
    const token = /^\d+$/.test(key) ? (Number(key) as Token) : undefined;
    if (token === undefined)
      throw new EngineError('invalid_request', `logit_bias: ${JSON.stringify(key)} is no token id`);
    bias.set(token, logit <= -100 ? 'never' : { logit });
  }
  return bias;
}
