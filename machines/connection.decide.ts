/**
 * What may happen to a worker's connection next: commands in, events or a refusal out. The only place that says no.
 *
 * Frames arrive here parsed. What a peer of version 1 sends in a broken or unknown form after the handshake is dropped
 * and counted, as the reference does; a peer of version 2 has promised better and is closed. Frames about jobs go to the
 * jobs: one that comes here belongs to no job that this worker holds.
 */
import { closeCodes } from '../protocol/codes.ts';
import { featuresIn } from '../protocol/features.ts';
import type { JobMark } from '../protocol/worker-frames.parts.ts';
import type { ToolsCapabilities } from '../protocol/worker-frames.tools.ts';
import {
  agreedVersion,
  type ConfigFrame,
  type HelloFrame,
  type StatusFrame,
  type WorkerFrame,
} from '../protocol/worker-frames.ts';
import type {
  Announced,
  ConnectionAction,
  ConnectionEvent,
  KeyVerdict,
  TimerName,
  ToolsAnnounced,
} from './connection.events.ts';
import { type Connection, evolve, isClosed, stateOf } from './connection.ts';
import { differs, isPending } from './worker-policy.ts';

export type ConnectionCommand =
  | { readonly type: 'receiveFrame'; readonly at: number; readonly frame: WorkerFrame }
  /** It could not be read: as parseWorkerFrame says, or longer than this peer may send. */
  | {
      readonly type: 'receiveBroken';
      readonly at: number;
      readonly kind: 'json' | 'type' | 'shape' | 'tooLarge';
      readonly message: string;
    }
  | { readonly type: 'judgeKey'; readonly at: number; readonly verdict: KeyVerdict }
  /** The jobs that it goes on with. */
  | { readonly type: 'answerClaims'; readonly at: number; readonly jobs: readonly JobMark[] }
  | { readonly type: 'passTimer'; readonly at: number; readonly name: TimerName }
  /** The front has heard nothing from the peer for too long. */
  | { readonly type: 'declareSilent'; readonly at: number }
  | { readonly type: 'beginDrain'; readonly at: number }
  /** The socket is gone. */
  | { readonly type: 'loseSocket'; readonly at: number; readonly code: number };

export type ConnectionRefusal = { readonly code: 'closed' | 'not_checking' | 'not_claiming' | 'stale_timer' };
export type ConnectionDecision =
  | { readonly ok: true; readonly events: readonly ConnectionEvent[] }
  | { readonly ok: false; readonly refusal: ConnectionRefusal };

const no = (code: ConnectionRefusal['code']): ConnectionDecision => ({ ok: false, refusal: { code } });
const yes = (...events: readonly ConnectionEvent[]): ConnectionDecision => ({ ok: true, events });

export function decide(connection: Connection, command: ConnectionCommand): ConnectionDecision {
  if (isClosed(connection)) return no('closed');
  const { at } = command;
  switch (command.type) {
    case 'receiveFrame':
      return yes(...received(connection, command.frame, at));
    case 'receiveBroken':
      return yes(brokenFrame(connection, command));
    case 'judgeKey':
      return stateOf(connection) === 'checkingKey'
        ? yes(...judged(connection, command.verdict, at))
        : no('not_checking');
    case 'answerClaims':
      return stateOf(connection) === 'claiming'
        ? yes({ type: 'claims.answered', at, jobs: command.jobs }, ...heldConfig(connection, at))
        : no('not_claiming');
    case 'passTimer': {
      const event = passed(connection, command.name, at);
      return event === null ? no('stale_timer') : yes(event);
    }
    case 'declareSilent':
      return yes(close(at, closeCodes.silent, 'nothing was heard from the worker'));
    case 'beginDrain':
      return drained(connection, at);
    case 'loseSocket':
      return yes({ type: 'connection.closed', at, code: command.code });
  }
}

/** Decides and applies: the connection after, what to do, and the refusal if there was one. */
export function obey(
  connection: Connection,
  command: ConnectionCommand,
): {
  readonly connection: Connection;
  readonly actions: readonly ConnectionAction[];
  readonly refusal: ConnectionRefusal | null;
} {
  const decision = decide(connection, command);
  if (!decision.ok) return { connection, actions: [], refusal: decision.refusal };
  const actions: ConnectionAction[] = [];
  let next = connection;
  for (const event of decision.events) {
    const [after, asked] = evolve(next, event);
    next = after;
    actions.push(...asked);
  }
  return { connection: next, actions, refusal: null };
}

