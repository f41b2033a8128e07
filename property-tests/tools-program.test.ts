/** `auxot-tools` as people start it: a process, and a router that is a few lines long. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { waitUntil, within } from './processes.ts';
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

test.run();
