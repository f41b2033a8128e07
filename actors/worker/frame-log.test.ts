import fc from 'fast-check';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type Fields, silentDiagnostics } from '../config/diagnostics.ts';
import { loggedDial, shown } from './frame-log.ts';
import type { SocketEvents } from './socket.ts';

const { FC_RUNS, FC_SEED } = process.env;
const runs = { numRuns: Number(FC_RUNS ?? 200), ...(FC_SEED === undefined ? {} : { seed: Number(FC_SEED) }) };
const at = (frame: object, level: 1 | 2) => shown(JSON.stringify(frame), level);

test('the key is in no line, at no level', () => {
  const hello = { type: 'hello', gpu_key: 'adm_secret', capabilities: { model: 'm' } };
  for (const level of [1, 2] as const)
    assert.equal(at(hello, level), { type: 'hello', gpu_key: '***', capabilities: { model: 'm' } });
});

test('level 1 has the outline of a job and nothing that is said; level 2 has all of it', () => {
  const job = {
    type: 'job',
    job_id: 'j',
    attempt: 1,
    temperature: 0,
    messages: [{ role: 'user', content: 'a private matter' }],
    tools: [{ type: 'function', function: { name: 'look', parameters: {} } }],
    credentials: { brave: 'k-123' },
  };
  const outline = { type: 'job', job_id: 'j', attempt: 1, temperature: 0, tools: ['look'], messages: 1 };
  assert.equal(JSON.parse(JSON.stringify(at(job, 1))), outline);
  assert.equal(at(job, 2), { ...job, credentials: { brave: '***' } });
  for (const type of ['token', 'complete', 'heartbeat', 'heartbeat_ack', 'ack']) {
    assert.is(at({ type, token: 'x' }, 1), null);
    assert.equal(at({ type, token: 'x' }, 2), { type, token: 'x' });
  }
});

test('images become their size, long texts are cut, and what is no JSON is said to be none', () => {
  const url = `data:image/png;base64,${'A'.repeat(4096)}`;
  const image = { type: 'job', messages: [{ content: [{ type: 'image_url', image_url: { url } }] }] };
  assert.match(JSON.stringify(at(image, 2)), '<image/png, 4096 characters, about 3 KiB>');
  assert.match(JSON.stringify(at({ type: 'error', error: 'x'.repeat(50_000) }, 2)), '(30000 more characters)');
  const part = { mime_type: 'image/png', data: 'A'.repeat(100) };
  const call = { type: 'job.tool.call.result', image_parts: [part] };
  assert.equal(at(call, 1), { ...call, image_parts: [{ ...part, data: '<100 characters of data>' }] });
  assert.is(shown('adm_secret is no JSON', 1), '(not JSON, 21 characters)');
});

test('wherever a secret stands in a frame, it is not shown', () => {
  const name = fc.constantFrom(
    'gpu_key',
    'api_key',
    'password',
    'client_secret',
    'resolved_headers',
    'credentials',
    'access_token',
  );
  const value = fc.constantFrom<unknown>('S3CRET', { a: 'S3CRET' }, ['S3CRET'], { a: { b: ['S3CRET'] } });
  const holder = (inner: fc.Arbitrary<unknown>) =>
    fc.oneof(inner, fc.array(inner, { minLength: 1, maxLength: 2 }), fc.record({ deep: inner }));
  const frame = holder(holder(fc.tuple(name, value).map(([key, secret]) => ({ [key]: secret }))));
  fc.assert(
    fc.property(frame, fc.constantFrom(1 as const, 2 as const), (body, level) => {
      assert.not.match(JSON.stringify(at({ type: 'reload_policy', body }, level)), 'S3CRET');
    }),
    runs,
  );
});

test('what is sent and heard passes unchanged, and is written down with its direction', () => {
  const lines: (Fields | undefined)[] = [];
  const sent: string[] = [];
  const heard: string[] = [];
  let events: SocketEvents | null = null;
  const dial = loggedDial(
    (_url, given) => {
      events = given;
      return {
        send: text => sent.push(text),
        ping: () => undefined,
        close: () => undefined,
        terminate: () => undefined,
        bufferedBytes: 7,
      };
    },
    2,
    { ...silentDiagnostics, debug: (msg, fields) => lines.push({ msg, ...fields }) },
  );
  const socket = dial('ws://r', {
    onOpen: () => undefined,
    onAlive: () => undefined,
    onClosed: () => undefined,
    onText: text => heard.push(text),
  });
  socket.send('{"type":"hello","gpu_key":"k"}');
  (events as SocketEvents | null)?.onText('{"type":"hello_ack"}');
  assert.equal([sent, heard, socket.bufferedBytes], [['{"type":"hello","gpu_key":"k"}'], ['{"type":"hello_ack"}'], 7]);
  assert.equal(lines, [
    { msg: 'ws_send', source: 'worker', dest: 'router', payload: { type: 'hello', gpu_key: '***' } },
    { msg: 'ws_recv', source: 'router', dest: 'worker', payload: { type: 'hello_ack' } },
  ]);
});

test.run();
