/**
 * A GGUF model in this process's memory, through node-llama-cpp: one context, a sequence for each slot, all of them
 * evaluated in the same batches. Runs in the engine process only, because native code may end its process at any time.
 *
 * - The context is never shifted: a prompt that does not fit is refused before anything is evaluated.
 * - Nothing is compiled or downloaded: prebuilt binaries or an error.
 */
import { availableParallelism } from 'node:os';
import { basename } from 'node:path';
import { getLlama, type Llama, LlamaLogLevel, type LlamaModel, type Token } from 'node-llama-cpp';
import type { Feature } from '../../protocol/features.ts';
import { chatTemplate } from './chat-template.ts';
import { runChoices } from './choices.ts';
import { writtenSoFar } from './continuation.ts';
import { closedThought, type Dialect, dialectOf, startsInThought } from './dialects.ts';
import { type Embedder, useOf } from './embeddings.ts';
import {
  EngineError,
  type EngineInfo,
  type EngineJob,
  type EngineOptions,
  type EngineResult,
  type GenerateHooks,
  memoryChoiceDefault,
  type ResumePoint,
} from './engine.ts';
import { type Bytes, stepDown } from './fit.ts';
import { noShift, runJob } from './generation.ts';
import { openGuides } from './guide.ts';
import {
  boundless,
  budgetOf,
  gpuLayersOf,
  isShortOfMemory,
  needs,
  readModelFacts,
  tinyBytes,
  wishOf,
} from './llama-memory.ts';
import { openPlan, warmUp } from './llama-open.ts';
import { loadFitting } from './load-fitting.ts';
import { readModelFile } from './model-file.ts';
import { openSlots } from './slots.ts';

export interface LoadedModel {
  readonly info: EngineInfo;
  generate(job: EngineJob, hooks: GenerateHooks): Promise<EngineResult>;
  countTokens(job: EngineJob): number;
  close(): Promise<void>;
}

const waitersMax = 256;

export interface LoadHooks {
  readonly onProgress: (share: number) => void;
  /** What was chosen and why, before it is tried. */
  readonly onChosen: (message: string, need: Bytes) => void;
}

