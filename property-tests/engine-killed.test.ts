/** The engine's process killed in the middle of an answer: the same worker starts it again, and the answer is the right one. */
import { execFileSync } from 'node:child_process';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { apiKey, gpuKey, runProgram, startRouter, waitUntil, within } from './processes.ts';

const ask = (url: string) =>
  fetch(`${url}/v1/chat/completions`, {
    method: 'POST',
    headers: { authorization: `Bearer ${apiKey}`, 'content-type': 'application/json' },
    body: JSON.stringify({
      model: 'auxot-demo',
      messages: [{ role: 'user', content: 'Tell me a story.' }],
      temperature: 0,
      stream: true,
    }),
  });

/** Text of an SSE answer; `onText` is told how long it is so far. */
async function textOf(answer: Response, onText: (length: number) => void = () => undefined): Promise<string> {
  let held = '';
  let text = '';
  const decoder = new TextDecoder();
  for await (const piece of answer.body ?? []) {
    held += decoder.decode(piece as Uint8Array, { stream: true });
    const lines = held.split('\n');
    held = lines.pop() ?? '';
    for (const line of lines) {
      if (!line.startsWith('data: {')) continue;
      const { choices, error } = JSON.parse(line.slice(6));
      if (error !== undefined) throw new Error(error.message);
      text += choices[0]?.delta?.content ?? '';
    }
    onText(text.length);
  }
  return text;
}

/** The worker's only child is its engine. */
function engineOf(worker: number): number {
  const pids = execFileSync('ps', ['-o', 'pid=', '--ppid', String(worker)], { encoding: 'utf8' });
  const [engine = ''] = pids.trim().split(/\s+/);
  return Number(engine);
}

if (process.platform === 'linux') {
  test('an answer whose engine is killed under it goes on to its right end', async () => {
    const router = await startRouter({ AUXOT_MODEL: 'demo.gguf', AUXOT_MAX_PARALLEL: '2', AUXOT_CTX_SIZE: '2048' });
    const worker = runProgram(
      'worker',
      ['--model-path', 'demo', '--router-url', router.wsUrl],
      { AUXOT_GPU_KEY: gpuKey, AUXOT_THREADS: '1' },
      router.dataDir,
    );
    try {
      const isReady = async (): Promise<boolean> => {
        const health = (await (await fetch(`${router.url}/health`)).json()) as { available?: number };
        return (health.available ?? 0) > 0;
      };
      await waitUntil(isReady, 30_000, () => worker.output());
      const whole = await within(
        30_000,
        ask(router.url).then(answer => textOf(answer)),
        'no answer',
      );
      assert.ok(whole.length > 100, whole);
      const isTold = (): boolean => worker.output().includes('the inference engine ended unexpectedly');
      // The demo model is quick: the kill may come behind its last token, and then proves nothing.
      for (let trial = 0; trial < 5 && !isTold(); trial += 1) {
        const engine = engineOf(worker.pid);
        let killed = false;
        const kill = (length: number): void => {
          if (killed || length === 0) return;
          killed = true;
          process.kill(engine, 'SIGKILL');
        };
        const broken = ask(router.url).then(answer => textOf(answer, kill));
        assert.is(await within(60_000, broken, worker.output()), whole);
        await waitUntil(isReady, 30_000, () => worker.output());
      }
      assert.ok(/job ended early|job failed/.test(worker.output()) && isTold(), worker.output());
    } finally {
      worker.kill('SIGTERM');
      await within(15_000, worker.ended, 'the worker did not stop');
      await router.stop();
    }
  });
}

if (process.platform === 'linux') {
  test('a worker that is killed takes its engine with it: no memory stays taken (G8)', async () => {
    const router = await startRouter({ AUXOT_MODEL: 'demo.gguf', AUXOT_CTX_SIZE: '2048' });
    const worker = runProgram(
      'worker',
      ['--model-path', 'demo', '--router-url', router.wsUrl],
      { AUXOT_GPU_KEY: gpuKey, AUXOT_THREADS: '1' },
      router.dataDir,
    );
    try {
      await waitUntil(() => /engine is ready/.test(worker.output()), 60_000, worker.output);
      const engine = engineOf(worker.pid);
      assert.ok(engine > 0);
      worker.kill('SIGKILL');
      await within(5000, worker.ended, 'the worker did not end');
      await waitUntil(
        () => !isAlive(engine),
        5000,
        () => `the engine ${engine} outlives its worker`,
      );
    } finally {
      await router.stop();
    }
  });
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false; // ESRCH: there is none
  }
}

test.run();
