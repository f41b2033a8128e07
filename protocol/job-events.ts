/**
 * The facts of a job, as its log keeps them for ever.
 *
 * A log is a Redis stream. One entry is one batch of events: fields `v` (envelope version, now `1`) and `e` (a JSON
 * array of events). The entry's id is `<epoch>-<sequence>`, where the sequence is the running number, within the epoch,
 * of the batch's first event, starting at 1. So the next entry of the same epoch has the sequence `sequence + count`,
 * and a reader that finds anything else treats the log as corrupt.
 *
 * Rules: add optional fields, add types, never change a meaning (old logs replay for ever).
 */
import Type, { type Static } from 'typebox';
import {
  RouterTools,
  ToolCallFinished,
  ToolCallReturned,
  ToolCallStarted,
  ToolRoundFinished,
  ToolRoundStarted,
} from './job-events.tools.ts';

/** Instant, epoch milliseconds. */
const At = Type.Integer();
const Count = Type.Integer({ minimum: 0 });

/** A tool call as the caller sees it; `arguments` is JSON text. */
export const ToolCall = Type.Object({ id: Type.String(), name: Type.String(), arguments: Type.String() });
export type ToolCall = Static<typeof ToolCall>;

/** Token counts; `input` includes `cached`. */
export const Usage = Type.Object({ input: Count, cached: Count, output: Count, reasoning: Count });
export type Usage = Static<typeof Usage>;

/** A token and how likely it was. Without `bytes`, it is only a part of a character. */
const tokenChance = {
  token: Type.String(),
  logprob: Type.Number(),
  bytes: Type.Optional(Type.Array(Type.Integer())),
};
export const TokenLogprob = Type.Object({ ...tokenChance, top_logprobs: Type.Array(Type.Object(tokenChance)) });
export type TokenLogprob = Static<typeof TokenLogprob>;

/** The next piece of a tool call's arguments; its first piece has the id and the name. */
export const CallPiece = Type.Object({
  /** Counts the calls of the choice, from 0. */
  index: Count,
  id: Type.Optional(Type.String()),
  name: Type.Optional(Type.String()),
  arguments: Type.String(),
});
export type CallPiece = Static<typeof CallPiece>;

const FinishReason = Type.Union([Type.Literal('stop'), Type.Literal('length'), Type.Literal('tool_calls')]);
/** How one choice of several has ended. */
export const ChoiceEnd = Type.Object({ finishReason: FinishReason, toolCalls: Type.Optional(Type.Array(ToolCall)) });
export type ChoiceEnd = Static<typeof ChoiceEnd>;

/** What is asked of a model, free of any API's spelling. Message, tool and format objects keep their OpenAI shape. */
export const JobRequest = Type.Object({
  model: Type.String(),
  messages: Type.Array(Type.Record(Type.String(), Type.Unknown())),
  tools: Type.Optional(Type.Array(Type.Record(Type.String(), Type.Unknown()))),
  toolChoice: Type.Optional(Type.Unknown()),
  parallelToolCalls: Type.Optional(Type.Boolean()),
  responseFormat: Type.Optional(Type.Unknown()),
  temperature: Type.Optional(Type.Number()),
  topP: Type.Optional(Type.Number()),
  topK: Type.Optional(Type.Integer()),
  minP: Type.Optional(Type.Number()),
  repeatPenalty: Type.Optional(Type.Number()),
  frequencyPenalty: Type.Optional(Type.Number()),
  presencePenalty: Type.Optional(Type.Number()),
  seed: Type.Optional(Type.Integer()),
  stop: Type.Optional(Type.Array(Type.String())),
  maxTokens: Type.Optional(Type.Integer()),
  choices: Type.Optional(Type.Integer()),
  logprobs: Type.Optional(Type.Boolean()),
  topLogprobs: Type.Optional(Type.Integer()),
  logitBias: Type.Optional(Type.Record(Type.String(), Type.Number())),
  reasoningEffort: Type.Optional(Type.String()),
  /** Tokens after which a thought is ended. */
  thinkingBudget: Type.Optional(Type.Integer({ minimum: 0 })),
  /** A text to go on with, without a chat template; `messages` say the same for workers that only know chats. */
  prompt: Type.Optional(Type.String()),
  /** No text is asked for but vectors of these, texts or their tokens. `messages` is empty then. */
  embed: Type.Optional(
    Type.Object({
      inputs: Type.Array(Type.Union([Type.String(), Type.Array(Type.Integer())])),
      /** Shorter than the model's own. */
      dimensions: Type.Optional(Type.Integer({ minimum: 1 })),
    }),
  ),
  /** Variables for the model's chat template, e.g. `enable_thinking`. */
  templateOptions: Type.Optional(Type.Record(Type.String(), Type.Unknown())),
});
export type JobRequest = Static<typeof JobRequest>;