/** `failed`: what a process needed that ended while it loaded. */
export async function loadModel(options: EngineOptions, failed: Bytes | null, hooks: LoadHooks): Promise<LoadedModel> {
  const file = await readModelFile(options.modelPath);
  const gpuLayers = gpuLayersOf(options, file.bytes);
  const llama = await getLlama({
    gpu: gpuLayers === 0 ? false : 'auto',
    build: 'never',
    skipDownload: true,
    logLevel: LlamaLogLevel.error,
    ...(options.threads === null ? {} : { maxThreads: options.threads }),
  });
  const threads =
    options.threads ?? (file.bytes < tinyBytes ? 1 : Math.min(llama.cpuMathCores, availableParallelism()));
  const facts = await readModelFacts(llama, options.modelPath);
  const { metadata, architectureMetadata } = facts.file;
  const use = useOf(options.embeddings ?? 'auto', {
    architecture: metadata.general.architecture,
    pooling: architectureMetadata.pooling_type,
  });
  const memory = options.memory ?? memoryChoiceDefault;
  const budget = await budgetOf(llama);
  const opened = await loadFitting({
    wish: wishOf(options, facts, file.bytes, llama.gpu !== false),
    budget: memory.check ? (failed === null ? budget : stepDown(budget, failed)) : boundless,
    needOf: needs(facts, use),
    gpu: llama.gpu === false ? '' : llama.gpu,
    layers: facts.layers,
    open: plan => openPlan(llama, plan, { ...options, threads, use, check: memory.check, ...hooks }),
    isShortOfMemory,
    onChosen: hooks.onChosen,
  });
  const { model, embedder, context, plan } = opened;
  const about: Omit<EngineInfo, 'contextSize' | 'features'> = {
    model: metadata.general?.name ?? basename(options.modelPath).replace(/(-\d{5}-of-\d{5})?\.gguf$/i, ''),
    backend: 'llama.cpp',
    slots: plan.slots,
    vramGb: await vramGb(llama),
    parameters: metadata.general?.size_label ?? '',
    modelFile: file.digest,
    threads,
    gpu: String(llama.gpu),
  };
  if (context === null) {
    if (embedder === null) throw new EngineError('internal_error', 'the model was loaded for nothing');
    return embeddingModel(model, llama, embedder, about);
  }
  const sequences = Array.from({ length: plan.slots }, () =>
    context.getSequence({ contextShift: { strategy: noShift } }),
  );
  await warmUp(model, sequences[0]);

  const slots = openSlots(sequences, waitersMax);
  const guides = openGuides(llama, model);
  const source = metadata.tokenizer?.chat_template ?? null;
  const dialect = dialectOf({
    template: source,
    toolFormat: options.toolFormat ?? null,
    architecture: metadata.general.architecture,
  });
  const template = chatTemplate({
    source,
    bos: model.tokens.bosString,
    eos: model.tokens.eosString,
  });
  const promptOf = (job: EngineJob): string => job.prompt ?? closedThought(template.render(job), job, dialect);
  const info: EngineInfo = {
    ...about,
    contextSize: context.contextSize,
    features: ['response_format', 'tool_choice', 'n', 'logprobs', ...(embedder === null ? [] : offeredBy(embedder))],
  };

  return {
    info,
    async generate(job, hooks) {
      if (job.embed !== undefined) {
        if (embedder === null) throw new EngineError('unsupported_parameter', 'embeddings: this worker makes none');
        return embedder.embed(job.embed, hooks);
      }
      const prompt = promptOf(job);
      const asked = tokenize(model, prompt);
      if (asked.length >= context.contextSize) {
        throw new EngineError(
          'context_length_exceeded',
          `the prompt has ${asked.length} tokens, but this worker's context holds ${context.contextSize} and the answer needs room in it: shorten the messages`,
        );
      }
      const promptLength = asked.length;
      const sequence = await slots.acquire(withSaid(model, prompt, asked, job.resume, dialect), hooks.signal);
      try {
        return await runChoices(job, hooks, async (choice, resume, heard) => {
          const guide = await guides({ ...choice, resume }, startsInThought(prompt, dialect), dialect);
          const tokens = withSaid(model, prompt, asked, resume, dialect);
          return runJob(
            model,
            sequence,
            { ...choice, resume },
            { prompt, tokens, promptLength, dialect },
            guide,
            heard,
          );
        });
      } catch (error) {
        // After a failed evaluation nobody knows what the slot holds.
        if (!hooks.signal.aborted) await sequence.clearHistory();
        throw error;
      } finally {
        slots.release(sequence);
      }
    },
    countTokens: job => tokenize(model, promptOf(job)).length,
    async close() {
      await embedder?.close();
      await context.dispose();
      await model.dispose();
      await llama.dispose();
    },
  };
}

const offeredBy = (embedder: Embedder): Feature[] =>
  embedder.canShorten ? ['embeddings', 'embedding_dimensions'] : ['embeddings'];

/** A model that answers nobody: without a context for answers, all memory is for what it is there for. */
function embeddingModel(
  model: LlamaModel,
  llama: Llama,
  embedder: Embedder,
  about: Omit<EngineInfo, 'contextSize' | 'features'>,
): LoadedModel {
  const features: Feature[] = [...offeredBy(embedder), 'embeddings_only'];
  return {
    info: { ...about, contextSize: embedder.contextSize, features },
    async generate({ embed }, hooks) {
      if (embed !== undefined) return embedder.embed(embed, hooks);
      throw new EngineError('unsupported_parameter', 'this model makes embeddings and no answers');
    },
    countTokens() {
      throw new EngineError('unsupported_parameter', 'this model knows no conversations');
    },
    async close() {
      await embedder.close();
      await model.dispose();
      await llama.dispose();
    },
  };
}

/** The prompt with what was said already behind it. */
function withSaid(
  model: LlamaModel,
  prompt: string,
  asked: Token[],
  resume: ResumePoint | undefined,
  dialect: Dialect,
): Token[] {
  if (resume === undefined) return asked;
  // Token is a branded number, and equal model files number tokens alike.
  if (resume.ids !== null) return [...asked, ...(resume.ids as Token[])];
  return tokenize(model, prompt + writtenSoFar(resume, startsInThought(prompt, dialect), dialect));
}

function tokenize(model: LlamaModel, prompt: string): Token[] {
  const tokens = model.tokenize(prompt, true);
  const { bos } = model.tokens;
  return model.tokens.shouldPrependBosToken && bos !== null && tokens[0] !== bos ? [bos, ...tokens] : tokens;
}

async function vramGb(llama: Llama): Promise<number> {
  if (llama.gpu === false) return 0;
  const { total } = await llama.getVramState();
  return Math.round((total / 2 ** 30) * 10) / 10;
}
