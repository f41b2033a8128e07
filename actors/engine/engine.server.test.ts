/** The engine on a llama-server, with a server that is scripted: found running, and started as a program. */
import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { type ServerChoice, type ServerEngine, serverEngine } from './engine.server.ts';
import { EngineError, type EngineJob, type EngineOptions, type EngineState, type Piece } from './engine.ts';
import { type FakeLevers, type FakeLlamaServer, fakeLlamaServer } from './llama-server.fake.ts';

interface World {
  readonly engine: ServerEngine;
  readonly states: EngineState[];
  readonly troubles: string[];
  readonly lines: string[];
  readonly loading: number[];
}

const test = suite('engine.server');
let servers: FakeLlamaServer[] = [];
let engines: ServerEngine[] = [];
let folders: string[] = [];
test.after.each(async () => {
  for (const engine of engines) await engine.close();
  for (const server of servers) await server.close();
  for (const folder of folders) await rm(folder, { recursive: true });
  engines = [];
  servers = [];
  folders = [];
});

async function fake(levers: Partial<FakeLevers> = {}, port = 0): Promise<FakeLlamaServer> {
  const server = await fakeLlamaServer(levers, port);
  servers.push(server);
  return server;
}

function engineOn(server: ServerChoice, options: Partial<EngineOptions> = {}): World {
  const world = {
    states: [] as EngineState[],
    troubles: [] as string[],
    lines: [] as string[],
    loading: [] as number[],
  };
  const engine = serverEngine({
    server,
    modelPath: '',
    contextSize: 512,
    slots: 2,
    threads: null,
    gpuLayers: null,
    joinMs: 0, // so that what comes behind each token can be told
    ...options,
    onState: state => world.states.push(state),
    onLoading: share => world.loading.push(share),
    onTrouble: message => world.troubles.push(message),
    onLog: line => world.lines.push(line),
  });
  engines.push(engine);
  return { engine, ...world };
}

async function running(levers: Partial<FakeLevers> = {}): Promise<World & { readonly server: FakeLlamaServer }> {
  const server = await fake(levers);
  const world = engineOn({ kind: 'running', url: server.url, apiKey: levers.apiKey ?? null });
  await world.engine.load();
  return { ...world, server };
}

/** The fake as a program, and a file that begins as a model does. */
async function program(
  env: Readonly<Record<string, string>> = {},
): Promise<{ readonly path: string; readonly modelPath: string }> {
  const folder = await mkdtemp(join(tmpdir(), 'auxot-llama-server-'));
  folders.push(folder);
  const path = join(folder, 'llama-server');
  const script = fileURLToPath(new URL('llama-server.fake.ts', import.meta.url));
  const tsx = import.meta.resolve('tsx');
  const set = Object.entries(env).map(([name, value]) => `${name}=${value} `);
  await writeFile(path, `#!/bin/sh\n${set.join('')}exec "${process.execPath}" --import "${tsx}" "${script}" "$@"\n`);
  await chmod(path, 0o755);
  const modelPath = join(folder, 'Tiny-Q8_0.gguf');
  await writeFile(modelPath, 'GGUF and more');
  return { path, modelPath };
}

const hello: EngineJob = { messages: [{ role: 'user', content: 'hello' }], temperature: 0 };
const whole = 'Hello, größte Welt! 🦊';

interface Heard {
  readonly text: string;
  readonly ids: number[];
  readonly pieces: Piece[];
}

async function ask(
  engine: ServerEngine,
  job: EngineJob = hello,
  onPiece: (piece: Piece) => void = () => undefined,
  signal = new AbortController().signal,
) {
  const heard: Heard = { text: '', ids: [], pieces: [] };
  let text = '';
  const result = await engine.generate(job, {
    signal,
    onProgress: () => undefined,
    onToolCall: () => undefined,
    onPiece: piece => {
      heard.pieces.push(piece);
      heard.ids.push(...piece.ids);
      text += piece.text;
      onPiece(piece);
    },
  });
  return { ...heard, text, result };
}

async function refusal(outcome: Promise<unknown>): Promise<EngineError> {
  try {
    await outcome;
  } catch (error) {
    if (error instanceof EngineError) return error;
    throw error;
  }
  throw new Error('it was not refused');
}

async function until(isTrue: () => boolean): Promise<void> {
  const endAt = Date.now() + 20_000;
  while (!isTrue()) {
    if (Date.now() > endAt) throw new Error('it did not come to that');
    await new Promise(resolve => setTimeout(resolve, 20));
  }
}

test('an answer comes with all its tokens, also those in the middle of a character', async () => {
  const { engine, states } = await running({ loadingChecks: 2 });
  const { text, ids, pieces, result } = await ask(engine);
  assert.is(text, whole);
  assert.equal(ids, [...Buffer.from(whole)]);
  assert.ok(pieces.every(piece => piece.isInexact !== true));
  assert.is(result.finishReason, 'stop');
  assert.is(result.usage.output, Buffer.byteLength(whole) + 1, 'the token that ends it counts');
  assert.equal(states, ['ready']);
});

