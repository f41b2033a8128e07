/**
 * What Claude Code (2.0.0) asks, as it was recorded: its texts cut, its tools thinned out, all else as it came. The
 * program itself is run by hand (README.md says how it is set up).
 */
import { readFileSync } from 'node:fs';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type Answer, bearer, call, dataOf } from './callers.ts';
import { type RouterProcess, startRouter } from './processes.ts';
import { type ScriptedWorker, startWorker } from './scripted-worker.ts';

interface Block {
  readonly type: string;
  readonly [field: string]: unknown;
}
interface Recorded {
  readonly what: string;
  readonly path: string;
  readonly headers: Record<string, string>;
  readonly body: {
    readonly stream?: boolean;
    readonly thinking?: object;
    readonly tools?: readonly { readonly name: string }[];
    readonly messages: readonly { readonly role: string; readonly content: string | readonly Block[] }[];
  };
}
const recorded: Recorded[] = JSON.parse(
  readFileSync(new URL('./clients/claude-code-2.0.0.json', import.meta.url), 'utf8'),
);

let router: RouterProcess;
let worker: ScriptedWorker;
let tooLong = false;

test.before(async () => {
  router = await startRouter({ AUXOT_FSYNC: 'no' });
  worker = await startWorker(router.wsUrl, {
    hello: { protocol_version: 2, instance_id: 'i1', features: ['images'] },
    script: ({ job_id }, { say }) => {
      const error = "the prompt has 9000 tokens, but this worker's context holds 4096";
      if (tooLong) return say({ type: 'error', job_id, code: 'context_length_exceeded', error });
      say({ type: 'token', job_id, token: 'Let me see.', reasoning: true });
      say({ type: 'token', job_id, token: 'Reading it.' });
      const calls = [
        { id: 'call_1', type: 'function', function: { name: 'Read', arguments: '{"file_path":"/note.txt"}' } },
        { id: 'call_2', type: 'function', function: { name: 'Bash', arguments: '{"command":"ls"}' } },
      ];
      return say({
        type: 'complete',
        job_id,
        full_response: '',
        tool_calls: calls,
        input_tokens: 10,
        output_tokens: 5,
      });
    },
  });
});
test.after(async () => {
  worker?.close();
  await router?.stop();
});

const send = ({ path, headers, body }: Recorded, more: Record<string, string> = bearer): Promise<Answer> =>
  call(`${router.url}${path}`, { method: 'POST', headers: { ...headers, ...more }, body: JSON.stringify(body) });

/** The blocks of a message, put together from its events as Claude Code does it. */
function blocksOf(text: string): Block[] {
  const blocks: Record<string, unknown>[] = [];
  for (const event of dataOf(text).map(data => JSON.parse(data))) {
    if (event.type === 'content_block_start') blocks[event.index] = { ...event.content_block, json: '' };
    if (event.type !== 'content_block_delta') continue;
    const block = blocks[event.index] ?? {};
    for (const field of ['text', 'thinking', 'signature'])
      if (field in event.delta) block[field] = `${block[field]}${event.delta[field]}`;
    if (event.delta.type === 'input_json_delta') block.json = `${block.json}${event.delta.partial_json}`;
  }
  return blocks.map(({ json, ...block }) => ({
    ...(block as Block),
    ...(block.type === 'tool_use' ? { input: JSON.parse(String(json)) } : {}),
  }));
}

for (const request of recorded) {
  const { what, body } = request;
  test(`AN12 AN18 AN21: ${what} is answered in the blocks that Claude Code reads`, async () => {
    worker.jobs.length = 0;
    const { status, headers, text, json } = await send(request);
    assert.is(status, 200, text);
    assert.match(headers.get('request-id') ?? '', /^req_/);
    const blocks: Block[] = body.stream ? blocksOf(text) : json.content;
    assert.equal(
      blocks.map(({ type, thinking, text: said, name, input }) => [type, thinking ?? said ?? name, input]),
      [
        ['thinking', 'Let me see.', undefined],
        ['text', 'Reading it.', undefined],
        ['tool_use', 'Read', { file_path: '/note.txt' }],
        ['tool_use', 'Bash', { command: 'ls' }],
      ],
    );
    assert.match(String(blocks[0]?.signature), /^auxot:/);

    const [job] = worker.jobs;
    const asked = body.messages.flatMap(({ content }) => (typeof content === 'string' ? [] : content));
    const told = JSON.stringify(job?.messages);
    const roles = job?.messages.map(({ role }) => role) ?? [];
    assert.is(roles[0], 'system');
    assert.is(roles.filter(role => role === 'tool').length, asked.filter(({ type }) => type === 'tool_result').length);
    assert.is(told.includes('"reasoning_content":"It is a picture."'), told.includes('"tool_calls"'));
    assert.is(told.includes('data:image/png;base64,'), told.includes('"tool_calls"'));
    assert.equal(
      job?.caller_tools ?? [],
      (body.tools ?? []).map(({ name }) => name),
    );
    assert.is(job?.reasoning_effort, body.thinking === undefined ? undefined : 'high');
  });
}

test('AN26: a prompt that is too long is refused in the words that it looks for', async () => {
  tooLong = true;
  try {
    for (const request of recorded.filter(({ body }) => body.tools !== undefined)) {
      const { status, json } = await send(request);
      assert.equal([status, json.error.type], [400, 'invalid_request_error']);
      assert.match(json.error.message, /^prompt is too long: 9000 tokens > 4096 maximum$/);
    }
  } finally {
    tooLong = false;
  }
});

test('AU13: its key is right in either header, and a wrong one is not asked for again', async () => {
  const [first] = recorded;
  assert.ok(first);
  const key = bearer.authorization.slice('Bearer '.length);
  assert.is((await send(first, { 'x-api-key': key })).status, 200);
  assert.is((await send(first, { ...bearer, 'x-api-key': 'stale' })).status, 200);
  const wrong = await send(first, { authorization: 'Bearer stale' });
  assert.equal([wrong.status, wrong.headers.get('x-should-retry')], [401, 'false']);
});

test('all recorded requests were tried', () => assert.is(recorded.length, 5));

test.run();
