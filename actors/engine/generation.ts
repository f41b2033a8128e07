/**
 * One job on one slot: prompt, tokens, answer.
 */
import { randomBytes } from 'node:crypto';
import type { LlamaContextSequence, LlamaModel, Token } from 'node-llama-cpp';
import { answer } from './answer.ts';
import { EngineError, type EngineJob, type EngineResult, type GenerateHooks } from './engine.ts';
import { evaluatePrompt } from './prompt.ts';
import { penaltyTokens, samplingOptions } from './sampling.ts';

export async function runJob(
  model: LlamaModel,
  sequence: LlamaContextSequence,
  job: EngineJob,
  prompt: string,
  tokens: Token[],
  hooks: GenerateHooks,
): Promise<EngineResult> {
  const startedAt = performance.now();
  const { signal } = hooks;
  const { rest, cached } = await evaluatePrompt(sequence, tokens, hooks);
  const sampled: Token[] = [];
  const said = answer({
    // Token is a branded number, and these came from the same model.
    detokenize: (ids, last) => model.detokenize(ids as Token[], false, last as Token[]),
    toolsOffered: (job.tools?.length ?? 0) > 0,
    typesOf: typesOf(job.tools ?? []),
    startsInThought: /<think>\s*$/.test(prompt),
    stop: job.stop ?? [],
    oneCall: job.parallelToolCalls === false,
    callId,
    now: Date.now,
    onPiece: hooks.onPiece,
    onToolCall: hooks.onToolCall,
  });

  const sampling = samplingOptions(model, job, () => sampled.slice(-penaltyTokens));
  const iterator = sequence.evaluate(rest, { ...sampling, yieldEogToken: true, contextShift: { strategy: noShift } });
  const limit = job.maxTokens !== undefined && job.maxTokens > 0 ? job.maxTokens : Number.POSITIVE_INFINITY;
  let output = 0;
  let ended: 'stop' | 'length' = 'stop';
  let contextFull = false;
  try {
    for (;;) {
      const { value: token, done } = await iterator.next();
      signal.throwIfAborted();
      if (done === true || token === undefined) break;
      output += 1;
      if (output === 1) hooks.onProgress({ total: tokens.length, cached, processed: tokens.length });
      if (model.isEogToken(token)) break;
      sampled.push(token);
      if (said.push(token)) break;
      // The token just sampled takes a place of its own when the next one is asked for.
      const full = sequence.nextTokenIndex >= sequence.contextSize - 1;
      if (output >= limit || full) {
        ended = 'length';
        contextFull = full && output < limit;
        break;
      }
    }
  } finally {
    await iterator.return();
  }
  const finished = said.finish(ended);
  return {
    ...finished,
    ...(contextFull && finished.finishReason === 'length' ? { contextFull } : {}),
    usage: { input: tokens.length - cached, cached, output, reasoning: said.reasoningTokens },
    durationMs: Math.round(performance.now() - startedAt),
  };
}

/** The types that the schemas of a job's tools name for a parameter. */
function typesOf(tools: readonly Readonly<Record<string, unknown>>[]) {
  return (tool: string, parameter: string): readonly string[] | null => {
    for (const { function: fn } of tools) {
      if (!isRecord(fn) || fn.name !== tool || !isRecord(fn.parameters)) continue;
      const { properties } = fn.parameters;
      const schema = isRecord(properties) ? properties[parameter] : undefined;
      const type = isRecord(schema) ? schema.type : undefined;
      if (typeof type === 'string') return [type];
      if (Array.isArray(type)) return type.filter(item => typeof item === 'string');
    }
    return null;
  };
}

/** Calls written as tags got `xml_` and eight digits in the reference; everybody else writes `call_`. */
const callId = (form: 'json' | 'text'): string =>
  form === 'json' ? `call_${randomBytes(12).toString('hex')}` : `xml_${randomBytes(4).toString('hex')}`;

/** Shifting would lose the beginning of a conversation without a word. All lengths are checked, so this is never called. */
export const noShift = (): never => {
  throw new EngineError('internal_error', 'the context is full');
};

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
