/**
 * One worker's socket, from opened to closed.
 *
 *   awaitingHello ──hello──▶ checkingKey ──accepted──▶ settling ──config, or settled──▶ ready ⇄ waiting
 *        │                       │                (version 1)                             │        │
 *        │                       │                                     drain began        ▼        ▼
 *        │                       │                                                        draining ◀┘
 *        └── refused ────────────┴── from every state: refused (we close it), closed (it is gone) ──▶ closed
 *
 *   From checkingKey a worker of version 2 goes straight to ready, and one that announced no model yet to waiting; one
 *   that comes back with jobs goes through claiming, until each of them has said whether it goes on with this worker.
 *
 *   A tools worker goes from checkingKey to serving, where its tools are offered, and from there to draining.
 *
 * C1. The worker is offered to the queue exactly while it is ready.
 * C2. A worker whose backend or model is `pending`, or that says it is not ready, is never ready here.
 * C3. Nothing but a close is sent before the hello, and no job is offered before `hello_ack`.
 * C4. The key is in `hello.received` and in the `checkKey` action, nowhere else: not in context, snapshot or notes.
 * C5. A timer is armed exactly while the state that it ends lasts: hello, key, claim, settle, drain.
 * C6. In `closed` nothing is asked for any more. `closeWorker` is asked for at most once.
 *
 * Connections are not logged: their events are data of the same style and end here. Heartbeats, progress and what was
 * ignored are kept beside the machine, because they are no decisions and `transition` costs too much for them; they
 * are counts for people and start again at zero after a restore.
 *
 * Liveness is the front's to judge: only it sees the bytes and the pongs.
 */
import { assign, type SnapshotFrom, setup } from 'xstate';
import type { ToolsOffer, WorkerOffer } from '../protocol/shard-messages.ts';
import type { HelloAckFrame } from '../protocol/worker-frames.ts';
import {
  type Announced,
  type ConnectionAction,
  type ConnectionContext,
  type ConnectionEvent,
  type ConnectionLimits,
  type ConnectionOpened,
  type ConnectionTurn,
  connectionLimits,
  type TimerName,
  type WorkerStatus,
} from './connection.events.ts';
import { changeNote, isTold, note } from './connection.notes.ts';
import { refusalOf } from './connection.refusals.ts';
import { type AskedAction, pure } from './pure.ts';
import { isPending, policyFor, slotsOf } from './worker-policy.ts';

type Params<T extends ConnectionAction['type']> = Extract<ConnectionAction, { type: T }>['params'];
interface Given {
  readonly context: ConnectionContext;
}

const nowhere: ConnectionContext = {
  workerId: '',
  remote: '',
  openedAt: 0,
  limits: connectionLimits,
  policy: { model_name: '', quantization: '', context_size: 0, max_parallelism: 1, capabilities: [] },
  toolsAllowed: [],
  role: 'admin',
  protocol: 0,
  instance: null,
  announced: null,
  held: null,
  claims: [],
  tools: null,
  loading: false,
  changedAt: 0,
};

const machine = setup({
  types: {} as { context: ConnectionContext; events: ConnectionTurn; input: ConnectionOpened },
  actions: {
    sendFrame: (_, _params: Params<'sendFrame'>) => undefined,
    closeWorker: (_, _params: Params<'closeWorker'>) => undefined,
    checkKey: (_, _params: Params<'checkKey'>) => undefined,
    claimJobs: (_, _params: Params<'claimJobs'>) => undefined,
    offerWorker: (_, _params: Params<'offerWorker'>) => undefined,
    withdrawWorker: (_, _params: Params<'withdrawWorker'>) => undefined,
    moveJobs: (_, _params: Params<'moveJobs'>) => undefined,
    offerTools: (_, _params: Params<'offerTools'>) => undefined,
    withdrawTools: (_, _params: Params<'withdrawTools'>) => undefined,
    adoptTools: assign(({ event }) => (event.type === 'tools.changed' ? { tools: event.tools } : {})),
    armTimer: (_, _params: Params<'armTimer'>) => undefined,
    disarmTimer: (_, _params: Params<'disarmTimer'>) => undefined,
    touch: assign({ changedAt: ({ event }) => event.at }),
    adoptConfig: assign(({ context, event }) =>
      event.type === 'config.received'
        ? { announced: merged(context.announced, event.announced), held: null, loading: false }
        : {},
    ),
    markLoading: assign({ loading: true }),
    markLoaded: assign({ loading: false }),
  },
});

