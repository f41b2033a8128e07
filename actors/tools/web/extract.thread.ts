/**
 * A page's text from its HTML, on a pool's thread: what strangers wrote is parsed where a loop or a bomb hurts nobody.
 */
import { Readability } from '@mozilla/readability';
import { parseHTML } from 'linkedom';
import TurndownService from 'turndown';
import { matching, pageOf } from './paging.ts';

export type FetchMode = 'article' | 'full' | 'links';

export interface ExtractTask {
  readonly text: string;
  readonly isHtml: boolean;
  readonly mode: FetchMode;
  /** The page's own address, after redirects. */
  readonly url: string;
  /** A pattern; only lines near a match stay. */
  readonly search: string | null;
  readonly offset: number;
  readonly limit: number;
}

export interface Extracted {
  readonly title?: string;
  readonly content?: string;
  readonly links?: readonly { readonly url: string; readonly text: string }[];
  readonly word_count: number;
  readonly total_chars: number;
  readonly truncated?: string;
  readonly note?: string;
  readonly error?: string;
}

/** Fewer words than these, and an article is probably not all there is. */
const wordsMin = 100;
const titleCharsMax = 500;

type Page = ReturnType<typeof parseHTML>['document'];

export default function extract(task: ExtractTask): Extracted {
  const { content, title, note } = task.isHtml && task.mode !== 'links' ? readable(task) : plain(task);
  if (task.isHtml && task.mode === 'links') return linksOf(task);
  let text = content;
  if (task.search !== null) {
    const found = matching(text, task.search);
    if (found === null) return { word_count: 0, total_chars: 0, error: `"search" is no pattern: ${task.search}` };
    text = found;
  }
  const words = text.match(/\S+/g)?.length ?? 0;
  const notes = [
    ...(note === undefined ? [] : [note]),
    ...(task.isHtml && task.mode === 'article' && task.search === null && words < wordsMin
      ? ['There is little text in the article; mode "full" shows the whole page, "links" its links.']
      : []),
  ];
  return {
    ...(title === undefined || title === '' ? {} : { title: title.slice(0, titleCharsMax) }),
    word_count: words,
    ...pageOf(text, task.offset, task.limit),
    ...(notes.length === 0 ? {} : { note: notes.join(' ') }),
  };
}

const notConverted = 'The page could not be converted; this is its bare text.';
/** Real pages stay under a hundred; the time that the parsers take grows with the square. */
const levelsMax = 1000;
/** Elements that have no end, or need none. */
const loose =
  /^(area|base|br|col|embed|hr|img|input|link|meta|param|source|track|wbr|p|li|dt|dd|td|th|tr|thead|tbody|option|optgroup)$/i;

function isTooDeep(html: string): boolean {
  let level = 0;
  for (const [, close, name = '', alone] of html.matchAll(
    /<(\/?)([a-z][a-z0-9-]{0,30})(?=[\s/>])(?:[^<>]{0,2000}?(\/)>)?/gi,
  )) {
    if (loose.test(name) || alone === '/') continue;
    level = close === '/' ? Math.max(0, level - 1) : level + 1;
    if (level > levelsMax) return true;
  }
  return false;
}

const plain = ({ text }: ExtractTask): { content: string; title?: string; note?: string } => ({ content: text });

function readable({ text, mode, url }: ExtractTask): { content: string; title?: string; note?: string } {
  if (isTooDeep(text)) return { content: bare(text), note: notConverted };
  try {
    const document = parsed(text);
    absolute(document, url);
    const title = document.querySelector('title')?.textContent?.trim() ?? '';
    if (mode === 'article') {
      const article = new Readability(parsed(document.toString()) as never, { maxElemsToParse: 50_000 }).parse();
      const body = article?.content ? toMarkdown(parsed(`<html><body>${article.content}</body></html>`)) : '';
      if (body !== '') return { content: body, title: article?.title || title };
    }
    const whole = toMarkdown(document);
    return mode === 'article'
      ? { content: whole, title, note: 'No article was found; this is the whole page.' }
      : { content: whole, title };
  } catch {
    // Nested deeper than the stack, or broken in a way that the parsers did not expect.
    return { content: bare(text), note: notConverted };
  }
}

const parsed = (html: string): Page =>
  parseHTML(/<body|<html/i.test(html) ? html : `<html><body>${html}</body></html>`).document;

function toMarkdown(document: Page): string {
  for (const element of [...document.querySelectorAll('script,style,noscript,template,iframe,svg,canvas,object,embed')])
    element.remove();
  const service = new TurndownService({ headingStyle: 'atx', codeBlockStyle: 'fenced', bulletListMarker: '-' });
  const body = document.querySelector('body') ?? document.documentElement;
  return service.turndown(body as never).trim();
}

function absolute(document: Page, url: string): void {
  const base = baseOf(document, url);
  for (const [tag, attribute] of [
    ['a', 'href'],
    ['img', 'src'],
  ] as const)
    for (const element of [...document.querySelectorAll(tag)]) {
      const value = element.getAttribute(attribute) ?? '';
      if (/^data:/i.test(value)) element.setAttribute(attribute, '');
      else if (value !== '' && !value.startsWith('#') && URL.canParse(value, base))
        element.setAttribute(attribute, new URL(value, base).href);
    }
}

function baseOf(document: Page, url: string): string {
  const base = document.querySelector('base')?.getAttribute('href') ?? '';
  return base !== '' && URL.canParse(base, url) ? new URL(base, url).href : url;
}

function linksOf({ text, url, limit, offset }: ExtractTask): Extracted {
  const document = parsed(text);
  const base = baseOf(document, url);
  const links = new Map<string, string>();
  for (const element of [...document.querySelectorAll('a')]) {
    const href = element.getAttribute('href')?.trim() ?? '';
    if (href === '' || /^(#|javascript:|mailto:|data:)/i.test(href) || !URL.canParse(href, base)) continue;
    const target = new URL(href, base).href;
    if (!links.has(target)) links.set(target, (element.textContent ?? '').replace(/\s+/g, ' ').trim().slice(0, 300));
  }
  const all = [...links].map(([target, said]) => ({ url: target, text: said === '' ? target : said }));
  const title = document.querySelector('title')?.textContent?.trim().slice(0, titleCharsMax) ?? '';
  const next = offset + limit;
  return {
    ...(title === '' ? {} : { title }),
    links: all.slice(offset, next),
    word_count: all.length,
    total_chars: all.length,
    ...(next < all.length ? { truncated: `Links ${offset}–${next} of ${all.length}; go on with offset=${next}.` } : {}),
  };
}

/** Without tags, by patterns that take time in proportion to the text. */
function bare(html: string): string {
  let text = '';
  let at = 0;
  while (at < html.length) {
    const open = html.indexOf('<', at);
    if (open < 0) return text + html.slice(at);
    text += html.slice(at, open);
    const close = html.indexOf('>', open);
    if (close < 0) return text;
    at = close + 1;
    if (text !== '' && !/\s$/.test(text.slice(-1))) text += ' ';
  }
  return text;
}
