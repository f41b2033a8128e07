/** Cases of spec/workers §5.7 5–7, and that a program, whatever it does, ends with its call. */
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { silentDiagnostics } from '../config/diagnostics.ts';
import { readCredentials } from './credentials.ts';
import { shellTools } from './shell-tools.ts';
import type { Tool, ToolError } from './tool.ts';

const folder = mkdtempSync(join(tmpdir(), 'auxot-shell-'));
test.after(() => rmSync(folder, { recursive: true, force: true }));

function script(base: string, body: string, descriptor: object | null, mode = 0o755): void {
  writeFileSync(join(folder, `${base}.sh`), `#!/bin/sh\n${body}\n`);
  chmodSync(join(folder, `${base}.sh`), mode);
  if (descriptor !== null) writeFileSync(join(folder, `${base}.tool.json`), JSON.stringify(descriptor));
}
const about = (name: string, more: object = {}): object => ({ name, description: `the tool ${name}`, ...more });

const env = {
  PATH: process.env.PATH,
  AUXOT_TOOLS_KEY: 'tls_secret',
  AUXOT_TOOL_REGION: 'north',
  AUXOT_TOOLS_ENV__TOKEN: 'env-token',
  AUXOT_TOOLS_OTHER__TOKEN: 'other-token',
  NAMED: 'by the descriptor',
  UNNAMED: 'by nobody',
};

async function withTools(run: (tools: ReadonlyMap<string, Tool>) => Promise<void>): Promise<void> {
  const credentials = readCredentials(env);
  const source = shellTools({ folder, env, credentials, diagnostics: silentDiagnostics, onChanged: () => undefined });
  try {
    await run(new Map(source.tools().map(tool => [tool.name, tool])));
  } finally {
    await source.close();
  }
}

async function called(tool: Tool | undefined, args = {}, signal = new AbortController().signal): Promise<unknown> {
  if (tool === undefined) throw new Error('there is no such tool');
  const credentials = readCredentials(env).of(tool.name);
  const { result } = await tool.run({ args, threadId: null, credentials, signal, deadlineAt: Date.now() + 30_000 });
  return result;
}

/** Whether a process is there and is no corpse that nobody has collected. */
/** A process that was killed is gone when the system has got round to it. */
async function dies(pid: number): Promise<boolean> {
  for (let tries = 0; tries < 100 && lives(pid); tries += 1) await new Promise(resolve => setTimeout(resolve, 20));
  return !lives(pid);
}

function lives(pid: number): boolean {
  try {
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return false;
  }
}

test('5, 6, 7: a described and executable script is a tool; without a description or a right to run it is not', async () => {
  const parameters = { type: 'object', properties: { city: { type: 'string' } } };
  script('echo', 'cat', about('echo', { parameters }));
  script('alone', 'cat', null);
  script('idle', 'cat', about('idle'), 0o644);
  writeFileSync(join(folder, 'broken.tool.json'), '{');
  writeFileSync(
    join(folder, 'any.tool.json'),
    JSON.stringify(about('any', { command: process.execPath, args: ['-p', '6*7'] })),
  );
  await withTools(async tools => {
    assert.equal([...tools.keys()].sort(), ['any', 'echo']);
    assert.equal(tools.get('echo')?.parameters, parameters);
    assert.is(tools.get('echo')?.description, 'the tool echo');
    assert.equal(await called(tools.get('echo'), { city: 'Köln' }), { city: 'Köln' });
    assert.is(await called(tools.get('any')), 42);
  });
});

test('T7: a script sees its own secrets and what it names, and no other', async () => {
  script('env', 'env', about('env', { env: ['NAMED'] }));
  await withTools(async tools => {
    const seen = String(await called(tools.get('env')));
    for (const line of ['REGION=north', 'TOKEN=env-token', 'NAMED=by the descriptor']) assert.match(seen, line);
    for (const word of ['tls_secret', 'other-token', 'by nobody', 'AUXOT_']) assert.not.match(seen, word);
  });
});

test('a failure says the status and the end of stderr, without secrets', async () => {
  script('fail', 'echo "bad: $TOKEN" >&2; exit 3', about('env'));
  rmSync(join(folder, 'env.tool.json'), { force: true });
  await withTools(async tools => {
    assert.equal(await called(tools.get('env')), { error: 'the program ended with status 3', stderr: 'bad: ***' });
  });
});

test('T13: a late program ends with all that it started, and its call does not wait for them', async () => {
  script('late', `sleep 60 & echo $! > ${folder}/pid; sleep 60`, about('late', { timeout_seconds: 0.5 }));
  script('leave', `sleep 60 & echo $! > ${folder}/pid; echo '"done"'`, about('leave'));
  script('flood', 'yes', about('flood', { max_output_bytes: 100_000 }));
  await withTools(async tools => {
    for (const [name, wanted] of [
      ['late', /longer than 0.5 s/],
      ['leave', /^"done"$/],
    ] as const) {
      const startedAt = Date.now();
      assert.match(JSON.stringify(await called(tools.get(name))), wanted);
      assert.ok(Date.now() - startedAt < 5000, name);
      const pid = Number(readFileSync(join(folder, 'pid'), 'utf8'));
      assert.ok(await dies(pid), `${name}: the child of the program lives on`);
    }
    assert.match(JSON.stringify(await called(tools.get('flood'))), 'more than 100000 bytes');
    const abort = new AbortController();
    setTimeout(() => abort.abort(), 100);
    try {
      await called(tools.get('late'), {}, abort.signal);
      assert.unreachable();
    } catch (error) {
      assert.is((error as ToolError).code, 'cancelled');
    }
    assert.ok(await dies(Number(readFileSync(join(folder, 'pid'), 'utf8'))));
  });
});

test('a tool that is put into the folder later is found', async () => {
  let changed = 0;
  const options = { folder, env, credentials: readCredentials(env), diagnostics: silentDiagnostics, scanMs: 20 };
  const source = shellTools({ ...options, onChanged: () => changed++ });
  script('newer', 'cat', about('newer'));
  const end = Date.now() + 5000;
  while (!source.tools().some(({ name }) => name === 'newer') && Date.now() < end)
    await new Promise(resolve => setTimeout(resolve, 10));
  await source.close();
  assert.ok(source.tools().some(({ name }) => name === 'newer'));
  assert.ok(changed > 0);
});

test.run();
