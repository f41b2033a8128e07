/** A worker on a real socket that does what a test says. By default it answers like the reference's mock worker. */
import { WebSocket } from 'ws';
import { gpuKey } from './processes.ts';

export interface Job {
  readonly job_id: string;
  readonly attempt?: number;
  readonly messages: readonly { role: string; content: unknown }[];
  readonly [field: string]: unknown;
}

export interface ScriptedWorker {
  readonly socket: WebSocket;
  readonly jobs: Job[];
  /** Jobs that it held when it dialled in and goes on with. */
  readonly granted: { readonly job_id: string; readonly attempt: number; readonly seq: number }[];
  /** Ids of jobs it was told to cancel, with the instant (ms). */
  readonly cancelled: { readonly jobId: string; readonly at: number }[];
  /** Instants at which jobs arrived, ms. */
  readonly arrivals: number[];
  say(frame: object): void;
  close(): void;
}

export type Script = (job: Job, worker: ScriptedWorker) => void | Promise<void>;

/** Five tokens and a completion, as the reference's fixture has them (spec/http-api §10). */
export const helloScript: Script = ({ job_id }, worker) => {
  for (const token of ['Hello', ' from', ' the', ' GPU', '!']) worker.say({ type: 'token', job_id, token });
  worker.say({
    type: 'complete',
    job_id,
    full_response: 'Hello from the GPU!',
    duration_ms: 100,
    input_tokens: 10,
    output_tokens: 5,
  });
};

export async function startWorker(
  wsUrl: string,
  { slots = 1, script = helloScript, hello = {} }: { slots?: number; script?: Script; hello?: object } = {},
): Promise<ScriptedWorker> {
  const socket = new WebSocket(wsUrl, { perMessageDeflate: false });
  const worker: ScriptedWorker = {
    socket,
    jobs: [],
    granted: [],
    cancelled: [],
    arrivals: [],
    say: frame => socket.readyState === socket.OPEN && socket.send(JSON.stringify(frame)),
    close: () => socket.terminate(),
  };
  await new Promise<void>((resolve, reject) => {
    socket.once('error', reject);
    socket.on('message', (data: Buffer) => {
      const frame = JSON.parse(data.toString());
      if (frame.type === 'hello_ack') {
        worker.granted.push(...(frame.jobs ?? []));
        if (frame.success) resolve();
        else reject(new Error(frame.error));
      } else if (frame.type === 'job') {
        worker.jobs.push(frame);
        worker.arrivals.push(performance.now());
        void script(frame, worker);
      } else if (frame.type === 'cancel') worker.cancelled.push({ jobId: frame.job_id, at: performance.now() });
    });
    socket.once('open', () => {
      worker.say({
        type: 'hello',
        gpu_key: gpuKey,
        capabilities: { backend: 'mock', model: 'mock-model', ctx_size: 4096, total_slots: slots },
        ...hello,
      });
    });
  });
  return worker;
}
