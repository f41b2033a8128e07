/** Chats as agent programs want them. Tests name the weaknesses of spec/workers §4.3 that they hold against. */
import fs from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { claude } from './claude.ts';
import type { CliJob } from './cli.ts';
import { conversationOf, finishPrompt, goOnPrompt } from './conversation.ts';
import { environmentFor } from './environment.ts';
import { openPlaces } from './places.ts';
import { openToolServer } from './tool-server.ts';

const user = (content: unknown) => ({ role: 'user', content });

test('C15: all system and developer messages count, wherever they stand', () => {
  const { system, prompt } = conversationOf([
    { role: 'system', content: 'A' },
    user('Hi'),
    { role: 'developer', content: [{ type: 'text', text: 'B' }] },
  ]);
  assert.is(system, 'A\n\nB');
  assert.is(prompt.text, 'Hi');
});

test('C16: text and images are kept apart, in either shape', () => {
  const url = 'data:image/png;base64,AAAA';
  const { prompt } = conversationOf([
    user([
      { type: 'text', text: 'What?' },
      { type: 'image_url', image_url: { url } },
      { type: 'image_url', image_url: url },
    ]),
  ]);
  assert.equal(prompt, { text: 'What?', images: [{ url }, { url }] });
});

test('what is asked: all that follows the last answer; tool results and cut answers are gone on with', () => {
  const answered = [user('1'), { role: 'assistant', content: '2' }];
  assert.is(conversationOf([...answered, user('3'), user('4')]).prompt.text, '3\n\n4');
  assert.is(conversationOf(answered).prompt.text, finishPrompt);
  assert.is(conversationOf([user('1')], 'begun').prompt.text, finishPrompt);
  const called = {
    role: 'assistant',
    content: '',
    tool_calls: [{ id: 'c', function: { name: 'f', arguments: '{}' } }],
  };
  const result = { role: 'tool', tool_call_id: 'c', content: 'r' };
  const { history, prompt } = conversationOf([user('1'), called, result, { ...result, content: 's' }]);
  assert.is(prompt.text, goOnPrompt);
  assert.is(history.at(-1)?.role, 'results');
  assert.is(history.length, 3);
});

const inPlace = (run: (job: CliJob) => void, more: Partial<CliJob> = {}): void => {
  const base = fs.mkdtempSync(join(tmpdir(), 'auxot-cli-'));
  const places = openPlaces(join(base, 'cli'));
  try {
    run({
      model: 'm',
      conversation: conversationOf([user('Hi')]),
      tools: [],
      builtins: [],
      effort: undefined,
      thinkingBudget: undefined,
      maxTokens: undefined,
      place: places.open(),
      toolServer: null,
      flags: new Set(),
      env: {},
      ...more,
    });
  } finally {
    places.close();
    fs.rmSync(base, { recursive: true, force: true });
  }
};

const after = (args: readonly string[], flag: string): string => args[args.indexOf(flag) + 1] ?? '';

test('C24: none of its own tools unless the policy lists them, said as its version understands it', () => {
  inPlace(job => {
    const old = claude.launch(job).args;
    assert.match(after(old, '--disallowed-tools'), /(^|,)Bash(,|$)/);
    assert.not(old.includes('--allowed-tools'));
    const one = claude.launch({ ...job, builtins: ['Read'] }).args;
    assert.not.match(after(one, '--disallowed-tools'), /(^|,)Read(,|$)/);
    assert.is(after(one, '--allowed-tools'), 'Read');
    const newer = claude.launch({ ...job, flags: new Set(['--tools']) }).args;
    assert.is(after(newer, '--tools'), '');
    assert.not(newer.includes('--disallowed-tools'));
  });
});

test('C19, C20: effort and length are passed on, and its prompt cache is left alone', () => {
  inPlace(
    job => {
      const { env } = claude.launch(job);
      assert.is(env.MAX_THINKING_TOKENS, '24000');
      assert.is(env.CLAUDE_CODE_MAX_OUTPUT_TOKENS, '500');
      assert.is(claude.launch({ ...job, thinkingBudget: 2048 }).env?.MAX_THINKING_TOKENS, '2048');
      assert.not('DISABLE_PROMPT_CACHING' in env);
    },
    { effort: 'high', maxTokens: 500 },
  );
});

