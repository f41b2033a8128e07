/**
 * Every frame that a GPU, CLI or tools worker and a router exchange (PROTOCOL.md; spec/worker-protocol §4).
 *
 * One JSON object in one WebSocket message, told apart by `type`. Version 1 is what reference peers speak; fields and
 * types of version 2 are marked and are only used after both `hello` and `hello_ack` said so. The first field of a frame
 * is `type` and the second, if it is about a job, `job_id`: the router routes frames from their first bytes.
 */
import Type, { type Static } from 'typebox';
import { Int, NumberMap, OpenMap, Ordinal, Raw, StringMap } from './schema.ts';
import { type FrameOf, frameCodec } from './worker-frames.codec.ts';
import {
  BuiltinToolUse,
  Capabilities,
  Embed,
  FileAttachment,
  ImagePart,
  JobMark,
  Policy,
  Resume,
  WireCallPiece,
  WireChoiceEnd,
  WireLogprob,
  WireMessage,
  WireTool,
  WireToolCall,
} from './worker-frames.parts.ts';
import {
  PolicyReloaded,
  ReloadPolicy,
  ToolAck,
  ToolJob,
  ToolProgress,
  ToolResult,
  ToolsCapabilities,
  ToolsChanged,
  ToolsPolicy,
  ValidateConfiguration,
  ValidateConfigurationResult,
} from './worker-frames.tools.ts';

/** The newest version we speak. */
export const protocolVersion = 2;
/** What is spoken on a connection: the lower of the two; a peer that names none speaks version 1. */
export const agreedVersion = (theirs: number | undefined): 1 | 2 => (theirs !== undefined && theirs >= 2 ? 2 : 1);

const { Optional, Literal } = Type;
const Text = Type.String();
const Flag = Type.Boolean();
/** Fields of a frame about a job, in their place. */
const ofJob = <const T extends string>(type: T) => ({ type: Literal(type), job_id: Text });

export const Hello = Type.Object({
  type: Literal('hello'),
  /** The worker's key; a tools worker's too. */
  gpu_key: Text,
  worker_type: Optional(Text),
  capabilities: Capabilities,
  tools_capabilities: Optional(ToolsCapabilities),
  /** Version 2, as everything below. */
  protocol_version: Optional(Int),
  /** Stays the same for the life of the worker's process. */
  instance_id: Optional(Text),
  /** False while the model is being fetched or loaded: no jobs yet. */
  ready: Optional(Flag),
  /** Hash of the model file: workers with the same one continue each other's jobs by token ids. */
  model_file: Optional(Text),
  /** What it can do beyond plain answers (features.ts); those not named here, it cannot. */
  features: Optional(Type.Array(Text)),
  /** Jobs that a worker that redials still holds. */
  jobs: Optional(Type.Array(JobMark)),
  /** Of a tools worker that redials: the tool jobs that it runs, or whose results are not acknowledged. */
  tool_jobs: Optional(Type.Array(Text)),
});

export const HelloAck = Type.Object({
  type: Literal('hello_ack'),
  success: Flag,
  gpu_id: Optional(Text),
  policy: Optional(Policy),
  tools_policy: Optional(ToolsPolicy),
  error: Optional(Text),
  /** The least wait before the next attempt. Camel case on the wire. */
  reconnectInSeconds: Optional(Int),
  /** Version 2, as everything below. */
  protocol_version: Optional(Int),
  /** How often, at most, `ack` is sent. */
  ack_interval_ms: Optional(Int),
  /** Of the worker's `jobs`: those it goes on with, and what the log holds of them. It drops the others. */
  jobs: Optional(Type.Array(JobMark)),
});

export const Heartbeat = Type.Object({ type: Literal('heartbeat') });
export const HeartbeatAck = Type.Object({ type: Literal('heartbeat_ack') });
export const Config = Type.Object({
  type: Literal('config'),
  capabilities: Capabilities,
  /** Version 2, as everything below. */
  model_file: Optional(Text),
  features: Optional(Type.Array(Text)),
});
export const ConfigAck = Type.Object({ type: Literal('config_ack'), success: Flag, error: Optional(Text) });
export const PolicyUpdate = Type.Object({ type: Literal('policy_update'), policy: Optional(Policy) });

/** Version 2: what a worker is busy with before and after it takes jobs. `progress` is a share, 0–1. */
export const Status = Type.Object({
  type: Literal('status'),
  state: Type.Union([Literal('downloading'), Literal('loading'), Literal('ready'), Literal('draining')]),
  progress: Optional(Type.Number()),
  message: Optional(Text),
});
/** Version 2: finish what you have, take nothing new. */
export const Drain = Type.Object({ type: Literal('drain') });

