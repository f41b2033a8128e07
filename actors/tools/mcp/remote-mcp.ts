/**
 * MCP servers that the router names, by package or address. Nothing here is used unless the operator of this machine
 * allows it (AUXOT_MCP_ALLOWED): a package is a program, and would run here.
 */
import type { ToolJobFrame, ToolsPolicy } from '../../../protocol/worker-frames.tools.ts';
import { type Tool, ToolError } from '../tool.ts';
import { aggregateDescription, callTool } from './mcp-tools.ts';
import { type McpServer, mcpDefaults, packageSlug, uniqueSlug, urlSlug } from './server-config.ts';
import type { RemoteTool } from './session.ts';
import type { Sessions } from './sessions.ts';

/** What a frame says of a server. */
export interface NamedServer {
  readonly id?: string | undefined;
  readonly package?: string | undefined;
  readonly version?: string | undefined;
  readonly url?: string | undefined;
  readonly transport?: string | undefined;
  readonly headers?: Readonly<Record<string, string>> | undefined;
}

export interface RemoteMcpOptions {
  readonly sessions: Sessions;
  readonly allowed: readonly string[];
  readonly runner: readonly string[];
}

export interface McpSchema {
  readonly tool_name: string;
  readonly package: string;
  readonly version: string;
  readonly description: string;
  readonly commands: string[];
}

export interface RemoteMcp {
  /** The tool for a job that names a package or an address; throws a ToolError when it may not be used. */
  toolFor(job: ToolJobFrame): Tool;
  /** The tools of a server that is only being looked at. */
  inspect(named: NamedServer): Promise<readonly RemoteTool[]>;
  /** The servers of a policy as aggregates; those that may not be used are left out. */
  describe(servers: ToolsPolicy['mcp_servers']): Promise<readonly McpSchema[]>;
}

const idleMs = 5 * 60_000;

export function remoteMcp({ sessions, allowed, runner }: RemoteMcpOptions): RemoteMcp {
  const serverOf = ({ id = '', url = '', transport, headers = {}, ...named }: NamedServer): McpServer => {
    const common = { ...mcpDefaults, idleMs };
    if (url !== '') {
      const host = URL.canParse(url) ? new URL(url).hostname : '';
      if (!/^https?:\/\//.test(url) || host === '')
        throw new ToolError('invalid_arguments', 'the address of the MCP server is no URL');
      refuseUnlessAllowed(host);
      return { ...common, kind: transport === 'sse' ? 'sse' : 'http', slug: urlSlug(url, id), url, headers };
    }
    const { package: name = '', version = '' } = named;
    if (!/^(@[\w.-]+\/)?[\w.-]+$/.test(name) || !/^[\w.+^~-]*$/.test(version))
      throw new ToolError('invalid_arguments', 'the package of the MCP server has no proper name or version');
    refuseUnlessAllowed(name);
    const [command = 'npx', ...args] = runner;
    const packageArg = `${name}@${version === '' ? 'latest' : version}`;
    return {
      ...common,
      kind: 'stdio',
      slug: packageSlug(name),
      command,
      args: [...args, packageArg],
      env: {},
      cwd: null,
    };
  };
  const refuseUnlessAllowed = (what: string): void => {
    if (allowed.includes('*') || allowed.includes(what)) return;
    throw new ToolError(
      'not_allowed',
      `the MCP server ${what} is not allowed on this worker; its operator sets AUXOT_MCP_ALLOWED`,
    );
  };
  const inspect = async (named: NamedServer): Promise<readonly RemoteTool[]> =>
    sessions.with(serverOf(named), {}, null, session => session.list());

  return {
    toolFor(job) {
      const server = serverOf({
        package: job.mcp_package,
        version: job.mcp_version,
        url: job.mcp_url,
        transport: job.mcp_transport,
        headers: job.mcp_headers,
      });
      return {
        name: job.tool_name,
        description: '',
        parameters: {},
        idempotent: false,
        credentialsOf: server.slug,
        run: call =>
          sessions.with(server, server.kind === 'stdio' ? call.credentials : {}, null, session =>
            callTool(session, job.tool_name, call.args, call, server.timeoutMs),
          ),
      };
    },
    inspect,
    async describe(servers) {
      const taken = new Set<string>();
      const described = servers.map(
        async ({ resolved_headers: headers, id, package: name, version, url, transport }) => {
          const named = { id, package: name, version, url, transport, headers };
          let slug: string;
          try {
            slug = uniqueSlug(serverOf(named).slug, taken);
          } catch {
            return null; // not allowed here
          }
          const about = { tool_name: slug, package: name ?? url ?? '', version: version ?? '' };
          try {
            const tools = await inspect(named);
            const description = aggregateDescription(about.package, tools);
            return { ...about, description, commands: tools.map(tool => tool.name) };
          } catch {
            return {
              ...about,
              description: `The MCP server ${about.package}; its schema is unavailable.`,
              commands: [],
            };
          }
        },
      );
      return (await Promise.all(described)).filter(schema => schema !== null);
    },
  };
}
