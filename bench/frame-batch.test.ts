import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import WebSocket, { WebSocketServer } from 'ws';
import { FrameBatch } from './frame-batch.ts';
import { bytesOf } from './script.ts';

/** The server half of `ws` is the judge: it refuses bad lengths, masks and UTF-8. */
async function received(texts: readonly string[]): Promise<string[]> {
  const server = new WebSocketServer({ host: '127.0.0.1', port: 0 });
  await once(server, 'listening');
  const got: string[] = [];
  const all = new Promise<void>((resolve, reject) => {
    server.on('connection', socket => {
      socket.on('error', reject);
      socket.on('message', data => {
        if (got.push(String(data)) === texts.length) resolve();
      });
    });
  });
  const client = new WebSocket(`ws://127.0.0.1:${(server.address() as AddressInfo).port}`);
  client.on('error', () => undefined);
  client.on('upgrade', response => {
    const batch = new FrameBatch();
    for (const text of texts) batch.add(bytesOf(text));
    response.socket.write(batch.take());
    assert.ok(batch.isEmpty);
  });
  const late = setTimeout(() => client.terminate(), 5_000);
  try {
    await Promise.race([all, once(client, 'close').then(() => assert.unreachable('closed before all frames arrived'))]);
  } finally {
    clearTimeout(late);
    client.terminate();
    for (const socket of server.clients) socket.terminate();
    await new Promise(resolve => server.close(resolve));
  }
  return got;
}

test('frames of every form of length arrive as they were added', async () => {
  const lengths = [0, 1, 2, 3, 4, 5, 125, 126, 127, 65_535, 65_536, 200_000];
  const texts = lengths.map(length => '🙂'.repeat(length / 4) + 'x'.repeat(length % 4));
  assert.equal(await received(texts), texts);
});

test.run();
