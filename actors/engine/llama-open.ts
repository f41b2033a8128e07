/** Puts a plan into memory: the model, its contexts, and the first evaluation, which is slower than all later ones. */
import { basename } from 'node:path';
import type { Llama, LlamaContext, LlamaContextSequence, LlamaModel } from 'node-llama-cpp';
import { type Embedder, openEmbedder } from './embeddings.ts';
import type { EngineOptions } from './engine.ts';
import type { Plan } from './fit.ts';
import { type Contexts, ggmlTypes } from './llama-memory.ts';

export interface Opened {
  readonly plan: Plan;
  readonly model: LlamaModel;
  readonly context: LlamaContext | null;
  readonly embedder: Embedder | null;
}

export async function openPlan(
  llama: Llama,
  plan: Plan,
  options: Pick<EngineOptions, 'modelPath'> & {
    readonly threads: number;
    readonly use: Contexts;
    readonly check: boolean;
    readonly onProgress: (share: number) => void;
  },
): Promise<Opened> {
  const { threads, use } = options;
  const { contextSize, slots } = plan;
  const ignoreMemorySafetyChecks = !options.check;
  const model = await llama.loadModel({
    modelPath: options.modelPath,
    gpuLayers: plan.gpuLayers,
    onLoadProgress: options.onProgress,
    ignoreMemorySafetyChecks,
  });
  try {
    const { name = '' } = model.fileInfo.metadata.general;
    const names = [name, basename(options.modelPath)];
    const about = { contextSize, threads, names, alone: !use.answers, ignoreMemorySafetyChecks };
    const embedder = use.embeds ? await openEmbedder(model, about) : null;
    if (!use.answers) return { plan, model, embedder, context: null };
    const type = ggmlTypes[plan.cacheType];
    const context = await model.createContext({
      sequences: slots,
      contextSize,
      threads,
      ...(plan.cacheType === 'f16' ? {} : { experimentalKvCacheKeyType: type, experimentalKvCacheValueType: type }),
      ignoreMemorySafetyChecks,
      // What is tried next is decided with all of the plan in view.
      failedCreationRemedy: false,
    });
    return { plan, model, embedder, context };
  } catch (error) {
    await model.dispose();
    throw error;
  }
}

/** Kernels are made, buffers filled and pages read on the first evaluation: no caller should wait for that. */
export async function warmUp(model: LlamaModel, sequence: LlamaContextSequence | undefined): Promise<void> {
  const token = model.tokens.bos ?? model.tokens.eos ?? model.tokenize('a')[0];
  if (token === undefined || sequence === undefined) return;
  for await (const _ of sequence.evaluate([token], { temperature: 0 })) break;
  await sequence.clearHistory();
}
