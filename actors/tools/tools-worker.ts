/**
 * A tools worker: its tools, the calls of them, and a line to a router, brought together.
 *
 *   dial ─▶ say which tools there are ─▶ take tool jobs ⇄ redial, with the results that are owed
 *
 * TW1. The allow-list of this machine holds for every way to a tool, whatever the router says.
 * TW2. Calls go on while the connection is lost; their results wait for the next one.
 * TW3. The worker ends by itself for one reason only, a refused key, with a sentence.
 */
import { closeCodes } from '../../protocol/codes.ts';
import type {
  ToolJobFrame,
  ToolsCapabilities,
  ToolsPolicy,
  ValidateConfigurationFrame,
} from '../../protocol/worker-frames.tools.ts';
import { protocolVersion, type RouterFrame } from '../../protocol/worker-frames.ts';
import type { Diagnostics } from '../config/diagnostics.ts';
import type { BackoffRange } from '../worker/backoff.ts';
import type { Clock } from '../worker/clock.ts';
import type { Dial } from '../worker/socket.ts';
import { workerLink } from '../worker/worker-link.ts';
import { openJournal } from './call-journal.ts';
import { openCalls } from './calls.ts';
import type { Credentials } from './credentials.ts';
import type { RemoteMcp } from './mcp/remote-mcp.ts';
import { type Tool, ToolError } from './tool.ts';
import type { ToolSet } from './tool-set.ts';

export interface ToolsWorkerOptions {
  readonly routerUrl: string;
  readonly toolsKey: string;
  /** Stays the same for the life of this process. */
  readonly instanceId: string;
  readonly heartbeatMs: number;
  readonly redial: BackoffRange;
  readonly slots: number;
  readonly queueMax: number;
  readonly callMsMax: number;
  readonly drainMsMax: number;
  readonly tools: ToolSet;
  readonly credentials: Credentials;
  readonly remoteMcp: RemoteMcp;
  readonly dial: Dial;
  readonly clock: Clock;
  readonly random: () => number;
  readonly diagnostics: Diagnostics;
}

export interface ToolsWorkerEnd {
  readonly exitCode: 0 | 1;
  readonly message: string;
}

export interface ToolsWorkerHealth {
  readonly connected: boolean;
  readonly running: number;
  readonly waiting: number;
  readonly tools: readonly string[];
}

export interface ToolsWorker {
  readonly ended: Promise<ToolsWorkerEnd>;
  start(): void;
  /** Some tools came or went. */
  toolsChanged(): void;
  health(): ToolsWorkerHealth;
  /** Lets running calls finish, for a while, and ends. */
  stop(): Promise<void>;
}

/** How long the last results may take to be acknowledged, or at least sent. */
const lastWordsMs = 300;
const validateMsMax = 45_000;
/** Of definitions in a greeting, which may have 1 MiB in all, and in a message after it. */
const helloCharsMax = 256 * 1024;
const announcedCharsMax = 8 * 2 ** 20;

