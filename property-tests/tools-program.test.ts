/** `auxot-tools` as people start it: a process, and a router that is a few lines long. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { freePort, waitUntil, within } from './processes.ts';
import { type Frame, job, toolsKey, withRouter, withTools } from './tools-router.ts';

test('help, version, a wrong flag and a missing key say what they should, with their exit codes', () =>
  Promise.all([
    withTools(['--help'], {}, async program => {
      assert.is((await within(20_000, program.ended, 'help')).status, 0);
      assert.match(program.output(), 'AUXOT_TOOLS_KEY');
    }),
    withTools(['version'], {}, async program => {
      assert.is((await within(20_000, program.ended, 'version')).status, 0);
      assert.match(program.output(), /^auxot-tools v\d/);
    }),
    withTools(['--tools-ky', 'x'], {}, async program => {
      assert.is((await within(20_000, program.ended, 'typo')).status, 2);
      assert.match(program.output(), 'Did you mean --tools-key?');
    }),
    withTools([], {}, async program => {
      assert.is((await within(20_000, program.ended, 'no key')).status, 1);
      assert.match(program.output(), 'AUXOT_TOOLS_KEY');
    }),
  ]).then(() => undefined));

for (const version of [1, 2] as const)
  test(`a version ${version} router is told the tools, has a script run, and gets a good-bye`, () =>
    withRouter(version, router =>
      withTools(['--router-url', router.url], { AUXOT_TOOLS_KEY: toolsKey }, async program => {
        await waitUntil(
          () => router.frames.length > 0,
          30_000,
          () => program.output(),
        );
        const hello = router.frames[0] as { tools_capabilities?: { tools: string[] }; worker_type?: string };
        assert.is(hello.worker_type, 'tools');
        assert.ok(hello.tools_capabilities?.tools.includes('code_executor'));
        router.send(job('j1', 'code_executor', { code: 'console.log("hi"); 6 * 7' }));
        const { result, parent_job_id: parent, tool_call_id: call, code } = await router.result('j1');
        assert.is((result as { return_value: number }).return_value, 42);
        assert.is(parent, 'chatcmpl-1');
        assert.is(call, 'call_j1');
        assert.is(code, undefined);
        router.send(job('j2', 'no_such_tool', {}));
        const refused = await router.result('j2');
        assert.match(String(refused.error), 'no_such_tool');
        assert.is(refused.code, version === 2 ? 'unknown_tool' : undefined);
        program.kill('SIGTERM');
        assert.is((await within(20_000, program.ended, 'the end')).status, 0, program.output());
        assert.is(router.closes.at(-1), 1001);
        assert.not.match(program.output(), toolsKey);
      }),
    ));

test('X2: a wrong key ends it with 1 and a sentence, and the key does not show', () =>
  withRouter(2, router =>
    withTools(['--router-url', router.url], { AUXOT_TOOLS_KEY: 'tls_wrong' }, async program => {
      assert.is((await within(20_000, program.ended, 'the refusal')).status, 1);
      assert.match(program.output(), 'AUXOT_TOOLS_KEY');
      assert.not.match(program.output(), 'tls_wrong');
    }),
  ));

test('a result that the router never acknowledged is said again after a cut, and the call is run once', () =>
  withRouter(2, router =>
    withTools(['--router-url', router.url], { AUXOT_TOOLS_KEY: toolsKey }, async () => {
      await waitUntil(
        () => router.frames.length > 0,
        30_000,
        () => 'no hello',
      );
      router.send(job('j1', 'code_executor', { code: 'crypto.randomUUID()' }));
      const first = await router.result('j1');
      router.send(job('j2', 'code_executor', { code: 'await new Promise(r => setTimeout(r, 1500)); 2' }));
      await new Promise(resolve => setTimeout(resolve, 300));
      router.drop();
      const hellos = (): Frame[] => router.frames.filter(({ type }) => type === 'hello');
      await waitUntil(
        () => hellos().length > 1,
        10_000,
        () => 'no redial',
      );
      assert.equal(hellos()[1]?.tool_jobs, ['j1', 'j2']);
      router.send(job('j1', 'code_executor', { code: 'crypto.randomUUID()' }, { sent_to: hellos()[0]?.instance_id }));
      const second = await router.result('j2');
      assert.is((second.result as { return_value: number }).return_value, 2);
      const said = router.frames.filter(({ type, job_id }) => type === 'tool_result' && job_id === 'j1');
      assert.ok(said.length >= 3, `${said.length} times`);
      for (const frame of said) assert.equal(frame, first);
    }),
  ));

test('shell tools, MCP servers and the health page, each with the secrets that are its own', () =>
  withRouter(2, async router => {
    const healthPort = await freePort();
    const folder = mkdtempSync(join(tmpdir(), 'auxot-tools-test-'));
    const everything = fileURLToPath(import.meta.resolve('@modelcontextprotocol/server-everything/dist/index.js'));
    const mcpServers = {
      everything: { command: process.execPath, args: [everything, 'stdio'], env: { KEY: `\${KEY}` } },
    };
    writeFileSync(join(folder, 'mcp.json'), JSON.stringify({ mcpServers }));
    writeFileSync(join(folder, 'get_env.sh'), '#!/bin/sh\nenv\n', { mode: 0o755 });
    const described = { name: 'get_env', description: 'Shows its environment.', parameters: { type: 'object' } };
    writeFileSync(join(folder, 'get_env.tool.json'), JSON.stringify(described));
    const env = {
      AUXOT_TOOLS_KEY: toolsKey,
      AUXOT_TOOLS_HEALTH_PORT: String(healthPort),
      AUXOT_TOOLS_DIR: folder,
      AUXOT_MCP_CONFIG: join(folder, 'mcp.json'),
      AUXOT_TOOLS_EVERYTHING__KEY: 'key-of-everything',
      AUXOT_TOOLS_GET_ENV__TOKEN: 'token-of-the-script',
      BRAVE_SEARCH_API_KEY: 'key-of-the-search',
      AUXOT_ALLOWED_TOOLS: 'get_env,everything',
    };
    await withTools(['--router-url', router.url], env, async program => {
      const changed = (): string =>
        JSON.stringify(router.frames.filter(({ type }) => type === 'tools_changed').at(-1) ?? '');
      await waitUntil(
        () => changed().includes('everything__echo'),
        30_000,
        () => program.output(),
      );
      router.send(job('j1', 'get_env', {}, { credentials: { CALL: 'came-with-the-call' } }));
      router.send(job('j2', 'everything__get-env', {}));
      router.send(job('j3', 'everything', { command: 'echo', arguments: { message: 'hello' } }));
      router.send(job('j4', 'code_executor', { code: '1' }));
      router.send(job('j5', 'some_tool', {}, { mcp_package: 'left-pad' }));
      router.send(job('j6', 'everything__trigger-long-running-operation', { duration: 2, steps: 4 }));
      const shell = JSON.stringify(await router.result('j1'));
      const mcp = JSON.stringify(await router.result('j2'));
      for (const word of ['TOKEN=token-of-the-script', 'CALL=came-with-the-call']) assert.match(shell, word);
      assert.match(mcp, 'key-of-everything');
      for (const word of [toolsKey, 'key-of-the-search', 'AUXOT_']) assert.not.match(shell + mcp, word);
      assert.not.match(shell, 'key-of-everything');
      assert.not.match(mcp, 'token-of-the-script');
      assert.match(JSON.stringify(await router.result('j3')), 'hello');
      assert.is((await router.result('j4')).code, 'not_allowed', 'T10: not in the allow-list');
      assert.is((await router.result('j5')).code, 'not_allowed', 'T10: a package that a job names');
      await router.result('j6');
      const told = router.frames.filter(({ type, job_id }) => type === 'tool_progress' && job_id === 'j6');
      assert.ok(told.length > 0, 'how far an MCP server is with a call');
      assert.is(told.at(-1)?.total, 4);
      const health = await fetch(`http://127.0.0.1:${healthPort}/health`);
      assert.is(health.status, 200);
      router.drop();
      for (const word of ['key-of', 'token-of', 'came-with']) assert.not.match(program.output(), word, 'T8');
    });
    rmSync(folder, { recursive: true, force: true });
  }));

test('what a router allows in its greeting holds on that connection, and not on the next', () =>
  withRouter(
    2,
    router =>
      withTools(['--router-url', router.url], { AUXOT_TOOLS_KEY: toolsKey }, async program => {
        await waitUntil(
          () => router.frames.some(({ type }) => type === 'policy_reloaded'),
          30_000,
          () => program.output(),
        );
        router.send(job('j1', 'code_executor', { code: '1' }));
        assert.is((await router.result('j1')).code, 'not_allowed');
        router.drop();
        await waitUntil(
          () => router.frames.filter(({ type }) => type === 'hello').length === 2,
          10_000,
          () => 'no redial',
        );
        router.send(job('j2', 'code_executor', { code: '6 * 7' }));
        assert.is(((await router.result('j2')).result as { return_value?: number }).return_value, 42);
      }),
    connection => (connection === 1 ? { tools_policy: { allowed_tools: ['web_*'], mcp_servers: [] } } : {}),
  ));

test('T12: cancel stops a call and is answered; a stop lets calls finish', () =>
  withRouter(2, router =>
    withTools(['--router-url', router.url], { AUXOT_TOOLS_KEY: toolsKey }, async program => {
      await waitUntil(
        () => router.frames.length > 0,
        30_000,
        () => program.output(),
      );
      router.send(job('j1', 'code_executor', { code: 'while (true);', timeout_seconds: 30 }));
      router.send(job('j2', 'code_executor', { code: 'await new Promise(r => setTimeout(r, 1500)); 7' }));
      await new Promise(resolve => setTimeout(resolve, 500));
      const startedAt = Date.now();
      router.send({ type: 'cancel', job_id: 'j1' });
      assert.is((await router.result('j1')).code, 'cancelled');
      assert.ok(Date.now() - startedAt < 3000);
      program.kill('SIGTERM');
      assert.is(((await router.result('j2')).result as { return_value?: number }).return_value, 7);
      assert.is((await within(20_000, program.ended, 'the end')).status, 0);
      assert.ok(router.frames.some(({ type, state }) => type === 'status' && state === 'draining'));
    }),
  ));

test.run();
