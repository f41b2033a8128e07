/**
 * One job on one slot: prompt, tokens, answer.
 */
import type { LlamaContextSequence, LlamaModel, Token } from 'node-llama-cpp';
import type { Answer } from './answer.ts';
import { seedAfter, writtenSoFar } from './continuation.ts';
import { type Dialect, startsInThought, thoughtEnd } from './dialects.ts';
import { EngineError, type EngineJob, type EngineResult, type GenerateHooks, type ResumePoint } from './engine.ts';
import type { Guide } from './guide.ts';
import { jobAnswer, thoughtIsSpent, thoughtMayBeSpent, unreadable } from './job-answer.ts';
import { evaluatePrompt } from './prompt.ts';
import { penaltyTokens, samplingOptions, temperatureOf } from './sampling.ts';
import { tokenChance } from './token-chances.ts';

export interface PromptTokens {
  readonly prompt: string;
  readonly tokens: Token[];
  /** How many of `tokens` are the prompt. */
  readonly promptLength: number;
  /** How the model's family writes. */
  readonly dialect: Dialect;
}

/** `tokens` are the prompt and, behind it, what an earlier worker said. */
export async function runJob(
  model: LlamaModel,
  sequence: LlamaContextSequence,
  job: EngineJob,
  { prompt, tokens, promptLength, dialect }: PromptTokens,
  guide: Guide | null,
  hooks: GenerateHooks,
): Promise<EngineResult> {
  const startedAt = performance.now();
  const { signal } = hooks;
  const { resume } = job;
  const sampled: Token[] = tokens.slice(promptLength);
  const said = jobAnswer(job, { prompt, dialect }, hooks, (ids, last) =>
    // Token is a branded number, and these came from the same model.
    model.detokenize(ids as Token[], dialect.showsControl, last as Token[]),
  );
  let output = resume?.tokens ?? 0;
  const limit = job.maxTokens !== undefined && job.maxTokens > 0 ? job.maxTokens : Number.POSITIVE_INFINITY;
  const overAlready = resume !== undefined && restored(said, resume, prompt, dialect);
  if (overAlready || output >= limit || tokens.length >= sequence.contextSize) {
    // Nothing is left to sample: only the end was not said.
    const finished = said.finish(overAlready ? 'stop' : 'length');
    if (said.brokenCall !== null) throw unreadable(said.brokenCall);
    const usage = { input: promptLength, cached: 0, output, reasoning: said.reasoningTokens };
    const isFull = !overAlready && output < limit;
    return {
      ...finished,
      ...(isFull ? { contextFull: true } : {}),
      usage,
      durationMs: Math.round(performance.now() - startedAt),
    };
  }
  // From text, the border between prompt and answer may lie inside a token: then the answer's own tokens are heard.
  guide?.hear(resume === undefined ? [] : (wordsOf(model, resume, prompt, dialect) ?? sampled));
  const evaluated = await evaluatePrompt(sequence, tokens, hooks);
  const cached = Math.min(evaluated.cached, promptLength);

  const seed = seedAfter(job.seed, output);
  const sampling = samplingOptions(model, { ...job, seed }, () => sampled.slice(-penaltyTokens));
  // Without them, `probabilities` is not there: the library's type follows what it is asked for.
  const metadata = { probabilities: job.logprobs === true } as { probabilities: true };
  const chances = { temperature: temperatureOf(job), top: job.topLogprobs ?? 0 };
  /** Ends a thought that is spent, if there is room behind it: once, for a model that begins another has its reasons. */
  let mayEnd = job.thinkingBudget !== undefined;
  const endThought = (): Token[] => {
    if (!mayEnd || !thoughtIsSpent(job, said)) return [];
    mayEnd = false;
    const ending = model.tokenize(thoughtEnd(dialect), true);
    const room = Math.min(limit - output, sequence.contextSize - promptLength - sampled.length);
    if (ending.length >= room - 1) return [];
    guide?.hear(ending);
    said.pushTogether(ending);
    sampled.push(...ending);
    output += ending.length;
    return ending;
  };
  const iterator = sequence.evaluateWithMetadata([...evaluated.rest, ...endThought()], metadata, {
    ...sampling,
    ...(guide === null ? {} : { grammarEvaluationState: guide.state }),
    yieldEogToken: true,
    contextShift: { strategy: noShift },
  });
  let first = true;
  let ended: 'stop' | 'length' = 'stop';
  let contextFull = false;
  let next = iterator.next();
  try {
    for (;;) {
      const { value, done } = await next;
      signal.throwIfAborted();
      if (done === true || value === undefined) break;
      const { token } = value;
      output += 1;
      if (first) hooks.onProgress({ total: tokens.length, cached, processed: tokens.length });
      first = false;
      if (model.isEogToken(token)) break;
      sampled.push(token);
      // The token just sampled takes a place of its own when the next one is asked for.
      const full = sequence.nextTokenIndex >= sequence.contextSize - 1;
      const isLast = output >= limit || full;
      const mayEndNow = mayEnd && thoughtMayBeSpent(job, said);
      if (!isLast && !mayEndNow) {
        next = iterator.next();
        // Told when it is awaited, unless the answer has ended by then.
        next.catch(() => undefined);
        await underWay();
      }
      const chance = job.logprobs === true ? tokenChance(model, token, value.probabilities, chances) : undefined;
      if (said.push(token, chance)) break;
      if (isLast) {
        ended = 'length';
        contextFull = full && output < limit;
        break;
      }
      if (mayEndNow) next = iterator.next([token, ...endThought()]);
    }
  } finally {
    await iterator.return();
  }
  const finished = said.finish(ended);
  if (said.brokenCall !== null) throw unreadable(said.brokenCall);
  return {
    ...finished,
    ...(contextFull && finished.finishReason === 'length' ? { contextFull } : {}),
    usage: { input: promptLength - cached, cached, output, reasoning: said.reasoningTokens },
    durationMs: Math.round(performance.now() - startedAt),
  };
}

/**
 * The model is at its next step, in a thread of its own: time to read what it said in the last one. Its steps begin in a
 * turn after the one in which they are asked for, so that jobs share them.
 */
const underWay = (): Promise<void> => new Promise(resolve => setImmediate(() => setImmediate(resolve)));

/** Brings the reader of the answer to where the other worker stood. True when the answer was over there. */
function restored(said: Answer, resume: ResumePoint, prompt: string, dialect: Dialect): boolean {
  if (resume.ids !== null) return said.restore(resume.ids);
  return said.restoreText(writtenSoFar(resume, startsInThought(prompt, dialect), dialect), resume.reasoningTokens);
}

/** Of what is gone on with from its text. */
function wordsOf(model: LlamaModel, resume: ResumePoint, prompt: string, dialect: Dialect): Token[] | null {
  return resume.ids === null
    ? model.tokenize(writtenSoFar(resume, startsInThought(prompt, dialect), dialect), true)
    : null;
}

/** Shifting would lose the beginning of a conversation without a word. All lengths are checked, so this is never called. */
export const noShift = (): never => {
  throw new EngineError('internal_error', 'the context is full');
};
