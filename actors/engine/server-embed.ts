/** Vectors of texts by a llama-server that makes them. */
import { isRecord } from '../../protocol/record.ts';
import { type EmbedJob, encoded } from './embeddings.ts';
import { EngineError, type EngineResult, type GenerateHooks } from './engine.ts';
import type { ServerFacts } from './server-facts.ts';
import type { ServerHttp } from './server-http.ts';

const textMsMax = 600_000;

/** One text after another, so that a cancelled job stops between two of them. */
export async function embedOnServer(
  http: ServerHttp,
  { shortens }: Pick<ServerFacts, 'shortens'>,
  { inputs, dimensions }: EmbedJob,
  { signal, onProgress }: GenerateHooks,
): Promise<EngineResult> {
  const startedAt = performance.now();
  if (dimensions !== undefined && !shortens)
    throw new EngineError('unsupported_parameter', 'dimensions: this model is not known to allow shorter vectors');
  const embeddings: string[] = [];
  let input = 0;
  for (const [index, text] of inputs.entries()) {
    const asked = { input: text, model: 'local', encoding_format: 'float' };
    const answer = await http.call('/v1/embeddings', asked, { signal, msMax: textMsMax });
    const [first] = isRecord(answer) && Array.isArray(answer.data) ? answer.data : [];
    const vector: unknown = isRecord(first) ? first.embedding : null;
    if (!Array.isArray(vector) || vector.length === 0 || !vector.every(item => typeof item === 'number'))
      throw new EngineError('internal_error', `input[${index}]: llama-server answers without a vector`);
    if (dimensions !== undefined && dimensions > vector.length)
      throw new EngineError(
        'unsupported_parameter',
        `dimensions: the vectors of this model have ${vector.length}, and ${dimensions} were asked for`,
      );
    embeddings.push(encoded(vector, dimensions ?? vector.length));
    const usage = isRecord(answer) && isRecord(answer.usage) ? answer.usage : {};
    input += typeof usage.prompt_tokens === 'number' ? usage.prompt_tokens : 0;
    onProgress({ total: inputs.length, cached: 0, processed: index + 1 });
  }
  return {
    finishReason: 'stop',
    usage: { input, cached: 0, output: 0, reasoning: 0 },
    text: '',
    reasoning: '',
    toolCalls: [],
    embeddings,
    durationMs: Math.round(performance.now() - startedAt),
  };
}
