/**
 * A worker that answers chats: an engine (a model, or an agent program), its jobs, and a line to a router, brought together.
 *
 *   dial ─▶ learn the policy ─▶ load the model ─▶ serve ⇄ engine restarting, policy changed
 *
 * W1. To a version 2 router one connection is kept from the start, marked as not ready until the model is loaded. Of a
 *     version 1 router, which cannot be told so, the worker stays away while it has no working engine.
 * W2. The router is offered slots only while the engine is ready.
 * W3. The worker ends by itself for one of few reasons, each with a sentence: a refused key, a model that cannot be
 *     loaded, a policy that it cannot serve.
 */
import { closeCodes } from '../../protocol/codes.ts';
import type { Capabilities, Policy } from '../../protocol/worker-frames.parts.ts';
import type { CountTokensFrame, HelloFrame, RouterFrame, StatusFrame } from '../../protocol/worker-frames.ts';
import { protocolVersion } from '../../protocol/worker-frames.ts';
import type { Diagnostics } from '../config/diagnostics.ts';
import type { Engine, EngineInfo, EngineState } from '../engine/engine.ts';
import type { BackoffRange } from './backoff.ts';
import type { Clock } from './clock.ts';
import { openJobs } from './jobs.ts';
import type { Dial } from './socket.ts';
import { workerLink } from './worker-link.ts';

/** What the router's policy asks for. */
export interface Wanted {
  readonly kind: 'gpu' | 'cli';
  /** Which agent program; '' = the usual one. */
  readonly cli: string;
  /** The agent program's model and its own tools. */
  readonly model: string;
  readonly builtins: readonly string[];
  /** null = what the model was trained on, within reason. */
  readonly contextSize: number | null;
  readonly slots: number;
}

export interface EngineEvents {
  readonly onState: (state: EngineState) => void;
  readonly onLoading: (share: number) => void;
  readonly onTrouble: (message: string) => void;
}

export interface GpuWorkerOptions {
  readonly routerUrl: string;
  readonly gpuKey: string;
  /** Stays the same for the life of this process. */
  readonly instanceId: string;
  readonly heartbeatMs: number;
  readonly redial: BackoffRange;
  readonly jobMsMax: number;
  /** @throws a sentence for people when there can be no such engine. */
  readonly openEngine: (wanted: Wanted, events: EngineEvents) => Engine;
  readonly dial: Dial;
  readonly clock: Clock;
  readonly random: () => number;
  readonly diagnostics: Diagnostics;
}

/** How a worker ended by itself. */
export interface WorkerEnd {
  readonly exitCode: 0 | 1;
  readonly message: string;
}

export interface GpuWorker {
  /** Settles when the worker ends, by itself or by `stop`. */
  readonly ended: Promise<WorkerEnd>;
  start(): void;
  /** Lets running jobs finish, for a while, and ends. */
  stop(): Promise<void>;
}

const slotsDefault = 4;
const drainMsMax = 10_000;
/** Longer than a router is patient, and than one takes to be started again by hand. */
const keepMs = 120_000;
const statusMsMin = 1000;