test('C14, C27: the whole history is in the session, results behind their calls, errors as errors', () => {
  const turns = Array.from({ length: 100 }, (_, n) => [
    user(`q${n}`),
    { role: 'assistant', content: '', tool_calls: [{ id: `c${n}`, function: { name: 'f', arguments: '{"n":1}' } }] },
    { role: 'tool', tool_call_id: `c${n}`, content: 'r', is_error: n === 0 },
  ]).flat();
  inPlace(
    job => {
      const { args } = claude.launch(job);
      const folder = join(job.place.config, 'projects', job.place.work.replace(/[^a-zA-Z0-9]/g, '-'));
      const file = join(folder, `${after(args, '--resume')}.jsonl`);
      const lines = fs
        .readFileSync(file, 'utf8')
        .trim()
        .split('\n')
        .map(line => JSON.parse(line));
      assert.is(lines.length, 1 + 300);
      assert.is(fs.statSync(file).mode & 0o077, 0);
      const [, , call, result] = lines;
      assert.is(call.message.stop_reason, 'tool_use');
      assert.is(result.message.content[0].tool_use_id, call.message.content[0].id);
      assert.is(result.message.content[0].is_error, true);
      assert.not(lines[6].message.content[0].is_error);
    },
    { conversation: conversationOf([...turns, user('and?')]) },
  );
});

test('C9: what looks like a secret of somebody else is not passed on', () => {
  const env = {
    PATH: '/bin',
    LC_ALL: 'C',
    AUXOT_GPU_KEY: 'k',
    ANTHROPIC_API_KEY: 'a',
    LD_PRELOAD: 'x',
    GITHUB_TOKEN: 't',
  };
  assert.equal(environmentFor(claude, env), { PATH: '/bin', LC_ALL: 'C', ANTHROPIC_API_KEY: 'a' });
});

test('C11, C12, C25: tools are offered by token, side by side, each with a schema', async () => {
  const server = openToolServer();
  const { url, token, withdraw } = await server.offer([{ name: 'now', description: '', schema: {} }]);
  const ask = (method: string, id: number, bearer = token, signal?: AbortSignal) =>
    fetch(url, {
      method: 'POST',
      headers: {
        authorization: `Bearer ${bearer}`,
        'content-type': 'application/json',
        accept: 'application/json, text/event-stream',
      },
      body: JSON.stringify({ jsonrpc: '2.0', id, method, params: { name: 'now', arguments: {} } }),
      ...(signal === undefined ? {} : { signal }),
    });
  try {
    assert.is((await ask('tools/list', 1, 'wrong')).status, 401);
    assert.is((await fetch(`${new URL(url).origin}/other`, { method: 'POST' })).status, 404);
    const abort = new AbortController();
    const calls = [ask('tools/call', 2, token, abort.signal), ask('tools/call', 3, token, abort.signal)];
    const settled = Promise.allSettled(calls);
    const listed = (await (await ask('tools/list', 4)).json()) as { result: { tools: { inputSchema: object }[] } };
    assert.equal(listed.result.tools[0]?.inputSchema, { type: 'object' });
    // A call is the caller's to make: it is never answered here.
    abort.abort();
    assert.ok((await settled).every(({ status }) => status === 'rejected'));
    withdraw();
    assert.is((await ask('tools/list', 5)).status, 404);
  } finally {
    server.close();
  }
});

test('C10: the folders are private, and what a dead worker left goes', () => {
  const base = fs.mkdtempSync(join(tmpdir(), 'auxot-cli-'));
  try {
    const folder = join(base, 'cli');
    fs.mkdirSync(folder, { mode: 0o777 });
    fs.mkdirSync(join(folder, '999999999.1-dead', 'job-x'), { recursive: true });
    const places = openPlaces(folder);
    assert.is(fs.statSync(folder).mode & 0o777, 0o700);
    assert.is(fs.readdirSync(folder).length, 1, 'only our own');
    const place = places.open();
    for (const path of [place.path, place.home, place.config, place.work, place.temp])
      assert.is(fs.statSync(path).mode & 0o777, 0o700, path);
    const second = openPlaces(folder);
    assert.is(fs.readdirSync(folder).length, 2, 'one of a living worker stays');
    second.close();
    places.close();
    assert.equal(fs.readdirSync(folder), []);
  } finally {
    fs.rmSync(base, { recursive: true, force: true });
  }
});

test.run();
