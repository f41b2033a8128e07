/**
 * A CLI worker from end to end, in real processes: caller → router → auxot-worker → agent program → second router →
 * scripted worker. The program is a stand-in with the same arguments and lines (cli/claude.mjs), or the real Claude Code or
 * Codex when CLAUDE_PATH or CODEX_PATH names it; what only the stand-in can be told to do is left out then. Tests name the weaknesses of
 * spec/workers §4.3 that they hold against.
 */
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import OpenAI, { APIError } from 'openai';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { apiKey, gpuKey, type Program, type RouterProcess, runProgram, startRouter, waitUntil } from './processes.ts';
import { type ScriptedWorker, startWorker } from './scripted-worker.ts';

const codexPath = process.env.CODEX_PATH;
const real = codexPath ?? process.env.CLAUDE_PATH;
const standIn = fileURLToPath(new URL('cli/claude.mjs', import.meta.url));
const secret = 'a-secret-of-the-operator';

/** A picture of one pixel. */
const dot = 'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==';

let state = '';
let provider: RouterProcess;
let model: ScriptedWorker;
let router: RouterProcess;
let worker: Program;
let client: OpenAI;

const startCliWorker = (env: Record<string, string> = {}): Program =>
  runProgram(
    'worker',
    [],
    {
      AUXOT_ROUTER_URL: router.wsUrl,
      AUXOT_GPU_KEY: gpuKey,
      XDG_STATE_HOME: state,
      CLAUDE_PATH: process.env.CLAUDE_PATH ?? standIn,
      ANTHROPIC_BASE_URL: `${provider.url}/api/anthropic`,
      ANTHROPIC_API_KEY: apiKey,
      ...(codexPath === undefined
        ? {}
        : { CODEX_PATH: codexPath, OPENAI_BASE_URL: `${provider.url}/v1`, OPENAI_API_KEY: apiKey }),
      DATABASE_PASSWORD: secret,
      ...env,
    },
    state,
  );

const places = (): string[] => {
  const base = join(state, 'auxot', 'cli');
  const owns = existsSync(base) ? readdirSync(base).filter(name => !name.startsWith('orphan-')) : [];
  return owns.flatMap(own => readdirSync(join(base, own)).map(job => join(own, job)));
};

const ready = (count: number): Promise<void> =>
  waitUntil(
    async () => {
      const health = (await (await fetch(`${router.url}/health`)).json()) as { total_slots?: number; slots?: number };
      return JSON.stringify(health).includes(`${count}`) && worker.output().includes('the engine is ready');
    },
    30_000,
    () => `the worker is not ready:\n${worker.output()}`,
  );

const alive = (pid: number): boolean => {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
};

test.before(async () => {
  state = mkdtempSync(join(tmpdir(), 'auxot-cli-'));
  provider = await startRouter();
  model = await startWorker(provider.wsUrl, {
    slots: 8,
    hello: { protocol_version: 2, instance_id: 'model', model_file: 'x', features: ['images'] },
    script: async (job, { say }) => {
      const { job_id, attempt } = job;
      let seq = 0;
      const token = (text: string): void => {
        seq += 1;
        say({ type: 'token', job_id, attempt, seq, ids: [seq], token: text });
      };
      const end = (full_response: string, more: object): void =>
        say({ type: 'complete', job_id, attempt, seq, full_response, input_tokens: 7, output_tokens: 3, ...more });
      const last = JSON.stringify(job.messages.at(-1));
      const tools = Array.isArray(job.tools) ? (job.tools as { function: { name: string } }[]) : [];
      const [weather] = tools.filter(({ function: { name } }) => name.endsWith('weather'));
      if (last.includes('TOO LONG')) {
        say({ type: 'error', job_id, attempt, error: 'too long', code: 'context_length_exceeded' });
      } else if (last.includes('use the tool') && weather !== undefined) {
        token('Let me see.');
        const call = (id: string, city: string) => ({
          id,
          type: 'function',
          function: { name: weather.function.name, arguments: JSON.stringify({ city }) },
        });
        end('Let me see.', {
          finish_reason: 'tool_calls',
          tool_calls: [call('call_a', 'Rome'), call('call_b', 'Oslo')],
        });
      } else {
        const words = last.includes('slowly')
          ? Array.from({ length: 300 }, (_, n) => ` ${n}`)
          : ['One', ' two', ' three.'];
        for (const word of words) {
          if (model.cancelled.some(({ jobId }) => jobId === job_id)) return;
          token(word);
          await new Promise(resolve => setTimeout(resolve, last.includes('quickly') ? 0 : 100));
        }
        end(words.join(''), { finish_reason: 'stop' });
      }
    },
  });
  router = await startRouter({
    AUXOT_WORKER_TYPE: 'cli',
    AUXOT_CLI_TYPE: codexPath === undefined ? 'claude' : 'codex',
    AUXOT_MODEL: 'sonnet',
    AUXOT_MAX_PARALLEL: '4',
  });
  client = new OpenAI({ apiKey, baseURL: `${router.url}/v1`, maxRetries: 0 });
  worker = startCliWorker();
  await ready(4);
});

