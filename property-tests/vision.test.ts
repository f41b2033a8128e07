/**
 * Images on their way from a caller to a model that sees them: client, router, socket, worker, llama-server. The server is
 * scripted, the rest is real.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import Anthropic from '@anthropic-ai/sdk';
import OpenAI from 'openai';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type FakeLlamaServer, fakeLlamaServer } from '../actors/engine/llama-server.fake.ts';
import { untilHealth } from './callers.ts';
import { apiKey, gpuKey, type Program, type RouterProcess, runProgram, startRouter, within } from './processes.ts';

interface World {
  readonly server: FakeLlamaServer;
  readonly openai: OpenAI;
  readonly anthropic: Anthropic;
  stop(): Promise<void>;
}

async function world(sees: boolean): Promise<World> {
  const folder = mkdtempSync(join(tmpdir(), 'auxot-vision-'));
  const server = await fakeLlamaServer({ answer: 'A red square.', props: { modalities: { vision: sees } } });
  const router: RouterProcess = await startRouter({ AUXOT_FSYNC: 'no' });
  const env = { AUXOT_GPU_KEY: gpuKey, AUXOT_LLAMA_URL: server.url };
  const worker: Program = runProgram('worker', ['--router-url', router.wsUrl], env, folder);
  await untilHealth(router.url, ({ total_slots }) => total_slots === 2, 'the worker is not there', 60_000);
  const options = { apiKey, maxRetries: 0, timeout: 30_000 };
  return {
    server,
    openai: new OpenAI({ ...options, baseURL: `${router.url}/v1` }),
    anthropic: new Anthropic({ ...options, baseURL: router.url }),
    async stop() {
      worker.kill('SIGTERM');
      await within(15_000, worker.ended, 'the worker did not stop');
      await router.stop();
      await server.close();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** A pixel. */
const data = 'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg==';
const openaiMessages: OpenAI.ChatCompletionMessageParam[] = [
  {
    role: 'user',
    content: [
      { type: 'text', text: 'What is this?' },
      { type: 'image_url', image_url: { url: `data:image/png;base64,${data}` } },
    ],
  },
];
const anthropicMessages: Anthropic.MessageParam[] = [
  {
    role: 'user',
    content: [
      { type: 'image', source: { type: 'base64', media_type: 'image/png', data } },
      { type: 'text', text: 'What is this?' },
    ],
  },
];

test('AN19: images of either API reach a model that sees them, in their place, through a running llama-server (G2)', async () => {
  const { server, openai, anthropic, stop } = await world(true);
  try {
    const model = 'any';
    const chat = await openai.chat.completions.create({ model, messages: openaiMessages });
    assert.is(chat.choices[0]?.message.content, 'A red square.');
    const message = await anthropic.messages.create({ model, max_tokens: 50, messages: anthropicMessages });
    assert.equal(
      message.content.map(part => (part.type === 'text' ? part.text : part.type)),
      ['A red square.'],
    );
    const [first, second] = server.asked.slice(-2).map(({ prompt }) => prompt);
    const asked = (text: string) => `<|im_start|>user\n${text}<|im_end|>\n<|im_start|>assistant\n`;
    assert.equal(first, { prompt_string: asked('What is this?<__media_x__>'), multimodal_data: [data] });
    assert.equal(second, { prompt_string: asked('<__media_x__>What is this?'), multimodal_data: [data] });
  } finally {
    await stop();
  }
});

test('AN19: a model without a vision encoder is not asked: 400 by name', async () => {
  const { server, openai, anthropic, stop } = await world(false);
  try {
    const before = server.asked.length;
    const refused = async (outcome: Promise<unknown>): Promise<{ status?: number | undefined; message: string }> => {
      try {
        await outcome;
      } catch (error) {
        if (error instanceof OpenAI.APIError || error instanceof Anthropic.APIError) return error;
        throw error;
      }
      throw new Error('it was answered');
    };
    const model = 'any';
    const chat = await refused(openai.chat.completions.create({ model, messages: openaiMessages }));
    const message = await refused(anthropic.messages.create({ model, max_tokens: 50, messages: anthropicMessages }));
    for (const { status, message: why } of [chat, message]) {
      assert.is(status, 400);
      assert.match(why, /image/);
    }
    assert.is(server.asked.length, before);
  } finally {
    await stop();
  }
});

test.run();
