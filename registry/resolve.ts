/**
 * From what somebody wrote to the entry that is meant.
 *
 * 1. An exact id, ours or the reference's. It wins over a quantization that was asked for besides; `note` says so then.
 * 2. A name and a quantization. 3. A name alone: the first there is of `preferred`, else the first below 16 bits, else
 *    the first. Names and quantizations in any case.
 * 4. What none of these finds is looked up by letters and digits only, as an id, a name, a repository with or without
 *    owner and `-GGUF`, or a name with `-Instruct` behind it, with a quantization behind a colon if there is one.
 *
 * A miss always carries what is nearest to it. Memory plays no part here.
 */
import type { Entry } from './entry.ts';
import { nearest, plain } from './nearest.ts';

export const preferred: readonly string[] = ['Q4_K_S', 'Q4_K_M', 'Q5_K_S', 'Q5_K_M', 'Q6_K', 'Q8_0'];

export type Resolution =
  | { readonly ok: true; readonly entry: Entry; readonly note: string | null }
  | UnknownModel
  | UnknownQuantization;

export interface UnknownModel {
  readonly ok: false;
  readonly unknown: 'model';
  readonly asked: string;
  /** Names that contain what was asked for, or whose ids do, sorted. */
  readonly containing: readonly string[];
  /** The name with the fewest edits; '' only if the registry is empty. */
  readonly nearest: string;
}

export interface UnknownQuantization {
  readonly ok: false;
  readonly unknown: 'quantization';
  readonly name: string;
  readonly asked: string;
  readonly variants: readonly Entry[];
  readonly nearest: string;
}

export function resolve(entries: readonly Entry[], asked: string, quantization: string | null): Resolution {
  const index = indexOf(entries);
  const wanted = quantization === '' ? null : quantization;
  const byId = index.ids.get(asked);
  if (byId !== undefined) {
    const differs = wanted !== null && variantOf([byId], wanted) === undefined;
    const note = differs ? `the id ${asked} says ${byId.quantization}, so the quantization ${wanted} is ignored` : null;
    return { ok: true, entry: byId, note };
  }
  const named = index.names.get(asked.toLowerCase());
  if (named !== undefined) return among(named, wanted);
  const loose = index.loose.get(plain(asked));
  if (loose !== undefined) return among(loose, wanted);
  const [, name, tag] = /^(.+):([^:/]+)$/.exec(asked) ?? [];
  if (name !== undefined && tag !== undefined) return resolve(entries, name, wanted ?? tag);
  const lower = asked.toLowerCase();
  const names = [...index.names.values()].map(([first]) => first?.name ?? '');
  const contains = ({ name, id, labelId }: Entry): boolean =>
    [name.toLowerCase(), id, labelId].some(text => text.includes(lower));
  const containing = [...new Set(entries.filter(contains).map(({ name }) => name))].sort();
  return { ok: false, unknown: 'model', asked, containing, nearest: nearest(asked, names)[0]?.word ?? '' };
}

function among(variants: readonly Entry[], wanted: string | null): Resolution {
  if (wanted === null) return chosen(byPreference(variants));
  const entry = variantOf(variants, wanted);
  if (entry !== undefined) return chosen(entry);
  const words = [...new Set(variants.flatMap(({ quantization, label }) => [quantization, label]))];
  return {
    ok: false,
    unknown: 'quantization',
    name: variants[0]?.name ?? '',
    asked: wanted,
    variants,
    nearest: nearest(wanted, words)[0]?.word ?? '',
  };
}

const chosen = (entry: Entry | undefined): Resolution => {
  if (entry === undefined) throw new Error('a model of the registry has no variant');
  return { ok: true, entry, note: null };
};

/** What the file really is comes before what the reference calls it: a model may have a BF16 and an F16 file. */
function variantOf(variants: readonly Entry[], wanted: string): Entry | undefined {
  const lower = wanted.toLowerCase();
  return (
    variants.find(({ quantization }) => quantization.toLowerCase() === lower) ??
    variants.find(({ label }) => label.toLowerCase() === lower) ??
    variants.find(({ quantization, label }) => [quantization, label].map(plain).includes(plain(wanted)))
  );
}

export function byPreference(variants: readonly Entry[]): Entry | undefined {
  for (const label of preferred) {
    const found = variants.find(variant => variant.label === label);
    if (found !== undefined) return found;
  }
  return variants.find(({ label }) => label !== 'F16' && label !== 'F32') ?? variants[0];
}

interface Index {
  readonly ids: ReadonlyMap<string, Entry>;
  /** By name in lower case, in the order of first appearance. */
  readonly names: ReadonlyMap<string, readonly Entry[]>;
  readonly loose: ReadonlyMap<string, readonly Entry[]>;
}

const indexes = new WeakMap<readonly Entry[], Index>();

function indexOf(entries: readonly Entry[]): Index {
  const known = indexes.get(entries);
  if (known !== undefined) return known;
  const ids = new Map<string, Entry>();
  const names = new Map<string, Entry[]>();
  for (const entry of entries) {
    const key = entry.name.toLowerCase();
    const variants = names.get(key);
    if (variants === undefined) names.set(key, [entry]);
    else variants.push(entry);
    if (!ids.has(entry.id)) ids.set(entry.id, entry);
  }
  for (const entry of entries) if (!ids.has(entry.labelId)) ids.set(entry.labelId, entry);
  // A nearer spelling of one model keeps its place against a looser one of another.
  const loose = new Map<string, readonly Entry[]>();
  const add = (key: string, variants: readonly Entry[]): void => {
    if (!loose.has(key)) loose.set(key, variants);
  };
  for (const variants of names.values()) add(plain(variants[0]?.name ?? ''), variants);
  for (const variants of names.values())
    for (const { id, labelId, repository } of variants) {
      const entry = ids.get(id);
      if (entry !== undefined) add(plain(id), [entry]);
      const labelled = ids.get(labelId);
      if (labelled !== undefined) add(plain(labelId), [labelled]);
      add(plain(repository), variants);
      add(plain(repository.replace(/-GGUF$/i, '')), variants);
      add(plain(repository.replace(/^.*\//, '')), variants);
      add(plain(repository.replace(/^.*\//, '').replace(/-GGUF$/i, '')), variants);
    }
  for (const variants of names.values()) add(`${plain(variants[0]?.name ?? '')}instruct`, variants);
  const index = { ids, names, loose };
  indexes.set(entries, index);
  return index;
}

/** The variants of each model, models in the order of first appearance. */
export const models = (entries: readonly Entry[]): (readonly Entry[])[] => [...indexOf(entries).names.values()];