function received(connection: Connection, frame: WorkerFrame, at: number): ConnectionEvent[] {
  const state = stateOf(connection);
  if (state === 'awaitingHello') {
    return frame.type === 'hello'
      ? [helloReceived(frame, at)]
      : [close(at, closeCodes.notHello, 'the first frame must be hello')];
  }
  if (state === 'checkingKey' || state === 'claiming') {
    return frame.type === 'config'
      ? [{ type: 'config.held', at, announced: announcedIn(frame) }]
      : [{ type: 'frame.ignored', at, frame: frame.type, why: 'it is not greeted yet' }];
  }
  switch (frame.type) {
    case 'heartbeat':
      return [{ type: 'heartbeat.received', at }];
    case 'config':
      if (state === 'serving') return [{ type: 'frame.ignored', at, frame: frame.type, why: 'it serves tools' }];
      return configured(connection, announcedIn(frame), at);
    case 'status':
      return reported(connection, frame, at);
    case 'token_count': {
      const { count_id: countId, input_tokens: tokens = null } = frame;
      return [{ type: 'count.received', at, countId: short(countId), tokens }];
    }
    case 'tools_changed':
      if (state === 'serving') return [{ type: 'tools.changed', at, tools: toolsIn(frame.tools_capabilities, []) }];
      return [{ type: 'frame.ignored', at, frame: frame.type, why: 'it is not serving tools' }];
    case 'hello':
      return [{ type: 'frame.ignored', at, frame: frame.type, why: 'said before' }];
    default:
      return [{ type: 'frame.ignored', at, frame: frame.type, why: 'about no job that this worker holds' }];
  }
}

function helloReceived(frame: HelloFrame, at: number): ConnectionEvent {
  const protocol = agreedVersion(frame.protocol_version);
  const two = protocol >= 2;
  const tools = frame.worker_type === 'tools';
  return {
    type: 'hello.received',
    at,
    role: tools ? 'tools' : 'admin',
    key: frame.gpu_key,
    protocol,
    instance: two && frame.instance_id !== undefined && frame.instance_id !== '' ? short(frame.instance_id) : null,
    announced: announcedIn(frame),
    loading: two && frame.ready === false,
    claims: two && !tools && frame.instance_id !== undefined ? (frame.jobs ?? []).slice(0, claimsMax) : [],
    tools: tools ? toolsIn(frame.tools_capabilities, two ? (frame.tool_jobs ?? []) : []) : null,
  };
}

function judged(connection: Connection, verdict: KeyVerdict, at: number): ConnectionEvent[] {
  const { role, held, announced } = connection.state.context;
  if (verdict !== 'right') return [{ type: 'key.refused', at, verdict }];
  const accepted = { type: 'key.accepted', at } as const;
  if (role === 'tools') return [accepted];
  if (connection.state.context.claims.length > 0) return [accepted];
  if (held !== null) return [accepted, ...configured(connection, held, at)];
  return announced === null ? [accepted] : [accepted, ...modelChecked(connection, announced, at)];
}

function heldConfig(connection: Connection, at: number): ConnectionEvent[] {
  const { held } = connection.state.context;
  return held === null ? [] : configured(connection, held, at);
}

function configured(connection: Connection, announced: Announced, at: number): ConnectionEvent[] {
  return [{ type: 'config.received', at, announced }, ...modelChecked(connection, announced, at)];
}

/** Weakness S9: a worker with another model than the policy's serves under its own name, and people are told. */
function modelChecked(connection: Connection, announced: Announced, at: number): ConnectionEvent[] {
  const { policy } = connection.state.context;
  if (isPending(announced) || !differs(announced.model, policy)) return [];
  return [{ type: 'model.differed', at, announced: announced.model, wanted: policy.model_name }];
}

function reported(connection: Connection, frame: StatusFrame, at: number): ConnectionEvent[] {
  const { state, progress, message } = frame;
  const status = {
    state,
    ...(progress === undefined ? {} : { progress }),
    ...(message === undefined ? {} : { message: short(message) }),
  };
  const events: ConnectionEvent[] = [{ type: 'status.received', at, status }];
  if (stateOf(connection) === 'draining') return events;
  if (stateOf(connection) === 'serving')
    return state === 'draining' ? [...events, { type: 'drain.began', at, by: 'worker' }] : events;
  const { loading } = connection.state.context;
  if (state === 'draining') events.push({ type: 'drain.began', at, by: 'worker' });
  else if (state === 'ready' && loading) events.push({ type: 'worker.readied', at });
  else if (state !== 'ready' && !loading) events.push({ type: 'worker.unreadied', at });
  return events;
}