const arm = (name: TimerName, ms: (limits: ConnectionLimits) => number) =>
  ({
    type: 'armTimer',
    params: ({ context }: Given) => ({ name, at: context.changedAt + ms(context.limits) }),
  }) as const;
const disarm = (name: TimerName) => ({ type: 'disarmTimer', params: { name } }) as const;
const offer = { type: 'offerWorker', params: ({ context }: Given) => ({ offer: offerOf(context) }) } as const;
const offerTools = { type: 'offerTools', params: ({ context }: Given) => ({ offer: toolsOf(context) }) } as const;
const withdrawTools = { type: 'withdrawTools', params: {} } as const;
const withdraw = { type: 'withdrawWorker', params: {} } as const;
const moveJobs = { type: 'moveJobs', params: {} } as const;
const acknowledge = { type: 'sendFrame', params: { frame: { type: 'config_ack', success: true } } } as const;
const tellDrain = { type: 'sendFrame', params: { frame: { type: 'drain' } } } as const;
const claim = {
  type: 'claimJobs',
  params: ({ context }: Given) => ({ offer: offerOf(context), jobs: context.claims }),
} as const;
const greet = {
  type: 'sendFrame',
  params: ({ context }: Given) => ({ frame: helloAck(context) }),
} as const;

const greetTools = {
  type: 'sendFrame',
  params: ({ context: { workerId, protocol, limits, toolsAllowed } }: Given) => {
    const two = protocol >= 2 ? { protocol_version: protocol, ack_interval_ms: limits.ackIntervalMs } : {};
    const allowed = { tools_policy: { allowed_tools: [...toolsAllowed], mcp_servers: [] } };
    const common = { success: true, gpu_id: workerId, ...(toolsAllowed.length === 0 ? {} : allowed) };
    return { frame: { type: 'hello_ack', ...common, ...two } as const };
  },
} as const;

const greetAgain = {
  type: 'sendFrame',
  params: ({ context, event }: Given & { event: Extract<ConnectionTurn, { type: 'claims.answered' }> }) => ({
    frame: { ...helloAck(context), jobs: [...event.jobs] },
  }),
} as const;

/** Ways out that every state has. */
const ends = {
  'connection.refused': {
    target: 'closed',
    actions: {
      type: 'closeWorker',
      params: ({ event }: { event: Extract<ConnectionTurn, { type: 'connection.refused' }> }) => ({
        code: event.code,
        reason: event.reason,
      }),
    },
  },
  'connection.closed': 'closed',
} as const;

const drains = [
  {
    guard: ({ context, event }: Given & { event: Extract<ConnectionTurn, { type: 'drain.began' }> }) =>
      event.by === 'router' && context.protocol >= 2,
    target: 'draining',
    actions: ['touch', tellDrain],
  },
  { target: 'draining', actions: ['touch', moveJobs] },
] as const;

type Config = Extract<ConnectionTurn, { type: 'config.received' }>;
const announcesModel = ({ event }: { event: Config }): boolean => !isPending(event.announced);

