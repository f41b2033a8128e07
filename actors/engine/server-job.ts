/**
 * One job on a llama-server: the prompt as tokens, the answer as tokens with their text, by its native `/completion`.
 *
 * S1. The prompt is rendered here, by the model's own template, and the answer is read here: both engines ask the same
 *     question and understand the same answer. The server only evaluates and samples.
 * S2. What was said is known as tokens, so that an answer goes on exactly, on this server or at another worker. Where the
 *     server does not tell a token (it tells none in the middle of a character), the text is asked for its tokens; if that
 *     gives no certainty, the answer is marked as one without tokens.
 * S3. A connection that breaks in the middle of an answer is made again, and the answer goes on behind what was said.
 */
import { answerGrammar } from '../../protocol/answer-grammar.ts';
import { formToGoOnIn, seedAfter, writtenSoFar } from './continuation.ts';
import { closedThought, type Dialect, startsInThought, thoughtEnd } from './dialects.ts';
import { EngineError, type EngineJob, type EngineResult, type GenerateHooks, type ResumePoint } from './engine.ts';
import { jobAnswer, thoughtIsSpent, unreadable } from './job-answer.ts';
import { type Chunk, chunkOf } from './server-chunk.ts';
import { detokenize, type ServerFacts, tokenize } from './server-facts.ts';
import { type ServerHttp, ServerTrouble } from './server-http.ts';
import { takeImages } from './server-images.ts';

export interface JobServer {
  readonly http: ServerHttp;
  readonly facts: ServerFacts;
  /** Settles when the server answers again after a broken connection; false: it is not waited for. */
  backAgain(signal: AbortSignal): Promise<boolean>;
}

export interface ServerPrompt {
  readonly text: string;
  /** null: with images in it, only the server knows. */
  readonly tokens: readonly number[] | null;
  readonly images: readonly string[];
}

const dropsMax = 3;

export async function preparePrompt(
  { http, facts }: JobServer,
  job: EngineJob,
  signal?: AbortSignal,
): Promise<ServerPrompt> {
  const { messages, images } = takeImages(job.messages, facts.mediaMarker);
  const text = job.prompt ?? closedThought(facts.template.render({ ...job, messages }), job, facts.dialect);
  if (images.length > 0) return { text, tokens: null, images };
  const tokens = await tokenize(http, text, false, signal);
  const [bos] = facts.bos;
  return { text, tokens: bos === undefined || tokens[0] === bos ? tokens : [bos, ...tokens], images };
}

export function checkLength({ tokens }: ServerPrompt, contextSize: number): void {
  if (tokens === null || tokens.length < contextSize) return;
  throw new EngineError(
    'context_length_exceeded',
    `the prompt has ${tokens.length} tokens, but this worker's context holds ${contextSize} and the answer needs room in it: shorten the messages`,
  );
}