/** A chat completion of the OpenAI API. */
export const ChatAnswerShape = Type.Object({
  api: Type.Literal('openai.chat'),
  stream: Type.Boolean(),
  /** The `model` to echo. */
  model: Type.String(),
  includeUsage: Type.Optional(Type.Boolean()),
  /** It may be asked for later. */
  store: Type.Optional(Type.Boolean()),
  /** What its caller notes on it, where it is stored. */
  metadata: Type.Optional(Type.Record(Type.String(), Type.String())),
});
/** A message of the Anthropic API. */
export const MessageAnswerShape = Type.Object({
  api: Type.Literal('anthropic.messages'),
  stream: Type.Boolean(),
  model: Type.String(),
  /** The caller wants to know that the model thought, and not what. */
  hideThinking: Type.Optional(Type.Boolean()),
});
/** A response of the OpenAI Responses API. */
export const ResponseAnswerShape = Type.Object({
  api: Type.Literal('openai.responses'),
  stream: Type.Boolean(),
  model: Type.String(),
  /** Whether it may be asked for, and gone on from, later. */
  store: Type.Boolean(),
  /** It is answered for at once, and made without anybody who waits. */
  background: Type.Optional(Type.Boolean()),
  /** The first message is the request's `instructions`, which the next response does not inherit. */
  instructed: Type.Optional(Type.Boolean()),
  /** Id of the response that it goes on from. */
  previous: Type.Optional(Type.String()),
  /** What was thought is shown as its summary, too. */
  summarises: Type.Optional(Type.Boolean()),
  /** What was thought goes out in `encrypted_content` as well, for callers that send back nothing else of it. */
  seals: Type.Optional(Type.Boolean()),
  /** Names of tools that take free text instead of JSON. */
  customTools: Type.Optional(Type.Array(Type.String())),
  /** Tools that were offered in a namespace, by the names under which models know them. */
  namespaced: Type.Optional(Type.Record(Type.String(), Type.Object({ namespace: Type.String(), name: Type.String() }))),
  /** Tools that OpenAI would run and a tools worker runs: the type that the caller knows, by our tool's name. */
  hosted: Type.Optional(Type.Record(Type.String(), Type.String())),
  /** Their calls say what came of them: what a program printed, where a search found something. */
  outputs: Type.Optional(Type.Boolean()),
  sources: Type.Optional(Type.Boolean()),
  /** Fields of the request that every form of the response says again, as they came. */
  echo: Type.Record(Type.String(), Type.Unknown()),
});
/** A completion of the older OpenAI API. */
export const CompletionAnswerShape = Type.Object({
  api: Type.Literal('openai.completions'),
  stream: Type.Boolean(),
  model: Type.String(),
  includeUsage: Type.Optional(Type.Boolean()),
  /** The prompt comes first. */
  echo: Type.Optional(Type.Boolean()),
});
/** Embeddings of the OpenAI API. */
export const EmbeddingAnswerShape = Type.Object({
  api: Type.Literal('openai.embeddings'),
  /** Only for who follows the job by its events. */
  stream: Type.Boolean(),
  model: Type.String(),
  /** `float` if absent. */
  encoding: Type.Optional(Type.Literal('base64')),
});
/** How the caller wants the answer; enough to project the log to the caller's bytes at any time. */
export const AnswerShape = Type.Union([
  ChatAnswerShape,
  MessageAnswerShape,
  ResponseAnswerShape,
  CompletionAnswerShape,
  EmbeddingAnswerShape,
]);
export type AnswerShape = Static<typeof AnswerShape>;
export type MessageAnswerShape = Static<typeof MessageAnswerShape>;
export type CompletionAnswerShape = Static<typeof CompletionAnswerShape>;
export type EmbeddingAnswerShape = Static<typeof EmbeddingAnswerShape>;
export type ResponseAnswerShape = Static<typeof ResponseAnswerShape>;