export function toolsWorker(options: ToolsWorkerOptions): ToolsWorker {
  const { tools, clock, diagnostics } = options;
  let stopping = false;
  /** The tools as the last greeting said them. */
  let greeted = '';
  let finish: (end: ToolsWorkerEnd) => void = () => undefined;
  const ended = new Promise<ToolsWorkerEnd>(resolve => {
    finish = resolve;
  });

  /** Definitions are left out where they would be too much; the names are said then, and calls work. */
  const capabilities = (charsMax: number): ToolsCapabilities => {
    let chars = 0;
    const definitions = tools.definitions().filter(definition => {
      chars += JSON.stringify(definition).length;
      return chars <= charsMax;
    });
    return { tools: [...tools.names()], definitions, slots: options.slots };
  };

  const link = workerLink({
    url: options.routerUrl,
    dial: options.dial,
    clock,
    random: options.random,
    redial: options.redial,
    heartbeatMs: options.heartbeatMs,
    hello: () => {
      const held = calls.held();
      const greeting = capabilities(helloCharsMax);
      greeted = JSON.stringify(greeting);
      return {
        type: 'hello',
        gpu_key: options.toolsKey,
        worker_type: 'tools',
        capabilities: { backend: '', model: '', ctx_size: 0 },
        tools_capabilities: greeting,
        protocol_version: protocolVersion,
        instance_id: options.instanceId,
        ready: !stopping,
        ...(held.length === 0 ? {} : { tool_jobs: [...held] }),
      };
    },
    onOpen: (ack, version) => {
      diagnostics.info('connected', { workerId: ack.gpu_id ?? '', protocol: version, tools: tools.names() });
      // What another router allowed holds no more.
      if (ack.tools_policy === undefined) tools.restrict(null);
      else applyPolicy(ack.tools_policy);
      // What the greeting left out, and what came or went while it was on its way.
      if (JSON.stringify(capabilities(announcedCharsMax)) !== greeted) announce();
      calls.resume();
      if (stopping && version === 2) link.send({ type: 'status', state: 'draining' });
    },
    onFrame: frame => receive(frame),
    onLost: () => {
      const count = calls.running + calls.waiting;
      if (count > 0) diagnostics.warn('the connection is lost; running calls go on', { calls: count });
    },
    hurried: () => calls.running + calls.waiting > 0,
    onRefused: reason => {
      if (stopping) return;
      stopping = true;
      calls.close();
      calls.cancelAll();
      void tools.close().then(() => finish({ exitCode: 1, message: `${reason}; check --tools-key (AUXOT_TOOLS_KEY)` }));
    },
    onTrouble: message => diagnostics.warn(message),
  });

  const calls = openCalls({
    instanceId: options.instanceId,
    slots: options.slots,
    queueMax: options.queueMax,
    callMsMax: options.callMsMax,
    journal: openJournal(),
    clock,
    diagnostics,
    toolOf: job => toolOf(job),
    credentialsOf: name => options.credentials.of(name),
    send: result => link.send(result),
    tell: progress => void link.send(progress),
    version: () => link.version,
  });

  const toolOf = (job: ToolJobFrame): Tool => {
    if ((job.mcp_url ?? '') !== '' || (job.mcp_package ?? '') !== '') return options.remoteMcp.toolFor(job);
    const found = tools.find(job.tool_name);
    if (found === 'unknown') throw new ToolError('unknown_tool', `there is no tool ${JSON.stringify(job.tool_name)}`);
    if (found === 'not_allowed') {
      throw new ToolError('not_allowed', `the tool ${JSON.stringify(job.tool_name)} is not allowed on this worker`);
    }
    return found;
  };

  /** An empty list allows everything: a router that has nothing to say sends one. */
  const applyPolicy = ({ allowed_tools: allowed, mcp_servers: servers }: ToolsPolicy): void => {
    tools.restrict(allowed.length === 0 ? null : allowed);
    announce();
    void options.remoteMcp.describe(servers).then(schemas => {
      const names = [...tools.names(), ...schemas.map(({ tool_name: name }) => name)];
      const more = schemas.length === 0 ? {} : { mcp_schemas: [...schemas] };
      link.send({ type: 'policy_reloaded', advertised_tools: names, ...more });
    });
  };

  /** Says which tools an MCP server has, or why that cannot be said. */
  const validate = async (frame: ValidateConfigurationFrame): Promise<void> => {
    const { request_id, package: name, version, url, transport, resolved_headers: headers } = frame;
    const about = { type: 'validate_configuration_result', request_id } as const;
    let disarm: () => void = () => undefined;
    const late = new Promise<never>((_, reject) => {
      const refuse = (): void => reject(new ToolError('timeout', `no answer within ${validateMsMax / 1000} s`));
      disarm = clock.after(validateMsMax, refuse);
    });
    try {
      const asked = options.remoteMcp.inspect({ package: name, version, url, transport, headers });
      const found = await Promise.race([asked, late]);
      link.send({
        ...about,
        tools: found.map(tool => ({ name: tool.name, description: tool.description, input_schema: tool.inputSchema })),
      });
    } catch (error) {
      link.send({ ...about, error: error instanceof ToolError ? error.message : 'the MCP server cannot be asked' });
    } finally {
      disarm();
    }
  };

  const announce = (): void => {
    if (link.version === 2) link.send({ type: 'tools_changed', tools_capabilities: capabilities(announcedCharsMax) });
  };

  const receive = (frame: RouterFrame): void => {
    switch (frame.type) {
      case 'tool_job':
        calls.start(frame);
        break;
      case 'tool_ack':
        calls.acknowledge(frame.job_id);
        break;
      case 'cancel':
        calls.cancel(frame.job_id);
        break;
      case 'reload_policy':
        applyPolicy(frame.policy);
        break;
      case 'validate_configuration':
        void validate(frame);
        break;
      case 'drain':
        void drained();
        break;
      case 'error':
        diagnostics.warn('the router reports an error', { error: frame.error });
        break;
      default:
        break; // for other kinds of workers, or nothing to do
    }
  };

  /** The router goes away soon: finish what runs, then look for a router again. */
  const drained = async (): Promise<void> => {
    diagnostics.info('the router drains: running calls finish, then this worker dials again');
    await calls.idle(options.callMsMax);
    if (!stopping) link.redial('drained');
  };

  return {
    ended,
    start: () => link.start(),
    toolsChanged: () => {
      if (!stopping) announce();
    },
    health: () => ({
      connected: link.state === 'open',
      running: calls.running,
      waiting: calls.waiting,
      tools: tools.names(),
    }),
    async stop() {
      if (stopping) return;
      stopping = true;
      if (link.version === 2) link.send({ type: 'status', state: 'draining' });
      calls.close();
      await calls.idle(options.drainMsMax);
      calls.cancelAll();
      await calls.idle(lastWordsMs * 10);
      await new Promise<void>(resolve => void clock.after(lastWordsMs, resolve));
      link.stop(closeCodes.goingAway, 'the tools worker is stopping');
      await tools.close();
      finish({ exitCode: 0, message: 'tools worker stopped' });
    },
  };
}
