/** From what a router wants a worker to run to a file on this disk: the registry says which files, the hub has them. */
import type { Entry } from '../../registry/entry.ts';
import { GiB, totalGb } from '../../registry/estimate.ts';
import { explain } from '../../registry/explain.ts';
import { demoModel, demoModelName, type Registry } from '../../registry/load.ts';
import { resolve } from '../../registry/resolve.ts';
import { type FetchHooks, fetchModel, type ModelSource } from './fetch-model.ts';
import { ModelError } from './model-error.ts';
import { type FoundPaintFiles, fetchPaintFiles } from './paint-files.ts';

export interface WantedModel {
  readonly name: string;
  /** '' or null: one is chosen. */
  readonly quantization: string | null;
  /** The engine can use a vision encoder. */
  readonly withProjector: boolean;
  /** There is an engine for models that make images. */
  readonly withImages?: boolean;
}

export interface FoundModel {
  /** Of the file that the engine loads. */
  readonly modelPath: string;
  /** Of the model's vision encoder, if it has one and it was wanted. */
  readonly projectorPath: string | null;
  /** What a model that makes images needs besides; null: it makes none. */
  readonly paint: PaintModel | null;
}

export interface PaintModel {
  readonly model: string;
  readonly parameters: string;
  readonly files: FoundPaintFiles;
}

export interface FindHooks extends FetchHooks {
  /** Memory of all kinds that a model could take now: asked before tens of gigabytes are fetched in vain. */
  readonly freeBytes?: () => Promise<number>;
}

export async function findModel(
  { name, quantization, withProjector, withImages = false }: WantedModel,
  registry: Registry,
  source: ModelSource,
  hooks: FindHooks,
): Promise<FoundModel> {
  if (name === demoModelName) return { modelPath: demoModel().path, projectorPath: null, paint: null };
  const known = resolve(registry.entries, name, quantization);
  if (!known.ok) {
    const problem = explain(known, { contextSize: 8192, slots: 1 }).problem;
    const wanted = `${JSON.stringify(name)}${quantization ? ` in ${quantization}` : ''}`;
    const hint = known.nearest === '' ? '' : ` The nearest is ${known.nearest}.`;
    const message = `the router wants ${wanted}, and here ${problem}.${hint} Start this worker with --model-path, or give it the router's registry file (AUXOT_REGISTRY_FILE).`;
    throw new ModelError('hub_not_found', message);
  }
  const { entry } = known;
  const paints = !entry.capabilities.some(capability => capability !== 'image_generation');
  if (paints && !withImages)
    throw new ModelError('hub_not_found', `${entry.name} makes images, which this worker cannot do`);
  // For an engine that has no use for it, a vision encoder would only take disk and time.
  const wanted = withProjector ? entry : { ...entry, projector: null };
  const isHere = await fetchModel(wanted, { ...source, offline: true }, hooks).then(
    () => true,
    () => false, // what is wrong is found again below, by who can mend it
  );
  if (!isHere && !source.offline) await warnOfSize(wanted, hooks);
  const found = await fetchModel(wanted, source, hooks);
  if (!paints) return { ...found, paint: null };
  const { name: model, parameters } = entry;
  return { ...found, paint: { model, parameters, files: await fetchPaintFiles(entry, source, hooks) } };
}

/** What any worker would want to give a model; with less it is hardly worth having. */
const leastUse = { contextSize: 4096, slots: 1 };

/** By the registry's rule of thumb, so it stops nobody: the engine asks the file itself when it is there. */
async function warnOfSize(entry: Entry, { freeBytes, onTrouble }: FindHooks): Promise<void> {
  const free = await freeBytes?.().catch(() => undefined); // a machine that cannot be asked is told by the engine
  if (free === undefined) return;
  const needed = totalGb(entry, leastUse);
  const freeGb = free / GiB;
  if (needed <= freeGb) return;
  onTrouble(
    `${entry.name} (${entry.quantization}) needs about ${needed.toFixed(1)} GB of memory for one slot of ${leastUse.contextSize} tokens, and ${freeGb.toFixed(1)} GB are free here: it is fetched, but may not fit. auxot-router models --fits ${Math.floor(freeGb)} lists what does`,
  );
}
