/**
 * The embeddings API (spec/http-api §3.7): texts in, a vector for each out. What callers may send, and the answer as a
 * pure function.
 *
 * Vectors go through the log as base64 of little-endian 32-bit floats, which is also what most clients ask for.
 */
import Type from 'typebox';
import { defined, fit } from './fit.ts';
import type { EmbeddingAnswerShape, JobRequest, Usage } from './job-events.ts';
import { type ChatRequestRefusal, type Features, invalid, type Read, read, unsupported } from './openai-api.refusal.ts';
import { check, Raw } from './schema.ts';

const { Optional } = Type;
const Text = Type.String();

export const EmbeddingRequest = Type.Object({
  model: Optional(Type.String({ maxLength: 1024 })),
  /** A text, a list of texts, the tokens of a text, or a list of such. */
  input: Optional(Raw),
  encoding_format: Optional(Type.Union([Type.Literal('float'), Type.Literal('base64')])),
  dimensions: Optional(Type.Integer({ minimum: 1, maximum: 65_536 })),
  user: Optional(Text),
});

export type EmbeddingInput = string | readonly number[];
export type ParsedEmbeddingRequest =
  | { readonly ok: true; readonly request: JobRequest; readonly answer: EmbeddingAnswerShape }
  | ChatRequestRefusal;

/** Texts of one request, as at the API that this one follows. */
export const embeddingInputsMax = 2048;

const fitRequest = fit(EmbeddingRequest, { missing: 'absent' });
const checkRequest = check(EmbeddingRequest);

/** Reads the parsed body of a request for embeddings. */
export function parseEmbeddingRequest(
  body: unknown,
  { modelDefault = '', honours = new Set() }: { readonly modelDefault?: string; readonly honours?: Features } = {},
): ParsedEmbeddingRequest {
  if (typeof body !== 'object' || body === null || Array.isArray(body))
    return invalid(null, 'the body must be a JSON object');
  const parsed = checkRequest(fitRequest(body));
  if (!parsed.ok) {
    const param = parsed.path.replace(/^\$\.?/, '');
    return invalid(param === '' ? null : param, parsed.message);
  }
  const given = parsed.value;
  const inputs = readInputs(given.input);
  if (!inputs.ok) return inputs;
  if (given.dimensions !== undefined && !honours.has('embedding_dimensions'))
    return unsupported(
      'dimensions',
      'is not supported: the model of this router is not known to allow shorter vectors',
    );
  const model = given.model === undefined || given.model === '' ? modelDefault : given.model;
  return {
    ok: true,
    request: {
      model,
      messages: [],
      embed: defined<NonNullable<JobRequest['embed']>>({
        inputs: inputs.value.map(input => (typeof input === 'string' ? input : [...input])),
        dimensions: given.dimensions,
      }),
    },
    answer: {
      api: 'openai.embeddings',
      stream: false,
      model,
      ...(given.encoding_format === 'base64' ? { encoding: 'base64' } : {}),
    },
  };
}

function readInputs(given: unknown): Read<EmbeddingInput[]> {
  if (given === undefined) return invalid('input', 'is required');
  if (typeof given === 'string') return readInput(given, 'input', input => [input]);
  if (!Array.isArray(given)) return invalid('input', 'must be a text, a list of texts, or tokens');
  if (given.length === 0) return invalid('input', 'must not be empty');
  if (typeof given[0] === 'number') return readInput(given, 'input', input => [input]);
  if (given.length > embeddingInputsMax) return invalid('input', `must not have more than ${embeddingInputsMax} texts`);
  const inputs: EmbeddingInput[] = [];
  for (const [index, item] of given.entries()) {
    const one = readInput(item, `input[${index}]`, input => input);
    if (!one.ok) return one;
    inputs.push(one.value);
  }
  return read(inputs);
}

function readInput<T>(given: unknown, at: string, found: (input: EmbeddingInput) => T): Read<T> {
  if (given === '' || (Array.isArray(given) && given.length === 0)) return invalid(at, 'must not be empty');
  if (typeof given === 'string') return read(found(given));
  if (Array.isArray(given) && given.every(isTokenId)) return read(found(given));
  return invalid(at, 'must be a text or a list of token numbers');
}

export const isTokenId = (value: unknown): value is number =>
  typeof value === 'number' && Number.isInteger(value) && value >= 0 && value < 2 ** 31;

/** `vectors`: in the order of the inputs. */
export function embeddingsBody(
  { model, encoding }: Pick<EmbeddingAnswerShape, 'model' | 'encoding'>,
  vectors: readonly string[],
  usage: Usage,
) {
  return {
    object: 'list',
    data: vectors.map((vector, index) => ({
      object: 'embedding',
      index,
      embedding: encoding === 'base64' ? vector : floatsOf(vector),
    })),
    model,
    usage: { prompt_tokens: usage.input, total_tokens: usage.input },
  };
}

/** With nine digits, which name each 32-bit float without doubt; as a 64-bit one it would show seventeen. */
function floatsOf(vector: string): number[] {
  const bytes = Uint8Array.from(atob(vector), character => character.charCodeAt(0));
  const view = new DataView(bytes.buffer);
  return Array.from({ length: bytes.length >> 2 }, (_, index) =>
    Number(view.getFloat32(index * 4, true).toPrecision(9)),
  );
}
