/** Tool rounds on a shard: between what the front says of calls, the frames of tools workers, and the job's decisions. */
import type { Decision } from '../../machines/job.decide.ts';
import type { Job } from '../../machines/job.ts';
import { finishCall, loseCall, refuseCall, startCall } from '../../machines/tool-round.decide.ts';
import { callOf, type ToolAction } from '../../machines/tool-round.ts';
import type { RouterTools } from '../../protocol/job-events.tools.ts';
import type { AnswerShape, JobRequest } from '../../protocol/job-events.ts';
import type { Effect, ToolInput, ToolOutcome } from '../../protocol/shard-messages.ts';
import type { ToolJobFrame, ToolResultFrame } from '../../protocol/worker-frames.tools.ts';
import { parseWorkerFrame } from '../../protocol/worker-frames.ts';

type JobToolInput = Exclude<ToolInput, { kind: 'directAnswered' | 'toolProgressed' }>;

export function toolDecision(job: Job, input: JobToolInput): Decision {
  switch (input.kind) {
    case 'toolMatched':
      return startCall(job, input);
    case 'toolAnswered':
      return finishCall(job, input.workerId, resultIn(input.text, input.callId), input.at);
    case 'toolLost':
      return loseCall(job, input.callId, input.at);
    case 'toolRefused':
      return refuseCall(job, input.callId, input.code, input.message, input.at);
  }
}

/**
 * The router's tools that go with a request. The caller's own tools keep their names; a raw prompt, several choices, and
 * a caller that wants no tool to be called get none.
 */
export function toolsFor(
  { request, answer }: { readonly request: JobRequest; readonly answer: AnswerShape },
  { routerTools, hostedTools }: { readonly routerTools?: RouterTools; readonly hostedTools?: RouterTools },
): RouterTools | null {
  const { choices = 1, prompt, toolChoice } = request;
  const tools = routerTools ?? askedFor(answer, hostedTools);
  if (tools === undefined || answer.api === 'openai.completions' || answer.api === 'openai.embeddings') return null;
  if (prompt !== undefined || choices > 1 || toolChoice === 'none') return null;
  const theirs = new Set((request.tools ?? []).map(nameOf));
  const offered = tools.offered.filter(({ name }) => !theirs.has(name));
  return offered.length === 0 ? null : { ...tools, offered };
}

/** Of those that are not offered to everybody. */
function askedFor(answer: AnswerShape, tools: RouterTools | undefined): RouterTools | undefined {
  const { hosted = {} } = answer.api === 'openai.responses' ? answer : {};
  return tools && { ...tools, offered: tools.offered.filter(({ name }) => Object.hasOwn(hosted, name)) };
}

export function sendTool(job: Job, params: Extract<ToolAction, { type: 'sendTool' }>['params']): Effect[] {
  const { jobId, callId, workerId, sentTo, timeoutMs } = params;
  const call = callOf(job.tools, callId);
  if (call === null) return [];
  const frame: ToolJobFrame = {
    type: 'tool_job',
    job_id: callId,
    parent_job_id: jobId,
    // A job's calls share what lasts between calls, such as a browser.
    thread_id: jobId,
    tool_name: call.name,
    tool_call_id: call.toolCallId,
    arguments: JSON.parse(call.arguments),
    timeout_ms: timeoutMs,
    ...(sentTo === null || sentTo === '' ? {} : { sent_to: sentTo }),
  };
  return [{ kind: 'sendTool', workerId, frame }];
}

export function outcomeOf(text: string): ToolOutcome {
  const { result, image_parts: images = [], error, code } = resultIn(text, '');
  const failure = error === undefined || error === '' ? {} : { error, ...(code === undefined ? {} : { code }) };
  return { result: JSON.stringify(result ?? null), images, ...failure };
}

/** Nothing, if it cannot be read: nobody depends on it. */
export function progressIn(text: string, callId: string): Effect[] {
  const parsed = parseWorkerFrame(text);
  return parsed.ok && parsed.frame.type === 'tool_progress'
    ? [{ kind: 'toolProgressed', callId, frame: parsed.frame }]
    : [];
}

/** A result that cannot be read is a failure of the tool: whatever it did, it has done. */
function resultIn(text: string, callId: string): ToolResultFrame {
  const parsed = parseWorkerFrame(text);
  if (parsed.ok && parsed.frame.type === 'tool_result') return parsed.frame;
  const why = parsed.ok ? 'it is no tool_result' : parsed.message;
  const error = `the tools worker sent a broken result: ${why}`;
  return { type: 'tool_result', job_id: callId, parent_job_id: '', tool_call_id: '', tool_name: '', error };
}

function nameOf(tool: Readonly<Record<string, unknown>>): unknown {
  const { function: inner } = tool;
  return typeof inner === 'object' && inner !== null && 'name' in inner ? inner.name : undefined;
}
