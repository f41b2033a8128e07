/**
 * Which MCP servers there are: a file in the form that other programs use (`{"mcpServers": {name: …}}`), read once.
 *
 * `${NAME}` in `env`, `headers` and `args` stands for a secret of that server, `AUXOT_TOOLS_<SERVER>__<NAME>`, and for
 * nothing else in the environment.
 */
import { existsSync, readFileSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { ConfigError } from '../../config/env.ts';
import type { Credentials } from '../credentials.ts';

interface Common {
  /** As the model sees it: letters, digits and `_`. */
  readonly slug: string;
  /** Those of its tools that may be used; null: all. */
  readonly tools: readonly string[] | null;
  readonly timeoutMs: number;
  readonly idleMs: number;
}
export interface StdioServer extends Common {
  readonly kind: 'stdio';
  readonly command: string;
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly cwd: string | null;
}
export interface HttpServer extends Common {
  readonly kind: 'http' | 'sse';
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
}
export type McpServer = StdioServer | HttpServer;

export const mcpDefaults = { tools: null, timeoutMs: 5 * 60_000, idleMs: 10 * 60_000 };
const variable = 'AUXOT_MCP_CONFIG';

/** `path` null: the file `mcp.json` of the current directory, if there is one. */
export function readMcpServers(path: string | null, credentials: Credentials): readonly McpServer[] {
  const file = resolve(path ?? 'mcp.json');
  if (path === null && !existsSync(file)) return [];
  const fail = (problem: string): never => {
    throw new ConfigError(variable, file, problem, 'See docs/tools.md for the form of the file.');
  };
  let json: unknown;
  try {
    json = JSON.parse(readFileSync(file, 'utf8'));
  } catch (error) {
    return fail(`the file cannot be read: ${error instanceof Error ? error.message : error}`);
  }
  const servers = objectOf(objectOf(json)?.mcpServers);
  if (servers === null) return fail('it has no object "mcpServers"');
  const slugs = new Set<string>();
  return Object.entries(servers).flatMap(([name, entry]) => {
    const fields = objectOf(entry);
    if (fields === null) return fail(`"${name}" is not an object`);
    if (fields.disabled === true) return [];
    const slug = uniqueSlug(slugOf(name), slugs);
    try {
      return [readServer(fields, slug, { ...credentials.of(name), ...credentials.of(slug) }, dirname(file))];
    } catch (error) {
      return fail(`"${name}": ${error instanceof Error ? error.message : error}`);
    }
  });
}

function readServer(
  fields: Readonly<Record<string, unknown>>,
  slug: string,
  secrets: Readonly<Record<string, string>>,
  folder: string,
): McpServer {
  const seconds = (name: string, fallbackMs: number): number => {
    const value = fields[name];
    if (value === undefined) return fallbackMs;
    if (typeof value === 'number' && value > 0 && value <= 86_400) return value * 1000;
    throw new Error(`"${name}" must be a number of seconds`);
  };
  const fill = (text: string): string =>
    text.replace(/\$\{(\w+)\}/g, (_all, name: string) => {
      const value = secrets[name];
      if (value === undefined)
        throw new Error(`\${${name}} is not set: set AUXOT_TOOLS_${slug.toUpperCase()}__${name}`);
      return value;
    });
  const common = {
    slug,
    tools: fields.tools === undefined ? null : textsOf(fields.tools, 'tools'),
    timeoutMs: seconds('timeout_seconds', mcpDefaults.timeoutMs),
    idleMs: seconds('idle_seconds', mcpDefaults.idleMs),
  };
  const { command, url, type } = fields;
  if (typeof command === 'string' && command !== '') {
    const env = Object.entries(mapOf(fields.env, 'env')).map(([name, value]) => [name, fill(value)]);
    return {
      ...common,
      kind: 'stdio',
      command,
      args: textsOf(fields.args ?? [], 'args').map(fill),
      env: { ...secrets, ...Object.fromEntries(env) },
      cwd: typeof fields.cwd === 'string' ? resolve(folder, fields.cwd) : null,
    };
  }
  if (typeof url !== 'string' || !/^https?:\/\//.test(url) || !URL.canParse(url))
    throw new Error('it needs "command", or "url" with an http or https address');
  const headers = Object.entries(mapOf(fields.headers, 'headers')).map(([name, value]) => [name, fill(value)]);
  return { ...common, kind: type === 'sse' ? 'sse' : 'http', url, headers: Object.fromEntries(headers) };
}

export const slugOf = (name: string): string => name.replace(/[^\w]+/g, '_').replace(/^_+|_+$/g, '') || 'mcp';

/** The name a package's server goes by. */
export const packageSlug = (name: string): string =>
  slugOf((name.split('/').at(-1) ?? name).replace(/^(server-|mcp-)/, ''));

const uuid = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;

/** The name of a server at an address: its id, unless that says nothing, else what is telling in its host. */
export function urlSlug(url: string, id = ''): string {
  if (id !== '' && !uuid.test(id)) return slugOf(id);
  const host = URL.canParse(url) ? new URL(url).hostname.replace(/^api\./, '') : '';
  const labels = host.split('.').filter(label => label !== '');
  const label = labels.length >= 2 ? labels.at(-2) : labels[0];
  return label !== undefined ? slugOf(label) : id !== '' ? slugOf(id) : 'remote_mcp';
}

export function uniqueSlug(slug: string, taken: Set<string>): string {
  let free = slug;
  for (let n = 2; taken.has(free); n++) free = `${slug}_${n}`;
  taken.add(free);
  return free;
}

const objectOf = (value: unknown): Record<string, unknown> | null =>
  typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Record<string, unknown>) : null;

function textsOf(value: unknown, name: string): readonly string[] {
  if (Array.isArray(value) && value.every(item => typeof item === 'string')) return value;
  throw new Error(`"${name}" must be a list of texts`);
}

function mapOf(value: unknown, name: string): Readonly<Record<string, string>> {
  const map = objectOf(value ?? {});
  if (map !== null && Object.values(map).every(item => typeof item === 'string')) return map as Record<string, string>;
  throw new Error(`"${name}" must be an object of texts`);
}
