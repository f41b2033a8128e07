/**
 * `web_search` and `web_answers`, by the API of Brave. What goes wrong there is part of the result, in words that tell a
 * model whether trying again makes sense.
 */
import { intArgument, type Tool, type ToolCall, ToolError, textArgument } from '../tool.ts';
import { DownloadError, type Downloaded, download } from './download.ts';
import type { Egress } from './egress.ts';

export interface BraveOptions {
  /** Without a slash at its end. */
  readonly apiUrl: string;
  /** May go wherever `apiUrl` leads: the operator chose it. */
  readonly egress: Egress;
}

const bytesMax = 2 ** 20;
const searchMsMax = 15_000;
const answerMsMax = 30_000;
/** The longest that is waited before the one repetition that a rate limit gets. */
const retryMsMax = 3000;
/** What the API calls the spans that models ask for. */
const freshness: Readonly<Record<string, string>> = { day: 'pd', week: 'pw', month: 'pm', year: 'py' };

export function webSearch(options: BraveOptions): Tool {
  return {
    name: 'web_search',
    description: 'Searches the web and returns titles, addresses and short extracts of the results.',
    parameters: {
      type: 'object',
      properties: {
        query: { type: 'string', description: 'What to search for.' },
        count: { type: 'integer', minimum: 1, maximum: 10, description: 'Most results, 5 by default.' },
        freshness: {
          type: 'string',
          enum: Object.keys(freshness),
          description: 'Only results of this last span of time.',
        },
      },
      required: ['query'],
    },
    idempotent: true,
    async run(call) {
      const query = textArgument(call, 'query');
      const nothing = (error: string) => ({ result: { query, results: [], result_count: 0, error } });
      const key = call.credentials.BRAVE_SEARCH_API_KEY;
      if (!key) return nothing(noKey('web_search', 'BRAVE_SEARCH_API_KEY'));
      const parameters = new URLSearchParams({
        q: query,
        count: String(intArgument(call, 'count', { min: 1, max: 10, fallback: 5 })),
      });
      const { freshness: wanted } = call.args;
      const span = typeof wanted === 'string' ? (freshness[wanted] ?? '') : '';
      if (span !== '') parameters.set('freshness', span);
      else if (wanted !== undefined && wanted !== null && wanted !== '')
        throw new ToolError('invalid_arguments', `"freshness" must be one of ${Object.keys(freshness).join(', ')}`);
      const answer = await ask(options, call, {
        url: `${options.apiUrl}/res/v1/web/search?${parameters}`,
        key,
        body: null,
        msMax: searchMsMax,
      });
      if (typeof answer === 'string') return nothing(answer);
      const found = listOf(fieldOf(fieldOf(answer.json, 'web'), 'results'));
      const results = found.slice(0, 20).map(item => ({
        title: plainText(textOf(fieldOf(item, 'title'))),
        url: textOf(fieldOf(item, 'url')),
        snippet: plainText(textOf(fieldOf(item, 'description'))),
      }));
      return { result: { query, results, result_count: results.length } };
    },
  };
}

export function webAnswers(options: BraveOptions): Tool {
  return {
    name: 'web_answers',
    description: 'Answers a question from the web, with the sources of the answer.',
    parameters: {
      type: 'object',
      properties: { query: { type: 'string', description: 'The question.' } },
      required: ['query'],
    },
    idempotent: true,
    async run(call) {
      const query = textArgument(call, 'query');
      const nothing = (error: string) => ({ result: { query, answer: '', error } });
      const key = call.credentials.BRAVE_ANSWERS_API_KEY;
      if (!key) return nothing(noKey('web_answers', 'BRAVE_ANSWERS_API_KEY'));
      const body = { messages: [{ role: 'user', content: query }], model: 'brave', stream: false };
      const answer = await ask(options, call, {
        url: `${options.apiUrl}/res/v1/chat/completions`,
        key,
        body: JSON.stringify(body),
        msMax: answerMsMax,
      });
      if (typeof answer === 'string') return nothing(answer);
      const said = textOf(fieldOf(fieldOf(listOf(fieldOf(answer.json, 'choices'))[0], 'message'), 'content'));
      const { text, citations } = withoutMarks(said);
      if (text === '') return nothing('the search service gave an empty answer');
      return { result: { query, answer: text, ...(citations.length === 0 ? {} : { citations }) } };
    },
  };
}

