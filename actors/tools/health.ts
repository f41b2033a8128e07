/** A page for whoever watches over the worker, on this machine only: is it connected, and how busy is it? */
import { createServer } from 'node:http';
import type { ToolsWorkerHealth } from './tools-worker.ts';

export interface HealthPage {
  readonly port: number;
  close(): Promise<void>;
}

export async function openHealthPage(port: number, health: () => ToolsWorkerHealth): Promise<HealthPage> {
  const server = createServer((req, res) => {
    const found = req.url === '/health' || req.url === '/healthz';
    const { connected, running, waiting, tools } = health();
    const status = connected ? 'ok' : 'not connected';
    res.writeHead(found ? (connected ? 200 : 503) : 404, { 'content-type': 'application/json' });
    res.end(
      found ? `${JSON.stringify({ status, running, waiting, tools: tools.length })}\n` : '{"error":"not found"}\n',
    );
  });
  server.requestTimeout = 5000;
  server.maxConnections = 64;
  await new Promise<void>((resolve, reject) => {
    server.once('error', error =>
      reject(new Error(`AUXOT_TOOLS_HEALTH_PORT=${port}: cannot listen there: ${error.message}`, { cause: error })),
    );
    server.listen(port, '127.0.0.1', resolve);
  });
  const address = server.address();
  return {
    port: typeof address === 'object' && address !== null ? address.port : port,
    async close() {
      server.closeAllConnections();
      await new Promise(resolve => server.close(resolve));
    },
  };
}
