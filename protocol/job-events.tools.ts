/**
 * The facts of a job's tool rounds, as its log keeps them for ever (rules as in job-events.ts).
 *
 * A round is an answer of the model that calls tools which the router runs. Each call has an id of its own, which is its
 * idempotency key: that of the tool job at the tools worker, the same one however often it is sent.
 */
import Type, { type Static } from 'typebox';
import { ImagePart } from './worker-frames.parts.ts';

const At = Type.Integer();
const Count = Type.Integer({ minimum: 0 });

/** A tool that the router runs when the model calls it. `parameters` is a JSON schema. */
export const RouterTool = Type.Object({
  name: Type.String(),
  description: Type.String(),
  parameters: Type.Unknown(),
  /** Running it twice is the same as running it once. */
  idempotent: Type.Optional(Type.Boolean()),
});
export type RouterTool = Static<typeof RouterTool>;

/** As workers are offered it, beside the caller's tools. */
export const asOffered = ({ name, description, parameters }: RouterTool) => ({
  type: 'function' as const,
  function: { name, description, parameters },
});

/** What the router adds to a request, decided when it came in. */
export const RouterTools = Type.Object({
  offered: Type.Array(RouterTool),
  /** After so many rounds the model must answer. */
  roundsMax: Count,
  /** How long the calls of a round may take, ms. */
  callMs: Count,
  /** Some worker can be shown images. */
  seesImages: Type.Optional(Type.Boolean()),
});
export type RouterTools = Static<typeof RouterTools>;

export const RoundCall = Type.Object({
  callId: Type.String(),
  /** Its id in the conversation. */
  toolCallId: Type.String(),
  name: Type.String(),
  /** JSON text, as the model wrote it. */
  arguments: Type.String(),
});
export type RoundCall = Static<typeof RoundCall>;

/** The model's answer is complete and calls tools of the router. Its worker is free. */
export const ToolRoundStarted = Type.Object({
  type: Type.Literal('toolRound.started'),
  at: At,
  attempt: Type.Integer({ minimum: 1 }),
  /** From 1. */
  round: Type.Integer({ minimum: 1 }),
  calls: Type.Array(RoundCall),
  /** Of this answer alone. */
  usage: Type.Object({ input: Count, cached: Count, output: Count, reasoning: Count }),
  deadlineAt: At,
});
/** The call is about to be sent to a tools worker: from here on its outcome may be unknown. */
export const ToolCallStarted = Type.Object({
  type: Type.Literal('toolCall.started'),
  at: At,
  callId: Type.String(),
  /** Id of the worker's connection. */
  workerId: Type.String(),
  /** Of the worker's process (protocol version 2). */
  workerInstance: Type.Optional(Type.String()),
});
/** The call waits for a tools worker again. `not_begun`: the worker said that it has not run it. */
export const ToolCallReturned = Type.Object({
  type: Type.Literal('toolCall.returned'),
  at: At,
  callId: Type.String(),
  reason: Type.Union([Type.Literal('not_begun'), Type.Literal('worker_lost')]),
});
/** What the model is told of the call; `error` wins. */
export const ToolCallFinished = Type.Object({
  type: Type.Literal('toolCall.finished'),
  at: At,
  callId: Type.String(),
  by: Type.Union([Type.Literal('worker'), Type.Literal('router')]),
  result: Type.Optional(Type.Unknown()),
  images: Type.Optional(Type.Array(ImagePart)),
  error: Type.Optional(Type.String()),
  /** With `error`: a code of tool results (worker-frames.tools.ts). */
  code: Type.Optional(Type.String()),
});
/** All calls are finished: the model goes on. */
export const ToolRoundFinished = Type.Object({
  type: Type.Literal('toolRound.finished'),
  at: At,
  round: Type.Integer({ minimum: 1 }),
});

export type ToolRoundStarted = Static<typeof ToolRoundStarted>;
export type ToolCallFinished = Static<typeof ToolCallFinished>;
export type ToolRoundFinished = Static<typeof ToolRoundFinished>;
/** What happens to one call of the round. */
export type ToolCallEvent =
  | Static<typeof ToolCallStarted>
  | Static<typeof ToolCallReturned>
  | Static<typeof ToolCallFinished>;