test('what the server says of itself is what is announced', async () => {
  const { engine } = await running();
  const { modelFile, ...info } = engine.info ?? { modelFile: '' };
  assert.match(modelFile, /^named:/);
  assert.equal(info, {
    model: 'Scripted-7B-Q8_0',
    backend: 'llama.cpp',
    contextSize: 1024,
    slots: 2,
    vramGb: 0,
    parameters: '7B',
    features: ['response_format', 'tool_choice', 'n', 'logprobs'],
    threads: 0,
    gpu: 'llama-server b1-fake',
  });
});

test('the question is asked in tokens behind a beginning, with everything said that a server could wish otherwise', async () => {
  const { engine, server } = await running();
  await ask(engine, { ...hello, maxTokens: 5, seed: 7, logitBias: { '65': -100 }, topK: 3 });
  const [{ prompt, ...body } = { prompt: null }] = server.asked.slice(-1);
  assert.equal(prompt, [256, ...Buffer.from('<|im_start|>user\nhello<|im_end|>\n<|im_start|>assistant\n')]);
  assert.is(body.n_predict, 5);
  assert.is(body.seed, 7);
  assert.is(body.top_k, 3);
  assert.is(body.temperature, 0);
  assert.is(body.repeat_penalty, 1);
  assert.equal(body.logit_bias, [[65, false]]);
});

test('max_tokens ends with length, a stop string in its middle, and the request with it', async () => {
  const { engine, server } = await running({ slowMs: 5 });
  assert.is((await ask(engine, { ...hello, maxTokens: 4 })).result.finishReason, 'length');
  const { text, result } = await ask(engine, { ...hello, stop: ['größte'] });
  assert.is(text, 'Hello, ');
  assert.is(result.stopSequence, 'größte');
  await until(() => server.abandoned === 1);
});

test('a connection that breaks in the middle is made again, and the answer goes on behind what was said', async () => {
  const { engine, server, states } = await running({ dropsAfter: [3, 6] });
  const { text, ids } = await ask(engine);
  assert.is(text, whole);
  assert.equal(ids, [...Buffer.from(whole)]);
  assert.is(server.asked.length, 3);
  assert.equal(states, ['ready']);
});

test('a thought is ended at its budget, and the answer follows (G1)', async () => {
  const { engine, server } = await running({ answer: '<think>abcdefgh</think>\n\nYes.' });
  // The end of its mark counts as well.
  const { result } = await ask(engine, { ...hello, thinkingBudget: '>abc'.length }, ({ ids }) => {
    // Behind a thought that is over the model says something else.
    if (ids.length > 0) server.levers.answer = '<think>abc</think>\n\nNo.';
  });
  assert.equal([result.reasoning, result.text, result.finishReason], ['abc', 'No.', 'stop']);
  assert.is(server.asked.length, 2);
  assert.is(result.usage.output, Buffer.byteLength(server.levers.answer) + 1);
});

test('tokens that come quicker than anybody reads go together (G26)', async () => {
  const answer = 'abcdefgh '.repeat(60);
  const { url } = await fake({ answer });
  const { engine } = engineOn({ kind: 'running', url, apiKey: null }, { joinMs: 10 });
  await engine.load();
  const { text, ids, pieces, result } = await ask(engine);
  assert.equal([text, result.text, ids.length], [answer, answer, answer.length]);
  assert.ok(pieces.length < answer.length / 5, `${pieces.length} pieces`);
});

test('an event that is no JSON is as a broken connection', async () => {
  const { engine } = await running({ malformed: true });
  assert.is((await ask(engine)).text, whole);
});

test('an answer goes on from tokens, and from text alone', async () => {
  const { engine, server } = await running();
  const said = { text: 'Hello, ', reasoning: '', tokens: 7, reasoningTokens: 0 };
  for (const ids of [[...Buffer.from('Hello, ')], null]) {
    const { text, result } = await ask(engine, { ...hello, resume: { ...said, ids } });
    assert.is(text, whole.slice(7));
    assert.is(result.text, whole);
    assert.is(result.usage.output, Buffer.byteLength(whole) + 1);
  }
  const [tokens, mixed] = server.asked.slice(-2).map(({ prompt }) => (Array.isArray(prompt) ? prompt.at(-1) : null));
  assert.is(tokens, 32);
  assert.is(mixed, 'Hello, ');
});

