/** A worker with a scripted engine, against scripted routers of both versions over real sockets. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { EngineError } from '../engine/engine.ts';
import { inWorld, policy, result, until } from './gpu-worker.fake.ts';
import type { ModelRequest } from './gpu-worker.ts';

const ack1 = () => ({ type: 'hello_ack', success: true, gpu_id: 'ab', policy });
const ack2 = () => ({ ...ack1(), protocol_version: 2 });
const job = { type: 'job', job_id: 'j1', attempt: 1, messages: [{ role: 'user', content: 'Hi' }] };
const first = <T>(items: readonly T[]): T => {
  const [item] = items;
  if (item === undefined) throw new Error('there is none');
  return item;
};

test('a version 2 router: one connection, not ready until the model is loaded, then config (G4)', () =>
  inWorld(ack2, async ({ engines, lines, next }) => {
    const hello = await next('hello');
    assert.is(hello.gpu_key, 'adm_key');
    assert.is(hello.protocol_version, 2);
    assert.is(hello.instance_id, 'worker-1');
    assert.is(hello.ready, false);
    assert.equal(hello.capabilities, { backend: 'pending', model: 'pending', ctx_size: 0 });
    assert.is((await next('status')).state, 'loading');
    const { options, finishLoad } = first(engines);
    assert.equal([options.contextSize, options.slots], [2048, 2]);
    finishLoad();
    const config = await next('config');
    assert.is(config.model_file, 'sha256:00');
    assert.equal(config.capabilities, {
      backend: 'llama.cpp',
      model: 'auxot-demo',
      ctx_size: 2048,
      parameters: '1M',
      total_slots: 2,
      model_capabilities: ['chat'],
    });
    assert.is((await next('status')).state, 'ready');
    assert.is(lines.length, 1);
  }));

test('a version 1 router: the policy on one connection, the model on the next', () =>
  inWorld(ack1, async ({ engines, lines, next }) => {
    await next('hello');
    await until(() => lines[0]?.closed !== null, 'the end of the first connection');
    assert.equal(
      lines[0]?.heard.map(({ type }) => type),
      ['hello'],
    );
    assert.is(lines.length, 1, 'it stays away while the model loads');
    first(engines).finishLoad();
    await until(() => lines.length === 2, 'the second connection');
    const hello = await next('hello');
    assert.is(hello.capabilities.model, 'auxot-demo');
    assert.is(hello.capabilities.total_slots, 2);
    const config = await next('config');
    assert.equal(config.capabilities.model_capabilities, ['chat']);
    assert.is(config.model_file, undefined);
    assert.not(
      lines[1]?.heard.some(({ type }) => type === 'status'),
      'version 1 knows no status',
    );
  }));

test('a job of version 2: progress, numbered tokens with their ids, one complete', () =>
  inWorld(ack2, async ({ engines, send, next }) => {
    await next('hello');
    await until(() => engines.length > 0, 'an engine');
    first(engines).finishLoad();
    await next('config');
    send(job);
    await until(() => first(engines).jobs.length === 1, 'the job');
    const { hooks, resolve } = first(first(engines).jobs);
    hooks.onProgress({ total: 10, cached: 3, processed: 10 });
    hooks.onPiece({ kind: 'reasoning', text: 'hm', ids: [4] });
    hooks.onPiece({ kind: 'text', text: 'Hi!', ids: [5, 6] });
    hooks.onToolCall();
    resolve({
      ...result,
      finishReason: 'tool_calls',
      reasoning: 'hm',
      toolCalls: [{ id: 'call_1', name: 'f', arguments: '{}' }],
    });
    const about = { job_id: 'j1', attempt: 1 };
    assert.equal(await next('prompt_progress'), {
      type: 'prompt_progress',
      ...about,
      total: 10,
      cached: 3,
      processed: 10,
    });
    assert.equal(await next('token'), { type: 'token', ...about, token: 'hm', reasoning: true, seq: 1, ids: [4] });
    assert.equal(await next('token'), { type: 'token', ...about, token: 'Hi!', seq: 2, ids: [5, 6] });
    assert.equal(await next('tool_generating'), { type: 'tool_generating', ...about });
    assert.equal(await next('complete'), {
      type: 'complete',
      ...about,
      full_response: 'Hi!',
      reasoning_content: 'hm',
      duration_ms: 12,
      cache_tokens: 3,
      input_tokens: 7,
      output_tokens: 2,
      tool_calls: [{ id: 'call_1', type: 'function', function: { name: 'f', arguments: '{}' } }],
      seq: 2,
      finish_reason: 'tool_calls',
    });
    send({ type: 'ack', ...about, seq: 2 });
  }));

test('a job of version 1 carries version 1 fields only, and no empty tokens (weakness X2)', () =>
  inWorld(ack1, async ({ engines, lines, send, next }) => {
    await next('hello');
    await until(() => engines.length > 0, 'an engine');
    first(engines).finishLoad();
    await until(() => lines.length === 2, 'the second connection');
    await next('config');
    send({ type: 'job', job_id: 'j1', messages: job.messages });
    await until(() => first(engines).jobs.length === 1, 'the job');
    const { hooks, resolve } = first(first(engines).jobs);
    hooks.onProgress({ total: 10, cached: 3, processed: 10 });
    hooks.onPiece({ kind: 'text', text: '', ids: [4] });
    hooks.onPiece({ kind: 'text', text: 'Hi!', ids: [5, 6] });
    resolve(result);
    assert.equal(await next('complete'), {
      type: 'complete',
      job_id: 'j1',
      full_response: 'Hi!',
      duration_ms: 12,
      cache_tokens: 3,
      input_tokens: 7,
      output_tokens: 2,
    });
    assert.equal(await next('token'), { type: 'token', job_id: 'j1', token: 'Hi!' });
    assert.not(lines[1]?.heard.some(({ type }) => type === 'prompt_progress'));
  }));

test('tokens are counted when the model is there, and said not to be when it is not', () =>
  inWorld(ack2, async ({ engines, send, next }) => {
    await next('hello');
    const ask = (count_id: string) => send({ type: 'count_tokens', count_id, messages: job.messages });
    first(engines).finishLoad();
    await next('config');
    ask('1');
    assert.equal(await next('token_count'), { type: 'token_count', count_id: '1', input_tokens: 10 });
    first(engines).levers.refuseCounts = true;
    ask('2');
    assert.equal(await next('token_count'), { type: 'token_count', count_id: '2', error: 'cannot count' });
  }));

test('frames that arrive in pieces are put together', () =>
  inWorld(ack2, async ({ engines, lines, next }) => {
    await next('hello');
    await until(() => engines.length > 0, 'an engine');
    first(engines).finishLoad();
    await next('config');
    const text = JSON.stringify({ ...job, messages: [{ role: 'user', content: 'long '.repeat(3000) }] });
    const socket = lines.at(-1)?.socket;
    for (let at = 0; at < text.length; at += 4096) {
      socket?.send(text.slice(at, at + 4096), { fin: at + 4096 >= text.length });
    }
    await until(() => first(engines).jobs.length === 1, 'the job');
    first(first(engines).jobs).resolve(result);
    await next('complete');
  }));

test('a cancelled job ends in one word, and nothing follows (G5)', () =>
  inWorld(ack2, async ({ engines, lines, send, next }) => {
    await next('hello');
    await until(() => engines.length > 0, 'an engine');
    first(engines).finishLoad();
    await next('config');
    send(job);
    await until(() => first(engines).jobs.length === 1, 'the job');
    send({ type: 'cancel', job_id: 'j1', attempt: 9 });
    send({ type: 'cancel', job_id: 'other' });
    send({ type: 'cancel', job_id: 'j1', attempt: 1 });
    assert.equal(await next('cancelled'), { type: 'cancelled', job_id: 'j1', attempt: 1 });
    first(first(engines).jobs).hooks.onPiece({ kind: 'text', text: 'late', ids: [] });
    send({ type: 'cancel', job_id: 'j1' });
    await new Promise(resolve => setTimeout(resolve, 50));
    const ends = lines[0]?.heard.filter(({ type }) => ['cancelled', 'error', 'complete', 'token'].includes(type));
    assert.is(ends?.length, 1);
  }));

test('a conversation with the same call and result three times is answered like any other (G13)', () =>
  inWorld(ack2, async ({ engines, send, next }) => {
    await next('hello');
    await until(() => engines.length > 0, 'an engine');
    first(engines).finishLoad();
    await next('config');
    const call = { id: 'c', type: 'function', function: { name: 'poll', arguments: '{}' } };
    const round = [
      { role: 'assistant', content: '', tool_calls: [call] },
      { role: 'tool', tool_call_id: 'c', content: 'not yet' },
    ];
    send({ ...job, messages: [...job.messages, ...round, ...round, ...round] });
    await until(() => first(engines).jobs.length === 1, 'the job');
    first(first(engines).jobs).resolve(result);
    assert.is((await next('complete')).full_response, 'Hi!');
  }));

test('a job that fails says why, with a code', () =>
  inWorld(ack2, async ({ engines, send, next }) => {
    await next('hello');
    await until(() => engines.length > 0, 'an engine');
    first(engines).finishLoad();
    await next('config');
    send(job);
    await until(() => first(engines).jobs.length === 1, 'the job');
    first(first(engines).jobs).reject(new EngineError('context_length_exceeded', 'the prompt has 3000 tokens'));
    const error = await next('error');
    assert.equal([error.job_id, error.attempt, error.code], ['j1', 1, 'context_length_exceeded']);
    assert.match(error.error, '3000');
  }));

test('the same job twice is one job; a newer attempt takes its place, and nothing more is said about the older', () =>
  inWorld(ack2, async ({ engines, lines, send, next }) => {
    await next('hello');
    await until(() => engines.length > 0, 'an engine');
    first(engines).finishLoad();
    await next('config');
    send(job);
    send(job);
    send({ ...job, attempt: 2 });
    await until(() => first(engines).jobs.length === 2, 'the second attempt');
    const [old, newer] = first(engines).jobs;
    assert.ok(old?.hooks.signal.aborted);
    newer?.resolve(result);
    assert.is((await next('complete')).attempt, 2);
    assert.not(
      lines[0]?.heard.some(frame => frame.type === 'cancelled' || ('attempt' in frame && frame.attempt === 1)),
    );
  }));

test('while the engine is away the worker is not ready, and it is again when the engine is back (G9)', () =>
  inWorld(ack2, async ({ engines, next }) => {
    await next('hello');
    await next('status');
    await until(() => engines.length > 0, 'an engine');
    first(engines).finishLoad();
    await next('config');
    await next('status');
    await until(() => engines.length > 0, 'an engine');
    first(engines).enter('restarting');
    assert.is((await next('status')).state, 'loading');
    first(engines).enter('ready');
    await next('config');
    assert.is((await next('status')).state, 'ready');
  }));

test('a version 1 router is left while the engine is away', () =>
  inWorld(ack1, async ({ engines, lines, next }) => {
    await next('hello');
    await until(() => engines.length > 0, 'an engine');
    first(engines).finishLoad();
    await until(() => lines.length === 2, 'the second connection');
    await next('config');
    first(engines).enter('restarting');
    await until(() => lines[1]?.closed !== null, 'the end of the second connection');
    first(engines).enter('ready');
    await until(() => lines.length === 3, 'the third connection');
    await next('config');
  }));

test('a connection that drops is dialled again at once; it says that the model is there, and which jobs go on', () =>
  inWorld(ack2, async ({ engines, lines, send, next }) => {
    await next('hello');
    await until(() => engines.length > 0, 'an engine');
    first(engines).finishLoad();
    await next('config');
    send(job);
    await until(() => first(engines).jobs.length === 1, 'the job');
    lines[0]?.socket.terminate();
    await until(() => lines.length === 2, 'the second connection');
    const hello = await next('hello');
    assert.is(hello.ready, true);
    assert.is(hello.model_file, 'sha256:00');
    assert.is(hello.instance_id, 'worker-1');
    assert.equal(hello.jobs, [{ job_id: job.job_id, attempt: 1, seq: 0 }]);
    // The router's answer names no jobs: it takes none back.
    await until(() => first(first(engines).jobs).hooks.signal.aborted, 'the end of the job');
    assert.is(engines.length, 1);
  }));

test('a model of its own that is not the one the policy names is served with a warning, once', () =>
  inWorld(ack2, async ({ engines, warnings, send, next }) => {
    const told = () => warnings.filter(message => message.includes('AUXOT_MODEL'));
    await next('hello');
    await until(() => engines.length > 0, 'an engine');
    first(engines).finishLoad();
    await next('config');
    assert.equal(told(), []);
    send({ type: 'policy_update', policy: { ...policy, model_name: 'Qwen3-8B' } });
    send({ type: 'policy_update', policy: { ...policy, model_name: 'Qwen3-8B' } });
    await until(() => told().length > 0, 'the warning');
    assert.match(told()[0] ?? '', 'serves auxot-demo, but the router offers it as Qwen3-8B');
    await new Promise(resolve => setTimeout(resolve, 30));
    assert.is(told().length, 1);
  }));

test('a policy with another context or number of slots restarts the engine, after running jobs (G28)', () =>
  inWorld(ack2, async ({ engines, send, next }) => {
    await next('hello');
    await next('status');
    await until(() => engines.length > 0, 'an engine');
    first(engines).finishLoad();
    await next('config');
    await next('status');
    send(job);
    await until(() => first(engines).jobs.length === 1, 'the job');
    send({ type: 'policy_update', policy: { ...policy, max_parallelism: 3 } });
    assert.is((await next('status')).state, 'loading');
    first(first(engines).jobs).resolve(result);
    await next('complete');
    await until(() => engines.length === 2, 'the second engine');
    assert.ok(engines[0]?.closed());
    assert.is(engines[1]?.options.slots, 3);
    engines[1]?.finishLoad();
    assert.is((await next('config')).capabilities.total_slots, 3);
    send({ type: 'policy_update', policy: { ...policy, max_parallelism: 3 } });
    await new Promise(resolve => setTimeout(resolve, 30));
    assert.is(engines.length, 2, 'the same policy again changes nothing');
  }));

test('a router that drains gets its jobs finished, and then a new connection', () =>
  inWorld(ack2, async ({ engines, lines, send, next }) => {
    await next('hello');
    await until(() => engines.length > 0, 'an engine');
    first(engines).finishLoad();
    await next('config');
    send(job);
    await until(() => first(engines).jobs.length === 1, 'the job');
    send({ type: 'drain' });
    await new Promise(resolve => setTimeout(resolve, 30));
    assert.is(lines[0]?.closed, null);
    first(first(engines).jobs).resolve(result);
    await until(() => lines.length === 2, 'the second connection');
    assert.is(lines[0]?.closed, 1000);
    assert.ok(lines[0]?.heard.some(({ type }) => type === 'complete'));
  }));

test('a router that drains and goes is followed by a connection that stays when the job is done', () => {
  const ack = (n: number) => ({
    ...ack2(),
    ...(n === 1 ? {} : { jobs: [{ job_id: job.job_id, attempt: n, seq: 0 }] }),
  });
  return inWorld(ack, async ({ engines, lines, send, next }) => {
    await next('hello');
    await until(() => engines.length > 0, 'an engine');
    first(engines).finishLoad();
    await next('config');
    send(job);
    await until(() => first(engines).jobs.length === 1, 'the job');
    send({ type: 'drain' });
    await new Promise(resolve => setTimeout(resolve, 30));
    lines[0]?.socket.terminate();
    await until(() => lines.length === 2, 'the second connection');
    await next('hello');
    first(first(engines).jobs).resolve(result);
    await new Promise(resolve => setTimeout(resolve, 300));
    assert.equal([lines.length, lines[1]?.closed], [2, null]);
  });
});

test('a refused key, a CLI policy and a model that cannot be loaded end the worker with a reason', async () => {
  await inWorld(
    () => ({ type: 'error', error: 'invalid GPU key', details: 'x' }),
    async ({ worker }) => {
      const end = await worker.ended;
      assert.is(end.exitCode, 3);
      assert.match(end.message, 'AUXOT_GPU_KEY');
    },
  );
  await inWorld(
    () => ({ ...ack1(), policy: { ...policy, worker_type: 'cli', cli_type: 'unheard-of' } }),
    async ({ worker, engines }) => {
      const end = await worker.ended;
      assert.is(end.exitCode, 1);
      assert.match(end.message, 'there is no unheard-of'); // C26
      assert.is(engines.length, 0);
    },
  );
  await inWorld(ack2, async ({ worker, engines, next }) => {
    await next('status');
    await until(() => engines.length > 0, 'an engine');
    first(engines).failLoad('not a GGUF file');
    const end = await worker.ended;
    assert.is(end.exitCode, 1);
    assert.match(end.message, 'not a GGUF file');
  });
});

test('a worker that is stopped finishes what it runs, says good-bye and ends', () =>
  inWorld(ack2, async ({ worker, engines, lines, send, next }) => {
    await next('hello');
    await until(() => engines.length > 0, 'an engine');
    first(engines).finishLoad();
    await next('config');
    send(job);
    await until(() => first(engines).jobs.length === 1, 'the job');
    const stopped = worker.stop();
    await until(() => lines[0]?.heard.some(f => f.type === 'status' && f.state === 'draining') === true, 'draining');
    first(first(engines).jobs).resolve(result);
    await stopped;
    await until(() => lines[0]?.closed !== null, 'the end of the connection');
    assert.ok(lines[0]?.heard.some(({ type }) => type === 'complete'));
    assert.is(lines[0]?.closed, 1001);
    assert.equal(await worker.ended, { exitCode: 0, message: 'worker stopped' });
    assert.ok(first(engines).closed());
  }));

test('a worker that is stopped leaves a job that outlasts its grace to another one, and ends it for nobody', () =>
  inWorld(ack2, async ({ worker, engines, lines, send, next }) => {
    await next('hello');
    await until(() => engines.length > 0, 'an engine');
    first(engines).finishLoad();
    await next('config');
    send(job);
    await until(() => first(engines).jobs.length === 1, 'the job');
    first(first(engines).jobs).hooks.onPiece({ kind: 'text', text: 'Hi', ids: [1] });
    await next('token');
    await worker.stop();
    await until(() => lines[0]?.closed !== null, 'the end of the connection');
    assert.is(lines[0]?.closed, 1001);
    const ends = ['complete', 'error', 'cancelled'];
    assert.equal(
      lines[0]?.heard.filter(({ type }) => ends.includes(type)),
      [],
    );
    assert.ok(first(engines).closed());
  }));

/** Fetches that are finished by hand. */
function scriptedFetch() {
  const fetches: { readonly request: ModelRequest; finish: (path: string) => void; fail: (error: Error) => void }[] =
    [];
  const fetchModel = (request: ModelRequest): Promise<string> =>
    new Promise((resolve, reject) => {
      request.signal.addEventListener('abort', () => reject(new Error('the download was stopped')));
      fetches.push({ request, finish: resolve, fail: reject });
    });
  return { fetches, model: { modelPath: null, fetchModel } };
}

