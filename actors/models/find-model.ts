/** From what a router wants a worker to run to a file on this disk: the registry says which files, the hub has them. */
import { explain } from '../../registry/explain.ts';
import { demoModel, demoModelName, type Registry } from '../../registry/load.ts';
import { resolve } from '../../registry/resolve.ts';
import { type FetchHooks, fetchModel, type ModelSource } from './fetch-model.ts';
import { ModelError } from './model-error.ts';

export interface WantedModel {
  readonly name: string;
  /** '' or null: one is chosen. */
  readonly quantization: string | null;
}

/** The path of the file that the engine loads. */
export async function findModel(
  { name, quantization }: WantedModel,
  registry: Registry,
  source: ModelSource,
  hooks: FetchHooks,
): Promise<string> {
  if (name === demoModelName) return demoModel().path;
  const found = resolve(registry.entries, name, quantization);
  if (!found.ok) {
    const problem = explain(found, { contextSize: 8192, slots: 1 }).problem;
    const wanted = `${JSON.stringify(name)}${quantization ? ` in ${quantization}` : ''}`;
    const hint = found.nearest === '' ? '' : ` The nearest is ${found.nearest}.`;
    const message = `the router wants ${wanted}, and here ${problem}.${hint} Start this worker with --model-path, or give it the router's registry file (AUXOT_REGISTRY_FILE).`;
    throw new ModelError('hub_not_found', message);
  }
  const { entry } = found;
  if (!entry.capabilities.some(capability => capability !== 'image_generation'))
    throw new ModelError('hub_not_found', `${entry.name} makes images, which this worker cannot do`);
  // The engine has no use for a vision encoder, which would only take disk and time.
  const { modelPath } = await fetchModel({ ...entry, projector: null }, source, hooks);
  return modelPath;
}
