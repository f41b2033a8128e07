/** Cases of spec/workers §5.6 by their numbers, against a server of this machine that the test allows itself. */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { brotliCompressSync, gzipSync } from 'node:zlib';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { ToolError } from '../tool.ts';
import { openEgress } from './egress.ts';
import { webFetch } from './web-fetch.ts';

type Answer = (req: IncomingMessage, res: ServerResponse, body: string) => void;
type Result = Record<string, unknown> & { content: string; links: { url: string; text: string }[] };

const answers = new Map<string, Answer>();
const seen: { method: string; url: string; headers: IncomingMessage['headers']; body: string }[] = [];
const server = createServer((req, res) => {
  let body = '';
  req.on('data', piece => {
    body += piece;
  });
  req.on('end', () => {
    seen.push({ method: req.method ?? '', url: req.url ?? '', headers: req.headers, body });
    const answer = answers.get((req.url ?? '').replace(/\?.*/, ''));
    if (answer === undefined) res.writeHead(404, { 'content-type': 'text/plain' }).end('not here');
    else answer(req, res, body);
  });
});
const egress = openEgress(['127.0.0.1']);
const tool = webFetch({ egress, threads: 1, version: '0' });
let base = '';

test.before(async () => {
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve));
  base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
test.after(async () => {
  await tool.close();
  await egress.close();
  server.closeAllConnections();
  await new Promise(resolve => server.close(resolve));
});

const give =
  (type: string, body: string | Buffer, headers: Record<string, string> = {}): Answer =>
  (_req, res) =>
    void res.writeHead(200, { ...(type === '' ? {} : { 'content-type': type }), ...headers }).end(body);

async function fetched(args: Record<string, unknown>): Promise<Result> {
  const { result } = await tool.run({
    args,
    threadId: null,
    credentials: {},
    signal: new AbortController().signal,
    deadlineAt: Date.now() + 60_000,
  });
  return result as Result;
}

async function refused(args: Record<string, unknown>): Promise<string> {
  try {
    await fetched(args);
  } catch (error) {
    assert.instance(error, ToolError);
    return (error as ToolError).code;
  }
  assert.unreachable('it was not refused');
  return '';
}

const page = (body: string, head = ''): string =>
  `<!doctype html><html><head>${head}</head><body>${body}</body></html>`;

test('1, 2: JSON comes as it is; a 404 is a result with its status', async () => {
  answers.set('/json', give('application/json', '{"a": 1}'));
  const json = await fetched({ url: `${base}/json` });
  assert.is(json.content, '{"a": 1}');
  assert.is(json.status, 200);
  assert.is(json.error, undefined);
  const missing = await fetched({ url: `${base}/missing` });
  assert.is(missing.status, 404);
  assert.is(missing.content, 'not here');
  assert.is(missing.error, undefined);
});

test('3: what is no text is refused by its name, and its body is not read', async () => {
  answers.set('/png', give('image/png', Buffer.alloc(100)));
  answers.set('/pdf', give('application/pdf', '%PDF'));
  answers.set('/zero', give('', Buffer.from([0, 1, 2])));
  assert.match(String((await fetched({ url: `${base}/png` })).error), 'image/png');
  assert.match(String((await fetched({ url: `${base}/pdf` })).error), 'application/pdf');
  assert.match(String((await fetched({ url: `${base}/zero` })).error), 'not a text');
});

test('4, 5, 6: long texts come in pages of whole characters', async () => {
  answers.set('/long', give('text/plain', 'x'.repeat(24_000)));
  const long = await fetched({ url: `${base}/long` });
  assert.ok(long.content.length <= 18_000);
  assert.match(String(long.truncated), 'offset=18000');
  assert.is(long.total_chars, 24_000);
  answers.set('/hundred', give('text/plain', '💡'.repeat(100)));
  for (const [offset, length] of [
    [0, 40],
    [40, 40],
    [80, 20],
  ] as const) {
    const part = await fetched({ url: `${base}/hundred`, offset, limit: 40 });
    assert.is(part.content, '💡'.repeat(length));
    assert.is(part.total_chars, 100);
    assert.is(part.truncated === undefined, offset === 80);
  }
  const past = await fetched({ url: `${base}/hundred`, offset: 500 });
  assert.is(past.content, '');
  assert.match(String(past.truncated), '100 characters');
});

test('7: there is no HEAD before the GET', async () => {
  answers.set('/once', give('text/plain', 'x'));
  await fetched({ url: `${base}/once` });
  assert.equal(
    seen.filter(({ url }) => url === '/once').map(({ method }) => method),
    ['GET'],
  );
});

test('8: search shows every matching line and what is around it; a pattern that is none is said', async () => {
  const lines = Array.from({ length: 60 }, (_, at) => (at === 10 || at === 50 ? `hit ${at}` : `line ${at}`));
  answers.set('/lines', give('text/plain', lines.join('\n')));
  const { content } = await fetched({ url: `${base}/lines`, search: '(?i)HIT \\d+' });
  assert.equal(content.split('\n'), [...lines.slice(7, 14), '---', ...lines.slice(47, 54)]);
  assert.match(String((await fetched({ url: `${base}/lines`, search: '(' })).error), 'search');
});

test('9, 10: another scheme and an unknown mode fail the call', async () => {
  for (const url of ['file:///etc/passwd', 'gopher://x/', 'ftp://x/', 'example.com', ''])
    assert.is(await refused({ url }), 'invalid_arguments', url);
  assert.is(await refused({ url: base, mode: 'pretty' }), 'invalid_arguments');
  assert.is(await refused({ url: base, method: 'CONNECT' }), 'invalid_arguments');
  assert.is(await refused({ url: base, headers: { a: 'b\r\nc: d' } }), 'invalid_arguments');
});

