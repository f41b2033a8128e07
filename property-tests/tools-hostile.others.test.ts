/**
 * The tools worker among the malicious: programs that do not end, flood or hide, a search service gone mad, and MCP
 * servers by HTTP that hang, drip, flood and lie. The worker is the real program, and everything is asked of it through its
 * socket; each input has its answer, the worker goes on, and its memory is what it was.
 */
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { drip, stream } from './hostile-server.ts';
import { waitUntil } from './processes.ts';
import { asker, memoryOf, toolsKey, withRouter, withTools } from './tools-router.ts';

const mib = 2 ** 20;
const wrong: string[] = [];
test.after.each(() => void wrong.splice(0));

/** Marks that must not be found running at the end. */
const mark = `60${Math.floor(Math.random() * 1e6)}`;

const programs: readonly [name: string, script: string, answer: RegExp, more?: object][] = [
  ['endless', 'while true; do :; done', /longer than 1 s|timeout/],
  ['deaf', `trap "" TERM INT HUP; sleep ${mark} & while true; do sleep ${mark}; done`, /longer than 1 s|timeout/],
  ['flood', 'yes flood', /more than|too (large|much)|output/],
  ['shout', 'yes error >&2', /longer than 1 s|timeout|more than/],
  ['behind', `sleep ${mark} & echo '"left one behind"'`, /left one behind/],
  [
    'holds',
    `sleep ${mark} > /dev/null 2>&1 & echo '"closed"'; exec >&- 2>&-; sleep ${mark}`,
    /longer than 1 s|timeout|closed/,
  ],
  ['blind', 'exec 0<&-; sleep 0.1; echo "\\"did not read\\""', /did not read/],
  ['bytes', 'head -c 100000 /dev/urandom', /./],
  ['nothing', 'exit 0', /./],
  ['deep', 'head -c 90000 /dev/zero | tr "\\\\0" "["; head -c 90000 /dev/zero | tr "\\\\0" "]"', /too deep/],
  ['fails', 'echo "the token is $SECRET" >&2; exit 9', /the token is \*+|status 9/],
  ['killed', 'kill -9 $$', /SIGKILL|signal|killed/],
  ['stops', 'kill -STOP $$', /longer than 1 s|timeout/],
];

type Handler = (req: IncomingMessage, res: ServerResponse) => void;

const json = { 'content-type': 'application/json' };

async function serve(handler: Handler): Promise<{ url: string; close(): void }> {
  const server = createServer((req, res) => {
    res.on('error', () => undefined);
    handler(req, res);
  });
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    close() {
      server.closeAllConnections();
      server.close();
    },
  };
}

function running(): string[] {
  return readdirSync('/proc')
    .filter(name => /^\d+$/.test(name))
    .flatMap(pid => {
      try {
        const line = readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ');
        return line.startsWith(`sleep ${mark}`) ? [line] : [];
      } catch {
        return []; // it has ended meanwhile
      }
    });
}

test('programs that do not end, flood, hide or leave children behind', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'auxot-hostile-'));
  mkdirSync(join(folder, 'tools'));
  for (const [name, script] of programs) {
    writeFileSync(join(folder, 'tools', `${name}.sh`), `#!/bin/bash\n${script}\n`, { mode: 0o755 });
    const described = { name, description: name, parameters: { type: 'object' }, timeout_seconds: 1 };
    writeFileSync(join(folder, 'tools', `${name}.tool.json`), JSON.stringify(described));
  }
  const env = {
    AUXOT_TOOLS_KEY: toolsKey,
    AUXOT_TOOLS_DIR: join(folder, 'tools'),
    AUXOT_TOOLS_FAILS__SECRET: 'hush-hush',
  };
  await withRouter(2, router =>
    withTools(['--router-url', router.url], env, async program => {
      const ask = asker(router);
      await waitUntil(
        () => router.frames.length > 0,
        30_000,
        () => program.output(),
      );
      const round = async (): Promise<number> => {
        for (const [name, , answer] of programs) {
          const { frame, ms } = await ask(name, { big: 'x'.repeat(200_000) });
          const text = JSON.stringify([frame.result, frame.error]);
          if (!answer.test(text)) wrong.push(`${name}: ${text.slice(0, 300)}`);
          assert.ok(ms < 8000, `${name}: ${ms} ms`);
          assert.ok(text.length < 3 * mib, `${name}: ${text.length}`);
          assert.not.match(text, 'hush-hush');
        }
        return memoryOf(program, 'VmRSS');
      };
      const first = await round();
      assert.equal(wrong, []);
      const second = await round();
      console.log(`programs: ${first.toFixed(0)} MiB, then ${second.toFixed(0)} MiB`);
      assert.ok(second < first + 60, `memory grew from ${first} to ${second} MiB`);
      await waitUntil(
        () => running().length === 0,
        5000,
        () => `still running: ${running().join(', ')}`,
      );
    }),
  );
  rmSync(folder, { recursive: true, force: true });
});

