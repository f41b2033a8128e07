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
});

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