const article = page(
  `<nav><a href="/menu">Menu</a></nav><article><h1>Of otters</h1>${'<p>Otters are <b>quick</b> swimmers, and they hold hands when they sleep, so that nobody drifts away from the others.</p>'.repeat(12)}<p><a href="more">More</a></p></article><script>alert(1)</script>`,
  '<title>Otters</title><base href="/zoo/">',
);

test('11, 12: article and full mode give Markdown', async () => {
  answers.set('/otters', give('text/html', article));
  const read = await fetched({ url: `${base}/otters` });
  assert.is(read.mode, 'article');
  assert.is(read.title, 'Otters');
  assert.not.match(read.content, /<p>|<article>|alert|Menu/);
  assert.match(read.content, '**quick**');
  assert.match(read.content, `[More](${base}/zoo/more)`);
  assert.ok(Number(read.word_count) > 100);
  const full = await fetched({ url: `${base}/otters`, mode: 'full' });
  assert.match(full.content, 'Menu');
  assert.match(full.content, '# Of otters');
  assert.not.match(full.content, 'alert');
});

test('13: links are resolved against the page, fragments and scripts are none', async () => {
  const links =
    '<a href="#x">f</a><a href="javascript:alert(1)">j</a><a href="a">One</a><a href="/b">Two <i>words</i></a>';
  answers.set('/dir/links', give('text/html', page(links)));
  const { links: found, word_count: count } = await fetched({ url: `${base}/dir/links`, mode: 'links' });
  assert.equal(found, [
    { url: `${base}/dir/a`, text: 'One' },
    { url: `${base}/b`, text: 'Two words' },
  ]);
  assert.is(count, 2);
});

test('14, 15: an object is sent as JSON, a text as it is', async () => {
  answers.set('/echo', (req, res, body) =>
    give('text/plain', `${req.headers['content-type']} ${body}`)(req, res, body),
  );
  const json = await fetched({ url: `${base}/echo`, method: 'post', body: { a: [1] } });
  assert.is(json.content, 'application/json {"a":[1]}');
  const form = { 'Content-Type': 'application/x-www-form-urlencoded' };
  const text = await fetched({ url: `${base}/echo`, method: 'POST', body: 'a=1&b=2', headers: form });
  assert.is(text.content, 'application/x-www-form-urlencoded a=1&b=2');
});

test('the charset is found by mark, header, meta and looks', async () => {
  const umlaut = Buffer.from('gr\xfcn', 'latin1');
  answers.set('/header', give('text/plain; charset=iso-8859-1', umlaut));
  answers.set('/looks', give('text/plain', umlaut));
  answers.set('/meta', give('text/html', Buffer.from(page('gr\xfcn', '<meta charset="windows-1252">'), 'latin1')));
  answers.set('/mark', give('text/plain', Buffer.from('\ufeffgrün', 'utf16le')));
  answers.set('/jp', give('text/plain; charset=shift_jis', Buffer.from([0x93, 0xfa, 0x96, 0x7b])));
  for (const path of ['header', 'looks', 'meta', 'mark'])
    assert.match((await fetched({ url: `${base}/${path}`, mode: 'full' })).content, 'grün', path);
  assert.is((await fetched({ url: `${base}/jp` })).content, '日本');
});

test('packed answers are unfolded', async () => {
  answers.set('/gzip', give('text/plain', gzipSync('packed'), { 'content-encoding': 'gzip' }));
  answers.set('/br', give('text/plain', brotliCompressSync('packed'), { 'content-encoding': 'br' }));
  for (const path of ['gzip', 'br']) assert.is((await fetched({ url: `${base}/${path}` })).content, 'packed');
});

test('redirects are followed, up to ten, and say where they ended', async () => {
  for (let n = 0; n < 12; n++)
    answers.set(`/hop${n}`, (_req, res) => void res.writeHead(302, { location: `/hop${n + 1}` }).end());
  answers.set('/hop12', give('text/plain', 'there'));
  const there = await fetched({ url: `${base}/hop2` });
  assert.is(there.content, 'there');
  assert.is(there.final_url, `${base}/hop12`);
  assert.match(String((await fetched({ url: `${base}/hop1` })).error), 'redirects');
});

test('a secret header does not follow a redirect to another origin', async () => {
  const other = createServer((req, res) =>
    give('text/plain', `auth: ${req.headers.authorization ?? 'none'}`)(req, res, ''),
  );
  await new Promise<void>(resolve => other.listen(0, '127.0.0.1', resolve));
  const { port } = other.address() as AddressInfo;
  answers.set('/away', (_req, res) => void res.writeHead(302, { location: `http://127.0.0.1:${port}/` }).end());
  answers.set('/here', (_req, res) => void res.writeHead(302, { location: '/auth' }).end());
  answers.set('/auth', (req, res) => give('text/plain', `auth: ${req.headers.authorization}`)(req, res, ''));
  const headers = { Authorization: 'Bearer secret' };
  assert.is((await fetched({ url: `${base}/away`, headers })).content, 'auth: none');
  assert.is((await fetched({ url: `${base}/here`, headers })).content, 'auth: Bearer secret');
  other.closeAllConnections();
  await new Promise(resolve => other.close(resolve));
});

test.run();