/** Opens epoch 1 and creates the log. `instance` and `boot` name the writer (design §2a.3). */
export const JobSubmitted = Type.Object({
  type: Type.Literal('job.submitted'),
  at: At,
  jobId: Type.String(),
  instance: Type.String(),
  boot: Type.String(),
  priority: Type.Integer(),
  deadlineAt: At,
  request: JobRequest,
  answer: AnswerShape,
  /** Keyed digest of the caller's `Idempotency-Key`, never the key. */
  idempotency: Type.Optional(Type.String()),
  /** `x-request-id` of the request that submitted the job. */
  requestId: Type.Optional(Type.String()),
  /** Goes on to its end, whether anybody listens or not. */
  background: Type.Optional(Type.Boolean()),
  /** How long it goes on when nobody listens, ms; 0 if absent. */
  keepMs: Type.Optional(Count),
  /** Tools that the router offers the model, beside those of the request, and runs itself. */
  routerTools: Type.Optional(RouterTools),
});
/** Opens a later epoch: another boot has become the writer. Whoever held the job may come back by redial. */
export const JobAdopted = Type.Object({
  type: Type.Literal('job.adopted'),
  at: At,
  instance: Type.String(),
  boot: Type.String(),
});
/** At which worker a job is from here on, and under which number. */
const placement = {
  /** Counts assignments, moves and resumptions, from 1. */
  attempt: Type.Integer({ minimum: 1 }),
  /** Id of the worker's connection. */
  workerId: Type.String(),
  /** Stable id of the worker process (protocol version 2). */
  workerInstance: Type.Optional(Type.String()),
  protocol: Type.Integer({ minimum: 1 }),
  /** Hash of the model file (version 2). */
  modelFile: Type.Optional(Type.String()),
};
export const JobAssigned = Type.Object({ type: Type.Literal('job.assigned'), at: At, ...placement });
/** Text said by the model. Pieces that arrived together are one event; `tokens` says how many. */
export const OutputAppended = Type.Object({
  type: Type.Literal('output.appended'),
  at: At,
  attempt: Type.Integer({ minimum: 1 }),
  kind: Type.Union([Type.Literal('text'), Type.Literal('reasoning')]),
  text: Type.String(),
  tokens: Count,
  /** Which choice (`n > 1`); 0 if absent. */
  choice: Type.Optional(Count),
  /** Token ids (version 2), in order. */
  ids: Type.Optional(Type.Array(Type.Integer())),
  /** The worker's sequence number of the last frame in this event (version 2). */
  seq: Type.Optional(Count),
  /** Of the tokens of this text, where the caller asked for them. */
  logprobs: Type.Optional(Type.Array(TokenLogprob)),
  /**
   * Said by the worker, and in no event's text yet: it may be the beginning of a `stop` text, for which the router looks
   * where the worker does not (version 1). Absent: nothing is held back any more.
   */
  held: Type.Optional(Type.String()),
  /** A tool call as it is written; then `text` is empty. The whole calls stand where the choice or the job ends. */
  call: Type.Optional(CallPiece),
  /** The choice ends with this (`n > 1`); the usage of all of them is in `job.completed`. */
  end: Type.Optional(ChoiceEnd),
});
/** The job has no worker any more and waits for another. */
export const JobRequeued = Type.Object({
  type: Type.Literal('job.requeued'),
  at: At,
  attempt: Type.Integer({ minimum: 1 }),
  reason: Type.Union([
    Type.Literal('worker_lost'),
    Type.Literal('worker_silent'),
    Type.Literal('overloaded'),
    Type.Literal('router_restarted'),
  ]),
});
/**
 * The job has no worker now and goes on from what was said: at a standby, or at its worker come back by redial. Said again
 * by a later writer that finds the job so. (Jobs of version 2 workers.)
 */
