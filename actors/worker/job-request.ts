/**
 * A `job` frame as the engine wants it. What this worker cannot do is refused by name: a field that is dropped without a
 * word gives an answer that looks right and is not.
 */
import type { Resume } from '../../protocol/worker-frames.parts.ts';
import type { JobFrame } from '../../protocol/worker-frames.ts';
import { EngineError, type EngineJob, type ResumePoint } from '../engine/engine.ts';

export function engineJob(frame: JobFrame): EngineJob {
  refuseUnsupported(frame);
  return {
    messages: frame.messages,
    tools: frame.tool_choice === 'none' ? [] : frame.tools,
    toolChoice: frame.tool_choice,
    responseFormat: frame.response_format,
    parallelToolCalls: frame.parallel_tool_calls,
    stop: frame.stop,
    maxTokens: frame.max_tokens,
    reasoningEffort: frame.reasoning_effort,
    templateOptions: frame.template_options,
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

const resumePoint = ({ text, reasoning, tokens, reasoning_tokens, ids }: Resume): ResumePoint => ({
  text,
  reasoning,
  tokens,
  reasoningTokens: reasoning_tokens,
  ids: ids ?? null,
});

function refuseUnsupported({ n, logprobs, top_logprobs }: JobFrame): void {
  if (n !== undefined && n > 1) throw unsupported('n', String(n), '1');
  if (logprobs === true || (top_logprobs ?? 0) > 0) throw unsupported('logprobs', 'true', 'false');
}

const unsupported = (field: string, given: string, can: string): EngineError =>
  new EngineError('unsupported_parameter', `${field}: this worker cannot do ${given}, only ${can}`);