/** One choice of the job. */
export async function runServerJob(
  server: JobServer,
  prompt: ServerPrompt,
  job: EngineJob,
  hooks: GenerateHooks,
): Promise<EngineResult> {
  const startedAt = performance.now();
  const { http, facts } = server;
  const { dialect } = facts;
  const { resume } = job;
  const heard: GenerateHooks = {
    ...hooks,
    onPiece: piece => hooks.onPiece(ids === null ? { ...piece, ids: [], isInexact: true } : piece),
  };
  const said = jobAnswer(job, { prompt: prompt.text, dialect }, heard, () => '');
  /** All that the model has written, also what becomes no text; `ids` null: only the text of it is known. */
  let written = resume === undefined ? '' : await writtenBefore(server, prompt, resume, hooks.signal);
  let ids: number[] | null = resume === undefined ? [] : (resume.ids?.slice() ?? null);
  let output = resume?.tokens ?? 0;
  const limit = job.maxTokens !== undefined && job.maxTokens > 0 ? job.maxTokens : Number.POSITIVE_INFINITY;
  const overAlready = resume !== undefined && said.restoreText(written, resume.reasoningTokens);
  const promptLength = prompt.tokens?.length ?? 0;
  const isFull = prompt.tokens !== null && promptLength + (ids?.length ?? 0) >= facts.contextSize;
  const grammar = grammarOf(job, prompt, dialect);
  let cached: number | null = null;
  let counted = promptLength;
  let end: Ended = overAlready ? 'stop' : output >= limit || isFull ? 'length' : null;
  let contextFull = isFull && end === 'length' && output < limit;

  /** Whether a thought that is spent is ended: once, for a model that begins another has its reasons. */
  let mayEnd = job.thinkingBudget !== undefined;
  const endThought = async (): Promise<void> => {
    mayEnd = false;
    const ending = thoughtEnd(dialect);
    const tokens = await tokenize(http, ending, false, hooks.signal);
    const room = Math.min(limit - output, facts.contextSize - promptLength - (ids?.length ?? output));
    if (tokens.length >= room - 1) return;
    said.pushText(tokens, ending);
    written += ending;
    ids = ids === null ? null : [...ids, ...tokens];
    output += tokens.length;
  };

  for (let drops = 0; end === null; ) {
    if (mayEnd && thoughtIsSpent(job, said)) await endThought();
    if (grammar !== null && written !== '' && !facts.continuesForms)
      throw new EngineError('internal_error', 'this llama-server is too old to go on with an answer of a given form');
    const before = ids?.length ?? 0;
    const body = {
      ...requestBody(job, dialect, { prompt: promptOf(prompt, ids, written), output, limit }),
      ...(grammar === null ? {} : { grammar }),
      // The server takes these words as said, and the grammar behind them.
      ...(grammar === null || written === '' ? {} : { grammar_type: 'tool_calls', generation_prompt: written }),
    };
    try {
      /** A token without a text may be the one that ends the answer, which is none of it. */
      let silent: Chunk | null = null;
      let told = 0;
      const base = output;
      const take = (chunk: Chunk, tokens: readonly number[] | null): boolean => {
        told = Math.max(told + chunk.tokens.length, chunk.predicted);
        output = base + told;
        written += chunk.text;
        ids = tokens === null || ids === null ? null : [...ids, ...tokens];
        return said.pushText(tokens ?? [], chunk.text, job.logprobs === true ? chunk.chance : undefined);
      };
      for await (const event of http.events('/completion', body, hooks.signal)) {
        const chunk = chunkOf(event, job.topLogprobs ?? 0);
        if (chunk.progress !== null) {
          const { total, cache, processed } = chunk.progress;
          cached ??= Math.min(cache, promptLength || cache);
          counted = promptLength || total;
          hooks.onProgress({ total, cached: cache, processed });
          continue; // Such an event names a token, too, which was never sampled.
        }
        if (chunk.final !== null) {
          if (silent !== null && chunk.final.stopType !== 'eos') take(silent, silent.tokens);
          output = base + Math.max(told, chunk.predicted);
          cached ??= Math.min(chunk.final.cached, promptLength || chunk.final.cached);
          counted = promptLength || chunk.final.evaluated;
          end = chunk.final.stopType === 'limit' ? 'length' : 'stop';
          contextFull = end === 'length' && output < limit;
          break;
        }
        if (chunk.tokens.length === 0) continue;
        if (silent !== null && take(silent, silent.tokens)) end = 'stop';
        silent = null;
        if (end !== null) break;
        if (chunk.text === '') {
          silent = chunk;
          continue;
        }
        const missing = chunk.predicted - told - chunk.tokens.length;
        const tokens = missing <= 0 ? chunk.tokens : await tokensOf(http, chunk, missing, hooks.signal);
        if (take(chunk, tokens)) end = 'stop';
        if (end !== null || (mayEnd && thoughtIsSpent(job, said))) break;
      }
      if (end === null && !(mayEnd && thoughtIsSpent(job, said)))
        throw new ServerTrouble(null, 'the connection ended in the middle of an answer');
    } catch (error) {
      hooks.signal.throwIfAborted();
      if (!(error instanceof ServerTrouble)) throw error;
      if (error.status !== null || drops >= dropsMax || !(await server.backAgain(hooks.signal))) throw failure(error);
      hooks.signal.throwIfAborted();
      // What came since counts against nobody: an answer may lose its connection again much later.
      drops = (ids?.length ?? 0) > before ? 1 : drops + 1;
    }
  }
  const finished = said.finish(end);
  if (said.brokenCall !== null) throw unreadable(said.brokenCall);
  const kept = Math.min(cached ?? 0, counted);
  return {
    ...finished,
    ...(contextFull && finished.finishReason === 'length' ? { contextFull } : {}),
    usage: { input: counted - kept, cached: kept, output, reasoning: said.reasoningTokens },
    durationMs: Math.round(performance.now() - startedAt),
  };
}

type Ended = 'stop' | 'length' | null;