export function gpuWorker(options: GpuWorkerOptions): GpuWorker {
  const { diagnostics, clock } = options;
  let engine: Engine | null = null;
  /** What the engine was opened with; a policy that asks for something else opens another. */
  let wanted: Wanted | null = null;
  let policy: Policy | null = null;
  let statusAt = 0;
  let stopping = false;
  let finish: (end: WorkerEnd) => void = () => undefined;
  const ended = new Promise<WorkerEnd>(resolve => {
    finish = resolve;
  });

  const isReady = (): boolean => engine?.state === 'ready' && !stopping;

  const link = workerLink({
    url: options.routerUrl,
    dial: options.dial,
    clock,
    random: options.random,
    redial: options.redial,
    heartbeatMs: options.heartbeatMs,
    hello: (): HelloFrame => {
      const info = isReady() ? (engine?.info ?? null) : null;
      const held = jobs.marks();
      return {
        type: 'hello',
        gpu_key: options.gpuKey,
        capabilities: capabilitiesOf(info, null),
        protocol_version: protocolVersion,
        instance_id: options.instanceId,
        ready: info !== null,
        ...(info === null ? {} : { model_file: info.modelFile, features: [...info.features] }),
        ...(held.length === 0 ? {} : { jobs: held }),
      };
    },
    onOpen: (ack, version) => {
      diagnostics.info('connected', { workerId: ack.gpu_id ?? '', protocol: version });
      jobs.resume(version === 2 ? (ack.jobs ?? []) : []);
      if (ack.policy === undefined) diagnostics.warn('the router sent no policy; serving with defaults');
      if (applyPolicy(ack.policy ?? null)) announce();
    },
    onFrame: frame => receive(frame),
    onLost: () => {
      if (link.version === 2) {
        if (jobs.count > 0) diagnostics.warn('the connection is lost; running jobs go on', { jobs: jobs.count });
        jobs.detach();
        return;
      }
      if (jobs.count > 0) diagnostics.warn('running jobs are cancelled: the connection is lost', { jobs: jobs.count });
      jobs.endAll('lost');
    },
    hurried: () => jobs.held > 0,
    onRefused: reason => end({ exitCode: 1, message: `${reason}; check --gpu-key (AUXOT_GPU_KEY)` }),
    onTrouble: message => diagnostics.warn(message),
  });

  const jobs = openJobs({
    engine: () => engine,
    send: frame => void link.send(frame),
    version: () => link.version,
    jobMsMax: options.jobMsMax,
    keepMs,
    clock,
    diagnostics,
  });

  /** False when there is nothing to announce: the worker ends, or the engine has to change first. */
  const applyPolicy = (next: Policy | null): boolean => {
    policy = next;
    const asked = wantedBy(next);
    if (wanted !== null && JSON.stringify(wanted) === JSON.stringify(asked)) return true;
    const isFirst = wanted === null;
    wanted = asked;
    if (isFirst) void openEngine(asked);
    else void changeEngine(asked);
    return true;
  };

  const openEngine = async (asked: Wanted): Promise<void> => {
    diagnostics.info('starting the engine', { kind: asked.kind, contextSize: asked.contextSize, slots: asked.slots });
    let opened: Engine | null = null;
    try {
      opened = options.openEngine(asked, {
        onState: state => {
          if (engine === opened) announceState(state);
        },
        onLoading: share => {
          if (engine === opened) report('loading', share);
        },
        onTrouble: message => diagnostics.error(message),
      });
      engine = opened;
      const info = await opened.load();
      diagnostics.info('the engine is ready', { ...info });
    } catch (error) {
      if (engine !== opened || stopping) return;
      end({ exitCode: 1, message: error instanceof Error ? error.message : String(error) });
    }
  };

  /** Another program, model, context size or number of slots: jobs finish, for a while, before the engine makes way for a new one. */
  const changeEngine = async (asked: Wanted): Promise<void> => {
    diagnostics.info('the policy changed: the engine starts again', { ...asked });
    const old = engine;
    report('loading', undefined, 'the policy changed');
    await jobs.idle(drainMsMax);
    jobs.endAll('stopping');
    if (wanted !== asked || stopping || engine !== old) return; // changed again meanwhile: the newer change goes on
    if (link.version === 1) link.park('the policy changed');
    engine = null;
    await old?.close();
    await openEngine(asked);
  };

  const announceState = (state: EngineState): void => {
    if (state === 'ready') {
      if (link.state === 'parked') link.unpark();
      else announce();
    } else if (state === 'restarting' || state === 'broken') {
      announce();
    }
  };

  /** Tells the router what this worker is now. */
  const announce = (): void => {
    if (link.state !== 'open' || stopping) return;
    const info = engine?.info ?? null;
    if (isReady() && info !== null) {
      const modelFile = link.version === 1 ? {} : { model_file: info.modelFile, features: [...info.features] };
      link.send({ type: 'config', capabilities: capabilitiesOf(info, policy), ...modelFile });
      report('ready');
    } else if (link.version === 1) {
      link.park('the model is not loaded');
    } else {
      report('loading', undefined, engine?.state);
    }
  };

  const report = (state: StatusFrame['state'], progress?: number, message?: string): void => {
    if (link.version === 1) return;
    const now = clock.now();
    if (progress !== undefined && now - statusAt < statusMsMin) return;
    statusAt = now;
    link.send({
      type: 'status',
      state,
      ...(progress === undefined ? {} : { progress }),
      ...(message === undefined ? {} : { message }),
    });
  };

  const receive = (frame: RouterFrame): void => {
    switch (frame.type) {
      case 'job':
        jobs.start(frame);
        break;
      case 'cancel':
        jobs.cancel(frame.job_id, frame.attempt);
        break;
      case 'count_tokens':
        void count(frame);
        break;
      case 'ack':
        jobs.acknowledge(frame.job_id, frame.attempt, frame.seq, frame.ended === true);
        break;
      case 'policy_update':
        if (frame.policy !== undefined) applyPolicy(frame.policy);
        break;
      case 'drain':
        void drained();
        break;
      case 'config_ack':
        if (!frame.success) diagnostics.error('the router refused the configuration', { error: frame.error ?? '' });
        break;
      case 'error':
        diagnostics.warn('the router reports an error', { error: frame.error });
        break;
      default:
        break; // for other kinds of workers, or nothing to do
    }
  };

  const count = async ({ count_id, messages, ...more }: CountTokensFrame): Promise<void> => {
    try {
      if (engine === null) throw new Error('the model is not loaded yet');
      const job = { messages, tools: more.tools, reasoningEffort: more.reasoning_effort };
      const input_tokens = await engine.countTokens({ ...job, templateOptions: more.template_options });
      link.send({ type: 'token_count', count_id, input_tokens });
    } catch (error) {
      // The router estimates then.
      link.send({ type: 'token_count', count_id, error: error instanceof Error ? error.message : String(error) });
    }
  };

  /** The router takes no more of our answers soon: finish what runs, then look for a router again. */
  const drained = async (): Promise<void> => {
    diagnostics.info('the router drains: running jobs finish, then this worker dials again');
    await jobs.idle(options.jobMsMax);
    if (!stopping) link.redial('drained');
  };

  const end = (how: WorkerEnd): void => {
    if (stopping) return;
    stopping = true;
    jobs.endAll('stopping');
    link.stop(closeCodes.normal, '');
    jobs.close();
    void (engine?.close() ?? Promise.resolve()).then(() => finish(how));
  };

  return {
    ended,
    start: () => link.start(),
    async stop() {
      if (stopping) return;
      stopping = true;
      report('draining');
      await jobs.idle(drainMsMax);
      jobs.endAll('stopping');
      await jobs.idle(1000);
      link.stop(closeCodes.goingAway, 'the worker is stopping');
      jobs.close();
      await engine?.close();
      finish({ exitCode: 0, message: 'worker stopped' });
    },
  };
}

