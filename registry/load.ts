/**
 * Finds what ships beside the code: today the demo model.
 *
 * The model stays in `<root>/registry/demo-model/`, whether this file runs from its source or as `dist/registry/load.js`.
 */
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

export interface LocalModel {
  readonly name: string;
  /** The GGUF file. */
  readonly path: string;
  /** Tokens per slot. */
  readonly contextSize: number;
  readonly modelBytes: number;
}

/** The model of the first run: 1.2 MB, no download, the same answers every time at temperature 0. */
export function demoModel(): LocalModel {
  const places = ['./demo-model/auxot-demo.gguf', '../../registry/demo-model/auxot-demo.gguf'];
  const path = places.map(place => fileURLToPath(new URL(place, import.meta.url))).find(existsSync);
  if (path === undefined) {
    throw new Error(
      'the demo model is missing: registry/demo-model/auxot-demo.gguf should lie beside the program; install it again',
    );
  }
  return { name: 'auxot-demo', path, contextSize: 2048, modelBytes: 1_268_384 };
}
