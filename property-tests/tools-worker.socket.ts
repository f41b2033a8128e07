/** A tools worker on a real socket that does what a test says, as scripted-worker.ts is one for models. */
import { WebSocket } from 'ws';
import type { Frame } from './tools-router.ts';

export interface SocketTools {
  readonly frames: Frame[];
  readonly socket: WebSocket;
  of(type: string): Frame[];
  say(frame: object): void;
  answer(job: Frame, outcome: object): void;
  close(): void;
}

export type ToolScript = (job: Frame, tools: SocketTools) => void;

/** Resolves when the router has welcomed it, or refused: then `frames` says why. */
export async function startTools(
  wsUrl: string,
  key: string,
  {
    names = ['look'],
    version = 2,
    script = () => undefined,
  }: { names?: string[]; version?: 1 | 2; script?: ToolScript },
): Promise<SocketTools> {
  const socket = new WebSocket(wsUrl, { perMessageDeflate: false });
  const frames: Frame[] = [];
  const tools: SocketTools = {
    frames,
    socket,
    of: type => frames.filter(frame => frame.type === type),
    say: frame => socket.readyState === socket.OPEN && socket.send(JSON.stringify(frame)),
    answer({ job_id, parent_job_id, tool_call_id, tool_name }, outcome) {
      tools.say({ type: 'tool_result', job_id, parent_job_id, tool_call_id, tool_name, ...outcome });
    },
    close: () => socket.terminate(),
  };
  const parameters = { type: 'object', properties: { at: { type: 'string' } } };
  const definitions = names.map(name => ({ name, description: `${name}s`, parameters }));
  const two = version === 2 ? { protocol_version: 2, instance_id: `tools-${Math.random()}` } : {};
  await new Promise<void>((resolve, reject) => {
    socket.once('error', reject);
    socket.once('close', () => resolve());
    socket.on('message', (data: Buffer) => {
      const frame: Frame = JSON.parse(data.toString());
      frames.push(frame);
      if (frame.type === 'hello_ack') resolve();
      if (frame.type === 'tool_job') script(frame, tools);
    });
    socket.once('open', () =>
      tools.say({
        type: 'hello',
        gpu_key: key,
        worker_type: 'tools',
        capabilities: { backend: '', model: '', ctx_size: 0 },
        tools_capabilities: { tools: names, ...(version === 2 ? { definitions, slots: 4 } : {}) },
        ...two,
      }),
    );
  });
  return tools;
}
