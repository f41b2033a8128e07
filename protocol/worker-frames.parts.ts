/**
 * The objects that several worker frames share (spec/worker-protocol §4.2). A required field is one that the reference
 * always writes; reading fills it with its zero value when it is missing.
 */
import Type, { type Static } from 'typebox';
import { Base64, Int, Ordinal, Raw } from './schema.ts';

/** What a worker says about its engine. `pending` as backend and model: it does not know yet. */
export const Capabilities = Type.Object({
  backend: Type.String(),
  model: Type.String(),
  ctx_size: Int,
  vram_gb: Type.Optional(Type.Number()),
  parameters: Type.Optional(Type.String()),
  total_slots: Type.Optional(Int),
  model_capabilities: Type.Optional(Type.Array(Type.String())),
});
export type Capabilities = Static<typeof Capabilities>;

/** What the router wants the worker to be. */
export const Policy = Type.Object({
  worker_type: Type.Optional(Type.String()),
  cli_type: Type.Optional(Type.String()),
  builtin_tools: Type.Optional(Type.Array(Type.String())),
  model_name: Type.String(),
  quantization: Type.String(),
  context_size: Int,
  max_parallelism: Int,
  parameters: Type.Optional(Type.String()),
  family: Type.Optional(Type.String()),
  capabilities: Type.Array(Type.String()),
});
export type Policy = Static<typeof Policy>;

/** `arguments` is JSON text. */
export const WireToolCall = Type.Object({
  id: Type.String(),
  type: Type.String(),
  function: Type.Object({ name: Type.String(), arguments: Type.String() }),
});
export type WireToolCall = Static<typeof WireToolCall>;

const tokenChance = {
  token: Type.String(),
  logprob: Type.Number(),
  /** Absent: the token is only a part of a character. */
  bytes: Type.Optional(Type.Array(Int)),
};
/** Version 2: a token of a text and how likely it was. */
export const WireLogprob = Type.Object({ ...tokenChance, top_logprobs: Type.Array(Type.Object(tokenChance)) });

/** Version 2: the next piece of a tool call's arguments; its first piece has the id and the name. */
export const WireCallPiece = Type.Object({
  index: Int,
  id: Type.Optional(Type.String()),
  name: Type.Optional(Type.String()),
  arguments: Type.String(),
});

/** Version 2: how one choice of several has ended. */
export const WireChoiceEnd = Type.Object({
  finish_reason: Type.Union([Type.Literal('stop'), Type.Literal('length'), Type.Literal('tool_calls')]),
  tool_calls: Type.Optional(Type.Array(WireToolCall)),
});

/** Version 2: what to make vectors of, each a text or its tokens, and how long the vectors are. */
export const Embed = Type.Object({
  inputs: Type.Array(Type.Union([Type.String(), Type.Array(Int)])),
  dimensions: Type.Optional(Int),
});

export const WireTool = Type.Object({
  type: Type.String(),
  function: Type.Object({
    name: Type.String(),
    description: Type.Optional(Type.String()),
    parameters: Type.Optional(Raw),
    /** Version 2. */
    strict: Type.Optional(Type.Boolean()),
  }),
});
export type WireTool = Static<typeof WireTool>;

/** `content` is text, a list of parts, or null. */
export const WireMessage = Type.Object({
  role: Type.String(),
  content: Raw,
  tool_call_id: Type.Optional(Type.String()),
  tool_calls: Type.Optional(Type.Array(WireToolCall)),
  /** Version 2. */
  name: Type.Optional(Type.String()),
  /** Version 2: the chain of thought of an earlier answer, for templates that want it. */
  reasoning_content: Type.Optional(Type.String()),
});
export type WireMessage = Static<typeof WireMessage>;

/** A tool that a CLI worker's program has used by itself. */
export const BuiltinToolUse = Type.Object({
  id: Type.String(),
  name: Type.String(),
  arguments: Type.String(),
  result: Type.Optional(Type.String()),
});

export const FileAttachment = Type.Object({
  name: Type.String(),
  mime_type: Type.Optional(Type.String()),
  data: Type.String(),
});

export const ImagePart = Type.Object({ mime_type: Type.String(), data: Base64 });
export type ImagePart = Static<typeof ImagePart>;

/** How far a worker has come with a job: the last token frame it sent (worker) or that is in the log (router). */
export const JobMark = Type.Object({ job_id: Type.String(), attempt: Ordinal, seq: Int });
export type JobMark = Static<typeof JobMark>;

/**
 * Version 2: what an earlier worker said of a job already, for the one that goes on with it. `tokens` counts all of it,
 * also what is no text (a tool call begun). `ids` are these tokens, and only there if both have the same model file.
 */
const resumed = {
  text: Type.String(),
  reasoning: Type.String(),
  tokens: Int,
  reasoning_tokens: Int,
  ids: Type.Optional(Type.Array(Int)),
  /** Tool calls that were told of in pieces, the last of them perhaps not whole. */
  calls: Type.Optional(Type.Array(Type.Object({ id: Type.String(), name: Type.String(), arguments: Type.String() }))),
  /** This choice is over (`n` above 1). */
  ended: Type.Optional(Type.Boolean()),
};
export const Resume = Type.Object({
  ...resumed,
  /** The choices after the first that have begun (`n` above 1). */
  others: Type.Optional(Type.Array(Type.Object(resumed))),
});
export type Resume = Static<typeof Resume>;
