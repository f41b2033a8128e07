/**
 * The tools worker among the malicious: pages without end or sense, and ways into the network behind it. The worker is the real program, and everything is asked
 * of it through its socket; each input has its answer, the worker goes on, and its memory is what it was.
 */
import { createServer, type ServerResponse } from 'node:http';
import { type AddressInfo, createServer as createTcpServer } from 'node:net';
import { createGzip, gzipSync } from 'node:zlib';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { openEgress } from '../actors/tools/web/egress.ts';
import { webFetch } from '../actors/tools/web/web-fetch.ts';
import { drip, stream } from './hostile-server.ts';
import { waitUntil } from './processes.ts';
import { asker, memoryOf, toolsKey, withRouter, withTools } from './tools-router.ts';

const mib = 2 ** 20;

/** Inputs that were answered otherwise than they should be. */
const wrong: string[] = [];
test.after.each(() => void wrong.splice(0));

/** Servers that answer as no server should; `hits` counts what reached the one that nobody may reach. */
async function hostileWeb() {
  let hits = 0;
  const html = { 'content-type': 'text/html' };
  const plain = { 'content-type': 'text/plain' };
  const bomb = gzipSync(Buffer.alloc(64 * mib));
  const inside = createServer((_req, res) => {
    hits++;
    res.end('the secret');
  });
  await new Promise<void>(resolve => inside.listen(0, '127.0.0.2', resolve));
  const private_ = `http://127.0.0.2:${(inside.address() as AddressInfo).port}/`;
  const pages: Record<string, (res: ServerResponse) => void> = {
    '/gigabyte': res => stream(res.writeHead(200, plain), Buffer.alloc(mib, 'x'), 1024 * mib),
    '/gigabyte-html': res => stream(res.writeHead(200, html), Buffer.from('<p>text</p>'.repeat(10_000)), 1024 * mib),
    '/bomb': res => void res.writeHead(200, { ...plain, 'content-encoding': 'gzip' }).end(bomb),
    '/endless-gzip': res => {
      const gzip = createGzip();
      gzip.pipe(res.writeHead(200, { ...plain, 'content-encoding': 'gzip' }));
      stream(gzip as never, Buffer.alloc(mib), 1024 * mib);
    },
    '/bad-gzip': res => void res.writeHead(200, { ...plain, 'content-encoding': 'gzip' }).end('this is no gzip'),
    '/odd-encoding': res => void res.writeHead(200, { ...plain, 'content-encoding': 'rot13' }).end('x'),
    '/drip': res => drip(res.writeHead(200, plain), 'x', 50),
    '/silent': () => undefined,
    '/cut': res => {
      res.writeHead(200, { ...plain, 'content-length': '100000' }).write('some');
      setTimeout(() => res.destroy(), 50);
    },
    '/deep': res => void res.writeHead(200, html).end('<div>'.repeat(200_000)),
    '/links': res => void res.writeHead(200, html).end('<a href="x">y</a>'.repeat(100_000)),
    '/unclosed': res => void res.writeHead(200, html).end(`<html><body>${'<b><i><table><tr><td>'.repeat(20_000)}`),
    '/regex': res => void res.writeHead(200, plain).end(`${'a'.repeat(50_000)}b`),
    '/loop': res => void res.writeHead(302, { location: '/loop' }).end(),
    '/to-private': res => void res.writeHead(302, { location: private_ }).end(),
    '/to-metadata': res => void res.writeHead(302, { location: 'http://169.254.169.254/latest/meta-data/' }).end(),
    '/to-mapped': res => void res.writeHead(302, { location: 'http://[::ffff:127.0.0.2]/' }).end(),
    '/to-number': res => void res.writeHead(302, { location: 'http://2130706434/' }).end(),
    '/to-file': res => void res.writeHead(302, { location: 'file:///etc/passwd' }).end(),
    '/to-login': res => void res.writeHead(302, { location: 'http://a:b@example.com/' }).end(),
    '/to-chain': res => void res.writeHead(307, { location: '/to-private' }).end(),
  };
  const server = createServer((req, res) => {
    res.on('error', () => undefined);
    const page = pages[req.url ?? ''];
    if (page === undefined) res.writeHead(404).end();
    else page(res);
  });
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve));
  // Speaks no HTTP: headers without end, slowly and quickly.
  const raw = createTcpServer(socket => {
    socket.on('error', () => undefined);
    socket.write('HTTP/1.1 200 OK\r\n');
    const timer = setInterval(() => socket.write(`x-${Date.now()}: ${'y'.repeat(8000)}\r\n`), 20);
    socket.on('close', () => clearInterval(timer));
  });
  await new Promise<void>(resolve => raw.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    rawUrl: `http://127.0.0.1:${(raw.address() as AddressInfo).port}/`,
    privateUrl: private_,
    hits: () => hits,
    close() {
      for (const http of [server, inside]) {
        http.closeAllConnections();
        http.close();
      }
      raw.close();
    },
  };
}