export const JobOrphaned = Type.Object({
  type: Type.Literal('job.orphaned'),
  at: At,
  attempt: Type.Integer({ minimum: 1 }),
  /** `frames_lost`, `engine_crashed` and `overloaded`: the worker is there, but cannot go on with the job. */
  reason: Type.Union([
    Type.Literal('worker_lost'),
    Type.Literal('worker_silent'),
    Type.Literal('router_restarted'),
    Type.Literal('frames_lost'),
    Type.Literal('engine_crashed'),
    Type.Literal('overloaded'),
  ]),
  /** The worker's frames up to this number are in the log. */
  seq: Count,
  /** No standby is started before. */
  standbyAt: At,
  /** How long it waits for the worker or a slot. */
  waitsUntilAt: At,
});
/** The worker has come back by redial and goes on with what it never stopped, under a new attempt number. */
export const JobResumed = Type.Object({
  type: Type.Literal('job.resumed'),
  at: At,
  attempt: Type.Integer({ minimum: 1 }),
  /** The attempt in which this worker was sent the job. */
  began: Type.Integer({ minimum: 1 }),
  workerId: Type.String(),
  workerInstance: Type.String(),
  protocol: Type.Integer({ minimum: 1 }),
  modelFile: Type.Optional(Type.String()),
  /** The worker's frames up to this number are in the log. */
  seq: Count,
});
/**
 * Its worker is about to leave, and another one, which has read all that was said, goes on with it under a new attempt
 * number. The former worker has no claim to it any more.
 */
export const JobMoved = Type.Object({ type: Type.Literal('job.moved'), at: At, ...placement });
export const JobCompleted = Type.Object({
  type: Type.Literal('job.completed'),
  at: At,
  attempt: Type.Integer({ minimum: 1 }),
  finishReason: FinishReason,
  usage: Usage,
  toolCalls: Type.Optional(Type.Array(ToolCall)),
  /** The one of the request's `stop` texts that ended the answer. */
  stopSequence: Type.Optional(Type.String()),
  /** The router met it, and the worker, which goes on, is told to cancel. */
  by: Type.Optional(Type.Literal('router')),
  /** `length`, because the model's context was full and not because the answer was as long as allowed. */
  contextFull: Type.Optional(Type.Boolean()),
  /** Of a request to `embed`, in its order: base64 of little-endian 32-bit floats. */
  embeddings: Type.Optional(Type.Array(Type.String())),
  /** Engine time, ms. */
  durationMs: Type.Optional(Count),
});
/** Something real went wrong; `code` is one of codes.ts. */
export const JobFailed = Type.Object({
  type: Type.Literal('job.failed'),
  at: At,
  code: Type.String(),
  message: Type.String(),
  details: Type.Optional(Type.String()),
  /** Who ended it: a worker that says so has stopped by itself, else it is told to cancel. */
  by: Type.Union([Type.Literal('worker'), Type.Literal('router')]),
});
export const JobCancelled = Type.Object({
  type: Type.Literal('job.cancelled'),
  at: At,
  reason: Type.Union([Type.Literal('caller_gone'), Type.Literal('requested'), Type.Literal('shutdown')]),
});
/** The deadline passed. */
export const JobExpired = Type.Object({ type: Type.Literal('job.expired'), at: At, deadlineAt: At });

export const JobEvent = Type.Union([
  JobSubmitted,
  JobAdopted,
  JobAssigned,
  OutputAppended,
  JobRequeued,
  JobOrphaned,
  JobResumed,
  JobMoved,
  ToolRoundStarted,
  ToolCallStarted,
  ToolCallReturned,
  ToolCallFinished,
  ToolRoundFinished,
  JobCompleted,
  JobFailed,
  JobCancelled,
  JobExpired,
]);
export type JobEvent = Static<typeof JobEvent>;
export type JobSubmitted = Static<typeof JobSubmitted>;
export type JobAssigned = Static<typeof JobAssigned>;
export type OutputAppended = Static<typeof OutputAppended>;
export type JobOrphaned = Static<typeof JobOrphaned>;
export type JobResumed = Static<typeof JobResumed>;
export type JobMoved = Static<typeof JobMoved>;
export type JobCompleted = Static<typeof JobCompleted>;
export type JobFailed = Static<typeof JobFailed>;

/** Envelope version written today. Older ones are lifted where logs are read. */
export const envelopeVersion = '1';

const terminalTypes = new Set<string>(['job.completed', 'job.failed', 'job.cancelled', 'job.expired']);
/** Whether `type` ends a job: exactly one such event stands at the end of a finished log. */
export const isTerminal = (type: string): boolean => terminalTypes.has(type);
