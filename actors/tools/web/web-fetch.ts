/**
 * `web_fetch`: a page of the web as text that a model can read.
 *
 * The exchange is bounded by download.ts, the addresses by egress.ts; what came is read on a thread that can be ended.
 * What goes wrong with the page is part of the result; only arguments that make no sense fail the call.
 */
import { openThreadTasks, ThreadEnd, type ThreadTasks, threadEntry } from '../thread-tasks.ts';
import { intArgument, type Tool, type ToolCall, ToolError, textArgument } from '../tool.ts';
import { decodeText } from './charset.ts';
import { DownloadError, type Downloaded, download } from './download.ts';
import type { Egress } from './egress.ts';
import type { Extracted, ExtractTask, FetchMode } from './extract.thread.ts';

export interface WebFetchOptions {
  readonly egress: Egress;
  readonly threads: number;
  readonly version: string;
}

const bytesMax = 5 * 2 ** 20;
const redirectsMax = 10;
const extractMsMax = 8000;
const limitDefault = 18_000;
const linksDefault = 200;
const linksMax = 2000;
const shownHeaders = ['content-type', 'content-length', 'last-modified', 'etag', 'location'];
const modes: readonly FetchMode[] = ['article', 'full', 'links'];
const methods = ['GET', 'POST', 'PUT', 'DELETE', 'HEAD'];
/** Those that the connection is made of are ours. */
const ownHeaders = new Set(['host', 'connection', 'content-length', 'transfer-encoding', 'upgrade', 'expect', 'te']);
const textTypes =
  /^(text\/|application\/(json|xml|xhtml|javascript|ld\+json|rss\+xml|atom\+xml|[\w.-]+\+(json|xml)\b|x-ndjson|yaml|x-yaml))/i;

export function webFetch({ egress, threads, version }: WebFetchOptions): Tool & { close(): Promise<void> } {
  const tasks = openThreadTasks<ExtractTask, Extracted>({
    entry: threadEntry(import.meta.url, './extract.thread'),
    threads,
    memoryMib: 256,
    queueMax: 256,
  });

  return {
    name: 'web_fetch',
    description:
      'Fetches a web page or another text by its URL. "article" gives the main text as Markdown, "full" the whole page as Markdown, "links" its links. Long texts come in pages: go on with offset.',
    parameters: {
      type: 'object',
      properties: {
        url: { type: 'string', description: 'An http:// or https:// URL.' },
        mode: { type: 'string', enum: [...modes], description: 'article by default.' },
        offset: { type: 'integer', minimum: 0, description: 'Characters (or links) to leave out at the beginning.' },
        limit: {
          type: 'integer',
          minimum: 1,
          maximum: 100_000,
          description: `Most characters, ${limitDefault} by default.`,
        },
        method: { type: 'string', enum: methods, description: 'GET by default.' },
        headers: { type: 'object', additionalProperties: { type: 'string' } },
        body: { description: 'A text, or JSON that is sent as such.' },
        search: { type: 'string', description: 'A regular expression: only lines near a match are shown.' },
        timeout_seconds: { type: 'integer', minimum: 1, maximum: 60, description: '30 by default.' },
      },
      required: ['url'],
    },
    // It may be told to POST.
    idempotent: false,
    run: async call => ({
      result: await fetchPage(call, { egress, tasks, agent: `auxot-tools/${version} (web_fetch)` }),
    }),
    close: () => tasks.close(),
  };
}

interface Means {
  readonly egress: Egress;
  readonly tasks: ThreadTasks<ExtractTask, Extracted>;
  readonly agent: string;
}

async function fetchPage(call: ToolCall, means: Means): Promise<Record<string, unknown>> {
  const startedAt = Date.now();
  const asked = readArguments(call);
  const late = new AbortController();
  const timer = setTimeout(() => late.abort(new Error('late')), asked.seconds * 1000);
  const signal = AbortSignal.any([call.signal, late.signal]);
  const about = { url: asked.url, mode: asked.mode };
  const done = (more: object): Record<string, unknown> => ({ ...about, ...more, duration_ms: Date.now() - startedAt });
  try {
    const got = await download(means.egress, {
      url: asked.url,
      method: asked.method,
      headers: {
        'user-agent': means.agent,
        accept: acceptable,
        'accept-encoding': 'gzip, deflate, br',
        ...asked.headers,
      },
      body: asked.body,
      bytesMax,
      redirectsMax,
      signal,
      refuse: contentType => (asked.method === 'HEAD' ? null : notText(contentType)),
    });
    const shown = Object.fromEntries(Object.entries(got.headers).filter(([name]) => shownHeaders.includes(name)));
    const contentType = got.headers['content-type'];
    const answer = {
      status: got.status,
      ...(got.url === asked.url ? {} : { final_url: got.url }),
      ...(contentType === undefined ? {} : { content_type: contentType }),
      headers: shown,
    };
    if (got.refused !== null) return done({ ...answer, error: got.refused });
    return done({ ...answer, ...(await readPage(got, asked, means, call)) });
  } catch (error) {
    if (call.signal.aborted) throw new ToolError('cancelled', 'the call was cancelled');
    if (late.signal.aborted) return done({ error: `the page took longer than ${asked.seconds} s` });
    if (error instanceof DownloadError) return done({ error: error.message });
    throw error;
  } finally {
    clearTimeout(timer);
  }
}

