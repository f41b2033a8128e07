/** A tools worker's end of a socket in the stepped world, as TestWorker is a GPU worker's. */
import type { Front } from '../actors/router/front.ts';
import { type SteppedClock, TestWorker } from './world.ts';

export interface ToolJob {
  readonly job_id: string;
  readonly tool_name: string;
  readonly tool_call_id: string;
  readonly arguments: unknown;
  readonly sent_to?: string;
  readonly [field: string]: unknown;
}

export interface FakeTools {
  readonly worker: TestWorker;
  readonly jobs: ToolJob[];
  answer(job: ToolJob | undefined, outcome: object): void;
}

export const schema = { type: 'object', properties: {} };

/** `version` 1 names its tools and nothing else. */
export async function dialTools(
  front: Front,
  clock: SteppedClock,
  names: readonly string[],
  { version = 2, instance = 'tools-1', idempotent = false, slots = 4, held = [] as readonly string[] } = {},
): Promise<FakeTools> {
  const worker = new TestWorker(front);
  const definitions = names.map(name => ({ name, description: name, parameters: schema, idempotent }));
  const two = version === 2 ? { protocol_version: 2, instance_id: instance, tool_jobs: held } : {};
  worker.say({
    type: 'hello',
    gpu_key: 'adm_test',
    worker_type: 'tools',
    capabilities: { backend: '', model: '', ctx_size: 0 },
    tools_capabilities: { tools: names, ...(version === 2 ? { definitions, slots } : {}) },
    ...two,
  });
  await clock.settle();
  return {
    worker,
    get jobs() {
      return worker.of('tool_job') as unknown as ToolJob[];
    },
    answer(job, outcome) {
      if (job === undefined) throw new Error('there is no such tool job');
      const { job_id, tool_call_id, tool_name } = job;
      worker.say({ type: 'tool_result', job_id, parent_job_id: '', tool_call_id, tool_name, ...outcome });
    },
  };
}

/** What a model's worker says that calls tools. */
export const calls = (jobId: string, ...list: readonly (readonly [name: string, args: string, id?: string])[]) => ({
  type: 'complete',
  job_id: jobId,
  full_response: '',
  input_tokens: 10,
  output_tokens: 5,
  tool_calls: list.map(([name, args, id = `call_${name}`]) => ({
    id,
    type: 'function',
    function: { name, arguments: args },
  })),
});
