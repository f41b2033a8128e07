/**
 * A worker that answers chats: an engine (a model, or an agent program), its jobs, and a line to a router, brought together.
 *
 *   dial ─▶ learn the policy ─▶ fetch and load the model ─▶ serve ⇄ engine restarting, policy changed
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
import type { Engine, EngineInfo, EngineOptions, EngineState } from '../engine/engine.ts';
import type { BackoffRange } from './backoff.ts';
import type { Clock } from './clock.ts';
import type { WorkerLook } from './health.ts';
import { openJobs } from './jobs.ts';
import { nameTrouble } from './model-name.ts';
import type { Dial } from './socket.ts';
import { workerLink } from './worker-link.ts';

export interface EngineEvents {
  readonly onState: (state: EngineState) => void;
  readonly onLoading: (share: number) => void;
  /** What of the wish fits into memory, and why not more. */
  readonly onChosen: (message: string) => void;
  readonly onTrouble: (message: string) => void;
}

/** What the policy names, and how to say how far it is. */
export interface ModelRequest {
  readonly name: string;
  readonly quantization: string;
  readonly signal: AbortSignal;
  readonly onProgress: (share: number, message: string) => void;
}

/** An agent program in the place of a model. */
export interface CliWanted {
  /** Which; '' = the usual one. */
  readonly type: string;
  /** '' = its own default. */
  readonly model: string;
  /** Tools of its own that may run. */
  readonly builtins: readonly string[];
  readonly contextSize: number | null;
  readonly slots: number;
}

interface Wanted {
  readonly contextSize: number | null;
  readonly slots: number;
  /** null: the file that this worker was started with, whatever the policy names. */
  readonly model: { readonly name: string; readonly quantization: string } | null;
  /** null: a model on this machine. */
  readonly cli: Pick<CliWanted, 'type' | 'model' | 'builtins'> | null;
}

export interface GpuWorkerOptions {
  readonly routerUrl: string;
  readonly gpuKey: string;
  /** Stays the same for the life of this process. */
  readonly instanceId: string;
  /** null: the model that the policy names. */
  readonly modelPath: string | null;
  /** The file of the policy's model, fetched if need be. Without it, this worker serves no model but its own. */
  readonly fetchModel?: (request: ModelRequest) => Promise<string>;
  readonly threads: number | null;
  readonly gpuLayers: number | null;
  readonly heartbeatMs: number;
  readonly redial: BackoffRange;
  readonly jobMsMax: number;
  readonly openEngine: (options: EngineOptions, events: EngineEvents) => Engine;
  /** Without it, this worker runs no agent programs. @throws a sentence for people when there is no such program. */
  readonly openCli?: (wanted: CliWanted, events: EngineEvents) => Engine;
  readonly dial: Dial;
  readonly clock: Clock;
  readonly random: () => number;
  readonly diagnostics: Diagnostics;
}

/** How a worker ended by itself. */
export interface WorkerEnd {
  /** 3: the router refuses the key; whoever starts workers again need not try that again at once (weakness G3). */
  readonly exitCode: 0 | 1 | 3;
  readonly message: string;
}

export interface GpuWorker {
  /** Settles when the worker ends, by itself or by `stop`. */
  readonly ended: Promise<WorkerEnd>;
  start(): void;
  /** Lets running jobs finish, for a while, and ends. */
  stop(): Promise<void>;
  look(): WorkerLook;
}

const slotsDefault = 4;
const drainMsMax = 10_000;
/** Longer than a router is patient, and than one takes to be started again by hand. */
const keepMs = 120_000;
const statusMsMin = 1000;

/** How much the policy asks for; what it leaves open is chosen here or by the engine. */
export const wantedOf = (policy: Policy | null): { readonly contextSize: number | null; readonly slots: number } => ({
  contextSize: policy !== null && policy.context_size > 0 ? policy.context_size : null,
  slots: policy !== null && policy.max_parallelism > 0 ? policy.max_parallelism : slotsDefault,
});

