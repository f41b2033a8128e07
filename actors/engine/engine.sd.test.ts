/** The engine that paints, on a scripted program with sd-server's API. */
import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { type SdEngine, sdEngine } from './engine.sd.ts';
import { EngineError, type EngineJob } from './engine.ts';

const test = suite('engine.sd');
let folder = '';
let engine: SdEngine;
const troubles: string[] = [];

/** It paints its flags and what it was asked for; asked to end, it does. */
const script = `
import { createServer } from 'node:http';
const args = process.argv.slice(2);
if (args.includes('broken.gguf')) { console.error('error: new_sd_ctx_t failed'); process.exit(1); }
createServer(async (request, response) => {
  const say = (status, body) => { response.writeHead(status, { 'content-type': 'application/json' }); response.end(JSON.stringify(body)); };
  if (request.url === '/v1/models') return say(200, { data: [] });
  let text = '';
  for await (const piece of request) text += piece;
  const asked = JSON.parse(text);
  if (asked.prompt === 'end') process.exit(3);
  if (asked.prompt === 'no') return say(400, { message: 'not this' });
  say(200, { data: [{ b64_json: Buffer.from(JSON.stringify({ asked, args })).toString('base64') }] });
}).listen(Number(args[args.indexOf('--listen-port') + 1]), '127.0.0.1');
`;

function engineOn(modelPath: string): SdEngine {
  return sdEngine({
    path: join(folder, 'sd-server'),
    modelPath,
    model: 'FLUX.2-klein-4B',
    parameters: '4B',
    files: { vae: '/v.safetensors', llm: '/l.gguf', prediction: 'flux2_flow' },
    onState: () => undefined,
    onTrouble: message => troubles.push(message),
    onLog: () => undefined,
  });
}

test.before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'auxot-sd-'));
  await writeFile(join(folder, 'sd.mjs'), script);
  const path = join(folder, 'sd-server');
  await writeFile(path, `#!/bin/sh\nexec "${process.execPath}" "${join(folder, 'sd.mjs')}" "$@"\n`);
  await chmod(path, 0o755);
  engine = engineOn('m.gguf');
  await engine.load();
});
test.after(async () => {
  await engine.close();
  await rm(folder, { recursive: true });
});

const user = (content: unknown) => [{ role: 'user', content }];

async function paint(job: EngineJob, by = engine) {
  const pieces: string[] = [];
  const result = await by.generate(job, {
    signal: new AbortController().signal,
    onProgress: () => undefined,
    onToolCall: () => undefined,
    onPiece: ({ text }) => pieces.push(text),
  });
  assert.is(pieces.join(''), result.text);
  const [, data = ''] = /^data:image\/png;base64,(.*)$/.exec(result.text) ?? [];
  const told: unknown = JSON.parse(Buffer.from(data, 'base64').toString());
  return told as { readonly asked: Record<string, unknown>; readonly args: string[] };
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

test('what the user said last is painted, with size and steps as wished', async () => {
  const { model, backend, slots, contextSize, features } = engine.info ?? {};
  assert.equal(
    { model, backend, slots, contextSize, features },
    { model: 'FLUX.2-klein-4B', backend: 'stable-diffusion.cpp', slots: 1, contextSize: 4096, features: [] },
  );
  const messages = [...user('a dog'), { role: 'assistant', content: 'x' }, ...user([{ type: 'text', text: 'a cat' }])];
  const { asked, args } = await paint({ messages });
  assert.equal(asked, { prompt: 'a cat', n: 1, size: '512x512', steps: 4 });
  assert.is(
    args.join(' ').replace(/\d{4,5}/, 'PORT'),
    '--diffusion-model m.gguf --listen-ip 127.0.0.1 --listen-port PORT --vae /v.safetensors --llm /l.gguf --prediction flux2_flow --offload-to-cpu --diffusion-fa',
  );
  const image = { size: '1024x768', steps: 8 };
  assert.equal((await paint({ messages: user('a'), image })).asked, { prompt: 'a', n: 1, ...image });
  assert.equal((await paint({ messages: user('a'), templateOptions: image })).asked, { prompt: 'a', n: 1, ...image });
});

test('what cannot be painted is refused by name', async () => {
  const cases: readonly (readonly [EngineJob, RegExp])[] = [
    [{ messages: user(' ') }, /no user message says what to paint/],
    [{ messages: user('a'), image: { size: 'large' } }, /size: write for example 512x512, not "large"/],
    [{ messages: user('a'), image: { steps: 0 } }, /steps: a whole number/],
    [{ messages: user('no') }, /not this/],
  ];
  for (const [job, why] of cases) {
    const error = await refusal(paint(job));
    assert.is(error.code, 'invalid_request');
    assert.match(error.message, why);
  }
});

test('a program that every image ends rests, and takes none until then (G9)', async () => {
  const endAt = Date.now() + 30_000;
  const another = engineOn('m.gguf');
  await another.load();
  while (another.state !== 'broken') {
    if (Date.now() > endAt) throw new Error(`it does not rest: ${another.state}`);
    if (another.state === 'ready') await refusal(paint({ messages: user('end') }, another));
    await new Promise(resolve => setTimeout(resolve, 20));
  }
  assert.is((await refusal(paint({ messages: user('a') }, another))).code, 'engine_unavailable');
  await another.close();
});

test('a program that ends under an image is started again; one that cannot load says why', async () => {
  troubles.length = 0;
  assert.is((await refusal(paint({ messages: user('end') }))).code, 'engine_crashed');
  const endAt = Date.now() + 20_000;
  while (troubles.length === 0 || engine.state !== 'ready') {
    if (Date.now() > endAt) throw new Error('it did not come back');
    await new Promise(resolve => setTimeout(resolve, 20));
  }
  assert.match(troubles[0] ?? '', /exit code 3/);
  assert.is((await paint({ messages: user('a') })).asked.prompt, 'a');
  const broken = await refusal(engineOn('broken.gguf').load());
  assert.match(broken.message, /exit code 1.*new_sd_ctx_t failed/);
});

test.run();