export const connectionMachine = machine.createMachine({
  id: 'connection',
  context: ({ input }) =>
    input === undefined
      ? nowhere
      : {
          ...nowhere,
          workerId: input.workerId,
          remote: input.remote,
          openedAt: input.at,
          changedAt: input.at,
          policy: input.policy,
          toolsAllowed: input.toolsAllowed ?? [],
          limits: input.limits,
        },
  initial: 'awaitingHello',
  options: { maxIterations: 100 },
  states: {
    awaitingHello: {
      entry: arm('hello', limits => limits.helloMs),
      exit: disarm('hello'),
      on: {
        ...ends,
        'hello.received': {
          target: 'checkingKey',
          actions: [
            assign(({ event: { at, role, protocol, instance, announced, loading, claims, tools } }) => ({
              role,
              protocol,
              instance,
              announced,
              loading,
              claims,
              tools,
              changedAt: at,
            })),
            { type: 'checkKey', params: ({ event: { role, key } }) => ({ role, key }) },
          ],
        },
      },
    },
    checkingKey: {
      entry: arm('key', limits => limits.keyMs),
      exit: disarm('key'),
      on: {
        ...ends,
        'config.held': { actions: assign({ held: ({ event }) => event.announced }) },
        'key.accepted': [
          { guard: ({ context }) => context.role === 'tools', target: 'serving', actions: ['touch', greetTools] },
          { guard: ({ context }) => context.claims.length > 0, target: 'claiming', actions: 'touch' },
          { guard: ({ context }) => !isAble(context), target: 'waiting', actions: ['touch', greet] },
          { guard: ({ context }) => context.protocol < 2, target: 'settling', actions: ['touch', greet] },
          { target: 'ready', actions: ['touch', greet] },
        ],
        'key.refused': {
          target: 'closed',
          actions: [
            {
              type: 'sendFrame',
              params: ({ context, event }) => ({ frame: refusalOf(context.role, event.verdict).frame }),
            },
            { type: 'closeWorker', params: ({ context, event }) => refusalOf(context.role, event.verdict).close },
          ],
        },
      },
    },
    claiming: {
      entry: [arm('claim', limits => limits.claimMs), claim],
      exit: [disarm('claim'), assign({ claims: [] })],
      on: {
        ...ends,
        'config.held': { actions: assign({ held: ({ event }) => event.announced }) },
        'claims.answered': [
          { guard: ({ context }) => !isAble(context), target: 'waiting', actions: ['touch', greetAgain] },
          { target: 'ready', actions: ['touch', greetAgain] },
        ],
      },
    },
    settling: {
      entry: arm('settle', limits => limits.settleMs),
      exit: disarm('settle'),
      on: {
        ...ends,
        'config.received': [
          { guard: announcesModel, target: 'ready', actions: ['adoptConfig', 'touch', acknowledge] },
          { target: 'waiting', actions: ['adoptConfig', 'touch', acknowledge] },
        ],
        'worker.settled': { target: 'ready', actions: 'touch' },
        'worker.unreadied': { target: 'waiting', actions: ['markLoading', 'touch'] },
        'drain.began': drains,
      },
    },
    ready: {
      entry: offer,
      exit: withdraw,
      on: {
        ...ends,
        'config.received': [
          { guard: announcesModel, actions: ['adoptConfig', acknowledge, offer] },
          { target: 'waiting', actions: ['adoptConfig', 'touch', acknowledge] },
        ],
        'worker.unreadied': { target: 'waiting', actions: ['markLoading', 'touch'] },
        'drain.began': drains,
      },
    },
    waiting: {
      on: {
        ...ends,
        'config.received': [
          { guard: announcesModel, target: 'ready', actions: ['adoptConfig', 'touch', acknowledge] },
          { actions: ['adoptConfig', acknowledge] },
        ],
        'worker.readied': [
          { guard: ({ context }) => !isPending(context.announced), target: 'ready', actions: ['markLoaded', 'touch'] },
          { actions: 'markLoaded' },
        ],
        'worker.unreadied': { actions: 'markLoading' },
        'drain.began': drains,
      },
    },
    serving: {
      entry: offerTools,
      exit: withdrawTools,
      on: {
        ...ends,
        'tools.changed': { actions: ['adoptTools', offerTools] },
        'drain.began': drains,
      },
    },
    draining: {
      entry: arm('drain', limits => limits.drainMs),
      exit: disarm('drain'),
      on: { ...ends, 'config.received': { actions: ['adoptConfig', acknowledge] } },
    },
    closed: { type: 'final' },
  },
});

const steps = pure(connectionMachine);

export type ConnectionState = SnapshotFrom<typeof connectionMachine>;
export type ConnectionStateName = keyof (typeof connectionMachine)['states'];

export interface Connection {
  readonly state: ConnectionState;
  readonly heartbeats: number;
  readonly ignored: number;
  readonly broken: number;
  readonly status: WorkerStatus | null;
}

/** A connection in a state, with nothing counted yet. */
export const connectionFrom = (state: ConnectionState): Connection => ({
  state,
  heartbeats: 0,
  ignored: 0,
  broken: 0,
  status: null,
});

