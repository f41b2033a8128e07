/**
 * Evaluates a prompt on a slot, in pieces: between two of them progress is told and a cancelled job stops.
 *
 * What the slot holds of an earlier job is kept as far as it is the beginning of this prompt. At least the last token is
 * always evaluated, because the answer is sampled from it; that last piece is left to the caller.
 */
import type { LlamaContextSequence, Token } from 'node-llama-cpp';
import type { GenerateHooks } from './engine.ts';

/** A piece should take about this long, so that progress shows twice a second even when the machine is slow. */
const pieceMs = 400;
const pieceTokensMin = 16;
const pieceTokensFirst = 64;
const pieceTokensMax = 512;

export async function evaluatePrompt(
  sequence: LlamaContextSequence,
  tokens: Token[],
  { signal, onProgress }: GenerateHooks,
): Promise<{ readonly rest: Token[]; readonly cached: number }> {
  await sequence.adaptStateToTokens(tokens.slice(0, -1), false);
  // Some models cannot forget only a part: what really is kept, the slot says.
  const cached = sequence.nextTokenIndex;
  let at = cached;
  let size = pieceTokensFirst;
  while (tokens.length - at > size) {
    const startedAt = performance.now();
    await sequence.evaluateWithoutGeneratingNewTokens(tokens.slice(at, at + size));
    signal.throwIfAborted();
    at += size;
    onProgress({ total: tokens.length, cached, processed: at });
    const perToken = (performance.now() - startedAt) / size;
    size = Math.min(pieceTokensMax, Math.max(pieceTokensMin, Math.round(pieceMs / Math.max(perToken, 0.01))));
  }
  return { rest: tokens.slice(at), cached };
}
