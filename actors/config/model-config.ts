/**
 * The model that workers are told to run, looked up in the registry (spec/http-api §6.3): name, quantization, context
 * and capabilities of the policy are the entry's. What the registry does not have stops the router, with suggestions.
 *
 * A name that ends in `.gguf` is a file that the workers are started with; nothing is looked up for it. The demo model
 * comes with the program.
 */
import type { Entry } from '../../registry/entry.ts';
import { explain } from '../../registry/explain.ts';
import { demoModelName, type Registry } from '../../registry/load.ts';
import { RegistryFileError } from '../../registry/registry-file.ts';
import { resolve } from '../../registry/resolve.ts';
import { ConfigError } from './env.ts';
import type { PolicyConfig } from './router-config.ts';

export interface ModelPolicy {
  readonly policy: PolicyConfig;
  /** For the diagnostics: something asked for that has no effect. */
  readonly note: string | null;
}

export function resolvePolicy(policy: PolicyConfig, registry: () => Registry): ModelPolicy {
  if (policy.mode === 'cli') return { policy, note: null };
  const file = /^(?:.*[/\\])?([^/\\]+)\.gguf$/i.exec(policy.model)?.[1];
  if (file !== undefined) return { policy: { ...policy, model: file }, note: null };
  if (policy.model === demoModelName) return { policy, note: null };
  const found = resolve(entriesOf(registry, policy), policy.model, policy.quantization);
  if (!found.ok) {
    const { problem, fix } = explain(found, { contextSize: policy.ctxSize, slots: policy.maxParallel });
    const [variable, shown] =
      found.unknown === 'model'
        ? (['AUXOT_MODEL', policy.model] as const)
        : (['AUXOT_QUANTIZATION', policy.quantization ?? policy.model] as const);
    throw new ConfigError(variable, shown, problem, fix);
  }
  const { entry, note } = found;
  const resolved = {
    ...policy,
    model: entry.name,
    // The coarser word is the only one that a reference worker knows; ours know both.
    quantization: entry.label,
    ctxSize: Math.min(policy.ctxSize, entry.contextMax),
    contextMax: entry.contextMax,
    capabilities: entry.capabilities,
  };
  return { policy: resolved, note };
}

function entriesOf(registry: () => Registry, { registryFile }: PolicyConfig): readonly Entry[] {
  try {
    return registry().entries;
  } catch (error) {
    if (!(error instanceof RegistryFileError)) throw error;
    const fix = 'Mend the file, or leave the variable unset for the built-in registry.';
    throw new ConfigError('AUXOT_REGISTRY_FILE', registryFile, error.message, fix);
  }
}
