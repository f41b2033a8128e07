/**
 * What Codex (0.169.0) asks, as it was recorded: its texts cut, its tools thinned out, all else as it came. The program
 * itself is run by hand (README.md says how it is set up).
 */
import { readFileSync } from 'node:fs';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { apiKey, type RouterProcess, startRouter } from './processes.ts';
import { type ScriptedWorker, startWorker } from './scripted-worker.ts';

interface Recorded {
  readonly what: string;
  readonly body: { readonly input: { readonly type: string; readonly role?: string }[] };
}
const recorded: Recorded[] = JSON.parse(readFileSync(new URL('./clients/codex-0.169.0.json', import.meta.url), 'utf8'));

let router: RouterProcess;
let worker: ScriptedWorker;

test.before(async () => {
  router = await startRouter({ AUXOT_FSYNC: 'no' });
  worker = await startWorker(router.wsUrl, {
    hello: { protocol_version: 2, instance_id: 'i1' },
    script: ({ job_id }, { say }) => {
      say({ type: 'token', job_id, token: 'Let me see.', reasoning: true });
      say({ type: 'token', job_id, token: 'Closing it.' });
      const calls = [
        { id: 'call_1', type: 'function', function: { name: 'exec_command', arguments: '{"cmd":"cat note.txt"}' } },
        { id: 'call_2', type: 'function', function: { name: 'notes__close_note', arguments: '{}' } },
      ];
      say({ type: 'complete', job_id, full_response: '', tool_calls: calls, input_tokens: 10, output_tokens: 5 });
    },
  });
});
test.after(async () => {
  worker?.close();
  await router?.stop();
});

for (const { what, body } of recorded) {
  test(`RS7: ${what} is answered in the events that Codex reads`, async () => {
    worker.jobs.length = 0;
    const answer = await fetch(`${router.url}/v1/responses`, {
      method: 'POST',
      headers: { authorization: `Bearer ${apiKey}`, accept: 'text/event-stream', 'content-type': 'application/json' },
      body: JSON.stringify(body),
    });
    assert.is(answer.status, 200);
    const events = (await answer.text())
      .split('\n')
      .filter(line => line.startsWith('data: '))
      .map(line => JSON.parse(line.slice('data: '.length)));
    assert.is(events.at(-1)?.type, 'response.completed');
    assert.ok(events.some(({ type }) => type === 'response.reasoning_summary_text.delta'));
    const done = events.filter(({ type }) => type === 'response.output_item.done').map(({ item }) => item);
    assert.equal(
      done.map(({ type, name, namespace }) => [type, name, namespace]),
      [
        ['reasoning', undefined, undefined],
        ['message', undefined, undefined],
        ['function_call', 'exec_command', undefined],
        ['function_call', 'close_note', 'notes'],
      ],
    );
    // What it was told, it keeps: the next request brings it back.
    assert.match(done[0].encrypted_content, /^auxot1\./);
    const [job] = worker.jobs;
    const roles = job?.messages.map(({ role }) => role);
    const said = body.input.filter(({ role }) => role === 'user').length;
    assert.is(roles?.filter(role => role === 'user').length, said);
    assert.is(
      roles?.filter(role => role === 'tool').length,
      body.input.filter(({ type }) => type === 'function_call_output').length,
    );
    const tools = JSON.stringify(job?.tools);
    for (const name of ['exec_command', 'view_image', 'notes__close_note'])
      assert.ok(tools.includes(`"${name}"`), name);
    if (roles?.includes('tool')) assert.ok(JSON.stringify(job?.messages).includes('"reasoning_content"'));
  });
}

test('all recorded requests were tried', () => assert.is(recorded.length, 3));

test.run();
