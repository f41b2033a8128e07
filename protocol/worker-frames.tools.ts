/**
 * Frames of tools workers (spec/worker-protocol §4.5): tool jobs and their results, and the policy that says which MCP
 * servers they serve. Integer and null rules are those of all frames.
 */
import Type, { type Static } from 'typebox';
import { Int, Raw, StringMap } from './schema.ts';
import { ImagePart } from './worker-frames.parts.ts';

const { Optional, Literal } = Type;
const Text = Type.String();

export const McpHttpHeader = Type.Object({
  header_name: Text,
  value_prefix: Optional(Text),
  source: Text,
  oauth_provider: Optional(Text),
  credential_id: Optional(Text),
  secret_name: Optional(Text),
  static_value: Optional(Text),
});

/** An MCP server: an npm `package` run as a child, or a `url`. */
export const McpServer = Type.Object({
  id: Optional(Text),
  package: Optional(Text),
  version: Optional(Text),
  url: Optional(Text),
  transport: Optional(Text),
  headers: Optional(Type.Array(McpHttpHeader)),
  resolved_headers: Optional(StringMap),
});

export const ToolsPolicy = Type.Object({ allowed_tools: Type.Array(Text), mcp_servers: Type.Array(McpServer) });

export const McpAggregateSchema = Type.Object({
  tool_name: Text,
  package: Text,
  version: Text,
  description: Text,
  commands: Type.Array(Text),
});

/** Version 2: what the router needs to offer a tool to a model. `parameters` is a JSON schema. */
export const ToolDefinition = Type.Object({
  name: Text,
  description: Text,
  parameters: Raw,
  /** Running it twice is the same as running it once, so an unknown outcome may be tried again. */
  idempotent: Optional(Type.Boolean()),
});
export type ToolDefinition = Static<typeof ToolDefinition>;

export const ToolsCapabilities = Type.Object({
  tools: Type.Array(Text),
  /** Version 2, as everything below. Of the names in `tools`; a name without one is offered without a schema. */
  definitions: Optional(Type.Array(ToolDefinition)),
  /** Calls that run at the same time; more wait at the worker. */
  slots: Optional(Int),
});
export type ToolsCapabilities = Static<typeof ToolsCapabilities>;

/** Version 2, unasked: the tools of this worker are these from now on. */
export const ToolsChanged = Type.Object({ type: Literal('tools_changed'), tools_capabilities: ToolsCapabilities });

/** Version 2: the result of this tool job is in the log, the worker need not keep it. */
export const ToolAck = Type.Object({ type: Literal('tool_ack'), job_id: Text });

/** `arguments` is a JSON object, not text; other JSON is passed on for the tool to refuse. */
export const ToolJob = Type.Object({
  type: Literal('tool_job'),
  job_id: Text,
  parent_job_id: Text,
  thread_id: Optional(Text),
  tool_name: Text,
  tool_call_id: Text,
  arguments: Raw,
  credentials: Optional(StringMap),
  mcp_package: Optional(Text),
  mcp_version: Optional(Text),
  mcp_url: Optional(Text),
  mcp_transport: Optional(Text),
  mcp_headers: Optional(StringMap),
  /** Version 2, as everything below. The longest time that the call may take, waiting included. */
  timeout_ms: Optional(Int),
  /** Instance id of the worker that may have been sent this job before: it must not run twice. */
  sent_to: Optional(Text),
});

export const ToolResult = Type.Object({
  type: Literal('tool_result'),
  job_id: Text,
  parent_job_id: Text,
  tool_call_id: Text,
  tool_name: Text,
  result: Optional(Raw),
  image_parts: Optional(Type.Array(ImagePart)),
  /** Wins over `result`. */
  error: Optional(Text),
  duration_ms: Optional(Int),
  /** Version 2, with `error`. Open: a code that the reader does not know means `tool_failed`. */
  code: Optional(Text),
});
export const toolErrorCodes = [
  'invalid_arguments',
  'unknown_tool',
  'not_allowed',
  'tool_failed',
  'timeout',
  'cancelled',
  'overloaded',
  'outcome_unknown',
  'worker_stopping',
] as const;
export type ToolErrorCode = (typeof toolErrorCodes)[number];

/** Version 2, unasked: how far the call is, as its tool says. Loses nothing when it is lost. */
export const ToolProgress = Type.Object({
  type: Literal('tool_progress'),
  job_id: Text,
  progress: Type.Number(),
  total: Optional(Type.Number()),
  message: Optional(Text),
});
export type ToolProgressFrame = Static<typeof ToolProgress>;

export const ReloadPolicy = Type.Object({ type: Literal('reload_policy'), policy: ToolsPolicy });
export const PolicyReloaded = Type.Object({
  type: Literal('policy_reloaded'),
  advertised_tools: Type.Array(Text),
  mcp_schemas: Optional(Type.Array(McpAggregateSchema)),
});

export const ValidateConfiguration = Type.Object({
  type: Literal('validate_configuration'),
  request_id: Text,
  package: Optional(Text),
  version: Optional(Text),
  url: Optional(Text),
  transport: Optional(Text),
  resolved_headers: Optional(StringMap),
});
export const ValidateConfigurationResult = Type.Object({
  type: Literal('validate_configuration_result'),
  request_id: Text,
  tools: Optional(Type.Array(Type.Object({ name: Text, description: Optional(Text), input_schema: Optional(Raw) }))),
  error: Optional(Text),
});

export type ToolJobFrame = Static<typeof ToolJob>;
export type ToolResultFrame = Static<typeof ToolResult>;
export type ToolsPolicy = Static<typeof ToolsPolicy>;
export type ValidateConfigurationFrame = Static<typeof ValidateConfiguration>;