/** What an earlier worker wrote, as the model did. */
async function writtenBefore(
  { http, facts: { dialect } }: JobServer,
  prompt: ServerPrompt,
  resume: ResumePoint,
  signal: AbortSignal,
): Promise<string> {
  if (resume.ids !== null) return detokenize(http, resume.ids, signal);
  return writtenSoFar(resume, startsInThought(prompt.text, dialect), dialect);
}

function promptOf({ text, tokens, images }: ServerPrompt, ids: readonly number[] | null, written: string): unknown {
  if (tokens === null) return { prompt_string: text + written, multimodal_data: images };
  if (ids !== null) return [...tokens, ...ids];
  // Numbers and texts mixed: each text is read by itself.
  return written === '' ? tokens : [...tokens, written];
}

/** How the next token is chosen, said in full: a server may have been started with other wishes. */
function requestBody(
  job: EngineJob,
  dialect: Dialect,
  { prompt, output, limit }: { readonly prompt: unknown; readonly output: number; readonly limit: number },
): Record<string, unknown> {
  const seed = seedAfter(job.seed, output);
  const ending = /^<\|(call|return|eom_id|eom)\|>$/;
  return {
    prompt,
    stream: true,
    return_tokens: true,
    return_progress: true,
    cache_prompt: true,
    n_predict: Number.isFinite(limit) ? limit - output : -1,
    temperature: job.temperature ?? 0.8,
    top_k: job.topK ?? 40,
    top_p: job.topP ?? 0.95,
    min_p: job.minP ?? 0.05,
    typical_p: 1,
    xtc_probability: 0,
    dry_multiplier: 0,
    dynatemp_range: 0,
    mirostat: 0,
    seed: seed === undefined || seed < 0 ? -1 : seed % 2 ** 32,
    repeat_penalty: job.repeatPenalty ?? 1,
    repeat_last_n: 512,
    frequency_penalty: job.frequencyPenalty ?? 0,
    presence_penalty: job.presencePenalty ?? 0,
    logit_bias: biases(job.logitBias ?? {}),
    stop: [],
    ignore_eos: false,
    ...(job.logprobs === true ? { n_probs: Math.max(1, job.topLogprobs ?? 0) } : {}),
    ...(dialect.showsControl
      ? {
          preserved_tokens: [
            ...dialect.marks.filter(mark => !ending.test(mark)),
            ...dialect.openings.map(({ mark }) => mark),
            ...dialect.thought,
          ],
        }
      : {}),
    // The rest of the last event repeats the question.
    response_fields: ['stop', 'stop_type', 'tokens_predicted', 'tokens_evaluated', 'timings', 'truncated', 'content'],
  };
}

function biases(given: Readonly<Record<string, number>>): (readonly [number, number | false])[] {
  return Object.entries(given).map(([key, bias]) => {
    if (!/^\d+$/.test(key))
      throw new EngineError('invalid_request', `logit_bias: ${JSON.stringify(key)} is no token id`);
    return [Number(key), bias <= -100 ? false : bias];
  });
}

function grammarOf(job: EngineJob, { text }: ServerPrompt, dialect: Dialect): string | null {
  const mayThink = job.reasoningEffort?.toLowerCase() === 'none' ? 'none' : 'may';
  const calls = job.resume === undefined ? dialect.calls : formToGoOnIn(job.resume, dialect);
  const form = answerGrammar(job, startsInThought(text, dialect) ? 'open' : mayThink, calls);
  if (!form.ok) throw new EngineError('invalid_request', `${form.param} ${form.why}`);
  return form.text;
}

/** The tokens of a character that took several, of which the server told the last. */
async function tokensOf(
  http: ServerHttp,
  { text, tokens }: Chunk,
  missing: number,
  signal: AbortSignal,
): Promise<readonly number[] | null> {
  const all = (await tokenize(http, text, false, signal)).slice(-(missing + tokens.length));
  const isSure = all.length === missing + tokens.length && tokens.every((id, at) => all[missing + at] === id);
  return isSure ? all : null;
}

/** What the server's word means for the caller. */
export function failure(error: unknown): unknown {
  if (!(error instanceof ServerTrouble)) return error;
  const { status, type, message } = error;
  if (status === null) return new EngineError('engine_crashed', `llama-server: ${message}`, error);
  if (type === 'exceed_context_size_error') return new EngineError('context_length_exceeded', message, error);
  if (status === 501) return new EngineError('unsupported_parameter', message, error);
  if (status === 503) return new EngineError('engine_unavailable', `llama-server: ${message}`, error);
  if (status === 400 || status === 413 || status === 422) return new EngineError('invalid_request', message, error);
  return new EngineError('internal_error', `llama-server: ${message}`, error);
}
