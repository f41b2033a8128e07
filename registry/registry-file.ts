/** Entries from a registry file and back. What is written and read again is the same entry. */
import { checkRegistryFile, type RegistryFile, type RegistryFileEntry } from '../protocol/registry-file.ts';
import { type Capability, capabilities, type Entry, idOf, labelOf, parameterCount } from './entry.ts';
import { partCount, partFiles } from './parts.ts';

export class RegistryFileError extends Error {
  override readonly name = 'RegistryFileError';
  readonly code = 'registry_file';
  readonly retryable = false;
}

export interface ReadRegistryFile {
  readonly version: string;
  readonly madeAt: string;
  readonly extendsBuiltin: boolean;
  readonly entries: readonly Entry[];
}

/** Throws a RegistryFileError that names the first thing wrong; `path` is for that message only. */
export function parseRegistryFile(text: string, path: string): ReadRegistryFile {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new RegistryFileError(`${path} is no JSON: ${reason}`);
  }
  const checked = checkRegistryFile(json);
  if (!checked.ok) throw new RegistryFileError(`${path} is no model registry: ${checked.path} ${checked.message}`);
  const { version, generated_at: madeAt = '', extends: base, models } = checked.value;
  const seen = new Set<string>();
  for (const { id } of models) {
    if (seen.has(id)) throw new RegistryFileError(`${path} has two models with the id ${JSON.stringify(id)}`);
    seen.add(id);
  }
  return { version, madeAt, extendsBuiltin: base === 'builtin', entries: models.map(model => entryFrom(model, path)) };
}

export function writeRegistryFile(
  entries: readonly Entry[],
  about: { readonly version: string; readonly madeAt: string; readonly extendsBuiltin: boolean },
): string {
  const file: RegistryFile = {
    version: about.version,
    generated_at: about.madeAt,
    ...(about.extendsBuiltin ? { extends: 'builtin' } : {}),
    models: entries.map(toFileEntry),
  };
  return `${JSON.stringify(file, null, 1)}\n`;
}

function entryFrom(model: RegistryFileEntry, path: string): Entry {
  const label = model.label ?? labelOf(model.quantization);
  const sizes = model.files?.map(({ path, size, sha256 }) => ({ path, bytes: size, sha256: sha256 ?? null })) ?? null;
  const wanted = partFiles(model.file_name);
  const missing = sizes === null ? undefined : wanted.find(part => !sizes.some(file => file.path === part));
  if (missing !== undefined)
    throw new RegistryFileError(`${path}: the files of ${JSON.stringify(model.id)} do not name ${missing}`);
  // One size can only stand for one file.
  const single = partCount(model.file_name) === 1 && model.mmproj_file_name === undefined;
  const oneSize =
    sizes === null && single && model.file_size_bytes
      ? [{ path: model.file_name, bytes: model.file_size_bytes, sha256: null }]
      : null;
  return {
    id: model.id,
    labelId: idOf(model.model_name, label),
    name: model.model_name,
    repository: model.huggingface_id,
    revision: model.revision ?? null,
    quantization: model.quantization,
    label,
    family: model.family,
    parameters: model.parameters,
    parametersActive: model.parameters_active ?? null,
    contextDefault: model.default_context_size,
    contextMax: model.max_context_size,
    capabilities: model.capabilities.map(text => text.toLowerCase()).filter(isCapability),
    toolFormat: model.tool_format ?? null,
    reasoningFormat: model.reasoning_format ?? null,
    license: model.license ?? null,
    file: model.file_name,
    projector: model.mmproj_file_name ?? null,
    kv:
      model.kv?.map(({ layers, heads, key_dim, value_dim, window }) => ({
        layers,
        heads,
        keyDim: key_dim,
        valueDim: value_dim,
        window: window ?? null,
      })) ?? null,
    files: sizes ?? oneSize,
    vramGb: model.vram_requirements_gb ?? null,
  };
}

function toFileEntry(entry: Entry): RegistryFileEntry {
  const weights = entry.files?.filter(({ path }) => path !== entry.projector) ?? [];
  const bytes = weights.reduce((sum, file) => sum + file.bytes, 0);
  const known = bytes > 0 ? Math.ceil(bytes / 1e8) / 10 : null;
  const guessed = Math.max(1, Math.ceil((parameterCount(entry.parameters) ?? 0) / 2e8)) / 10;
  return {
    id: entry.id,
    model_name: entry.name,
    huggingface_id: entry.repository,
    quantization: entry.quantization,
    family: entry.family,
    parameters: entry.parameters,
    default_context_size: entry.contextDefault,
    max_context_size: entry.contextMax,
    vram_requirements_gb: entry.vramGb ?? known ?? guessed,
    capabilities: [...entry.capabilities],
    file_name: entry.file,
    ...(entry.projector === null ? {} : { mmproj_file_name: entry.projector }),
    ...(weights.length === 1 ? { file_size_bytes: bytes } : {}),
    ...(entry.label === entry.quantization ? {} : { label: entry.label }),
    ...(entry.revision === null ? {} : { revision: entry.revision }),
    ...(entry.parametersActive === null ? {} : { parameters_active: entry.parametersActive }),
    ...(entry.toolFormat === null ? {} : { tool_format: entry.toolFormat }),
    ...(entry.reasoningFormat === null ? {} : { reasoning_format: entry.reasoningFormat }),
    ...(entry.license === null ? {} : { license: entry.license }),
    ...(entry.kv === null
      ? {}
      : {
          kv: entry.kv.map(({ layers, heads, keyDim, valueDim, window }) => ({
            layers,
            heads,
            key_dim: keyDim,
            value_dim: valueDim,
            ...(window === null ? {} : { window }),
          })),
        }),
    ...(entry.files === null
      ? {}
      : {
          files: entry.files.map(({ path, bytes: size, sha256 }) => ({
            path,
            size,
            ...(sha256 === null ? {} : { sha256 }),
          })),
        }),
  };
}

const isCapability = (text: string): text is Capability => capabilities.some(known => known === text);
