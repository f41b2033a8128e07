import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { readCredentials } from '../credentials.ts';
import { packageSlug, readMcpServers, uniqueSlug, urlSlug } from './server-config.ts';

const folder = mkdtempSync(join(tmpdir(), 'auxot-mcp-'));
const file = join(folder, 'mcp.json');
test.after(() => rmSync(folder, { recursive: true, force: true }));

const read = (mcpServers: object, env = {}) => {
  writeFileSync(file, JSON.stringify({ mcpServers }));
  return readMcpServers(file, readCredentials(env));
};
const secret = `\${TOKEN}`;

test('5.8.14: names of packages and addresses', () => {
  for (const [name, slug] of [
    ['@modelcontextprotocol/server-github', 'github'],
    ['@company/mcp-weather', 'weather'],
    ['my-custom-server', 'my_custom_server'],
  ] as const)
    assert.is(packageSlug(name), slug);
  for (const [url, id, slug] of [
    ['https://x.example/', 'my-server', 'my_server'],
    ['https://api.githubcopilot.com/mcp/', '0a1b2c3d-0a1b-0a1b-0a1b-0a1b2c3d4e5f', 'githubcopilot'],
    ['https://mcp.example.com', '', 'example'],
    ['http://api.example.org:8080/x', '', 'example'],
    ['no url', '', 'remote_mcp'],
  ] as const)
    assert.is(urlSlug(url, id), slug);
  const taken = new Set<string>();
  assert.equal(
    ['a', 'a', 'a'].map(slug => uniqueSlug(slug, taken)),
    ['a', 'a_2', 'a_3'],
    'T21',
  );
});

test('a server gets its own secrets by name, and those of nobody else', () => {
  const env = { AUXOT_TOOLS_GIT_HUB__TOKEN: 'tok-1', AUXOT_TOOLS_OTHER__TOKEN: 'tok-2', TOKEN: 'tok-3' };
  const [git, docs] = read(
    {
      'git-hub': { command: 'npx', args: ['-y', 'x', secret], env: { GITHUB: `Bearer ${secret}` }, timeout_seconds: 5 },
      other: { url: 'https://mcp.example.com/', headers: { Authorization: secret }, tools: ['search'] },
      off: { command: 'x', disabled: true },
    },
    env,
  );
  assert.equal(git, {
    slug: 'git_hub',
    tools: null,
    timeoutMs: 5000,
    idleMs: 600_000,
    kind: 'stdio',
    command: 'npx',
    args: ['-y', 'x', 'tok-1'],
    env: { TOKEN: 'tok-1', GITHUB: 'Bearer tok-1' },
    cwd: null,
  });
  assert.equal(docs?.kind === 'http' && docs.headers, { Authorization: 'tok-2' });
  assert.equal(docs?.tools, ['search']);
});

test('what is wrong in the file is said with its name', () => {
  for (const [servers, words] of [
    [{ a: { command: 'x', env: { T: secret } } }, 'AUXOT_TOOLS_A__TOKEN'],
    [{ a: {} }, '"command", or "url"'],
    [{ a: { url: 'ftp://x' } }, '"command", or "url"'],
    [{ a: { command: 'x', args: 'y' } }, '"args"'],
    [{ a: { command: 'x', timeout_seconds: 'y' } }, '"timeout_seconds"'],
    [{ a: 7 }, '"a" is not an object'],
  ] as const)
    assert.throws(
      () => read(servers),
      (error: Error) => error.message.includes(words) && error.message.includes('AUXOT_MCP_CONFIG'),
      words,
    );
  assert.throws(() => readMcpServers(join(folder, 'missing.json'), readCredentials({})), /cannot be read/);
});

test.run();
