/**
 * The model registry as a file: the reference's `registry.json`, and what ours adds to it (marked), all of it optional.
 * A registry of the reference can be read, and it reads ours: unknown fields are ignored on both sides.
 */
import Type, { type Static } from 'typebox';
import { check, Int } from './schema.ts';

const { Optional } = Type;
const Text = Type.String({ minLength: 1 });
const Positive = Type.Integer({ minimum: 1, maximum: Number.MAX_SAFE_INTEGER });
/** Paths end up below the folder of models: they must not lead out of it. */
const FilePath = Type.Refine(
  Text,
  path => !/^[/\\]|\\|^[A-Za-z]:|\0/.test(path) && !path.split('/').includes('..'),
  () => 'must be a path inside the repository, such as Q4_K_S/model-00001-of-00002.gguf',
);
const Repository = Type.Refine(
  Text,
  text => /^[\w.-]+\/[\w.-]+$/.test(text) && !/(^|\/)\.+(\/|$)/.test(text),
  () => 'must be owner/repository',
);

export const RegistryFileEntry = Type.Object({
  id: Text,
  model_name: Text,
  huggingface_id: Repository,
  quantization: Text,
  family: Type.Union([Type.Literal('MoE'), Type.Literal('Dense')]),
  parameters: Type.String(),
  default_context_size: Positive,
  max_context_size: Positive,
  /** Weights only, in decimal GB. */
  vram_requirements_gb: Optional(Type.Number({ exclusiveMinimum: 0 })),
  capabilities: Type.Array(Type.String(), { minItems: 1 }),
  file_name: FilePath,
  mmproj_file_name: Optional(FilePath),
  file_size_bytes: Optional(Type.Union([Positive, Type.Null()])),
  formats: Optional(Type.Array(Type.Unknown())),
  /** Ours, as everything below. What the reference calls this quantization, where that differs. */
  label: Optional(Text),
  revision: Optional(Text),
  parameters_active: Optional(Text),
  tool_format: Optional(Text),
  reasoning_format: Optional(Text),
  license: Optional(Text),
  kv: Optional(
    Type.Array(Type.Object({ layers: Int, heads: Int, key_dim: Int, value_dim: Int, window: Optional(Positive) })),
  ),
  files: Optional(
    Type.Array(
      Type.Object({
        path: FilePath,
        size: Positive,
        sha256: Optional(Type.String({ pattern: '^[0-9a-f]{64}$' })),
      }),
    ),
  ),
});

export const RegistryFile = Type.Object({
  version: Text,
  generated_at: Optional(Type.String()),
  /** Ours: the built-in catalogue lies behind this file, which adds to it and replaces entries by id. */
  extends: Optional(Type.Literal('builtin')),
  models: Type.Array(RegistryFileEntry, { minItems: 1 }),
});

export type RegistryFileEntry = Static<typeof RegistryFileEntry>;
export type RegistryFile = Static<typeof RegistryFile>;

export const checkRegistryFile = check(RegistryFile);