test('tokens that cannot be known make an answer that goes on from its text only', async () => {
  const { engine } = await running({ cutsOtherwise: true });
  const { text, pieces } = await ask(engine);
  assert.is(text, whole);
  const first = pieces.findIndex(piece => piece.isInexact === true);
  assert.is(pieces[first]?.text, 'ö');
  assert.ok(pieces.slice(first).every(piece => piece.isInexact === true && piece.ids.length === 0));
});

test('a form is a grammar, and goes on in its middle', async () => {
  const { engine, server } = await running({ answer: '{"a":1}' });
  const form: EngineJob = { ...hello, reasoningEffort: 'none', responseFormat: { type: 'json_object' } };
  await ask(engine, form);
  assert.match(String(server.asked.at(-1)?.grammar), /root ::=/);
  assert.is(server.asked.at(-1)?.generation_prompt, undefined);
  const resume = { text: '{"a', reasoning: '', tokens: 3, reasoningTokens: 0, ids: [...Buffer.from('{"a')] };
  assert.is((await ask(engine, { ...form, resume })).result.text, '{"a":1}');
  assert.is(server.asked.at(-1)?.generation_prompt, '{"a');
});

test('a server too old for that says so', async () => {
  const { engine } = await running({ props: { default_generation_settings: { n_ctx: 1024 } } });
  const resume = { text: '{"a', reasoning: '', tokens: 3, reasoningTokens: 0, ids: [...Buffer.from('{"a')] };
  const job = { ...hello, reasoningEffort: 'none', responseFormat: { type: 'json_object' }, resume };
  assert.match((await refusal(ask(engine, job))).message, /too old/);
});

test('chances of tokens are told', async () => {
  const { engine } = await running({ answer: 'Hi' });
  const { pieces } = await ask(engine, { ...hello, logprobs: true, topLogprobs: 1 });
  assert.equal(pieces[0]?.logprobs, [
    { token: 'H', logprob: -0.25, bytes: [72], top_logprobs: [{ token: 'H', logprob: -0.25, bytes: [72] }] },
  ]);
});

test('a cancelled job closes its connection', async () => {
  const { engine, server } = await running({ slowMs: 20 });
  const abort = new AbortController();
  const error = await refusal(ask(engine, hello, () => abort.abort(), abort.signal));
  assert.is(error.code, 'cancelled');
  await until(() => server.abandoned === 1);
});

test('images go beside the prompt, each where its mark stands, and nobody writes a mark by hand', async () => {
  const { engine, server } = await running({ props: { modalities: { vision: true } } });
  assert.ok(engine.info?.features.includes('images'));
  const image = (data: string) => ({ type: 'image_url', image_url: { url: `data:image/png;base64,${data}` } });
  const content = [
    { type: 'text', text: 'What <__media_x__>is ' },
    image('QUFB'),
    { type: 'text', text: ' or ' },
    image('QkJC'),
  ];
  const { text } = await ask(engine, { messages: [{ role: 'user', content }], temperature: 0 });
  assert.is(text, whole);
  assert.equal(server.asked.at(-1)?.prompt, {
    prompt_string: '<|im_start|>user\nWhat is <__media_x__> or <__media_x__><|im_end|>\n<|im_start|>assistant\n',
    multimodal_data: ['QUFB', 'QkJC'],
  });
  const far = { type: 'image_url', image_url: { url: 'https://example.com/a.png' } };
  const error = await refusal(ask(engine, { messages: [{ role: 'user', content: [far] }] }));
  assert.is(error.code, 'invalid_request');
  assert.match(error.message, /messages\[0\]\.content\[0\]\.image_url: this worker takes images as data URLs/);
});

test('a model without eyes offers no images and refuses them by name', async () => {
  const { engine } = await running();
  assert.not.ok(engine.info?.features.includes('images'));
  const content = [{ type: 'image_url', image_url: { url: 'data:image/png;base64,QUFB' } }];
  const error = await refusal(ask(engine, { messages: [{ role: 'user', content }] }));
  assert.is(error.code, 'unsupported_parameter');
  assert.match(error.message, /messages\[0\]\.content\[0\]: this model reads text only/);
});

