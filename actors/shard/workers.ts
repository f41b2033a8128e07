/** The worker connections of a shard: inputs become commands, actions become effects. */

import { type ConnectionCommand, obey } from '../../machines/connection.decide.ts';
import {
  type ConnectionAction,
  type ConnectionLimits,
  connectionLimits,
  type TimerName,
} from '../../machines/connection.events.ts';
import { restoreConnection, saveConnection } from '../../machines/connection.snapshot.ts';
import { type Connection, isClosed, open } from '../../machines/connection.ts';
import { type Patience, patienceDefault } from '../../machines/job.losses.ts';
import type { Effect, ShardInput } from '../../protocol/shard-messages.ts';
import type { Policy } from '../../protocol/worker-frames.parts.ts';
import { parseWorkerFrame, serialiseFrame } from '../../protocol/worker-frames.ts';

/** What every connection is held to. */
export interface WorkerRules {
  readonly policy: Policy;
  /** What tools workers may run, on their side too; empty: everything. */
  readonly toolsAllowed: readonly string[];
  readonly limits: ConnectionLimits;
  readonly patience: Patience;
}

/** The usual limits. A draining worker may take `drainMs` to finish: as long as a job may last. */
export const workerRules = (
  policy: Policy,
  drainMs: number,
  patience: Partial<Patience> = {},
  toolsAllowed: readonly string[] = [],
): WorkerRules => ({
  policy,
  toolsAllowed,
  patience: { ...patienceDefault, ...patience },
  limits: { ...connectionLimits, drainMs },
});

type WorkerInput = Extract<
  ShardInput,
  {
    kind:
      | 'workerOpened'
      | 'workerFrame'
      | 'workerKeyChecked'
      | 'workerClaimed'
      | 'workerDrained'
      | 'workerClosed'
      | 'workerRestored'
      | 'timerFired';
  }
>;

export class Workers {
  readonly #rules: WorkerRules;
  readonly #out: (effect: Effect) => void;
  readonly #connections = new Map<string, Connection>();

  constructor(rules: WorkerRules, out: (effect: Effect) => void) {
    this.#rules = rules;
    this.#out = out;
  }

  get size(): number {
    return this.#connections.size;
  }

  take(input: WorkerInput): void {
    switch (input.kind) {
      case 'workerOpened': {
        const { at, workerId, remote } = input;
        const [connection, actions] = open({ type: 'connection.opened', at, workerId, remote, ...this.#rules });
        return this.#keep(workerId, null, connection, actions);
      }
      case 'workerFrame': {
        const { at, workerId, text } = input;
        const parsed = parseWorkerFrame(text);
        if (parsed.ok) return this.#obey(workerId, { type: 'receiveFrame', at, frame: parsed.frame });
        return this.#obey(workerId, { type: 'receiveBroken', at, kind: parsed.kind, message: parsed.message });
      }
      case 'workerKeyChecked':
        return this.#obey(input.workerId, { type: 'judgeKey', at: input.at, verdict: input.verdict });
      case 'workerClaimed':
        return this.#obey(input.workerId, { type: 'answerClaims', at: input.at, jobs: input.jobs });
      case 'workerDrained':
        return this.#obey(input.workerId, { type: 'beginDrain', at: input.at });
      case 'workerClosed':
        // It closed while its shard was dead: its machine is not there to call off what it waited for.
        if (!this.#connections.has(input.workerId))
          for (const name of timerNames) this.#out({ kind: 'disarmTimer', key: `worker:${input.workerId}:${name}` });
        return this.#obey(input.workerId, { type: 'loseSocket', at: input.at, code: input.code });
      case 'workerRestored':
        this.#connections.set(input.workerId, restoreConnection(input.snapshot));
        return;
      case 'timerFired': {
        const [, workerId = '', name = ''] = input.key.split(':');
        if (isTimer(name)) this.#obey(workerId, { type: 'passTimer', at: input.at, name });
        return;
      }
    }
  }

  #obey(workerId: string, command: ConnectionCommand): void {
    const before = this.#connections.get(workerId);
    // Closed and forgotten: what still comes from it is late.
    if (before === undefined) return;
    const { connection, actions } = obey(before, command);
    this.#keep(workerId, before, connection, actions);
  }

  #keep(
    workerId: string,
    before: Connection | null,
    connection: Connection,
    actions: readonly ConnectionAction[],
  ): void {
    if (isClosed(connection)) this.#connections.delete(workerId);
    else {
      this.#connections.set(workerId, connection);
      if (before?.state !== connection.state)
        this.#out({ kind: 'keepWorker', workerId, snapshot: saveConnection(connection) });
    }
    for (const action of actions) this.#out(effectOf(workerId, action));
  }
}

function effectOf(workerId: string, { type, params }: ConnectionAction): Effect {
  switch (type) {
    case 'sendFrame':
      return { kind: 'sendFrame', workerId, text: serialiseFrame(params.frame) };
    case 'closeWorker':
      return { kind: 'closeWorker', workerId, code: params.code, reason: params.reason };
    case 'checkKey':
      return { kind: 'checkKey', workerId, role: params.role, key: params.key };
    case 'reportCount':
      return { kind: 'tokensCounted', workerId, countId: params.countId, tokens: params.tokens };
    case 'claimJobs':
      return { kind: 'claimJobs', workerId, offer: params.offer, jobs: params.jobs };
    case 'offerWorker':
      return { kind: 'offerWorker', workerId, offer: params.offer };
    case 'withdrawWorker':
      return { kind: 'withdrawWorker', workerId };
    case 'moveJobs':
      return { kind: 'moveJobs', workerId };
    case 'offerTools':
      return { kind: 'offerTools', workerId, offer: params.offer };
    case 'withdrawTools':
      return { kind: 'withdrawTools', workerId };
    case 'armTimer':
      return { kind: 'armTimer', key: `worker:${workerId}:${params.name}`, at: params.at };
    case 'disarmTimer':
      return { kind: 'disarmTimer', key: `worker:${workerId}:${params.name}` };
    case 'note':
      return { kind: 'note', level: params.level, message: params.message, fields: { workerId, ...params.fields } };
  }
}

const timerNames: ReadonlySet<string> = new Set<TimerName>(['hello', 'key', 'claim', 'settle', 'drain']);
const isTimer = (name: string): name is TimerName => timerNames.has(name);
