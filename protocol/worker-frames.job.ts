/**
 * Between a job as the log knows it and the frames that workers know: a request becomes a `job` frame, and the counts of
 * a `complete` frame become the log's.
 *
 * What stays true: a version 1 worker gets version 1 fields only, so that its log shows nothing it does not know; the
 * same request gives the same frame.
 */
import { defined, fit, type OrUndefined } from './fit.ts';
import type { JobRequest, Usage } from './job-events.ts';
import { type Resume, WireMessage, WireTool } from './worker-frames.parts.ts';
import type { CompleteFrame, CountTokensFrame, JobFrame } from './worker-frames.ts';

const fitMessage = fit(WireMessage, { missing: 'zero', whole: true });
const fitTool = fit(WireTool, { missing: 'zero', whole: true });

/** The frame that hands a job to a worker. `version` is the one agreed on with that worker; only 2 knows `resume`. */
export function jobFrame(
  jobId: string,
  attempt: number,
  request: JobRequest,
  version: 1 | 2,
  resume?: Resume,
): JobFrame {
  const tools = (request.tools ?? []).map(tool => wireTool(tool, version));
  return defined<JobFrame>({
    type: 'job',
    job_id: jobId,
    messages: request.messages.map(message => wireMessage(message, version)),
    tools: tools.length > 0 ? tools : undefined,
    temperature: request.temperature,
    max_tokens: request.maxTokens,
    reasoning_effort: request.reasoningEffort,
    // Every tool of a request is the caller's: without their names a CLI worker would try to run them through the router.
    caller_tools: tools.length > 0 ? tools.map(tool => tool.function.name) : undefined,
    ...(version === 1 ? {} : { ...beyondVersion1(attempt, request), resume }),
  });
}

/** The frame that asks a worker how long the prompt of such a job would be. */
export function countFrame(countId: string, request: JobRequest): CountTokensFrame {
  const tools = (request.tools ?? []).map(tool => wireTool(tool, 2));
  return defined<CountTokensFrame>({
    type: 'count_tokens',
    count_id: countId,
    messages: request.messages.map(message => wireMessage(message, 2)),
    tools: tools.length > 0 ? tools : undefined,
    reasoning_effort: request.reasoningEffort,
    template_options: request.templateOptions,
  });
}

function beyondVersion1(attempt: number, request: JobRequest): Partial<OrUndefined<JobFrame>> {
  return {
    attempt,
    top_p: request.topP,
    top_k: request.topK,
    min_p: request.minP,
    stop: request.stop,
    seed: request.seed,
    frequency_penalty: request.frequencyPenalty,
    presence_penalty: request.presencePenalty,
    repeat_penalty: request.repeatPenalty,
    logit_bias: request.logitBias,
    response_format: request.responseFormat,
    tool_choice: request.toolChoice,
    parallel_tool_calls: request.parallelToolCalls,
    logprobs: request.logprobs,
    top_logprobs: request.topLogprobs,
    n: request.choices,
    thinking_budget_tokens: request.thinkingBudget,
    template_options: request.templateOptions,
    prompt: request.prompt,
    embed: request.embed,
  };
}

function wireMessage(message: JobRequest['messages'][number], version: 1 | 2): WireMessage {
  // The request was checked where it came in; fitting puts its fields in the wire's order.
  const { name, reasoning_content, ...wire } = fitMessage(message) as WireMessage;
  const role = wire.role === 'developer' ? 'system' : wire.role;
  return version === 1 ? { ...wire, role } : defined<WireMessage>({ ...wire, role, name, reasoning_content });
}

function wireTool(tool: NonNullable<JobRequest['tools']>[number], version: 1 | 2): WireTool {
  // Checked where it came in, as the messages.
  const wire = fitTool(tool) as WireTool;
  const { strict, ...rest } = wire.function;
  return version === 1 ? { ...wire, function: rest } : wire;
}

/**
 * A worker counts prompt tokens that it evaluated anew and those that it reused apart; the log's `input` holds both
 * (spec/http-api §8.1 row 27).
 */
export function usageOf(frame: CompleteFrame): Usage {
  const cached = count(frame.cache_tokens);
  return {
    input: count(frame.input_tokens) + cached,
    cached,
    output: count(frame.output_tokens),
    reasoning: count(frame.reasoning_tokens),
  };
}

const count = (tokens: number | undefined): number => Math.max(0, tokens ?? 0);
