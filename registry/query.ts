/** Which entries fit: by memory, by what they can do, by family, by text. Order is kept. */
import type { Entry } from './entry.ts';
import { totalGb, type Use } from './estimate.ts';
import { plain } from './nearest.ts';

export interface Query {
  /** All words must occur in name, id, repository, quantization or licence. */
  readonly text?: string | undefined;
  /** All of them, in any case. */
  readonly capabilities?: readonly string[] | undefined;
  /** `MoE`, `Dense`, or how the model's name begins: `qwen3`, `gemma`. */
  readonly family?: string | undefined;
  /** Video memory, GB of 2^30 bytes. */
  readonly fitsGb?: number | undefined;
  readonly use: Use;
}

export function query(entries: readonly Entry[], { text, capabilities = [], family, fitsGb, use }: Query): Entry[] {
  const words = (text ?? '').toLowerCase().split(/\s+/).filter(Boolean);
  const wanted = capabilities.map(capability => capability.toLowerCase());
  return entries.filter(
    entry =>
      (fitsGb === undefined || totalGb(entry, use) <= fitsGb) &&
      wanted.every(capability => entry.capabilities.some(own => own === capability)) &&
      (family === undefined || isOf(entry, family)) &&
      words.every(word => searched(entry).some(field => field.includes(word))),
  );
}

/** How the model in a file writes tool calls, by the file's name; null when no entry has that file. */
export function toolFormatOf(entries: readonly Entry[], path: string): string | null {
  const name = fileName(path);
  return entries.find(({ file }) => fileName(file) === name)?.toolFormat ?? null;
}

const fileName = (path: string): string => path.slice(Math.max(path.lastIndexOf('/'), path.lastIndexOf('\\')) + 1);

const isOf = ({ family, name }: Entry, asked: string): boolean =>
  family.toLowerCase() === asked.toLowerCase() || plain(name).startsWith(plain(asked));

const searched = (entry: Entry): string[] =>
  [entry.name, entry.id, entry.labelId, entry.repository, entry.quantization, entry.label, entry.license ?? ''].map(
    field => field.toLowerCase(),
  );