test('pages: endless, folded, slow and broken ones end, and no way leads into the private network', async () => {
  const web = await hostileWeb();
  const pages: readonly [path: string, answer: RegExp, args?: object][] = [
    ['/gigabyte', /Only the first 5 MiB/],
    ['/gigabyte-html', /Only the first 5 MiB|took too long|too much memory/],
    ['/bomb', /Only the first 5 MiB/],
    ['/endless-gzip', /Only the first 5 MiB/],
    ['/bad-gzip', /cannot be read/],
    ['/odd-encoding', /rot13/],
    ['/drip', /took longer than 1 s/],
    ['/silent', /took longer than 1 s/],
    ['/cut', /some.*broke before the end/],
    ['/deep', /./],
    ['/links', /"word_count":1/, { mode: 'links' }],
    ['/unclosed', /./, { mode: 'full' }],
    ['/regex', /too long.*search/, { search: '(a+)+$' }],
    ['/loop', /more than 10 redirects/],
    ['/to-private', /not a public address/],
    ['/to-metadata', /not a public address/],
    ['/to-mapped', /not a public address/],
    ['/to-number', /not a public address/],
    ['/to-file', /only http and https/],
    ['/to-login', /user name/],
    ['/to-chain', /not a public address/],
  ];
  const others: readonly [url: string, answer: RegExp][] = [
    ['file:///etc/passwd', /http:\/\/ or https:\/\//],
    ['gopher://127.0.0.1:70/', /http:\/\/ or https:\/\//],
    ['http://user:pass@127.0.0.1/', /user name/],
    [web.privateUrl, /not a public address/],
    ['http://[::1]:1/', /not a public address/],
    ['http://0/', /not a public address/],
    ['http://0177.0.0.2/', /not a public address/],
    ['http://10.0.0.1/', /not a public address/],
    ['http://100.100.100.200/', /not a public address/],
    ['http://[64:ff9b::7f00:2]/', /not a public address/],
    ['http://[fd00::1]/', /not a public address/],
    [web.rawUrl, /too long|took longer/],
    ['http://\u0000', /cannot be read|http/],
    [`http://${'x'.repeat(100_000)}/`, /./],
  ];
  try {
    await withRouter(2, router =>
      withTools(
        ['--router-url', router.url],
        { AUXOT_TOOLS_KEY: toolsKey, AUXOT_TOOLS_ALLOW_HOSTS: '127.0.0.1' },
        async program => {
          const ask = asker(router);
          await waitUntil(
            () => router.frames.length > 0,
            30_000,
            () => program.output(),
          );
          const round = async (): Promise<number> => {
            for (const [path, answer, args = {}] of pages) {
              const seconds = /silent|drip/.test(path) ? 1 : 20;
              const { text, ms } = await ask('web_fetch', { url: web.url + path, timeout_seconds: seconds, ...args });
              if (!answer.test(text)) wrong.push(`${path}: ${text.slice(0, 300)}`);
              assert.ok(ms < 25_000, `${path}: ${ms} ms`);
              assert.not.match(text, 'the secret');
            }
            for (const [url, answer] of others) {
              const { text } = await ask('web_fetch', { url, timeout_seconds: 3 });
              if (!answer.test(text)) wrong.push(`${url.slice(0, 100)}: ${text.slice(0, 300)}`);
            }
            return memoryOf(program, 'VmRSS');
          };
          const first = await round();
          assert.equal(wrong, []);
          const second = await round();
          const most = memoryOf(program, 'VmHWM');
          console.log(`pages: ${first.toFixed(0)} MiB, then ${second.toFixed(0)} MiB, at most ${most.toFixed(0)} MiB`);
          assert.ok(second < first + 80, `memory grew from ${first} to ${second} MiB`);
          assert.ok(most < 1000, `${most} MiB`);
          assert.is(web.hits(), 0, 'the private server was reached');
        },
      ),
    );
  } finally {
    web.close();
  }
});

test('names that change what they say lead nowhere private, on no hop and on no later call', async () => {
  let inside = 0;
  const server = createServer((_req, res) => {
    inside++;
    res.end('the secret');
  });
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  // Public when it is looked at, private when it is used, and both at once: an address of documents stands for public.
  let turn = 0;
  const egress = openEgress(['203.0.113.0/24'], (_name, done) => {
    turn++;
    if (turn % 3 === 0) done(null, [{ address: '::ffff:127.0.0.1', family: 6 }]);
    else
      done(null, [
        { address: '127.0.0.1', family: 4 },
        { address: '169.254.169.254', family: 4 },
      ]);
  });
  const tool = webFetch({ egress, threads: 1, version: '0' });
  for (let n = 0; n < 6; n++) {
    const { result } = await tool.run({
      args: { url: `http://rebind.example:${port}/`, timeout_seconds: 2 },
      threadId: null,
      credentials: {},
      signal: new AbortController().signal,
      deadlineAt: Date.now() + 9000,
    });
    assert.match(JSON.stringify(result), 'not a public address');
  }
  assert.is(inside, 0);
  assert.is(turn, 6, 'one look at the name for one connection');
  await tool.close();
  await egress.close();
  server.close();
});

test.run();
