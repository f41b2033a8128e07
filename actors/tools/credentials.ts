/**
 * Whose secret is whose. `AUXOT_TOOLS_<TOOL>__<VAR>` belongs to one tool, `AUXOT_TOOL_<VAR>` to all shell tools, and what
 * comes with a call to that call. Nothing else in the environment reaches a tool or a process that one starts.
 */
import type { Env } from '../config/env.ts';

export interface Credentials {
  /** Those of one tool, by its name in small letters. */
  of(tool: string): Readonly<Record<string, string>>;
  /** Those of every shell tool. */
  readonly shell: Readonly<Record<string, string>>;
}

/** `plain`: variables that belong to a tool although nothing in their names says so. */
export function readCredentials(env: Env, plain: Readonly<Record<string, readonly string[]>> = {}): Credentials {
  const byTool = new Map<string, Record<string, string>>();
  const shell: Record<string, string> = {};
  const give = (tool: string, name: string, value: string): void => {
    const own = byTool.get(tool) ?? {};
    own[name] = value;
    byTool.set(tool, own);
  };
  for (const [tool, names] of Object.entries(plain))
    for (const name of names) {
      const value = env[name];
      if (value) give(tool, name, value);
    }
  for (const [variable, value] of Object.entries(env)) {
    if (!value) continue;
    const ofTool = /^AUXOT_TOOLS_(.+?)__(.+)$/.exec(variable);
    if (ofTool?.[1] !== undefined && ofTool[2] !== undefined) give(ofTool[1].toLowerCase(), ofTool[2], value);
    const ofShell = /^AUXOT_TOOL_(.+)$/.exec(variable)?.[1];
    if (ofShell !== undefined) shell[ofShell] = value;
  }
  return { of: tool => byTool.get(tool.toLowerCase()) ?? {}, shell };
}

/** What any child process gets of this one's environment: where programs and files are, and no secret. */
export function plainEnvironment(env: Env): Record<string, string> {
  const names = ['PATH', 'HOME', 'USER', 'LOGNAME', 'LANG', 'LC_ALL', 'TZ', 'TMPDIR', 'TERM', 'NODE_EXTRA_CA_CERTS'];
  const plain: Record<string, string> = {};
  for (const name of names) {
    const value = env[name];
    if (value !== undefined) plain[name] = value;
  }
  return plain;
}
