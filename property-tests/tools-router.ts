/** A router of a few lines and an `auxot-tools` that dials it, for tests of the program as people start it. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type WebSocket, WebSocketServer } from 'ws';
import { type Program, runProgram, waitUntil } from './processes.ts';

export const toolsKey = 'tls_secret-that-must-not-show';

export type Frame = Readonly<Record<string, unknown>>;

export interface ToolsRouter {
  readonly url: string;
  /** Of all connections, in order. */
  readonly frames: Frame[];
  readonly closes: number[];
  send(frame: object): void;
  result(jobId: string): Promise<Frame>;
  drop(): void;
}

/** `ack`: more of what its `hello_ack` says, by the number of the connection. */
export async function withRouter(
  version: 1 | 2,
  run: (router: ToolsRouter) => Promise<void>,
  ack: (connection: number) => object = () => ({}),
): Promise<void> {
  const server = new WebSocketServer({ port: 0, host: '127.0.0.1', path: '/ws' });
  await new Promise(resolve => server.once('listening', resolve));
  const frames: Frame[] = [];
  const closes: number[] = [];
  let socket: WebSocket | null = null;
  server.on('connection', connected => {
    socket = connected;
    connected.on('close', code => closes.push(code));
    connected.on('message', (data: Buffer) => {
      const frame: Frame = JSON.parse(data.toString());
      frames.push(frame);
      if (frame.type === 'hello')
        connected.send(
          JSON.stringify(
            frame.gpu_key === toolsKey
              ? {
                  type: 'hello_ack',
                  success: true,
                  gpu_id: 'ab',
                  ...(version === 2 ? { protocol_version: 2 } : {}),
                  ...ack(frames.filter(({ type }) => type === 'hello').length),
                }
              : { type: 'error', error: 'authentication failed' },
          ),
        );
    });
  });
  const resultOf = (jobId: string) => frames.filter(({ type, job_id }) => type === 'tool_result' && job_id === jobId);
  try {
    await run({
      url: `ws://127.0.0.1:${(server.address() as AddressInfo).port}`,
      frames,
      closes,
      send: frame => socket?.send(JSON.stringify(frame)),
      async result(jobId) {
        await waitUntil(
          () => resultOf(jobId).length > 0,
          30_000,
          () => `no result for ${jobId}; ${JSON.stringify(frames)}`,
        );
        return resultOf(jobId).at(-1) ?? {};
      },
      drop: () => socket?.terminate(),
    });
  } finally {
    for (const client of server.clients) client.terminate();
    await new Promise(resolve => server.close(resolve));
  }
}

export async function withTools(
  args: readonly string[],
  env: Record<string, string>,
  run: (program: Program, folder: string) => Promise<void>,
): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'auxot-tools-test-'));
  const program = runProgram('tools', args, env, folder);
  try {
    await run(program, folder);
  } finally {
    program.kill('SIGKILL');
    await program.ended;
    rmSync(folder, { recursive: true, force: true });
  }
}

export const job = (jobId: string, name: string, args: object, more: object = {}): object => ({
  type: 'tool_job',
  job_id: jobId,
  parent_job_id: 'chatcmpl-1',
  tool_name: name,
  tool_call_id: `call_${jobId}`,
  arguments: args,
  ...more,
});

let asked = 0;

export type Ask = (
  tool: string,
  args: object,
  more?: object,
) => Promise<{ frame: Frame; result: Record<string, unknown>; text: string; ms: number }>;

/** Sends a call and waits for its end, of which there must be one. */
export const asker =
  (router: ToolsRouter): Ask =>
  async (tool, args, more = {}) => {
    const id = `asked${++asked}`;
    const startedAt = Date.now();
    router.send(job(id, tool, args, more));
    const frame = await router.result(id);
    router.send({ type: 'tool_ack', job_id: id });
    const result = (frame.result ?? {}) as Record<string, unknown>;
    return { frame, result, text: JSON.stringify({ ...result, frame: frame.error }), ms: Date.now() - startedAt };
  };

/** MiB of a process: what it has now, or the most that it ever had. */
export function memoryOf({ pid }: Program, what: 'VmRSS' | 'VmHWM'): number {
  const kib = new RegExp(`^${what}:\\s+(\\d+)`, 'm').exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
  return Number(kib) / 1024;
}
