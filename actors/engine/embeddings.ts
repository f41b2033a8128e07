/**
 * Vectors of texts, by a context of their own beside the one that answers.
 *
 * - Every vector has the length 1, as callers of this API expect; a shorter one is cut and brought back to it.
 * - Texts are evaluated one after another, and a cancelled job stops between two of them.
 * - All texts are looked at before the first is evaluated: one that does not fit is refused with its place.
 */
import type { LlamaEmbeddingContext, LlamaModel, Token } from 'node-llama-cpp';
import { type EmbeddingsChoice, EngineError, type EngineJob, type EngineResult, type GenerateHooks } from './engine.ts';

export type EmbedJob = NonNullable<EngineJob['embed']>;

export interface Embedder {
  embed(job: EmbedJob, hooks: GenerateHooks): Promise<EngineResult>;
  /** Its vectors mean the same when cut (Matryoshka training). */
  readonly canShorten: boolean;
  readonly contextSize: number;
  close(): Promise<void>;
}

/** Models that read in both directions and write nothing. */
const encoders: ReadonlySet<string> = new Set([
  'bert',
  'modern-bert',
  'nomic-bert',
  'nomic-bert-moe',
  'neo-bert',
  'jina-bert-v2',
  'jina-bert-v3',
  'eurobert',
  't5encoder',
  'gemma-embedding',
]);
/** How the vectors of a text's tokens become one (mean, first, last): only models made for embeddings say. */
const poolings: ReadonlySet<number> = new Set([1, 2, 3]);

/** Those whose makers say that vectors may be cut; model files do not. */
const shortenable =
  /qwen3-embedding|embedding-?gemma|nomic-embed-(text-v1-5|text-v2|vision|code)|mxbai-embed-(large|2d)|arctic-embed-(m-v1-5|[ml]-v2)|jina-embeddings-v[345]/;

/** Of all vectors of a job: they travel in one frame and stand in one event. */
const answerBytesMax = 32 * 2 ** 20;
const progressMs = 500;

export interface EmbeddingFacts {
  readonly architecture: string;
  readonly pooling: number | undefined;
}

/** What a model is used for. */
export function useOf(
  choice: EmbeddingsChoice,
  { architecture, pooling }: EmbeddingFacts,
): { readonly answers: boolean; readonly embeds: boolean } {
  const isMadeForIt = encoders.has(architecture) || (pooling !== undefined && poolings.has(pooling));
  const embeds = choice === 'also' || choice === 'only' || (choice === 'auto' && isMadeForIt);
  return { embeds, answers: choice === 'also' || !embeds };
}

/** `names`: of the model, as its file and the name of the file say. */
export const canShorten = (names: readonly string[]): boolean =>
  names.some(name => shortenable.test(name.toLowerCase().replace(/[^a-z0-9]+/g, '-')));

export async function openEmbedder(
  model: LlamaModel,
  options: {
    readonly contextSize: number;
    readonly threads: number;
    readonly names: readonly string[];
    readonly alone: boolean;
    readonly ignoreMemorySafetyChecks: boolean;
  },
): Promise<Embedder> {
  const { contextSize, threads, names, alone, ignoreMemorySafetyChecks } = options;
  const context = await model.createEmbeddingContext({
    contextSize,
    threads,
    ignoreMemorySafetyChecks,
    // What reads in both directions must see a text in one piece.
    ...(alone ? { batchSize: contextSize } : {}),
  });
  const { metadata, architectureMetadata } = model.fileInfo;
  const vocabulary = metadata.tokenizer?.ggml?.tokens?.length ?? architectureMetadata.vocab_size ?? 0;
  const shortens = canShorten(names);

  return {
    canShorten: shortens,
    contextSize,
    async embed({ inputs, dimensions }, { signal, onProgress }) {
      const startedAt = performance.now();
      const full = model.embeddingVectorSize;
      if (dimensions !== undefined && !(shortens && dimensions <= full))
        throw new EngineError(
          'unsupported_parameter',
          shortens
            ? `dimensions: the vectors of this model have ${full}, and ${dimensions} were asked for`
            : 'dimensions: this model is not known to allow shorter vectors',
        );
      const bytes = inputs.length * Math.ceil(((dimensions ?? full) * 4) / 3) * 4;
      if (bytes > answerBytesMax)
        throw new EngineError(
          'invalid_request',
          `the vectors of ${inputs.length} texts are more than one answer holds: send at most ${Math.floor((answerBytesMax / bytes) * inputs.length)} at once`,
        );
      const texts = inputs.map((input, index) => tokensOf(context, input, index, vocabulary, contextSize));
      const total = texts.reduce((sum, { length }) => sum + length, 0);
      const embeddings: string[] = [];
      let processed = 0;
      let toldAt = startedAt;
      for (const { tokens, length } of texts) {
        signal.throwIfAborted();
        const { vector } = await context.getEmbeddingFor(tokens);
        embeddings.push(encoded(vector, dimensions ?? full));
        processed += length;
        if (performance.now() - toldAt < progressMs) continue;
        toldAt = performance.now();
        onProgress({ total, cached: 0, processed });
      }
      signal.throwIfAborted();
      return {
        finishReason: 'stop',
        usage: { input: total, cached: 0, output: 0, reasoning: 0 },
        text: '',
        reasoning: '',
        toolCalls: [],
        embeddings,
        durationMs: Math.round(performance.now() - startedAt),
      };
    },
    close: () => context.dispose(),
  };
}

/** `length` counts the tokens that the model puts around a text as well. */
function tokensOf(
  context: LlamaEmbeddingContext,
  input: EmbedJob['inputs'][number],
  index: number,
  vocabulary: number,
  contextSize: number,
): { readonly tokens: Token[]; readonly length: number } {
  if (typeof input !== 'string') {
    const strange = input.find(id => !Number.isInteger(id) || id < 0 || id >= vocabulary);
    if (strange !== undefined)
      throw new EngineError('invalid_request', `input[${index}]: ${strange} is no token of this model`);
  }
  // Token is a branded number; what is no token of the model was refused.
  const tokens = typeof input === 'string' ? context.model.tokenize(input) : ([...input] as Token[]);
  if (tokens.length === 0) throw new EngineError('invalid_request', `input[${index}] has no tokens`);
  const length = context.calculateInputLength(tokens);
  if (length >= contextSize)
    throw new EngineError(
      'context_length_exceeded',
      `input[${index}] has ${length} tokens, but this worker's context for embeddings holds ${contextSize}: shorten it`,
    );
  return { tokens, length };
}

/** Base64 of the first numbers as little-endian 32-bit floats, brought to length 1. */
export function encoded(vector: readonly number[], dimensions: number): string {
  const kept = vector.slice(0, dimensions);
  const norm = Math.sqrt(kept.reduce((sum, number) => sum + number * number, 0));
  if (!Number.isFinite(norm)) throw new EngineError('internal_error', 'the model made a vector that is no numbers');
  const bytes = Buffer.alloc(kept.length * 4);
  for (const [index, number] of kept.entries()) bytes.writeFloatLE(norm === 0 ? 0 : number / norm, index * 4);
  return bytes.toString('base64');
}