export const Job = Type.Object({
  ...ofJob('job'),
  reference_id: Optional(Text),
  model: Optional(Text),
  messages: Type.Array(WireMessage),
  tools: Optional(Type.Array(WireTool)),
  temperature: Optional(Type.Number()),
  max_tokens: Optional(Int),
  reasoning_effort: Optional(Text),
  data: Optional(Raw),
  /** Names in `tools` that the API caller runs itself. */
  caller_tools: Optional(Type.Array(Text)),
  compaction_session_id: Optional(Text),
  credentials: Optional(StringMap),
  /** Version 2, as everything below. */
  attempt: Optional(Ordinal),
  top_p: Optional(Type.Number()),
  top_k: Optional(Int),
  min_p: Optional(Type.Number()),
  stop: Optional(Type.Array(Text)),
  seed: Optional(Int),
  frequency_penalty: Optional(Type.Number()),
  presence_penalty: Optional(Type.Number()),
  repeat_penalty: Optional(Type.Number()),
  logit_bias: Optional(NumberMap),
  response_format: Optional(Raw),
  tool_choice: Optional(Raw),
  parallel_tool_calls: Optional(Flag),
  logprobs: Optional(Flag),
  top_logprobs: Optional(Int),
  n: Optional(Int),
  /** Tokens after which a thought is ended, and the answer goes on behind it. */
  thinking_budget_tokens: Optional(Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER })),
  /** Variables for the model's chat template. */
  template_options: Optional(OpenMap),
  /** Go on with this text as it is, without a chat template; `messages` say the same for a worker that cannot. */
  prompt: Optional(Text),
  /** Make vectors of these, and no text. */
  embed: Optional(Embed),
  /** Go on from here: this much of the answer is out already. */
  resume: Optional(Resume),
});

/** Version 2: how many tokens would a prompt of these have? Asked at any time, of a worker that is ready. */
export const CountTokens = Type.Object({
  type: Literal('count_tokens'),
  count_id: Text,
  messages: Type.Array(WireMessage),
  tools: Optional(Type.Array(WireTool)),
  reasoning_effort: Optional(Text),
  template_options: Optional(OpenMap),
});
/** Version 2: the answer to `count_tokens`. Without `input_tokens`, it cannot be told, and `error` says why. */
export const TokenCount = Type.Object({
  type: Literal('token_count'),
  count_id: Text,
  input_tokens: Optional(Int),
  error: Optional(Text),
});

/** `attempt` (version 2): which one is meant; without it, whatever runs under that id. */
export const Cancel = Type.Object({ ...ofJob('cancel'), attempt: Optional(Ordinal) });
/** Version 2: every token frame up to `seq` is in the log, the worker need not keep it; `ended`: nor the end of the job. */
export const Ack = Type.Object({ ...ofJob('ack'), attempt: Ordinal, seq: Int, ended: Optional(Flag) });

export const Token = Type.Object({
  ...ofJob('token'),
  token: Text,
  /** Chain of thought. */
  reasoning: Optional(Flag),
  /** Version 2, as everything below. */
  attempt: Optional(Ordinal),
  /** Numbers the token frames of a job and attempt: 1, 2, 3 … */
  seq: Optional(Ordinal),
  /** Ids of the tokens whose text this is. */
  ids: Optional(Type.Array(Int)),
  /** Which choice, of a job with `n` above 1; 0 if absent. */
  choice: Optional(Int),
  logprobs: Optional(Type.Array(WireLogprob)),
  /** A tool call as it is written; `token` is empty then. Whole calls come at the end all the same. */
  call: Optional(WireCallPiece),
  /** The choice ends here (`n` above 1). */
  end: Optional(WireChoiceEnd),
});
export const ToolGenerating = Type.Object({ ...ofJob('tool_generating'), attempt: Optional(Ordinal) });
/** Prompt tokens. Version 2 sends it at least every second while a prompt is evaluated. */
export const PromptProgress = Type.Object({
  ...ofJob('prompt_progress'),
  total: Int,
  cached: Int,
  processed: Int,
  attempt: Optional(Ordinal),
});
export const BuiltinTool = Type.Object({
  ...ofJob('builtin_tool'),
  id: Text,
  name: Text,
  arguments: Text,
  result: Text,
  attempt: Optional(Ordinal),
});

export const Complete = Type.Object({
  ...ofJob('complete'),
  full_response: Text,
  post_tool_content: Optional(Text),
  reasoning_content: Optional(Text),
  duration_ms: Optional(Int),
  /** Prompt tokens that were reused; `input_tokens` are those evaluated anew. In version 2, too. */
  cache_tokens: Optional(Int),
  input_tokens: Optional(Int),
  output_tokens: Optional(Int),
  reasoning_tokens: Optional(Int),
  tool_calls: Optional(Type.Array(WireToolCall)),
  builtin_tool_uses: Optional(Type.Array(BuiltinToolUse)),
  attachments: Optional(Type.Array(FileAttachment)),
  total_cost_usd: Optional(Type.Number()),
  provider_session_id: Optional(Text),
  rate_limit_status: Optional(Text),
  rate_limit_resets_at: Optional(Int),
  rate_limit_type: Optional(Text),
  /** Version 2, as everything below. */
  attempt: Optional(Ordinal),
  /** Of the last token frame; 0 when there was none. */
  seq: Optional(Int),
  finish_reason: Optional(Type.Union([Literal('stop'), Literal('length'), Literal('tool_calls')])),
  /** The one of the job's `stop` texts that ended it. */
  stop_sequence: Optional(Text),
  /** `finish_reason` is `length` because the context was full. */
  context_full: Optional(Flag),
  /** Of a job to `embed`, in its order: base64 of little-endian 32-bit floats. */
  embeddings: Optional(Type.Array(Text)),
});