test('without a file of its own, it fetches the model that the policy names, says how far it is, then loads it', () => {
  const { fetches, model } = scriptedFetch();
  return inWorld(
    ack2,
    async ({ engines, next, lines }) => {
      await next('hello');
      await until(() => fetches.length === 1, 'a fetch');
      const { request, finish } = first(fetches);
      assert.equal([request.name, request.quantization, engines.length], ['demo', '', 0]);
      await until(() => {
        request.onProgress(0.25, 'downloading 1.00 of 4.00 GiB');
        return lines[0]?.heard.some(frame => frame.type === 'status' && frame.state === 'downloading') === true;
      }, 'a status');
      const status = lines[0]?.heard.find(frame => frame.type === 'status' && frame.state === 'downloading');
      assert.equal(status, {
        type: 'status',
        state: 'downloading',
        progress: 0.25,
        message: 'downloading 1.00 of 4.00 GiB',
      });
      finish('/models/fetched.gguf');
      await until(() => engines.length === 1, 'an engine');
      assert.is(first(engines).options.modelPath, '/models/fetched.gguf');
      first(engines).finishLoad();
      await next('config');
    },
    model,
  );
});

test('another model in the policy is fetched while the old one serves, then takes its place (G8)', () => {
  const { fetches, model } = scriptedFetch();
  return inWorld(
    ack2,
    async ({ engines, next, send, lines }) => {
      await until(() => fetches.length === 1, 'a fetch');
      fetches[0]?.finish('old.gguf');
      await until(() => engines.length === 1, 'an engine');
      first(engines).finishLoad();
      await next('config');
      send({ type: 'policy_update', policy: { ...policy, model_name: 'other', quantization: 'Q8_0' } });
      await until(() => fetches.length === 2, 'another fetch');
      fetches[1]?.request.onProgress(0.5, 'half');
      send(job);
      await until(() => first(engines).jobs.length === 1, 'a job on the old engine');
      first(engines).jobs[0]?.resolve(result);
      await next('complete');
      assert.not.ok(lines[0]?.heard.some(frame => frame.type === 'status' && frame.state === 'downloading'));
      fetches[1]?.finish('new.gguf');
      await until(() => engines.length === 2, 'another engine');
      assert.ok(first(engines).closed());
      assert.is(engines[1]?.options.modelPath, 'new.gguf');
      engines[1]?.finishLoad();
      await next('config');
    },
    model,
  );
});

