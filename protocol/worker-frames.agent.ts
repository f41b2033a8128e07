/**
 * Frames of agent workers (spec/worker-protocol §4.6). Our router serves none: it reads these frames so that a program
 * that speaks to both can share one reader, and so that a log of them can be understood. Their `hello_ack` and
 * `reload_policy` have the type of other frames and another shape: who reads them knows which by its own role.
 */
import Type, { type Static } from 'typebox';
import { fit } from './fit.ts';
import { Base64, check, type Parsed, Raw, StringMap } from './schema.ts';
import { type FrameOf, frameCodec } from './worker-frames.codec.ts';

const { Optional, Literal } = Type;
const Text = Type.String();

const LocalTool = Type.Object({ name: Text, description: Optional(Text), parameters: Optional(Raw) });
const ExternalTool = Type.Object({ name: Text, description: Text, parameters: Raw, source: Text });

/** What an agent worker may send. The last five are of an older protocol that nobody sends any more. */
export const agentFrames = {
  hello: Type.Object({
    type: Literal('hello'),
    worker_type: Text,
    agent_key: Text,
    system_prompt: Optional(Text),
    local_tools: Optional(Type.Array(LocalTool)),
    metadata: Type.Object({ name: Optional(Text), description: Optional(Text), soul_digest: Optional(Text) }),
  }),
  heartbeat: Type.Object({ type: Literal('heartbeat') }),
  'tool.result': Type.Object({ type: Literal('tool.result'), call_id: Text, result: Text, error: Optional(Text) }),
  'file.upload_ack': Type.Object({
    type: Literal('file.upload_ack'),
    correlation_id: Text,
    resolved_path: Optional(Text),
    error: Optional(Text),
  }),
  context_update: Type.Object({
    type: Literal('context_update'),
    system_prompt: Text,
    local_tools: Type.Array(LocalTool),
  }),
  agent_token: Type.Object({ type: Literal('agent_token'), job_id: Text, token: Text }),
  agent_complete: Type.Object({ type: Literal('agent_complete'), job_id: Text, stop_reason: Optional(Text) }),
  agent_error: Type.Object({ type: Literal('agent_error'), job_id: Optional(Text), error: Text }),
  agent_tool_call: Type.Object({
    type: Literal('agent_tool_call'),
    job_id: Text,
    id: Text,
    name: Text,
    arguments: Text,
  }),
  agent_tool_result: Type.Object({
    type: Literal('agent_tool_result'),
    job_id: Text,
    tool_call_id: Text,
    content: Text,
    is_error: Optional(Type.Boolean()),
  }),
} as const;

/** What a server may send to an agent worker, but for the answer to `hello`. `agent_job` is of the older protocol. */
export const agentServerFrames = {
  heartbeat_ack: Type.Object({ type: Literal('heartbeat_ack') }),
  error: Type.Object({ type: Literal('error'), error: Text, details: Optional(Text) }),
  'tool.execute': Type.Object({
    type: Literal('tool.execute'),
    call_id: Text,
    tool_name: Text,
    arguments: Text,
    env: Optional(StringMap),
  }),
  'file.upload': Type.Object({
    type: Literal('file.upload'),
    correlation_id: Text,
    file_name: Text,
    mime_type: Optional(Text),
    data: Base64,
  }),
  reload_policy: Type.Object({
    type: Literal('reload_policy'),
    system_prompt: Text,
    external_tools: Optional(Type.Array(ExternalTool)),
  }),
  agent_job: Type.Object({
    type: Literal('agent_job'),
    job_id: Text,
    system_prompt: Optional(Text),
    messages: Type.Array(Type.Object({ role: Text, content: Text })),
    credentials: Optional(StringMap),
  }),
} as const;

export type AgentFrame = FrameOf<typeof agentFrames>;
export type AgentServerFrame = FrameOf<typeof agentServerFrames>;

export const { parse: parseAgentFrame, serialise: serialiseAgentFrame } = frameCodec(agentFrames);
export const { parse: parseAgentServerFrame, serialise: serialiseAgentServerFrame } = frameCodec(agentServerFrames);

/** Accepted when `status` is `ok`. It is read whatever its `type` says: servers name it in two ways. */
export const AgentHelloAck = Type.Object({
  type: Text,
  status: Text,
  agent_id: Optional(Text),
  system_prompt: Optional(Text),
  external_tools: Optional(Type.Array(ExternalTool)),
  error: Optional(Text),
});
export type AgentHelloAck = Static<typeof AgentHelloAck>;

const fitAck = fit(AgentHelloAck, { missing: 'zero' });
const checkAck = check(AgentHelloAck);

/** `json` is the parsed text of the first frame that an agent worker gets. */
export const readAgentHelloAck = (json: unknown): Parsed<AgentHelloAck> => checkAck(fitAck(json));