test('a search service that floods, drips, hangs, lies or sends one elsewhere', async () => {
  const bomb = gzipSync(Buffer.alloc(64 * mib, ' '));
  const results = (list: unknown): string => JSON.stringify({ web: { results: list } });
  const answers: readonly [query: string, handler: Handler, answer: RegExp][] = [
    ['gigabyte', (_, res) => stream(res.writeHead(200, json), Buffer.alloc(mib, ' '), 1024 * mib), /too large/],
    ['bomb', (_, res) => void res.writeHead(200, { ...json, 'content-encoding': 'gzip' }).end(bomb), /too large/],
    ['deep', (_, res) => void res.writeHead(200, json).end('['.repeat(900_000)), /not JSON/],
    ['html', (_, res) => void res.writeHead(200, json).end('<html>'), /not JSON/],
    ['null', (_, res) => void res.writeHead(200, json).end('null'), /"results":\[\]/],
    [
      'odd',
      (_, res) => void res.writeHead(200, json).end(results([null, 5, { title: {}, url: [] }])),
      /"result_count":3/,
    ],
    [
      'many',
      (_, res) => void res.writeHead(200, json).end(results(Array(9000).fill({ title: 't' }))),
      /"result_count":20/,
    ],
    [
      'proto',
      (_, res) => void res.writeHead(200, json).end('{"__proto__":{"web":1},"constructor":1}'),
      /"results":\[\]/,
    ],
    ['away', (_, res) => void res.writeHead(302, { location: 'http://169.254.169.254/' }).end(), /redirect|status 302/],
    ['file', (_, res) => void res.writeHead(302, { location: 'file:///etc/passwd' }).end(), /redirect|status 302/],
    ['limit', (_, res) => void res.writeHead(429, { 'retry-after': '-1' }).end(), /limit/],
    ['years', (_, res) => void res.writeHead(429, { 'retry-after': '99999999' }).end(), /limit/],
    [
      'cut',
      (_, res) => void res.writeHead(200, { ...json, 'content-length': '999' }).end('{"web'),
      /broke before its end/,
    ],
    ['reset', req => void req.socket.destroy(), /cannot be asked/],
    ['drip', (_, res) => drip(res.writeHead(200, json), ' ', 20), /within 15 s/],
  ];
  const service = await serve((req, res) => {
    const query = new URL(req.url ?? '', 'http://x').searchParams.get('q');
    answers.find(([name]) => name === query)?.[1](req, res);
  });
  const env = {
    AUXOT_TOOLS_KEY: toolsKey,
    AUXOT_BRAVE_API_URL: service.url,
    BRAVE_SEARCH_API_KEY: 'key-of-the-search',
  };
  await withRouter(2, router =>
    withTools(['--router-url', router.url], env, async program => {
      const ask = asker(router);
      await waitUntil(
        () => router.frames.length > 0,
        30_000,
        () => program.output(),
      );
      const round = async (): Promise<number> => {
        await Promise.all(
          answers.map(async ([query, , answer]) => {
            const { text, ms } = await ask('web_search', { query });
            if (!answer.test(text)) wrong.push(`${query}: ${text.slice(0, 300)}`);
            assert.ok(ms < 25_000, `${query}: ${ms} ms`);
            assert.not.match(text, 'key-of-the-search');
          }),
        );
        return memoryOf(program, 'VmRSS');
      };
      const first = await round();
      assert.equal(wrong, []);
      const second = await round();
      console.log(`searches: ${first.toFixed(0)} MiB, then ${second.toFixed(0)} MiB`);
      assert.ok(second < first + 60, `memory grew from ${first} to ${second} MiB`);
    }),
  );
  service.close();
});