test.after(async () => {
  worker?.kill('SIGTERM');
  await worker?.ended;
  model?.close();
  await router?.stop();
  await provider?.stop();
  assert.equal(places(), []);
  rmSync(state, { recursive: true, force: true });
});

const ask = (content: string, more: object = {}) =>
  client.chat.completions.create({ model: 'sonnet', messages: [{ role: 'user', content }], ...more });

const tools: OpenAI.ChatCompletionTool[] = [
  {
    type: 'function',
    function: { name: 'weather', parameters: { type: 'object', properties: { city: { type: 'string' } } } },
  },
  // C25: a tool without parameters.
  { type: 'function', function: { name: 'now' } },
];

test('C13: tokens stream as the model makes them, and C21: usage is told', async () => {
  const stream = await client.chat.completions.create({
    model: 'sonnet',
    messages: [{ role: 'user', content: 'count' }],
    stream: true,
    stream_options: { include_usage: true },
  });
  const at: number[] = [];
  let text = '';
  let usage: OpenAI.CompletionUsage | null | undefined;
  for await (const { choices, usage: told } of stream) {
    usage = told ?? usage;
    const piece = choices[0]?.delta.content ?? '';
    if (piece === '') continue;
    at.push(performance.now());
    text += piece;
  }
  assert.is(text, 'One two three.');
  assert.ok(at.length >= 3 && (at.at(-1) ?? 0) - (at[0] ?? 0) > 100, `pieces at ${at}`);
  assert.is(usage?.completion_tokens, 3);
  assert.is(usage?.prompt_tokens, 7);
});

test("C7, C8: the caller's tools are named once, and the round goes on; C27: with the history as it was", async () => {
  const first = await ask('use the tool', { tools });
  const [choice] = first.choices;
  assert.is(choice?.finish_reason, 'tool_calls');
  assert.is(choice?.message.content, 'Let me see.');
  const calls = (choice?.message.tool_calls ?? []).flatMap(call => (call.type === 'function' ? [call.function] : []));
  assert.equal(calls, [
    { name: 'weather', arguments: '{"city":"Rome"}' },
    { name: 'weather', arguments: '{"city":"Oslo"}' },
  ]);
  const before = model.jobs.length;
  const second = await client.chat.completions.create({
    model: 'sonnet',
    messages: [
      { role: 'system', content: 'Be brief.' },
      { role: 'user', content: 'use the tool' },
      choice?.message ?? { role: 'assistant', content: '' },
      { role: 'tool', tool_call_id: 'call_a', content: 'sunny' },
      { role: 'tool', tool_call_id: 'call_b', content: 'snow' },
      { role: 'developer', content: 'No lists.' },
    ],
    tools,
  });
  assert.is(second.choices[0]?.message.content, 'One two three.');
  const job = model.jobs.slice(before).find(({ messages }) => JSON.stringify(messages).includes('snow'));
  const said = JSON.stringify(job?.messages);
  // C15: every system message counts. C14: each result stands behind its call.
  for (const part of ['Be brief.', 'No lists.', 'use the tool', 'weather', 'call_a', 'sunny', 'snow'])
    assert.ok(said.includes(part), `${part} is missing in ${said}`);
});

test('C16: an image goes as an image, and no part of it as text', async () => {
  const image = { type: 'image_url' as const, image_url: { url: `data:image/png;base64,${dot}` } };
  const before = model.jobs.length;
  await client.chat.completions.create({
    model: 'sonnet',
    messages: [{ role: 'user', content: [{ type: 'text', text: 'What is this?' }, image] }],
  });
  const content = JSON.stringify(model.jobs.slice(before).flatMap(({ messages }) => messages));
  assert.match(content, 'image_url');
  // Once, and where it belongs.
  assert.is(content.split('iVBORw0KGgo').length, 2, content);
});

test('a caller that leaves ends the program and, behind it, the job of its provider', async () => {
  const abort = new AbortController();
  const stream = await client.chat.completions.create(
    { model: 'sonnet', messages: [{ role: 'user', content: 'slowly' }], stream: true },
    { signal: abort.signal },
  );
  const cancelled = model.cancelled.length;
  for await (const _ of stream) break;
  abort.abort();
  await waitUntil(
    () => model.cancelled.length > cancelled,
    5000,
    () => 'the job behind was not cancelled',
  );
  await waitUntil(
    () => places().length === 0,
    5000,
    () => `left: ${places()}`,
  );
});

test('C5: what its provider refuses is an error, never an answer', async () => {
  const error = await ask('TOO LONG').catch((thrown: unknown) => thrown);
  assert.instance(error, APIError);
  assert.is((error as APIError).code, 'context_length_exceeded');
});

test('what it cannot do is refused by name', async () => {
  const forced = await ask('use the tool', { tools, tool_choice: 'required' }).catch((thrown: unknown) => thrown);
  assert.instance(forced, APIError);
  assert.match((forced as APIError).message, /tool_choice/);
});

