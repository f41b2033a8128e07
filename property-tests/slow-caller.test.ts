/** A caller that stops reading its answer, and goes on when it likes: on a real socket, whose buffers are filled. */
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { chat, saidIn, untilHealth } from './callers.ts';
import { apiKey, type RouterProcess, startRouter, waitUntil, within } from './processes.ts';
import { type Script, startWorker } from './scripted-worker.ts';

/** More than the buffers of both ends of a loopback connection take (Linux: 6 MiB and 4 MiB), and each piece is another. */
const pieceChars = 64 * 1024;
const pieces = 240;
const piece = (index: number): string =>
  String(index)
    .padStart(4, '0')
    .repeat(pieceChars / 4);
/** Of a caller that takes what it is given, on a busy machine. */
const patienceMs = 20_000;

const longScript: Script = async ({ job_id }, worker) => {
  for (let index = 0; index < pieces; index++) {
    worker.say({ type: 'token', job_id, token: piece(index) });
    if (index % 16 === 0) await new Promise(resolve => setImmediate(resolve));
  }
  worker.say({ type: 'complete', job_id, full_response: '', duration_ms: 1, input_tokens: 1, output_tokens: pieces });
};

let router: RouterProcess;

test.before(async () => {
  router = await startRouter({ AUXOT_FSYNC: 'no' });
});

test.after(() => router.stop());

async function ask(): Promise<Socket> {
  const socket = connect(router.port, '127.0.0.1');
  await once(socket, 'connect');
  const body = JSON.stringify({ stream: true, messages: [{ role: 'user', content: 'hi' }] });
  const lines = [
    'POST /v1/chat/completions HTTP/1.0',
    `authorization: Bearer ${apiKey}`,
    'content-type: application/json',
    `content-length: ${body.length}`,
  ];
  socket.write(`${lines.join('\r\n')}\r\n\r\n${body}`);
  return socket;
}

/** What comes until the connection ends, after `bytesBefore` of which the caller sleeps. */
async function readAll(socket: Socket, sleepMs: number, bytesBefore: number): Promise<string> {
  const read: Buffer[] = [];
  let bytes = 0;
  for await (const part of socket as AsyncIterable<Buffer>) {
    read.push(part);
    if (bytes < bytesBefore && bytes + part.length >= bytesBefore)
      await new Promise(resolve => setTimeout(resolve, sleepMs));
    bytes += part.length;
  }
  return Buffer.concat(read).toString();
}

const bodyOf = (answer: string): string => answer.slice(answer.indexOf('\r\n\r\n') + 4);

test('a caller that stops reading misses nothing when it reads on, and keeps nobody else waiting', async () => {
  const worker = await startWorker(router.wsUrl, { script: longScript, slots: 2 });
  try {
    await untilHealth(router.url, ({ total_slots }) => total_slots === 2, 'the worker is not offered');
    const slow = await ask();
    await waitUntil(
      () => worker.jobs.length === 1,
      patienceMs,
      () => 'the job has not arrived',
    );
    await untilHealth(
      router.url,
      ({ active_jobs }) => active_jobs === 0,
      'the job does not end while its caller sleeps',
    );
    const other = await chat(router.url, { stream: true });
    assert.is(saidIn(other.text).length, pieces * pieceChars, 'another caller has its answer meanwhile');

    const answer = await within(patienceMs, readAll(slow, 300, 12 * 2 ** 20), 'the slow caller has not got its answer');
    const said = saidIn(bodyOf(answer));
    assert.is(said.length, pieces * pieceChars);
    for (let index = 0; index < pieces; index++)
      assert.ok(said.startsWith(piece(index), index * pieceChars), `piece ${index} is in its place`);
    assert.ok(answer.trimEnd().endsWith('data: [DONE]'), answer.slice(-200));
  } finally {
    worker.close();
  }
});

test.run();
