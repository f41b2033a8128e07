/** One event of llama-server's `/completion` stream. Fields that are not there are as if nothing was said in them. */

import type { TokenLogprob } from '../../protocol/job-events.ts';
import { isRecord } from '../../protocol/record.ts';
import { ServerTrouble } from './server-http.ts';

export interface Chunk {
  readonly text: string;
  readonly tokens: readonly number[];
  /** How many tokens were sampled up to here, as the server counts them. */
  readonly predicted: number;
  readonly chance: TokenLogprob | undefined;
  readonly progress: { readonly total: number; readonly cache: number; readonly processed: number } | null;
  readonly final: {
    readonly stopType: string;
    /** Tokens of the prompt, and those of them that it still held. */
    readonly evaluated: number;
    readonly cached: number;
  } | null;
}

/** What a token that cannot come has; JSON knows no infinity. */
const impossible = -9999;

/** @throws ServerTrouble when it is no event of this stream. */
export function chunkOf(event: unknown, top: number): Chunk {
  if (!isRecord(event)) throw new ServerTrouble(null, '/completion: an event that is no object');
  const { tokens, prompt_progress: progress, completion_probabilities: chances } = event;
  const timings = isRecord(event.timings) ? event.timings : {};
  const [chance] = Array.isArray(chances) ? chances : [];
  return {
    text: typeof event.content === 'string' ? event.content : '',
    tokens: Array.isArray(tokens) ? tokens.filter((id): id is number => Number.isInteger(id)) : [],
    predicted: count(event.tokens_predicted),
    chance: isRecord(chance) ? chanceOf(chance, top) : undefined,
    progress: isRecord(progress)
      ? { total: count(progress.total), cache: count(progress.cache), processed: count(progress.processed) }
      : null,
    final:
      event.stop === true
        ? {
            stopType: typeof event.stop_type === 'string' ? event.stop_type : 'eos',
            evaluated: count(event.tokens_evaluated),
            cached: count(timings.cache_n),
          }
        : null,
  };
}

function chanceOf(chance: Record<string, unknown>, top: number): TokenLogprob {
  const others = Array.isArray(chance.top_logprobs) ? chance.top_logprobs.filter(isRecord) : [];
  return { ...told(chance), top_logprobs: others.slice(0, top).map(told) };
}

function told({ token, logprob, bytes }: Record<string, unknown>) {
  const text = typeof token === 'string' ? token : '';
  const all = Array.isArray(bytes) ? bytes.filter((byte): byte is number => Number.isInteger(byte)) : [];
  const isWhole = Buffer.from(text).equals(Buffer.from(all));
  return {
    token: isWhole ? text : Buffer.from(all).toString('utf8'),
    logprob: typeof logprob === 'number' ? Math.max(impossible, Math.min(0, logprob)) : impossible,
    ...(isWhole ? { bytes: all } : {}),
  };
}

const count = (value: unknown): number => (typeof value === 'number' && value > 0 ? Math.floor(value) : 0);