const only = real === undefined ? test : test.skip;

only('C5: not logged in is an error that says so', async () => {
  const error = await ask('WHIM:notLoggedIn').catch((thrown: unknown) => thrown);
  assert.instance(error, APIError);
  assert.match((error as APIError).message, /log in/);
});

only('C6: a line of 3 MB, and C17: a mere warning, change nothing', async () => {
  for (const whim of ['longLine', 'warning']) {
    const { choices } = await ask(`WHIM:${whim}`);
    assert.is(choices[0]?.message.content, 'One two three.');
  }
});

only('a program that breaks is told with its last words', async () => {
  const error = await ask('WHIM:crash').catch((thrown: unknown) => thrown);
  assert.instance(error, APIError);
  assert.match((error as APIError).message, /something broke inside/);
});

only('C9, C10: it sees neither keys nor secrets, and runs in a private folder of its own', async () => {
  const { choices } = await ask('WHIM:tellEnv');
  const seen = JSON.parse(choices[0]?.message.content ?? '{}') as Record<string, string | number>;
  const all = JSON.stringify(seen);
  assert.not.match(all, secret);
  assert.not.match(all, gpuKey);
  assert.not.match(all, 'AUXOT_');
  assert.is(seen.ANTHROPIC_API_KEY, apiKey);
  assert.is(seen.mode, 0o700);
  for (const name of ['cwd', 'HOME', 'CLAUDE_CONFIG_DIR', 'TMPDIR'])
    assert.ok(String(seen[name]).startsWith(state), name);
});

only('C23: what it has started goes with it', async () => {
  await ask('WHIM:orphan');
  const own = join(state, 'auxot', 'cli');
  const [mark = ''] = readdirSync(own).filter(name => name.startsWith('orphan-'));
  const pid = Number(mark.slice('orphan-'.length));
  assert.ok(pid > 0, 'the stand-in started nothing');
  await waitUntil(
    () => !alive(pid),
    2000,
    () => `process ${pid} lives on`,
  );
  rmSync(join(own, mark));
});

only('C2, C4: at a limit the job waits for the next that can, and no job is lost', async () => {
  for (const whim of ['usageLimit', 'limitEvent']) {
    // It comes back when the limit is over, meets it again, and is told so then.
    const error = await ask(`WHIM:${whim}`).catch((thrown: unknown) => thrown);
    assert.instance(error, APIError);
    assert.is((error as APIError).status, 503);
    await ready(4);
    await waitUntil(
      async () => (await ask('count').catch(() => null)) !== null,
      15_000,
      () => 'it takes no jobs after the limit',
    );
  }
});

test('C22: 100 jobs leave no process, file or folder', async () => {
  const jobs = real === undefined ? 100 : 10;
  const children = (): string[] =>
    readFileSync(`/proc/${worker.pid}/task/${worker.pid}/children`, 'utf8').trim().split(' ').filter(Boolean);
  const helpers = process.platform === 'linux' ? children().length : 0;
  let next = 0;
  const runner = async (): Promise<void> => {
    while (next < jobs) {
      next += 1;
      assert.is((await ask('quickly')).choices[0]?.message.content, 'One two three.');
    }
  };
  await Promise.all([runner(), runner(), runner(), runner()]);
  assert.equal(places(), []);
  if (process.platform === 'linux') assert.is(children().length, helpers);
});

test('a worker that is killed takes its programs with it, leaves nothing after the next start, and its job is told', async () => {
  const going = client.chat.completions.create({
    model: 'sonnet',
    messages: [{ role: 'user', content: real === undefined ? 'slowly WHIM:orphan' : 'slowly' }],
    stream: true,
  });
  // A caller that left would end them too.
  const stream = await going;
  await stream[Symbol.asyncIterator]().next();
  const own = join(state, 'auxot', 'cli');
  const [place = ''] = places();
  const occupant = Number.parseInt(readFileSync(join(own, place, 'occupant'), 'utf8'), 10);
  // What it has started reads and writes nothing, so that no broken pipe ends it.
  const mark = readdirSync(own).find(name => name.startsWith('orphan-'));
  worker.kill('SIGKILL');
  await worker.ended;
  for (const pid of [occupant, ...(mark === undefined ? [] : [Number(mark.slice('orphan-'.length))])])
    await waitUntil(
      () => !alive(pid),
      2000,
      () => `process ${pid} lives on`,
    );
  if (mark !== undefined) rmSync(join(own, mark));
  stream.controller.abort();
  worker = startCliWorker();
  await ready(4);
  assert.ok(!existsSync(join(state, 'auxot', 'cli', place)));
});

only('a program that is not there ends the worker with a sentence', async () => {
  const lost = startCliWorker({ CLAUDE_PATH: join(state, 'nowhere'), XDG_STATE_HOME: join(state, 'other') });
  const { status } = await lost.ended;
  assert.is(status, 1);
  assert.match(lost.output(), /Claude Code cannot be started.*CLAUDE_PATH/);
});

test.run();
