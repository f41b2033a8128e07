/** Against servers that are no routers. */
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { dialWs } from './socket.ws.ts';

test('what answers otherwise than a router is told in words: a web server, and TLS spoken to one without', async () => {
  const server = createServer((_, response) => response.end('<html>')).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const reasonOf = (url: string): Promise<string> =>
    new Promise(resolve => {
      const deaf = { onOpen: () => undefined, onText: () => undefined, onAlive: () => undefined };
      dialWs(url, { ...deaf, onClosed: (_, reason) => resolve(reason) });
    });
  try {
    assert.match(await reasonOf(`ws://127.0.0.1:${port}/ws`), /^HTTP 200 instead of a WebSocket: that is no router/);
    assert.match(await reasonOf(`wss://127.0.0.1:${port}/ws`), /^it does not speak TLS: its address should begin with/);
  } finally {
    server.closeAllConnections();
    server.close();
  }
});

test.run();
