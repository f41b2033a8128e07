/**
 * Which tools of the connected tools workers may be used, and which of them are offered to models.
 *
 * What stays true: with an allow-list, what it leaves out is not offered, not listed and not run, whoever asks. Without
 * one, tools can be called by those who name them, and models are offered none but those that their callers ask for.
 */
import { builtinTools } from '../../protocol/builtin-tools.ts';
import type { Offered } from '../../protocol/features.ts';
import type { RouterTool, RouterTools } from '../../protocol/job-events.tools.ts';
import type { ToolsOffer } from '../../protocol/shard-messages.ts';

export interface ToolsOptions {
  readonly allowed: readonly string[];
  /** By tool name in lower case, then by variable. */
  readonly credentials: Readonly<Record<string, Readonly<Record<string, string>>>>;
  /** After so many rounds of tools the model must answer. */
  readonly roundsMax: number;
  /** How long the calls of a round may take. */
  readonly callMs: number;
  /** How long a lost tools worker is waited for. */
  readonly graceMs: number;
}

export const toolsOff: ToolsOptions = { allowed: [], credentials: {}, roundsMax: 16, callMs: 120_000, graceMs: 15_000 };

/** What goes with a request to its shard. */
export function routerToolsFor(
  { allowed, roundsMax, callMs }: ToolsOptions,
  listed: readonly ListedTool[],
  features: Offered,
): { routerTools?: RouterTools; hostedTools?: RouterTools } {
  const sees = features.some(set => set.includes('images'));
  const rules = { roundsMax, callMs, ...(sees ? { seesImages: true } : {}) };
  const offered = toolsForModels(allowed, listed);
  if (offered.length > 0) return { routerTools: { ...rules, offered } };
  const hosted = listed.flatMap(({ name, definition }) => (hostable.has(name) && definition ? [definition] : []));
  return hosted.length > 0 ? { hostedTools: { ...rules, offered: hosted } } : {};
}

/** What a Responses request can ask for by OpenAI's own names. */
const hostable: ReadonlySet<string> = new Set(['web_search', 'code_executor']);

/** `allowed`: names, names of MCP servers (for all of their tools), or beginnings with `*` at their end. */
export function isToolAllowed(allowed: readonly string[], name: string): boolean {
  if (allowed.length === 0) return true;
  return allowed.some(item =>
    item.endsWith('*') ? name.startsWith(item.slice(0, -1)) : item === name || name.startsWith(`${item}__`),
  );
}

/** A tool that can be called; without `definition` no model can be told of it. */
export interface ListedTool {
  readonly name: string;
  readonly definition: RouterTool | null;
}

/** Allowed tools that some worker has, by name. The first worker that describes one is believed. */
export function toolsListed(allowed: readonly string[], offers: Iterable<ToolsOffer>): ListedTool[] {
  const listed = new Map<string, ListedTool>();
  for (const { tools, definitions } of offers) {
    for (const name of tools) {
      if (!isToolAllowed(allowed, name) || listed.get(name)?.definition) continue;
      const own = definitions.find(definition => definition.name === name);
      listed.set(name, { name, definition: own ?? builtinTools.get(name) ?? null });
    }
  }
  return [...listed.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
}

/** What models are offered, in the order of the allow-list. */
export function toolsForModels(allowed: readonly string[], listed: readonly ListedTool[]): RouterTool[] {
  if (allowed.length === 0) return [];
  const place = (name: string): number => allowed.findIndex(item => isToolAllowed([item], name));
  return listed
    .flatMap(({ definition }) => (definition === null ? [] : [definition]))
    .sort((a, b) => place(a.name) - place(b.name));
}