function wantedBy(policy: Policy | null): Wanted {
  const [contextSize, slots] = [policy?.context_size ?? 0, policy?.max_parallelism ?? 0];
  const shared = { contextSize: contextSize > 0 ? contextSize : null, slots: slots > 0 ? slots : slotsDefault };
  // A GPU worker's model is named by its file, so that another name in the policy changes nothing.
  if (policy?.worker_type !== 'cli') return { kind: 'gpu', cli: '', model: '', builtins: [], ...shared };
  const { cli_type: cli = '', model_name: model, builtin_tools: builtins = [] } = policy;
  return { kind: 'cli', cli, model, builtins, ...shared };
}

/** `info` null: nothing is loaded yet. The policy's capabilities are echoed in `config`, as the reference does. */
function capabilitiesOf(info: EngineInfo | null, policy: Policy | null): Capabilities {
  if (info === null) return { backend: 'pending', model: 'pending', ctx_size: 0 };
  return {
    backend: info.backend,
    model: info.model,
    ctx_size: info.contextSize,
    ...(info.vramGb > 0 ? { vram_gb: info.vramGb } : {}),
    ...(info.parameters === '' ? {} : { parameters: info.parameters }),
    total_slots: info.slots,
    ...(policy !== null && policy.capabilities.length > 0 ? { model_capabilities: policy.capabilities } : {}),
  };
}
