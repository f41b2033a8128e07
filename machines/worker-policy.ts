/**
 * What the router wants a worker to be, in view of what the worker says it is: policy, slots, model.
 *
 * A CLI worker under a GPU policy gets a CLI policy (the reference looks for `claude`, but its workers say `cli/claude`),
 * and `pending`, the word for a model not known yet, is never sent back as a model's name.
 */
import type { Policy } from '../protocol/worker-frames.parts.ts';

export interface Engine {
  readonly backend: string;
  readonly model: string;
  /** 0: it did not say. */
  readonly slots: number;
}

const pending = 'pending';
const cliBackend = /^(?:cli\/)?(claude|cursor|codex)$/i;

/** Whether the engine is not known yet, so that the worker cannot run jobs. */
export const isPending = (engine: Pick<Engine, 'backend' | 'model'> | null): boolean =>
  engine === null || engine.backend === pending || engine.model === pending;

export const isCli = (backend: string): boolean => cliBackend.test(backend);

export function policyFor(policy: Policy, engine: Engine | null): Policy {
  const cliType = cliBackend.exec(engine?.backend ?? '')?.[1];
  const named = engine === null || isPending(engine) ? '' : engine.model;
  if (policy.worker_type === 'cli') return { ...policy, model_name: policy.model_name || named };
  if (cliType === undefined) return policy;
  return {
    worker_type: 'cli',
    cli_type: cliType.toLowerCase(),
    model_name: named,
    quantization: '',
    context_size: 200_000,
    max_parallelism: 1,
    capabilities: ['chat', 'reasoning', 'code'],
  };
}

/** At least one; what it says, up to `slotsMax`; else what the policy allows, and one for a CLI worker. */
export function slotsOf(engine: Engine | null, policy: Policy, slotsMax: number): number {
  const said = engine?.slots ?? 0;
  if (said > 0) return Math.min(said, slotsMax);
  if (engine !== null && isCli(engine.backend)) return 1;
  return Math.min(Math.max(1, policy.max_parallelism), slotsMax);
}

/**
 * Whether the worker's model is another than the policy's. Engines report file names, paths or aliases, so only the bare
 * name is compared, and a name that contains the other counts as the same.
 */
export function differs(model: string, policy: Policy): boolean {
  const [a, b] = [bare(model), bare(policy.model_name)];
  return a !== '' && b !== '' && !a.includes(b) && !b.includes(a);
}

const bare = (name: string): string =>
  name
    .toLowerCase()
    .replace(/^.*[/\\]/, '')
    .replace(/\.gguf$/, '')
    .replace(/[^a-z0-9]/g, '');
