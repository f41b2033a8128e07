/** From what a router wants a worker to run to a file on this disk: the registry says which files, the hub has them. */
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

export async function findModel(
  { name, quantization, withProjector, withImages = false }: WantedModel,
  registry: Registry,
  source: ModelSource,
  hooks: FetchHooks,
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
  const found = await fetchModel(withProjector ? entry : { ...entry, projector: null }, source, hooks);
  if (!paints) return { ...found, paint: null };
  const { name: model, parameters } = entry;
  return { ...found, paint: { model, parameters, files: await fetchPaintFiles(entry, source, hooks) } };
}
