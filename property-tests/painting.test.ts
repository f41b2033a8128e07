/** A model that makes images, through the whole system: client, router, socket, worker, and a scripted sd-server. */
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import OpenAI from 'openai';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { openRegistry } from '../registry/load.ts';
import { untilHealth } from './callers.ts';
import { apiKey, gpuKey, runProgram, startRouter, within } from './processes.ts';

const painter = `
import { createServer } from 'node:http';
const args = process.argv.slice(2);
createServer(async (request, response) => {
  let text = '';
  for await (const piece of request) text += piece;
  const image = Buffer.from('image of ' + text).toString('base64');
  response.writeHead(200, { 'content-type': 'application/json' });
  response.end(JSON.stringify({ data: request.url === '/v1/models' ? [] : [{ b64_json: image }] }));
}).listen(Number(args[args.indexOf('--listen-port') + 1]), '127.0.0.1');
`;

test('a chat with a model that paints is answered with the image, streamed and in one piece', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'auxot-painting-'));
  const put = (path: string, text: string): string => {
    mkdirSync(join(folder, dirname(path)), { recursive: true });
    writeFileSync(join(folder, path), text);
    return join(folder, path);
  };
  const [entry] = openRegistry(null).entries.filter(({ name }) => name === 'FLUX.2-klein-4B');
  put(`models/${entry?.repository.replace('/', '_')}/${entry?.file}`, 'x');
  put('models/Comfy-Org_flux2-dev/flux2-vae.safetensors', 'x');
  put('models/unsloth_Qwen3-4B-GGUF/Qwen3-4B-Q4_K_S.gguf', 'x');
  const script = put('painter.mjs', painter);
  const program = put('sd-server', `#!/bin/sh\nexec "${process.execPath}" "${script}" "$@"\n`);
  chmodSync(program, 0o755);
  const router = await startRouter({ AUXOT_FSYNC: 'no', AUXOT_MODEL: 'FLUX.2-klein-4B' });
  const env = { AUXOT_GPU_KEY: gpuKey, AUXOT_MODELS_DIR: join(folder, 'models'), AUXOT_OFFLINE: 'true' };
  const worker = runProgram('worker', ['--router-url', router.wsUrl, '--sd-server-path', program], env, folder);
  try {
    await untilHealth(router.url, ({ total_slots }) => total_slots === 1, 'the worker is not there', 60_000).catch(
      error => {
        throw new Error(`${error.message}:\n${worker.output()}`);
      },
    );
    const client = new OpenAI({ apiKey, baseURL: `${router.url}/v1`, maxRetries: 0, timeout: 30_000 });
    const ask = {
      model: 'FLUX.2-klein-4B',
      messages: [{ role: 'user' as const, content: 'a red square' }],
      // Not of the official API: clients pass it through.
      chat_template_kwargs: { size: '64x64', steps: 2 },
    };
    const painted = (text: string): unknown =>
      JSON.parse(Buffer.from(text.replace('data:image/png;base64,', ''), 'base64').toString().replace('image of ', ''));
    const want = { prompt: 'a red square', n: 1, size: '64x64', steps: 2 };
    const whole = await client.chat.completions.create(ask);
    assert.equal(painted(whole.choices[0]?.message.content ?? ''), want);
    let text = '';
    for await (const chunk of await client.chat.completions.create({ ...ask, stream: true }))
      text += chunk.choices[0]?.delta.content ?? '';
    assert.equal(painted(text), want);
  } finally {
    worker.kill('SIGTERM');
    await within(15_000, worker.ended, 'the worker did not stop');
    await router.stop();
    rmSync(folder, { recursive: true, force: true });
  }
});

test.run();
