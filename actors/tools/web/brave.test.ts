/** Cases of spec/workers §5.7 1–4, against a server that stands in for the search service. */
import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { Tool } from '../tool.ts';
import { webAnswers, webSearch } from './brave.ts';
import { openEgress } from './egress.ts';

const requests: { url: string; headers: IncomingMessage['headers']; body: string }[] = [];
let replies: { status: number; body: string; headers?: Record<string, string> }[] = [];
const server = createServer((req, res) => {
  let body = '';
  req.on('data', piece => {
    body += piece;
  });
  req.on('end', () => {
    requests.push({ url: req.url ?? '', headers: req.headers, body });
    const reply = replies.shift() ?? { status: 500, body: 'nothing left' };
    res.writeHead(reply.status, reply.headers).end(reply.body);
  });
});
const egress = openEgress(['*']);
let search: Tool;
let answers: Tool;

test.before(async () => {
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve));
  const options = { apiUrl: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, egress };
  search = webSearch(options);
  answers = webAnswers(options);
});
test.after(async () => {
  await egress.close();
  server.closeAllConnections();
  await new Promise(resolve => server.close(resolve));
});
test.before.each(() => {
  requests.length = 0;
});

async function asked(
  tool: Tool,
  args: object,
  credentials: Record<string, string> = {},
): Promise<Record<string, unknown>> {
  const signal = new AbortController().signal;
  const { result } = await tool.run({
    args: { ...args },
    threadId: null,
    credentials,
    signal,
    deadlineAt: Date.now() + 9000,
  });
  return result as Record<string, unknown>;
}
const key = { BRAVE_SEARCH_API_KEY: 'k-1' };
const found = (results: object[]): string => JSON.stringify({ web: { results } });

test('1: without a key there is an error and an empty list, and nobody is asked', async () => {
  const result = await asked(search, { query: 'x' });
  assert.match(String(result.error), 'BRAVE_SEARCH_API_KEY');
  assert.equal(result.results, []);
  assert.is(result.result_count, 0);
  assert.is(requests.length, 0);
});

test('2, 3: results are title, url and snippet; query, count and freshness are sent as the service wants them', async () => {
  replies = [
    {
      status: 200,
      body: found([
        { title: 'A', url: 'https://a', description: 'of <strong>a</strong>' },
        { title: 'B', url: 'https://b' },
      ]),
    },
  ];
  const result = await asked(search, { query: 'a & b', count: 7, freshness: 'week' }, key);
  assert.equal(result, {
    query: 'a & b',
    results: [
      { title: 'A', url: 'https://a', snippet: 'of a' },
      { title: 'B', url: 'https://b', snippet: '' },
    ],
    result_count: 2,
  });
  assert.is(requests[0]?.url, '/res/v1/web/search?q=a+%26+b&count=7&freshness=pw');
  assert.is(requests[0]?.headers['x-subscription-token'], 'k-1');
});

test('4: a rate limit is waited for once; other refusals have words of their own', async () => {
  replies = [
    { status: 429, body: '', headers: { 'retry-after': '0' } },
    { status: 200, body: found([]) },
  ];
  assert.is((await asked(search, { query: 'x' }, key)).error, undefined);
  replies = [{ status: 429, body: '', headers: { 'retry-after': '60' } }];
  const words = [String((await asked(search, { query: 'x' }, key)).error)];
  for (const reply of [
    { status: 401, body: '' },
    { status: 503, body: 'down' },
    { status: 200, body: 'no json' },
    { status: 200, body: 'x'.repeat(2 ** 20 + 1) },
  ]) {
    replies = [reply];
    const result = await asked(search, { query: 'x' }, key);
    assert.equal(result.results, []);
    words.push(String(result.error));
  }
  assert.is(new Set(words).size, 5, words.join('\n'));
  for (const said of words) assert.not.match(said, 'k-1');
});

test('an answer comes with its sources', async () => {
  const content = 'Blue.<citation>{"url":"https://sky","title":"Sky"}</citation> Yes.<usage>{"x":1}</usage>';
  replies = [{ status: 200, body: JSON.stringify({ choices: [{ message: { content } }] }) }];
  const result = await asked(answers, { query: 'sky?' }, { BRAVE_ANSWERS_API_KEY: 'k-2' });
  assert.equal(result, { query: 'sky?', answer: 'Blue. Yes.', citations: [{ url: 'https://sky', title: 'Sky' }] });
  assert.equal(JSON.parse(requests[0]?.body ?? ''), {
    messages: [{ role: 'user', content: 'sky?' }],
    model: 'brave',
    stream: false,
  });
  replies = [{ status: 200, body: '{"choices":[{"message":{"content":""}}]}' }];
  assert.match(String((await asked(answers, { query: 'sky?' }, { BRAVE_ANSWERS_API_KEY: 'k' })).error), 'empty');
});

test.run();
