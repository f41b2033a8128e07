/** A `job` frame as the engine wants it. What this engine cannot do, the worker does not offer. */
import type { Resume } from '../../protocol/worker-frames.parts.ts';
import type { JobFrame } from '../../protocol/worker-frames.ts';
import type { EngineJob, ResumePoint } from '../engine/engine.ts';

export function engineJob(frame: JobFrame): EngineJob {
  return {
    messages: frame.messages,
    prompt: frame.prompt,
    embed: frame.embed,
    tools: frame.tool_choice === 'none' ? [] : frame.tools,
    toolChoice: frame.tool_choice,
    responseFormat: frame.response_format,
    parallelToolCalls: frame.parallel_tool_calls,
    stop: frame.stop,
    choices: frame.n,
    logprobs: frame.logprobs,
    topLogprobs: frame.top_logprobs,
    maxTokens: frame.max_tokens,
    reasoningEffort: frame.reasoning_effort,
    thinkingBudget: frame.thinking_budget_tokens,
    templateOptions: frame.template_options,
    image: imageOf(frame.data),
    temperature: frame.temperature,
    topP: frame.top_p,
    topK: frame.top_k,
    minP: frame.min_p,
    seed: frame.seed,
    repeatPenalty: frame.repeat_penalty,
    frequencyPenalty: frame.frequency_penalty,
    presencePenalty: frame.presence_penalty,
    logitBias: frame.logit_bias,
    resume: frame.resume === undefined ? undefined : resumePoint(frame.resume),
  };
}

/** What a tool of another server wants of an image stands in `data.arguments`. */
function imageOf(data: unknown): Readonly<Record<string, unknown>> | undefined {
  const wanted = typeof data === 'object' && data !== null && 'arguments' in data ? data.arguments : null;
  return typeof wanted === 'object' && wanted !== null ? { ...wanted } : undefined;
}

const resumePoint = ({ others, ...first }: Resume): ResumePoint => ({
  ...choicePoint(first),
  others: others?.map(choicePoint),
});

const choicePoint = ({ text, reasoning, tokens, reasoning_tokens, ids, calls, ended }: Omit<Resume, 'others'>) => ({
  text,
  reasoning,
  tokens,
  reasoningTokens: reasoning_tokens,
  ids: ids ?? null,
  calls,
  ended,
});
