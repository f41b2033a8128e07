/**
 * One entry of the model registry: one variant of one model, and the files that it is made of.
 *
 * `quantization` says what the files really hold (`BF16`, `UD-Q8_K_XL`). `label` is the coarser word that the reference
 * uses for the same files (`F16`, `Q8_K`): its ids and its workers know only that one, so both words find the entry, and
 * `label` is what goes to workers. Nothing here is measured unless `files` is there.
 */
export type Capability =
  | 'chat'
  | 'vision'
  | 'embedding'
  | 'code'
  | 'reasoning'
  | 'image_generation'
  | 'tools'
  | 'audio'
  | 'rerank';

export const capabilities: readonly Capability[] = [
  'chat',
  'vision',
  'embedding',
  'code',
  'reasoning',
  'image_generation',
  'tools',
  'audio',
  'rerank',
];

/** A file whose size is known. `sha256` is null where the hub keeps none (small files). */
export interface EntryFile {
  readonly path: string;
  readonly bytes: number;
  readonly sha256: string | null;
}

/** Layers that keep keys and values: all of the context, or with `window` only the last so many tokens. */
export interface KvLayers {
  readonly layers: number;
  readonly heads: number;
  readonly keyDim: number;
  readonly valueDim: number;
  readonly window: number | null;
}

export interface Entry {
  /** Unique: model and quantization in lower case. */
  readonly id: string;
  /** The reference's id for the same files; equal to `id` where the labels are. */
  readonly labelId: string;
  readonly name: string;
  /** `owner/repository` on the hub. */
  readonly repository: string;
  /** A commit of the repository, or null for its main branch. */
  readonly revision: string | null;
  readonly quantization: string;
  readonly label: string;
  readonly family: 'MoE' | 'Dense';
  /** As people say it: `35B`, `596M`. */
  readonly parameters: string;
  /** Of a MoE model, those that work on one token; null where unknown or all. */
  readonly parametersActive: string | null;
  readonly contextDefault: number;
  readonly contextMax: number;
  readonly capabilities: readonly Capability[];
  /** How the model writes tool calls; null: it was not trained to, or it is not known. */
  readonly toolFormat: string | null;
  /** How it marks its thoughts; null: it has none. `think-open`: its prompt already opens the tag. */
  readonly reasoningFormat: string | null;
  readonly license: string | null;
  /** The weights; of a split model the first part. A path in the repository. */
  readonly file: string;
  /** The vision encoder beside the weights. */
  readonly projector: string | null;
  /** What a token costs in memory; null: unknown, and estimated from the number of parameters. */
  readonly kv: readonly KvLayers[] | null;
  /** All files with their sizes, the projector too, once a hub was asked (`models refresh`). */
  readonly files: readonly EntryFile[] | null;
  /** The figure of a registry file that brings its own, in GB; the built-in catalogue has none. */
  readonly vramGb: number | null;
}

/** Lower case, everything between letters and digits one dash. */
export const slug = (text: string): string => text.toLowerCase().replace(/[^a-z0-9]+/g, '-');

export const idOf = (name: string, quantization: string): string => `${slug(name)}-${slug(quantization)}`;

/** `235B`, `596M` → a number; null when the text is something else. */
export function parameterCount(text: string): number | null {
  const [, amount, unit] = /^(\d+(?:\.\d+)?)([KMBT])$/i.exec(text) ?? [];
  const factor = { K: 1e3, M: 1e6, B: 1e9, T: 1e12 }[unit?.toUpperCase() ?? ''];
  return amount === undefined || factor === undefined ? null : Number(amount) * factor;
}

/** What the reference calls a quantization. A model that has both has to keep them apart: see `catalogue.ts`. */
export function labelOf(quantization: string): string {
  if (quantization === 'BF16') return 'F16';
  if (quantization === 'UD-Q8_K_XL') return 'Q8_K';
  return quantization.replace(/^UD-/, '');
}
