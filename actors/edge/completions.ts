/**
 * Stored chat completions, below the root of the OpenAI API: those made with `store: true`, while their logs last.
 *
 *   GET    chat/completions                 a page of them; by `model` and `metadata[name]`
 *   GET    chat/completions/{id}
 *   POST   chat/completions/{id}            other metadata
 *   DELETE chat/completions/{id}
 *   GET    chat/completions/{id}/messages   what it was asked with
 */
import { listPage, type Metadata, metadataTrouble } from '../../protocol/openai-api.stored.ts';
import type { PageAsked } from '../../protocol/responses-api.input-items.ts';
import type { CompletionLook } from '../../protocol/shard-messages.ts';
import type { Front } from '../router/front.ts';
import { answerError, answerJson, answerText, type Exchange } from './answers.ts';
import { takeBody } from './chat.ts';
import { jobIdOf } from './jobs.ts';

/** Where stored completions are listed. All of it may reject: the store is in trouble. */
export interface CompletionsPort {
  list(now: number): Promise<readonly string[]>;
  note(jobId: string, metadata: string): Promise<void>;
  noted(jobId: string): Promise<string | null>;
}

export interface CompletionsParts {
  readonly front: Front;
  readonly completions: CompletionsPort;
}

const pageDefault = 20;
const pageMax = 100;
/** Logs read for one page, whatever it leaves out. */
const looksMax = 1000;
const metadataBytesMax = 64 * 1024;

/** The key is right. `path`: below `chat/completions/`, empty for the list. */
export async function answerCompletions(
  exchange: Exchange,
  method: string,
  path: string,
  parts: CompletionsParts,
): Promise<void> {
  const [id = '', verb = ''] = path.split('/');
  const asked = new URL(exchange.req.url ?? '/', 'http://router').searchParams;
  const page = pageOf(asked);
  if (typeof page === 'string') return answerError(exchange, 'invalid_request', page);
  try {
    if (id === '') return await answerList(exchange, asked, page, parts);
    const jobId = id.startsWith('chatcmpl-') ? jobIdOf(id) : null;
    if (jobId === null)
      return answerError(
        exchange,
        method === 'DELETE' ? 'deletion_refused' : 'object_not_found',
        `there is no stored chat completion "${id.slice(0, 200)}"`,
      );
    if (verb === 'messages') return tell(exchange, await look(parts, { what: 'completionMessages', jobId, page }));
    if (method === 'DELETE') return tell(exchange, await look(parts, { what: 'deleteCompletion', jobId }));
    if (method === 'POST') return await update(exchange, jobId, parts);
    return tell(exchange, await completion(parts, jobId));
  } catch {
    // Trouble with the store, which the front tells.
    answerError(exchange, 'store_unavailable', 'stored chat completions cannot be read now');
  }
}

interface Told {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

const tell = ({ res }: Exchange, { status, headers, body }: Told): void => answerText(res, status, headers, body);

function look({ front }: CompletionsParts, what: CompletionLook): Promise<Told> {
  return new Promise((resolve, reject) =>
    front.lookArrived(
      {
        respond: (status, headers, body) => resolve({ status, headers, body }),
        refuse: (code, message) => reject(new Error(`${code}: ${message}`)),
        follow: () => reject(new Error('a stored completion is not streamed')),
      },
      what,
    ),
  );
}

async function completion(parts: CompletionsParts, jobId: string): Promise<Told> {
  const noted = await parts.completions.noted(jobId);
  const metadata = noted === null ? {} : { metadata: JSON.parse(noted) as Metadata };
  return look(parts, { what: 'completion', jobId, ...metadata });
}

async function update(exchange: Exchange, jobId: string, parts: CompletionsParts): Promise<void> {
  const body = await takeBody(exchange, metadataBytesMax, () => null);
  if (body === null) return;
  const metadata = metadataIn(body);
  const trouble = metadata === undefined ? 'is required' : metadataTrouble(metadata);
  if (trouble !== null) return answerError(exchange, 'invalid_request', `metadata ${trouble}`, 'metadata');
  const before = await completion(parts, jobId);
  if (before.status !== 200) return tell(exchange, before);
  await parts.completions.note(jobId, JSON.stringify(metadata));
  tell(exchange, await completion(parts, jobId));
}

function metadataIn(body: Uint8Array): unknown {
  try {
    const given: unknown = JSON.parse(new TextDecoder().decode(body));
    return typeof given === 'object' && given !== null && 'metadata' in given ? given.metadata : undefined;
  } catch {
    return undefined; // what is no JSON has no metadata
  }
}

async function answerList(
  exchange: Exchange,
  asked: URLSearchParams,
  { limit, order, after }: PageAsked,
  parts: CompletionsParts,
): Promise<void> {
  const jobIds = [...(await parts.completions.list(Date.now()))];
  if (order === 'desc') jobIds.reverse();
  const start = after === null ? 0 : jobIds.indexOf(after) + 1;
  if (after !== null && start === 0)
    return answerError(exchange, 'invalid_request', 'after must be the id of a stored chat completion', 'after');
  const found: Completion[] = [];
  for (const jobId of jobIds.slice(start, start + looksMax)) {
    if (found.length > limit || exchange.res.destroyed) break;
    const { status, body } = await completion(parts, jobId);
    if (status !== 200) continue;
    const stored: Completion = JSON.parse(body);
    if (fits(stored, asked)) found.push(stored);
  }
  answerJson(exchange, 200, listPage(found.slice(0, limit), found.length > limit));
}

interface Completion {
  readonly id: string;
  readonly model: string;
  readonly metadata: Metadata;
}

function fits({ model, metadata }: Completion, asked: URLSearchParams): boolean {
  for (const [name, value] of asked) {
    if (name === 'model' && value !== model) return false;
    const field = /^metadata\[(.*)\]$/s.exec(name)?.[1];
    if (field !== undefined && metadata[field] !== value) return false;
  }
  return true;
}

/** A text says what is wrong with it. */
function pageOf(asked: URLSearchParams): PageAsked | string {
  const limit = Number(asked.get('limit') ?? pageDefault);
  const order = asked.get('order') ?? 'asc';
  if (!Number.isInteger(limit) || limit < 1 || limit > pageMax)
    return `limit must be a whole number from 1 to ${pageMax}`;
  if (order !== 'asc' && order !== 'desc') return 'order must be asc or desc';
  return { limit, order, after: asked.get('after') };
}