test('a policy that changes in the middle of a download stops it, and a stop waits until it has let go', () => {
  const { fetches, model } = scriptedFetch();
  return inWorld(
    ack2,
    async ({ engines, send, worker }) => {
      await until(() => fetches.length === 1, 'a fetch');
      send({ type: 'policy_update', policy: { ...policy, model_name: 'other' } });
      await until(() => fetches.length === 2, 'another fetch');
      assert.ok(fetches[0]?.request.signal.aborted);
      await worker.stop();
      assert.ok(fetches[1]?.request.signal.aborted);
      assert.equal(await worker.ended, { exitCode: 0, message: 'worker stopped' });
      assert.is(engines.length, 0);
    },
    model,
  );
});

test('a model that cannot be fetched ends the worker with the reason, and so does a router that names none', async () => {
  const { fetches, model } = scriptedFetch();
  await inWorld(
    ack2,
    async ({ worker }) => {
      await until(() => fetches.length === 1, 'a fetch');
      fetches[0]?.fail(new Error('the disk is full'));
      assert.equal(await worker.ended, { exitCode: 1, message: 'the disk is full' });
    },
    model,
  );
  const nameless = () => ({ ...ack2(), policy: { ...policy, model_name: '' } });
  await inWorld(
    nameless,
    async ({ worker }) => {
      const { exitCode, message } = await worker.ended;
      assert.is(exitCode, 1);
      assert.match(message, '--model-path');
    },
    model,
  );
});

test('of a version 1 router it stays away while it fetches, and comes back with the model', () => {
  const { fetches, model } = scriptedFetch();
  return inWorld(
    ack1,
    async ({ engines, lines, next }) => {
      await next('hello');
      await until(() => lines[0]?.closed !== null, 'a good-bye');
      assert.is(fetches.length, 1);
      fetches[0]?.request.onProgress(0.5, 'half');
      fetches[0]?.finish('fetched.gguf');
      await until(() => engines.length === 1, 'an engine');
      first(engines).finishLoad();
      await next('config');
      assert.is(lines.length, 2);
    },
    model,
  );
});

test.run();
