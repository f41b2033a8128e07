/**
 * Finds what ships beside the code, the demo model, and reads the registry of models: the built-in one, or a file.
 *
 * The demo model stays in `<root>/registry/demo-model/`, whether this file runs from its source or as `dist/registry/load.js`.
 */
import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { catalogue, catalogueMadeAt, catalogueVersion } from './catalogue.ts';
import type { Entry } from './entry.ts';
import { parseRegistryFile, RegistryFileError } from './registry-file.ts';

export interface Registry {
  readonly version: string;
  readonly madeAt: string;
  /** `built-in`, or the path of the file. */
  readonly source: string;
  readonly entries: readonly Entry[];
}

/** The built-in registry, or the file in its place; a file may say that it only adds to the built-in one. */
export function openRegistry(path: string | null): Registry {
  if (path === null)
    return { version: catalogueVersion, madeAt: catalogueMadeAt, source: 'built-in', entries: catalogue() };
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new RegistryFileError(`the registry file cannot be read: ${reason}`);
  }
  const { version, madeAt, extendsBuiltin, entries } = parseRegistryFile(text, path);
  return { version, madeAt, source: path, entries: extendsBuiltin ? merge(catalogue(), entries) : entries };
}

/** An entry of the same id replaces the old one in its place; new variants follow those of their model. */
export function merge(base: readonly Entry[], more: readonly Entry[]): readonly Entry[] {
  const replaced = new Map(more.map(entry => [entry.id, entry]));
  const merged: Entry[] = [];
  const left = new Set(more);
  const names = base.map(({ name }) => name.toLowerCase());
  base.forEach((old, at) => {
    const entry = replaced.get(old.id) ?? old;
    left.delete(entry);
    merged.push(entry);
    const name = names[at];
    if (name === undefined || names.lastIndexOf(name) !== at) return;
    for (const added of left) {
      if (added.name.toLowerCase() !== name || base.some(({ id }) => id === added.id)) continue;
      left.delete(added);
      merged.push(added);
    }
  });
  return [...merged, ...left];
}

export interface LocalModel {
  readonly name: string;
  /** The GGUF file. */
  readonly path: string;
  /** Tokens per slot. */
  readonly contextSize: number;
  readonly modelBytes: number;
}

export const demoModelName = 'auxot-demo';

/** The model of the first run: 1.2 MB, no download, the same answers every time at temperature 0. */
export function demoModel(): LocalModel {
  const places = ['./demo-model/auxot-demo.gguf', '../../registry/demo-model/auxot-demo.gguf'];
  const path = places.map(place => fileURLToPath(new URL(place, import.meta.url))).find(existsSync);
  if (path === undefined) {
    throw new Error(
      'the demo model is missing: registry/demo-model/auxot-demo.gguf should lie beside the program; install it again',
    );
  }
  return { name: demoModelName, path, contextSize: 2048, modelBytes: 1_268_384 };
}
