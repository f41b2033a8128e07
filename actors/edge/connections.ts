/**
 * How many connections there may be, callers' and workers' together. A few more are let in to be told so; above these the
 * system closes what comes without a word.
 */
import type { Server } from 'node:http';
import type { Socket } from 'node:net';

/** Connections that are open only to be refused. */
const refusedMax = 256;

const surplus = new WeakSet<Socket>();

export function capConnections(server: Server, connectionsMax: number): void {
  let open = 0;
  server.maxConnections = connectionsMax + refusedMax;
  server.on('connection', (socket: Socket) => {
    open += 1;
    if (open > connectionsMax) surplus.add(socket);
    socket.once('close', () => {
      open -= 1;
    });
  });
}

/** Whether nothing is to be done for this connection. */
export const isSurplus = (socket: Socket): boolean => surplus.has(socket);

export const surplusMessage = 'the router has as many connections as it may (AUXOT_MAX_CONNECTIONS)';