/** From a worker: the job failed. From a router: the handshake is refused. */
export const Failure = Type.Object({
  type: Literal('error'),
  job_id: Optional(Text),
  error: Text,
  details: Optional(Text),
  /** Version 2, as everything below. Open: a code that the reader does not know means `worker_error`. */
  code: Optional(Text),
  attempt: Optional(Ordinal),
});
export const workerErrorCodes = [
  'context_length_exceeded',
  'invalid_request',
  'engine_crashed',
  'malformed_tool_call',
  'timeout',
  'cancelled',
  'overloaded',
  'worker_error',
] as const;
export type WorkerErrorCode = (typeof workerErrorCodes)[number];

/** Version 2: the job that the router cancelled has stopped; nothing more will be said about it. */
export const Cancelled = Type.Object({ ...ofJob('cancelled'), attempt: Optional(Ordinal) });

/** The provider's limit is reached: run the job elsewhere or later. */
export const JobOverload = Type.Object({
  ...ofJob('job.overload'),
  retry_after_secs: Optional(Int),
  rate_limit_status: Optional(Text),
  rate_limit_resets_at: Optional(Int),
  rate_limit_type: Optional(Text),
  attempt: Optional(Ordinal),
});
export const ToolCallRequest = Type.Object({
  ...ofJob('job.tool.call.request'),
  call_id: Text,
  tool_name: Text,
  arguments: Text,
  attempt: Optional(Ordinal),
});
export const ToolCallResult = Type.Object({
  ...ofJob('job.tool.call.result'),
  call_id: Text,
  result: Text,
  is_error: Optional(Flag),
  image_parts: Optional(Type.Array(ImagePart)),
});

/** What a worker may send. */
export const workerFrames = {
  hello: Hello,
  heartbeat: Heartbeat,
  config: Config,
  status: Status,
  token_count: TokenCount,
  token: Token,
  tool_generating: ToolGenerating,
  prompt_progress: PromptProgress,
  builtin_tool: BuiltinTool,
  complete: Complete,
  error: Failure,
  cancelled: Cancelled,
  'job.overload': JobOverload,
  'job.tool.call.request': ToolCallRequest,
  tool_result: ToolResult,
  tool_progress: ToolProgress,
  tools_changed: ToolsChanged,
  policy_reloaded: PolicyReloaded,
  validate_configuration_result: ValidateConfigurationResult,
} as const;

/** What a router may send. */
export const routerFrames = {
  hello_ack: HelloAck,
  heartbeat_ack: HeartbeatAck,
  config_ack: ConfigAck,
  policy_update: PolicyUpdate,
  drain: Drain,
  count_tokens: CountTokens,
  job: Job,
  cancel: Cancel,
  ack: Ack,
  error: Failure,
  'job.tool.call.result': ToolCallResult,
  tool_job: ToolJob,
  tool_ack: ToolAck,
  reload_policy: ReloadPolicy,
  validate_configuration: ValidateConfiguration,
} as const;

export { countFrame, jobFrame, usageOf } from './worker-frames.job.ts';

export type WorkerFrame = FrameOf<typeof workerFrames>;
export type RouterFrame = FrameOf<typeof routerFrames>;
export type HelloFrame = Static<typeof Hello>;
export type HelloAckFrame = Static<typeof HelloAck>;
export type ConfigFrame = Static<typeof Config>;
export type StatusFrame = Static<typeof Status>;
export type JobFrame = Static<typeof Job>;
export type CountTokensFrame = Static<typeof CountTokens>;
export type TokenCountFrame = Static<typeof TokenCount>;
export type TokenFrame = Static<typeof Token>;
export type PromptProgressFrame = Static<typeof PromptProgress>;
export type CompleteFrame = Static<typeof Complete>;
export type ErrorFrame = Static<typeof Failure>;
export type OverloadFrame = Static<typeof JobOverload>;

const fromWorker = frameCodec(workerFrames);
const fromRouter = frameCodec(routerFrames);

/** Reads a frame that a worker sent. */
export const parseWorkerFrame = fromWorker.parse;
/** The same for what JSON.parse gave already. */
export const readWorkerFrame = fromWorker.read;
/** Reads a frame that a router sent. */
export const parseRouterFrame = fromRouter.parse;

/** The frame as text, `type` first and `job_id` second; integers plain; what is undefined is left out. */
export function serialiseFrame(frame: WorkerFrame | RouterFrame): string {
  return isFromRouter(frame) ? fromRouter.serialise(frame) : fromWorker.serialise(frame);
}

const isFromRouter = (frame: WorkerFrame | RouterFrame): frame is RouterFrame =>
  Object.hasOwn(routerFrames, frame.type);