/** A connection that has just been opened, and what it asks for. */
export function open(event: ConnectionOpened): [Connection, ConnectionAction[]] {
  const [state, actions] = steps.initial(event);
  return [connectionFrom(state), asked(actions)];
}

/** Applies what has happened. An event that cannot follow is a bug of the caller: decide refuses it. */
export function evolve(connection: Connection, event: ConnectionEvent): [Connection, ConnectionAction[]] {
  const { context } = connection.state;
  switch (event.type) {
    case 'heartbeat.received': {
      const acknowledged: ConnectionAction = { type: 'sendFrame', params: { frame: { type: 'heartbeat_ack' } } };
      return [{ ...connection, heartbeats: connection.heartbeats + 1 }, [acknowledged]];
    }
    case 'status.received':
      return [{ ...connection, status: event.status }, []];
    case 'count.received': {
      const { countId, tokens } = event;
      return [connection, [{ type: 'reportCount', params: { countId, tokens } }]];
    }
    case 'frame.ignored': {
      const { frame, why } = event;
      const ignored = connection.ignored + 1;
      const told = isTold(ignored) ? [note(context, 'debug', 'a frame was ignored', { frame, why, ignored })] : [];
      return [{ ...connection, ignored }, told];
    }
    case 'frame.broken': {
      const broken = connection.broken + 1;
      const fields = { reason: event.message, broken };
      return [
        { ...connection, broken },
        isTold(broken) ? [note(context, 'warn', 'a broken frame was dropped', fields)] : [],
      ];
    }
    case 'model.differed': {
      const { announced, wanted } = event;
      return [
        connection,
        [note(context, 'warn', 'a worker runs another model than the policy names', { announced, wanted })],
      ];
    }
    default:
      return turned(connection, event);
  }
}

export const stateOf = (connection: Connection): ConnectionStateName => connection.state.value;
export const isClosed = (connection: Connection): boolean => connection.state.status === 'done';

/** What the worker offers to the queue, now that it has said so. */
export function offerOf({ announced, policy, limits, protocol, instance }: ConnectionContext): WorkerOffer {
  return {
    slots: slotsOf(announced, policy, limits.slotsMax),
    model: announced?.model ?? '',
    backend: announced?.backend ?? '',
    contextSize: announced?.contextSize ?? 0,
    protocol: Math.max(1, protocol),
    ...(instance === null ? {} : { workerInstance: instance }),
    ...(announced === null || announced.modelFile === null ? {} : { modelFile: announced.modelFile }),
    ...(announced === null || announced.features.length === 0 ? {} : { features: announced.features }),
  };
}

const toolsOf = ({ protocol, instance, tools }: ConnectionContext): ToolsOffer => ({
  protocol: Math.max(1, protocol),
  ...(instance === null ? {} : { workerInstance: instance }),
  ...(tools ?? { tools: [], definitions: [], slots: 0, held: [] }),
});

function turned(connection: Connection, event: ConnectionTurn): [Connection, ConnectionAction[]] {
  const before = stateOf(connection);
  if (!connection.state.can(event)) throw new Error(`a connection that is ${before} cannot take ${event.type}`);
  const [state, actions] = steps.next(connection.state, event);
  const notes = before === state.value ? [] : [changeNote(state.context, before, state.value, event)];
  return [{ ...connection, state }, [...asked(actions), ...notes]];
}

function helloAck({ workerId, policy, protocol, limits, announced }: ConnectionContext): HelloAckFrame {
  const two = protocol >= 2 ? { protocol_version: protocol, ack_interval_ms: limits.ackIntervalMs } : {};
  return { type: 'hello_ack', success: true, gpu_id: workerId, policy: policyFor(policy, announced), ...two };
}

/** C2. */
const isAble = ({ announced, loading }: ConnectionContext): boolean => !loading && !isPending(announced);

/** A config without a slot count keeps the one before it, and one without a model file likewise. */
const merged = (before: Announced | null, config: Announced): Announced => ({
  ...config,
  slots: config.slots > 0 ? config.slots : (before?.slots ?? 0),
  modelFile: config.modelFile ?? before?.modelFile ?? null,
});

// The names declared in setup(), with the params typed there.
const asked = (actions: readonly AskedAction[]): ConnectionAction[] => actions as ConnectionAction[];
