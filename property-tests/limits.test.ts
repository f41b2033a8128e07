/** What happens at the limits of docs/operations.md that no other test reaches, on a real router process. */
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { WebSocket } from 'ws';
import { bearer, chat, converse, health, untilHealth } from './callers.ts';
import { type RouterProcess, startRouter, waitUntil } from './processes.ts';
import { type Script, startWorker } from './scripted-worker.ts';

let router: RouterProcess;

test.before(async () => {
  router = await startRouter({ AUXOT_FSYNC: 'no' });
});
test.after(() => router?.stop());

test('a head longer than 64 KiB is refused with 431', async () => {
  const head = `GET /health HTTP/1.1\r\nhost: a\r\nx-long: ${'x'.repeat(70_000)}\r\n\r\n`;
  const { text, closed } = await converse(router.port, [head]);
  assert.match(text, /^HTTP\/1.1 431 /);
  assert.ok(closed);
});

test('more than 256 requests that wait on one connection end it, and nothing else', async () => {
  const worker = await startWorker(router.wsUrl, { script: () => undefined });
  const body = JSON.stringify({ messages: [{ role: 'user', content: 'hi' }] });
  const first = `POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\nauthorization: ${bearer.authorization}\r\ncontent-length: ${body.length}\r\n\r\n${body}`;
  const { closed } = await converse(router.port, [first, 'GET /health HTTP/1.1\r\nhost: a\r\n\r\n'.repeat(300)]);
  assert.ok(closed, 'the connection is still open');
  await untilHealth(router.url, ({ active_jobs }) => active_jobs === 0, 'its job goes on');
  worker.close();
});

test('a worker is given 1,024 slots, however many it says it has', async () => {
  const worker = await startWorker(router.wsUrl, { slots: 1_000_000 });
  await untilHealth(router.url, ({ workers }) => workers === 1, 'the worker is not there');
  assert.is((await health(router.url)).total_slots, 1024);
  worker.close();
});

test('a job whose log grows above its cap ends, and its worker is told', async () => {
  const script: Script = async ({ job_id }, worker) => {
    for (let n = 0; n < 40 && worker.cancelled.length === 0; n += 1) {
      worker.say({ type: 'token', job_id, token: 'x'.repeat(2 ** 20) });
      await new Promise(resolve => setTimeout(resolve, 20));
    }
  };
  const worker = await startWorker(router.wsUrl, { script });
  const answer = await chat(router.url, {});
  assert.is(answer.json?.error?.code, 'log_full', answer.text.slice(0, 300));
  await waitUntil(
    () => worker.cancelled.length === 1,
    2000,
    () => 'the worker was not told',
  );
  worker.close();
});

test('above its connections a router serves nobody but those who ask for its health, and says why', async () => {
  const narrow = await startRouter({ AUXOT_FSYNC: 'no', AUXOT_MAX_CONNECTIONS: '3' });
  const held: Socket[] = [];
  try {
    const ask = (path: string, ms = 2000) => {
      const head = `GET ${path} HTTP/1.1\r\nhost: a\r\nauthorization: ${bearer.authorization}\r\n\r\n`;
      return converse(narrow.port, [head], { ms });
    };
    for (let n = 0; n < 3; n += 1) {
      const socket = connect(narrow.port, '127.0.0.1');
      await once(socket, 'connect');
      held.push(socket);
    }
    const refused = await ask('/v1/models');
    assert.match(refused.text, /^HTTP\/1.1 503 [\s\S]*retry-after: \d[\s\S]*AUXOT_MAX_CONNECTIONS/);
    assert.ok(refused.closed);
    assert.is((await health(narrow.url)).status, 'ok');
    const [error] = await once(new WebSocket(narrow.wsUrl), 'error');
    assert.match(String(error), /503/);
    // One more than the test's own: its clients keep theirs for a while.
    for (const socket of held.splice(0, 2)) socket.destroy();
    await waitUntil(
      async () => (await ask('/v1/models', 200)).text.startsWith('HTTP/1.1 200'),
      3000,
      () => 'a connection that ends makes no room',
    );
  } finally {
    for (const socket of held) socket.destroy();
    await narrow.stop();
  }
});

test('a worker more than may be connected is sent away, until one goes', async () => {
  const narrow = await startRouter({ AUXOT_FSYNC: 'no', AUXOT_MAX_WORKERS: '1' });
  try {
    const first = await startWorker(narrow.wsUrl);
    const second = new WebSocket(narrow.wsUrl);
    const [code, reason] = await once(second, 'close');
    assert.is(code, 4429);
    assert.match(String(reason), /1 workers are connected.*AUXOT_MAX_WORKERS/);
    first.close();
    await untilHealth(narrow.url, ({ workers }) => workers === 0, 'the first worker stays');
    (await startWorker(narrow.wsUrl)).close();
  } finally {
    await narrow.stop();
  }
});

test.run();