test('MCP servers by HTTP that hang, drip, flood, lie or send one elsewhere', async () => {
  const say = (res: ServerResponse, id: unknown, result: unknown): void =>
    void res.writeHead(200, json).end(JSON.stringify({ jsonrpc: '2.0', id, result }));
  const events = { 'content-type': 'text/event-stream' };
  const calls: Readonly<Record<string, (res: ServerResponse, id: unknown) => void>> = {
    hang: () => undefined,
    drip: res => drip(res.writeHead(200, events), ': still here\n\n', 20),
    flood: res => stream(res.writeHead(200, json), Buffer.alloc(mib, ' '), 1024 * mib),
    events: res => stream(res.writeHead(200, events), Buffer.from(`data: ${'x'.repeat(mib)}`), 1024 * mib),
    reset: res => void res.socket?.destroy(),
    html: res => void res.writeHead(200, { 'content-type': 'text/html' }).end('<html>'),
    lie: (res, id) => say(res, id, { content: 'no list' }),
    other: res => say(res, 999_999, { content: [] }),
    elsewhere: res => void res.writeHead(307, { location: 'http://169.254.169.254/' }).end(),
    good: (res, id) => say(res, id, { content: [{ type: 'text', text: 'good' }] }),
  };
  const server = await serve((req, res) => {
    const name = (req.url ?? '').slice(1);
    let body = '';
    req.on('data', piece => {
      body += piece;
    });
    req.on('end', () => {
      if (req.method !== 'POST') return void res.writeHead(405).end();
      const { id, method, params } = JSON.parse(body) as {
        id?: number;
        method: string;
        params?: { protocolVersion: string };
      };
      if (id === undefined) res.writeHead(202).end();
      else if (method === 'initialize')
        say(res, id, {
          protocolVersion: params?.protocolVersion,
          capabilities: { tools: {} },
          serverInfo: { name, version: '1' },
        });
      else if (method === 'tools/list') say(res, id, { tools: [{ name: 'do', inputSchema: { type: 'object' } }] });
      else calls[name]?.(res, id);
    });
  });
  const folder = mkdtempSync(join(tmpdir(), 'auxot-hostile-'));
  const mcpServers = Object.fromEntries(
    Object.keys(calls).map(name => [name, { url: `${server.url}/${name}`, timeout_seconds: 2 }]),
  );
  writeFileSync(join(folder, 'mcp.json'), JSON.stringify({ mcpServers }));
  const env = { AUXOT_TOOLS_KEY: toolsKey, AUXOT_MCP_CONFIG: join(folder, 'mcp.json') };
  await withRouter(2, router =>
    withTools(['--router-url', router.url], env, async program => {
      const ask = asker(router);
      const named = (): string =>
        JSON.stringify(router.frames.filter(({ type }) => /^(hello|tools_changed)$/.test(`${type}`)).at(-1) ?? '');
      await waitUntil(
        () => Object.keys(calls).every(name => named().includes(`${name}__do`)),
        30_000,
        () => program.output(),
      );
      const round = async (): Promise<number> => {
        for (const name of Object.keys(calls)) {
          const { text, frame, ms } = await ask(`${name}__do`, {});
          assert.ok(ms < 10_000, `${name}: ${ms} ms`);
          assert.ok(text.length < mib, `${name}: ${text.length}`);
          // What a server says in words of its own reaches the model as it is.
          if (name === 'good' || name === 'lie') assert.match(text, name === 'good' ? 'good' : 'no list');
          else if (frame.error === undefined) wrong.push(`${name}: ${text.slice(0, 300)}`);
        }
        return memoryOf(program, 'VmRSS');
      };
      const first = await round();
      assert.equal(wrong, []);
      // Of messages of many MiB some are still to be collected at any time.
      const rest = [await round(), await round(), await round()];
      const told = [first, ...rest].map(size => size.toFixed(0)).join(', ');
      const most = memoryOf(program, 'VmHWM');
      console.log(`MCP by HTTP: ${told} MiB, at most ${most.toFixed(0)} MiB`);
      assert.ok(Math.min(...rest.slice(1)) < Math.max(first, rest[0] ?? 0) + 40, `memory grew: ${told} MiB`);
      assert.ok(most < 700, `${most} MiB`);
    }),
  );
  server.close();
  rmSync(folder, { recursive: true, force: true });
});

test.run();