export function gpuWorker(options: GpuWorkerOptions): GpuWorker {
  const { diagnostics, clock } = options;
  let engine: Engine | null = null;
  /** What the engine was opened with; a policy that asks for something else opens another. */
  let wanted: Wanted | null = null;
  let fetching: { readonly stop: AbortController; readonly over: Promise<unknown> } | null = null;
  let policy: Policy | null = null;
  let statusAt = 0;
  let nameTroubleTold: string | null = null;
  /** Counts the connections. */
  let connection = 0;
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
      connection += 1;
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
    onRefused: reason => end({ exitCode: 3, message: `${reason}; check --gpu-key (AUXOT_GPU_KEY)` }),
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
    const cli =
      next?.worker_type === 'cli'
        ? { type: next.cli_type ?? '', model: next.model_name, builtins: next.builtin_tools ?? [] }
        : null;
    if (cli !== null && options.openCli === undefined) {
      end({ exitCode: 1, message: 'the router wants a CLI worker (worker_type cli), which this one cannot be' });
      return false;
    }
    const model =
      cli === null && options.modelPath === null && next !== null && next.model_name !== ''
        ? { name: next.model_name, quantization: next.quantization }
        : null;
    if (cli === null && options.modelPath === null && (model === null || options.fetchModel === undefined)) {
      end({ exitCode: 1, message: 'the router names no model; start this worker with --model-path' });
      return false;
    }
    policy = next;
    compareNames();
    const asked: Wanted = { model, cli, ...wantedOf(next) };
    if (wanted !== null && isSame(wanted, asked)) return true;
    wanted = asked;
    void changeEngine(asked);
    return true;
  };

  /** A model of its own, or of a server that runs, is served whatever the policy names: then people are told, once. */
  const compareNames = (): void => {
    const served = engine?.info?.model ?? '';
    if (options.modelPath === null || policy === null || policy.worker_type === 'cli') return;
    const trouble = nameTrouble(policy.model_name, served, options.modelPath);
    if (trouble !== null && trouble !== nameTroubleTold) diagnostics.warn(trouble);
    nameTroubleTold = trouble;
  };

  /** null: it is not to be loaded after all. */
  const modelFor = async (asked: Wanted): Promise<string | null> => {
    if (asked.model === null || options.fetchModel === undefined) return options.modelPath;
    fetching?.stop.abort();
    const stop = new AbortController();
    // While another model is served, a word about the next one would take its jobs away.
    const onProgress = (share: number, message: string): void => {
      if (!isReady()) report('downloading', share, message);
    };
    const over = options.fetchModel({ ...asked.model, signal: stop.signal, onProgress });
    fetching = { stop, over };
    try {
      return await over;
    } catch (error) {
      if (!stop.signal.aborted && !stopping)
        end({ exitCode: 1, message: error instanceof Error ? error.message : String(error) });
      return null;
    }
  };

  const openEngine = async (modelPath: string, { cli, contextSize, slots }: Wanted): Promise<void> => {
    const { threads, gpuLayers } = options;
    diagnostics.info('starting the engine', {
      ...(cli === null ? { path: modelPath } : { cli: cli.type }),
      contextSize,
      slots,
    });
    report('loading', 0);
    let opened: Engine | null = null;
    const events: EngineEvents = {
      onState: state => {
        if (engine === opened) announceState(state);
      },
      onLoading: share => {
        if (engine === opened) report('loading', share);
      },
      onChosen: message => diagnostics.info(`fitted into memory: ${message}`),
      onTrouble: message => diagnostics.error(message),
    };
    try {
      opened =
        cli === null || options.openCli === undefined
          ? options.openEngine({ modelPath, threads, gpuLayers, contextSize, slots }, events)
          : options.openCli({ ...cli, contextSize, slots }, events);
      engine = opened;
      const info = await opened.load();
      diagnostics.info('the engine is ready', { ...info });
      compareNames();
    } catch (error) {
      if (engine !== opened || stopping) return;
      end({ exitCode: 1, message: error instanceof Error ? error.message : String(error) });
    }
  };

  /**
   * The first engine, or one with another model, context or number of slots. What is fetched for it is fetched while the
   * old one serves, and running jobs finish, for a while, before the old one makes way.
   */
  const changeEngine = async (asked: Wanted): Promise<void> => {
    const modelPath = asked.cli === null ? await modelFor(asked) : '';
    if (modelPath === null || wanted !== asked || stopping) return;
    const old = engine;
    if (old === null) return openEngine(modelPath, asked);
    diagnostics.info('the policy changed: the engine starts again', { ...asked });
    report('loading', undefined, 'the policy changed');
    await jobs.idle(drainMsMax);
    jobs.endAll('stopping');
    if (wanted !== asked || stopping || engine !== old) return; // changed again meanwhile: the newer change goes on
    if (link.version === 1) link.park('the policy changed');
    engine = null;
    await old.close();
    await openEngine(modelPath, asked);
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
    const drains = connection;
    await jobs.idle(options.jobMsMax);
    // A connection that is newer has not drained.
    if (!stopping && connection === drains) link.redial('drained');
  };

  /** What has been fetched stays for the next time. */
  const stopFetching = async (): Promise<void> => {
    fetching?.stop.abort();
    await fetching?.over.catch(() => undefined); // told by whoever waits for it
  };

  const end = (how: WorkerEnd): void => {
    if (stopping) return;
    stopping = true;
    jobs.endAll('stopping');
    link.stop(closeCodes.normal, '');
    jobs.close();
    void stopFetching()
      .then(() => engine?.close())
      .then(() => finish(how));
  };

  return {
    ended,
    start: () => link.start(),
    async stop() {
      if (stopping) return;
      stopping = true;
      report('draining');
      const fetchingOver = stopFetching();
      await jobs.idle(drainMsMax);
      if (link.version === 1) {
        jobs.endAll('stopping');
        await jobs.idle(1000);
      } else if (jobs.count > 0) {
        // What it said is in the log: another worker goes on from there as soon as this one is gone.
        diagnostics.info('jobs that take longer go to other workers', { jobs: jobs.count });
      }
      link.stop(closeCodes.goingAway, 'the worker is stopping');
      jobs.close();
      await fetchingOver;
      await engine?.close();
      finish({ exitCode: 0, message: 'worker stopped' });
    },
    look: () => ({
      connected: link.state === 'open',
      engine: engine?.state ?? null,
      model: engine?.info?.model ?? null,
      slots: engine?.info?.slots ?? 0,
      running: jobs.count,
    }),
  };
}

const isSame = (a: Wanted, b: Wanted): boolean =>
  a.contextSize === b.contextSize &&
  a.slots === b.slots &&
  a.model?.name === b.model?.name &&
  a.model?.quantization === b.model?.quantization &&
  JSON.stringify(a.cli) === JSON.stringify(b.cli);

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