test('a prompt that does not fit is refused with the numbers, and a refusal of the server keeps its meaning', async () => {
  const { engine, server } = await running({ props: { default_generation_settings: { n_ctx: 20 } } });
  const long = await refusal(ask(engine));
  assert.is(long.code, 'context_length_exceeded');
  assert.match(long.message, /56 tokens, but this worker's context holds 20/);
  const { engine: other, server: strict } = await running();
  const codes: string[] = [];
  for (const [status, type] of [
    [400, 'exceed_context_size_error'],
    [400, 'invalid_request_error'],
    [503, 'unavailable_error'],
    [500, 'server_error'],
  ] as const) {
    strict.levers.refusal = { status, error: { code: status, message: 'no', type } };
    codes.push((await refusal(ask(other))).code);
  }
  assert.equal(codes, ['context_length_exceeded', 'invalid_request', 'engine_unavailable', 'internal_error']);
  assert.is(server.asked.length, 0);
});

test('vectors are made by a server that makes them', async () => {
  const { engine } = await running({ vector: [3, 4] });
  assert.ok(engine.info?.features.includes('embeddings'));
  const { result } = await ask(engine, { messages: [], embed: { inputs: ['a', [1, 2]] } });
  const numbers = (result.embeddings ?? []).map(text => [
    ...new Float32Array(new Uint8Array(Buffer.from(text, 'base64')).buffer),
  ]);
  assert.equal(
    numbers.map(vector => vector.map(number => number.toFixed(1))),
    [
      ['0.6', '0.8'],
      ['0.6', '0.8'],
    ],
  );
  assert.is(result.usage.input, 6);
});

test('what is no llama-server, and one that wants a key, are refused with what to do', async () => {
  const locked = await fake({ apiKey: 'secret' });
  const closed = await refusal(engineOn({ kind: 'running', url: locked.url, apiKey: null }).engine.load());
  assert.match(closed.message, /wants a key: give it as AUXOT_LLAMA_API_KEY/);
  const other = await fake({ props: { default_generation_settings: 'none' } });
  const strange = await refusal(engineOn({ kind: 'running', url: other.url, apiKey: null }).engine.load());
  assert.match(strange.message, /does not say n_ctx: is this a llama-server/);
});

test('a running server that goes away is found again when it is back, and serves (G2)', async () => {
  const { engine, server, states, troubles } = await running();
  const port = Number(new URL(server.url).port);
  await server.close();
  await until(() => states.includes('restarting'));
  assert.is((await refusal(ask(engine))).code, 'engine_unavailable');
  assert.match(troubles[0] ?? '', /llama-server is gone: .*it is looked for again/);
  await fake({}, port);
  await until(() => engine.state === 'ready');
  assert.is((await ask(engine)).text, whole);
});

test('a started server is told what it is for, logs to us, and ends with its group', async () => {
  const { path, modelPath } = await program();
  const world = engineOn({ kind: 'program', path, projectorPath: '/models/mmproj.gguf' }, { modelPath });
  const info = await world.engine.load();
  assert.is(info.contextSize, 512);
  assert.is(info.slots, 2);
  assert.match(info.modelFile, /^sha256:/);
  assert.ok(info.features.includes('images'), 'it was given a projector');
  assert.equal(world.loading, [0.1]);
  assert.ok(world.lines.includes('llama_model_loader: loaded meta data'));
  assert.is((await ask(world.engine)).text, whole);
  const pid = world.engine.pid ?? 0;
  assert.ok(isAlive(-pid));
  await world.engine.close();
  assert.not.ok(isAlive(-pid));
});

test('a started server that is killed is started again, and its jobs are for others', async () => {
  const { path, modelPath } = await program();
  const world = engineOn({ kind: 'program', path, projectorPath: null }, { modelPath });
  await world.engine.load();
  const pid = world.engine.pid ?? 0;
  let killed = false;
  const error = await refusal(
    ask(world.engine, hello, () => {
      if (!killed) process.kill(-pid, 'SIGKILL');
      killed = true;
    }).then(async () => {
      // The answer was faster than the signal.
      await until(() => world.engine.state === 'restarting');
      throw new EngineError('engine_crashed', 'too late');
    }),
  );
  assert.is(error.code, 'engine_crashed');
  await until(() => world.engine.state === 'ready' && world.engine.pid !== pid);
  assert.match(world.troubles[0] ?? '', /its process ended \(signal SIGKILL\).*it starts again/);
  assert.is((await ask(world.engine)).text, whole);
});

test('a model that the server cannot load is told in its own words; too little memory makes fewer slots', async () => {
  const strange = await program({ FAKE_LLAMA_FAILS: 'model' });
  const first = engineOn(
    { kind: 'program', path: strange.path, projectorPath: null },
    { modelPath: strange.modelPath },
  );
  const error = await refusal(first.engine.load());
  assert.is(error.code, 'model_load_failed');
  assert.match(error.message, /exit code 1.*unknown model architecture: strange/);
  const small = await program({ FAKE_LLAMA_FAILS: 'memory' });
  const second = engineOn(
    { kind: 'program', path: small.path, projectorPath: null },
    { modelPath: small.modelPath, slots: 2 },
  );
  assert.is((await second.engine.load()).slots, 1);
  assert.match(second.troubles[0] ?? '', /1 slots are tried/);
});

test('a program that is not there is an error that names it', async () => {
  const { modelPath } = await program();
  const world = engineOn({ kind: 'program', path: '/nowhere/llama-server', projectorPath: null }, { modelPath });
  assert.match((await refusal(world.engine.load())).message, /\/nowhere\/llama-server/);
});

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

test.run();