function brokenFrame(
  connection: Connection,
  { at, kind, message }: Extract<ConnectionCommand, { type: 'receiveBroken' }>,
): ConnectionEvent {
  // A JSON error quotes the text around it, and in a hello that may be the key (C4).
  const reason = kind === 'json' ? 'the frame is not one JSON value' : printable(message);
  const state = stateOf(connection);
  if (kind === 'tooLarge') {
    return state === 'awaitingHello' || state === 'checkingKey'
      ? close(at, closeCodes.helloTooLarge, 'too much was sent before the key was checked')
      : close(at, closeCodes.messageTooBig, 'the frame is too large');
  }
  if (state === 'awaitingHello') {
    return kind === 'type'
      ? close(at, closeCodes.notHello, 'the first frame must be hello')
      : close(at, closeCodes.badFrame, 'the first frame must be a well-formed hello');
  }
  if (kind === 'type') return { type: 'frame.ignored', at, frame: 'unknown', why: reason };
  return connection.state.context.protocol >= 2
    ? close(at, closeCodes.badFrame, reason)
    : { type: 'frame.broken', at, message: reason };
}

function passed(connection: Connection, name: TimerName, at: number): ConnectionEvent | null {
  const state = stateOf(connection);
  switch (name) {
    case 'hello':
      return state === 'awaitingHello' ? close(at, closeCodes.helloTimeout, 'no hello came in time') : null;
    case 'key':
      return state === 'checkingKey' ? { type: 'key.refused', at, verdict: 'busy' } : null;
    case 'claim':
      return state === 'claiming'
        ? close(at, closeCodes.tooManyConnections, 'the log is slow: try again in a few seconds')
        : null;
    case 'settle':
      return state === 'settling' ? { type: 'worker.settled', at } : null;
    case 'drain':
      return state === 'draining' ? close(at, closeCodes.goingAway, 'the time to finish jobs is over') : null;
  }
}

function drained(connection: Connection, at: number): ConnectionDecision {
  switch (stateOf(connection)) {
    case 'awaitingHello':
    case 'checkingKey':
    case 'claiming':
      return yes(close(at, closeCodes.goingAway, 'the router is shutting down'));
    case 'draining':
      return yes();
    default:
      return yes({ type: 'drain.began', at, by: 'router' });
  }
}

const close = (at: number, code: number, reason: string): ConnectionEvent => ({
  type: 'connection.refused',
  at,
  code,
  reason,
});

function announcedIn({ capabilities, model_file: modelFile, features }: HelloFrame | ConfigFrame): Announced {
  const { backend, model, ctx_size: contextSize, total_slots: slots = 0 } = capabilities;
  return {
    backend: short(backend),
    model: short(model),
    contextSize: Math.max(0, contextSize),
    slots: Math.max(0, slots),
    modelFile: modelFile === undefined || modelFile === '' ? null : short(modelFile),
    // A worker of version 1 knows one of these, by another word and in another place.
    features: featuresIn(features ?? (capabilities.model_capabilities?.includes('vision') ? ['images'] : [])),
  };
}

/** A worker of version 1 does not say how many calls it can take, and takes all. */
const toolSlotsDefault = 64;
const toolsMax = 1024;

function toolsIn(capabilities: ToolsCapabilities | undefined, held: readonly string[]): ToolsAnnounced {
  const { tools = [], definitions = [], slots = 0 } = capabilities ?? {};
  const names = new Set(tools.slice(0, toolsMax).filter(name => name !== '' && name.length <= 256));
  return {
    tools: [...names],
    definitions: definitions.filter(({ name }) => names.has(name)),
    slots: slots > 0 ? Math.min(slots, toolsMax) : toolSlotsDefault,
    held: held.slice(0, claimsMax),
  };
}

/** A peer's words are kept for as long as it is connected, so their length has a bound. */
const short = (text: string): string => (text.length <= 256 ? text : text.slice(0, 256));

/** More jobs than a worker has slots and finished answers. */
const claimsMax = 4096;

/** A close reason has room for 123 bytes: plain characters, so that their number is their length. */
const printable = (text: string): string => text.replace(/[^ -~]/g, '?').slice(0, 120);