async function readPage(
  got: Downloaded,
  asked: ReturnType<typeof readArguments>,
  { tasks }: Means,
  { signal }: ToolCall,
): Promise<Partial<Extracted>> {
  const contentType = got.headers['content-type'] ?? '';
  if (contentType === '' && got.bytes.subarray(0, 1024).includes(0)) return { error: 'the answer is not a text' };
  const text = decodeText(got.bytes, contentType);
  const isHtml = /html/i.test(contentType) || (contentType === '' && /^\s*<(!doctype\s+html|html)/i.test(text));
  const cut =
    got.cut === 'large'
      ? `Only the first ${bytesMax / 2 ** 20} MiB were read.`
      : 'The connection broke before the end.';
  const links = asked.mode === 'links' && isHtml;
  const limit = links
    ? asked.limit === null || asked.limit > linksMax
      ? linksDefault
      : asked.limit
    : (asked.limit ?? limitDefault);
  try {
    const { mode, search, offset } = asked;
    const read = await tasks.run(
      { text, isHtml, mode, url: got.url, search, offset, limit },
      { msMax: extractMsMax, signal },
    );
    return got.cut !== null ? { ...read, note: read.note === undefined ? cut : `${cut} ${read.note}` } : read;
  } catch (error) {
    if (!(error instanceof ThreadEnd) || error.why === 'aborted') throw error;
    const why = { late: 'took too long', died: 'needed too much memory', busy: 'had too many before it' }[error.why];
    return { error: `reading the page ${why}${asked.search === null ? '' : ', perhaps because of "search"'}` };
  }
}

function readArguments(call: ToolCall) {
  const url = textArgument(call, 'url').trim();
  if (!/^https?:\/\//i.test(url)) throw new ToolError('invalid_arguments', '"url" must begin with http:// or https://');
  const mode = modes.find(known => known === (call.args.mode ?? 'article'));
  if (mode === undefined) throw new ToolError('invalid_arguments', `"mode" must be one of ${modes.join(', ')}`);
  const method = typeof call.args.method === 'string' ? call.args.method.toUpperCase() : 'GET';
  if (!methods.includes(method))
    throw new ToolError('invalid_arguments', `"method" must be one of ${methods.join(', ')}`);
  const headers: Record<string, string> = {};
  const given = call.args.headers;
  if (typeof given === 'object' && given !== null)
    for (const [name, value] of Object.entries(given)) {
      const known = name.toLowerCase();
      if (typeof value !== 'string' || ownHeaders.has(known)) continue;
      if (!/^[\w!#$%&'*+.^`|~-]+$/.test(name) || /[^\t\x20-\x7e\x80-\xff]/.test(value))
        throw new ToolError('invalid_arguments', `the header ${JSON.stringify(name.slice(0, 60))} cannot be sent`);
      headers[known] = value;
    }
  let body: string | null = null;
  const { body: wanted } = call.args;
  if (wanted !== undefined && wanted !== null && method !== 'GET' && method !== 'HEAD') {
    body = typeof wanted === 'string' ? wanted : JSON.stringify(wanted);
    if (typeof wanted === 'object') headers['content-type'] ??= 'application/json';
  }
  const limit = intArgument(call, 'limit', { min: 1, max: 100_000, fallback: 0 });
  return {
    url,
    mode,
    method,
    headers,
    body,
    search: typeof call.args.search === 'string' && call.args.search !== '' ? call.args.search : null,
    offset: intArgument(call, 'offset', { min: 0, max: Number.MAX_SAFE_INTEGER, fallback: 0 }),
    limit: limit === 0 ? null : limit,
    seconds: intArgument(call, 'timeout_seconds', { min: 1, max: 60, fallback: 30 }),
  };
}

const acceptable =
  'text/html,application/xhtml+xml,text/*;q=0.9,application/json;q=0.9,application/xml;q=0.8,*/*;q=0.1';

function notText(contentType: string): string | null {
  if (contentType === '' || textTypes.test(contentType.trim())) return null;
  return `the answer is ${contentType.slice(0, 100)}, which is not a text that can be shown`;
}
