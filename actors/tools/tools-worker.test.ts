/** What a tools worker says of its tools, on a line whose other end the test holds. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { silentDiagnostics } from '../config/diagnostics.ts';
import type { SocketEvents } from '../worker/socket.ts';
import { readCredentials } from './credentials.ts';
import type { Tool } from './tool.ts';
import { openToolSet } from './tool-set.ts';
import { toolsWorker } from './tools-worker.ts';

const tool = (name: string): Tool => ({
  name,
  description: name,
  parameters: { type: 'object' },
  idempotent: false,
  run: async () => ({ result: null }),
});

interface Said {
  readonly type: string;
  readonly tools_capabilities: { readonly tools: readonly string[]; readonly definitions: readonly object[] };
}

function line(first: readonly Tool[]) {
  const here = [...first];
  const said: Said[] = [];
  let router: SocketEvents | null = null;
  const worker = toolsWorker({
    routerUrl: 'ws://router',
    toolsKey: 'tls_x',
    instanceId: 'me',
    heartbeatMs: 1000,
    redial: { msMin: 1, msMax: 1 },
    slots: 1,
    queueMax: 1,
    callMsMax: 1000,
    drainMsMax: 1000,
    tools: openToolSet([], [{ tools: () => here, close: async () => undefined }], null),
    credentials: readCredentials({}),
    remoteMcp: {
      toolFor: () => tool('remote'),
      inspect: async () => [],
      describe: async () => [],
    },
    dial: (_url, events) => {
      router = events;
      return {
        send: text => void said.push(JSON.parse(text)),
        ping: () => undefined,
        close: () => undefined,
        terminate: () => undefined,
        bufferedBytes: 0,
      };
    },
    clock: { now: () => 0, after: () => () => undefined },
    random: () => 0,
    diagnostics: silentDiagnostics,
  });
  worker.start();
  return {
    here,
    said,
    worker,
    opened: () => router?.onOpen(),
    welcomed: () =>
      router?.onText(JSON.stringify({ type: 'hello_ack', success: true, gpu_id: 'g', protocol_version: 2 })),
  };
}

test('tools that come while the greeting is on its way are said after it', () => {
  const { here, said, worker, opened, welcomed } = line([tool('early')]);
  opened();
  assert.equal(said[0]?.tools_capabilities.tools, ['early']);
  here.push(tool('late'));
  worker.toolsChanged();
  assert.is(said.length, 1, 'nothing can be said yet');
  welcomed();
  assert.is(said[1]?.type, 'tools_changed');
  assert.equal(said[1]?.tools_capabilities.tools, ['early', 'late']);
});

test('tools that a greeting has said are not said twice; what was too long for it is', () => {
  const few = line([tool('early')]);
  few.opened();
  few.welcomed();
  assert.is(few.said.length, 1);
  const long = { ...tool('long'), description: 'x'.repeat(300_000) };
  const many = line([tool('early'), long]);
  many.opened();
  many.welcomed();
  assert.is(many.said[0]?.tools_capabilities.definitions.length, 1);
  assert.is(many.said[1]?.tools_capabilities.definitions.length, 2);
});

test.run();
