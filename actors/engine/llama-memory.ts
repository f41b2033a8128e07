/** What a model file needs and what the machine has, as llama.cpp knows it: the two sides of fit.ts. */
import {
  type GgmlType,
  GgmlType as GgmlTypes,
  type GgufFileInfo,
  GgufInsights,
  InsufficientMemoryError,
  type Llama,
  readGgufFileInfo,
} from 'node-llama-cpp';
import { EngineError, type EngineOptions, memoryChoiceDefault } from './engine.ts';
import type { Budget, Bytes, CacheType, Plan, Wish } from './fit.ts';
import { memoryLimit } from './memory-limit.ts';

export const ggmlTypes: Readonly<Record<CacheType, GgmlType>> = {
  f16: GgmlTypes.F16,
  q8_0: GgmlTypes.Q8_0,
  q4_0: GgmlTypes.Q4_0,
};

export interface ModelFacts {
  readonly file: GgufFileInfo;
  readonly insights: GgufInsights;
  /** All that can be put on a GPU, with the output. */
  readonly layers: number;
  readonly contextSizeMax: number;
}

/** Reads the head of the file; nothing is loaded. */
export async function readModelFacts(llama: Llama, modelPath: string): Promise<ModelFacts> {
  const file = await readGgufFileInfo(modelPath, { sourceType: 'filesystem', logWarnings: false });
  const insights = await GgufInsights.from(file, llama);
  if (!insights.isSupportedByLlamaCpp) {
    const { architecture } = file.metadata.general;
    throw new EngineError(
      'model_load_failed',
      `this version of llama.cpp (${llama.llamaCppRelease.release}) knows no models of the architecture ${architecture}: update this program, or choose another model`,
    );
  }
  const contextSizeMax = insights.trainContextSize ?? contextSizeUntold;
  return { file, insights, layers: insights.totalLayers, contextSizeMax };
}

/** Of a file that does not say what it was trained on. */
const contextSizeUntold = 4096;

/** A part of main memory is left to others, as the library does it for the GPU's. */
const spareShare = 0.25;
const spareBytesMax = 2 ** 30;

export async function budgetOf(llama: Llama): Promise<Budget> {
  const [ram, vram] = [await llama.getRamState(), await llama.getVramState()];
  const limit = memoryLimit();
  const left = (total: number, free: number): number => free - Math.min(total * spareShare, spareBytesMax);
  const limited = limit === null ? Number.POSITIVE_INFINITY : left(limit.totalBytes, limit.freeBytes);
  return {
    ram: Math.max(0, Math.floor(Math.min(left(ram.total, ram.free), limited))),
    vram: Math.max(0, vram.free - llama.vramPaddingSize),
    unified: vram.unifiedSize,
  };
}

/** Of one who wants no check. */
export const boundless: Budget = { ram: Number.MAX_VALUE, vram: Number.MAX_VALUE, unified: 0 };

/** A model below this is so small that threads only wait for each other, and that a GPU is not worth waking. */
export const tinyBytes = 64 * 2 ** 20;
/** Without a wish, no more than this: a model trained on a million tokens would take all memory for its cache. */
const contextSizeDefault = 8192;

/** null: as many as fit. */
export const gpuLayersOf = ({ gpuLayers }: EngineOptions, bytes: number): number | null =>
  gpuLayers ?? (bytes < tinyBytes ? 0 : null);

/** `bytes`: of the model's file. */
export function wishOf(
  options: EngineOptions,
  { insights, layers, contextSizeMax }: ModelFacts,
  bytes: number,
  hasGpu: boolean,
): Wish {
  const { check, contextSizeMin, cacheType } = options.memory ?? memoryChoiceDefault;
  const gpuLayers = gpuLayersOf(options, bytes);
  const contextSize = Math.min(options.contextSize ?? contextSizeDefault, contextSizeMax);
  const most = hasGpu ? Math.min(layers, gpuLayers ?? layers) : 0;
  // Values that are not kept exactly need an attention that some models have not.
  const coarse = insights.flashAttentionSupported;
  const types: readonly CacheType[] = !coarse ? ['f16'] : cacheType === 'auto' ? ['f16', 'q8_0', 'q4_0'] : [cacheType];
  return {
    contextSize,
    contextSizeMin: check ? Math.min(contextSize, contextSizeMin) : contextSize,
    slots: options.slots,
    gpuLayers: { min: gpuLayers === null ? 0 : most, max: most },
    cacheTypes: types,
  };
}

/** Which contexts are made beside each other. */
export interface Contexts {
  readonly answers: boolean;
  readonly embeds: boolean;
}

export const needs =
  ({ insights }: ModelFacts, { answers, embeds }: Contexts) =>
  async ({ contextSize, slots, gpuLayers, cacheType }: Plan): Promise<Bytes> => {
    const parts = [await insights.estimateModelResourceRequirementsV2({ gpuLayers })];
    const context = { contextSize, modelGpuLayers: gpuLayers, flashAttention: flashOf(insights) };
    if (answers) {
      const type = ggmlTypes[cacheType];
      const asked = { ...context, sequences: slots, kvCacheKeyType: type, kvCacheValueType: type };
      parts.push(await insights.estimateContextResourceRequirementsV2(asked));
    }
    if (embeds) {
      const batch = answers ? {} : { batchSize: contextSize };
      const asked = { ...context, ...batch, sequences: 1, isEmbeddingContext: true };
      parts.push(await insights.estimateContextResourceRequirementsV2(asked));
    }
    return {
      ram: parts.reduce((sum, { cpuRam }) => sum + cpuRam, 0),
      vram: parts.reduce((sum, { gpuVram }) => sum + gpuVram, 0),
    };
  };

const flashOf = ({ flashAttentionSupported }: GgufInsights): 'auto' | false =>
  flashAttentionSupported ? 'auto' : false;

/** The library has a class for what it sees coming; what happens in native code, it only calls a failure. */
export const isShortOfMemory = (error: unknown): boolean =>
  error instanceof InsufficientMemoryError ||
  (error instanceof Error && /failed to create context|out of memory|failed to allocate/i.test(error.message));