const noKey = (tool: string, name: string): string =>
  `${tool} has no key: the operator sets ${name} (or AUXOT_TOOLS_${tool.toUpperCase()}__${name})`;

interface Asked {
  readonly url: string;
  readonly key: string;
  readonly body: string | null;
  readonly msMax: number;
}

/** The answer's JSON, or why there is none. A rate limit is waited for once, if it is short. */
async function ask(
  { egress }: BraveOptions,
  call: ToolCall,
  { url, key, body, msMax }: Asked,
): Promise<{ json: unknown } | string> {
  const late = AbortSignal.timeout(msMax);
  const signal = AbortSignal.any([call.signal, late]);
  try {
    for (let attempt = 0; ; attempt++) {
      const got = await download(egress, {
        url,
        method: body === null ? 'GET' : 'POST',
        headers: {
          accept: 'application/json',
          'accept-encoding': 'gzip',
          'x-subscription-token': key,
          ...(body === null ? {} : { 'content-type': 'application/json' }),
        },
        body,
        bytesMax,
        redirectsMax: 0,
        signal,
      });
      const waitMs = 1000 * Number(got.headers['retry-after'] ?? 1);
      if (got.status === 429 && attempt === 0 && waitMs <= retryMsMax) {
        await pause(Math.max(waitMs, 100), signal);
        continue;
      }
      return readAnswer(got);
    }
  } catch (error) {
    if (call.signal.aborted) throw new ToolError('cancelled', 'the call was cancelled');
    if (late.aborted) return `the search service did not answer within ${msMax / 1000} s`;
    if (error instanceof DownloadError) return `the search service cannot be asked: ${error.message}`;
    throw error;
  }
}

function readAnswer({ status, bytes, cut }: Downloaded): { json: unknown } | string {
  if (status === 401 || status === 403) return 'the search service refuses the API key';
  if (status === 429) return 'the limit of the search service is reached; try again later';
  if (status !== 200)
    return `the search service answers with status ${status}: ${bytes.toString('utf8').slice(0, 500)}`;
  if (cut === 'large') return 'the answer of the search service is too large';
  if (cut === 'broken') return 'the answer of the search service broke before its end';
  try {
    return { json: JSON.parse(bytes.toString('utf8')) };
  } catch {
    return 'the answer of the search service is not JSON';
  }
}

/** The answer without the marks in it, and what the marks said of its sources. */
function withoutMarks(said: string): { text: string; citations: readonly unknown[] } {
  const citations: unknown[] = [];
  const text = said.replace(/<(citation|enum_item|usage)>([\s\S]*?)<\/\1>/g, (_mark, kind: string, inner: string) => {
    if (kind === 'usage') return '';
    const source = sourceOf(inner);
    if (kind === 'citation' && source !== null && citations.length < 100) citations.push(source);
    return '';
  });
  return { text: text.replace(/[ \t]+\n/g, '\n').trim(), citations };
}

function sourceOf(inner: string): unknown {
  try {
    const json: unknown = JSON.parse(inner);
    const [url, title, snippet] = ['url', 'title', 'snippet'].map(name => textOf(fieldOf(json, name)));
    if (url === undefined || url === '') return null;
    return { url, ...(title ? { title } : {}), ...(snippet ? { snippet } : {}) };
  } catch {
    return /^https?:\/\/\S+$/.test(inner.trim()) ? { url: inner.trim() } : null;
  }
}

const fieldOf = (value: unknown, name: string): unknown =>
  typeof value === 'object' && value !== null ? Object.entries(value).find(([key]) => key === name)?.[1] : undefined;
const listOf = (value: unknown): readonly unknown[] => (Array.isArray(value) ? value : []);
const textOf = (value: unknown): string => (typeof value === 'string' ? value : '');
/** The API marks the words that were searched for. */
const plainText = (text: string): string => text.replace(/<\/?strong>/g, '');

const pause = (ms: number, signal: AbortSignal): Promise<void> =>
  new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener('abort', () => {
      clearTimeout(timer);
      reject(signal.reason);
    });
  });
