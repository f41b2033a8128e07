/**
 * The tools of this worker: fixed ones, those of sources that come and go, and who of them may be used.
 *
 * What stays true: no two tools have one name, the first one to have it keeps it; what the allow-list leaves out is
 * neither announced nor found, whoever asks.
 */
import type { ToolDefinition } from '../../protocol/worker-frames.tools.ts';
import type { Tool, ToolSource } from './tool.ts';

export interface ToolSet {
  /** Refused by the allow-list, unknown, or the tool. */
  find(name: string): Tool | 'not_allowed' | 'unknown';
  names(): readonly string[];
  definitions(): readonly ToolDefinition[];
  /** What the router allows; null: everything that this worker does. */
  restrict(names: readonly string[] | null): void;
  /** The allow-list of this machine says yes to the name. */
  isAllowed(name: string, group?: string): boolean;
  close(): Promise<void>;
}

/** `allowed` null: all. A name, the name of a group, or a beginning with `*` at its end. */
export function openToolSet(
  fixed: readonly Tool[],
  sources: readonly ToolSource[],
  allowed: readonly string[] | null,
  onClash: (name: string) => void = () => undefined,
): ToolSet {
  let restricted: readonly string[] | null = null;
  const told = new Set<string>();

  const passes = (list: readonly string[] | null, name: string, group: string | undefined): boolean =>
    list === null ||
    list.some(item =>
      item.endsWith('*')
        ? name.startsWith(item.slice(0, -1))
        : item === name || (group !== undefined && item === group),
    );
  const isAllowed = (name: string, group?: string): boolean =>
    passes(allowed, name, group) && passes(restricted, name, group);

  function* each(): Iterable<Tool> {
    yield* fixed;
    for (const source of sources) yield* source.tools();
  }
  const all = (): Map<string, Tool> => {
    const byName = new Map<string, Tool>();
    for (const tool of each()) {
      if (!byName.has(tool.name)) byName.set(tool.name, tool);
      else if (!told.has(tool.name)) {
        told.add(tool.name);
        onClash(tool.name);
      }
    }
    return byName;
  };
  const usable = (): Tool[] => [...all().values()].filter(({ name, group }) => isAllowed(name, group));

  return {
    find(name) {
      for (const tool of each()) if (tool.name === name) return isAllowed(name, tool.group) ? tool : 'not_allowed';
      return 'unknown';
    },
    names: () => usable().map(({ name }) => name),
    definitions: () =>
      usable().map(({ name, description, parameters, idempotent }) => ({
        name,
        description,
        parameters,
        ...(idempotent ? { idempotent } : {}),
      })),
    restrict(names) {
      restricted = names;
    },
    isAllowed,
    async close() {
      await Promise.allSettled(sources.map(source => source.close()));
    },
  };
}
