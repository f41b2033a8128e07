/**
 * Says on this machine, to whoever watches over programs, whether the worker works: `/healthz` for a yes or no with the
 * reasons, `/metrics` as Prometheus reads them. It listens on the loopback address only, and tells no key and no job.
 */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { EngineState } from '../engine/engine.ts';

/** How the worker stands at this moment. */
export interface WorkerLook {
  readonly connected: boolean;
  /** null: there is no engine yet. */
  readonly engine: EngineState | null;
  readonly model: string | null;
  readonly slots: number;
  readonly running: number;
}

export interface HealthOptions {
  /** 0: any that is free. */
  readonly port: number;
  readonly version: string;
  readonly look: () => WorkerLook;
}

export interface Health {
  readonly port: number;
  close(): Promise<void>;
}

/** @throws when the port is taken. */
export async function serveHealth({ port, version, look }: HealthOptions): Promise<Health> {
  const server = createServer((request, response) => {
    const now = look();
    const isReady = now.connected && now.engine === 'ready';
    const answer = (status: number, type: string, text: string): void => {
      response.writeHead(status, { 'content-type': type, 'cache-control': 'no-store', connection: 'close' });
      response.end(request.method === 'HEAD' ? undefined : text);
    };
    const path = request.url?.split('?')[0];
    if (request.method !== 'GET' && request.method !== 'HEAD') answer(405, 'text/plain', 'GET it\n');
    else if (path === '/healthz') {
      const said = { status: isReady ? 'ok' : 'not ready', ...now, version };
      answer(isReady ? 200 : 503, 'application/json', `${JSON.stringify(said)}\n`);
    } else if (path === '/metrics') answer(200, 'text/plain; version=0.0.4', metrics(now, isReady, version));
    else answer(404, 'text/plain', 'there are /healthz and /metrics\n');
  });
  server.requestTimeout = 5000;
  server.headersTimeout = 5000;
  server.maxConnections = 64;
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, '127.0.0.1', resolve);
  });
  return {
    // A server on a port has an address of this kind.
    port: (server.address() as AddressInfo).port,
    close: () =>
      new Promise(resolve => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

function metrics({ connected, running, slots, model }: WorkerLook, isReady: boolean, version: string): string {
  const gauges: readonly (readonly [name: string, help: string, value: number, labels?: Record<string, string>])[] = [
    ['info', 'Which worker this is.', 1, { version, model: model ?? '' }],
    ['connected', 'Whether a router is connected.', Number(connected)],
    ['ready', 'Whether it can take jobs.', Number(isReady)],
    ['slots', 'Jobs that it runs at once.', slots],
    ['jobs_running', 'Jobs that run now.', running],
  ];
  return gauges
    .map(([name, help, value, labels]) => {
      const full = `auxot_worker_${name}`;
      const listed = Object.entries(labels ?? {}).map(([key, text]) => `${key}="${escaped(text)}"`);
      const braces = listed.length === 0 ? '' : `{${listed.join(',')}}`;
      return `# HELP ${full} ${help}\n# TYPE ${full} gauge\n${full}${braces} ${value}\n`;
    })
    .join('');
}

const escaped = (text: string): string => text.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n');
