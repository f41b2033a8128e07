/**
 * What happens to a worker's connection (events), what its machine keeps and asks for (context, actions), and the
 * limits it lives by. Not logged: data of the same style as job events, so that it can be tested and moved the same way.
 */
import type { Feature } from '../protocol/features.ts';
import type { ToolsOffer, WorkerOffer } from '../protocol/shard-messages.ts';
import type { JobMark, Policy } from '../protocol/worker-frames.parts.ts';
import type { RouterFrame, StatusFrame } from '../protocol/worker-frames.ts';

export interface ConnectionLimits {
  /** From the open socket to the hello. */
  readonly helloMs: number;
  /** From the hello to the verdict on its key: longer than a full queue of Argon2 runs. */
  readonly keyMs: number;
  /** How long a worker of version 1 may take to send `config` before it gets jobs without (spec/worker-protocol §9.1). */
  readonly settleMs: number;
  /** How long a draining worker may finish its jobs: no job lasts longer. */
  readonly drainMs: number;
  /** Most slots that a worker is given, whatever it announces. */
  readonly slotsMax: number;
  /** How long the jobs that a worker still holds may take to answer: as long as the log may take to be written. */
  readonly claimMs: number;
  /** How often, at most, `ack` is sent to a worker of version 2. */
  readonly ackIntervalMs: number;
}

export const connectionLimits: ConnectionLimits = {
  helloMs: 10_000,
  keyMs: 15_000,
  settleMs: 100,
  drainMs: 300_000,
  slotsMax: 1_024,
  claimMs: 10_000,
  ackIntervalMs: 100,
};

export type TimerName = 'hello' | 'key' | 'claim' | 'settle' | 'drain';
export type KeyRole = 'admin' | 'tools';

/** What the worker said about itself, cut to bounded lengths. */
export interface Announced {
  readonly backend: string;
  readonly model: string;
  readonly contextSize: number;
  /** 0: it did not say. */
  readonly slots: number;
  readonly modelFile: string | null;
  readonly features: readonly Feature[];
}

/** What a tools worker said of its tools, cut likewise. */
export type ToolsAnnounced = Pick<ToolsOffer, 'tools' | 'definitions' | 'slots' | 'held'>;

export interface ConnectionContext {
  readonly workerId: string;
  readonly remote: string;
  readonly openedAt: number;
  readonly limits: ConnectionLimits;
  readonly policy: Policy;
  /** What a tools worker may run; empty: everything. */
  readonly toolsAllowed: readonly string[];
  readonly role: KeyRole;
  /** Agreed version of the worker protocol; 0 before the hello. */
  readonly protocol: number;
  readonly instance: string | null;
  readonly announced: Announced | null;
  /** A config that came before the verdict on the key. */
  readonly held: Announced | null;
  /** Jobs that it held when it dialled in, until they are claimed. */
  readonly claims: readonly JobMark[];
  /** Of a tools worker. */
  readonly tools: ToolsAnnounced | null;
  /** It says that its model is not loaded. */
  readonly loading: boolean;
  /** Instant of the last event that changed the state: deadlines count from it. */
  readonly changedAt: number;
}

export type KeyVerdict = 'right' | 'wrong' | 'busy' | 'unconfigured';

/** The state of a long task, as the worker last reported it. */
export type WorkerStatus = Omit<StatusFrame, 'type'>;

/** Events that may change the state. */
export type ConnectionTurn =
  | {
      readonly type: 'hello.received';
      readonly at: number;
      readonly role: KeyRole;
      readonly key: string;
      readonly protocol: number;
      readonly instance: string | null;
      readonly announced: Announced;
      readonly loading: boolean;
      readonly claims: readonly JobMark[];
      readonly tools: ToolsAnnounced | null;
    }
  /** The tools of a tools worker are these from now on. */
  | { readonly type: 'tools.changed'; readonly at: number; readonly tools: ToolsAnnounced }
  /** Its claims are answered: these it goes on with. */
  | { readonly type: 'claims.answered'; readonly at: number; readonly jobs: readonly JobMark[] }
  /** It came before the verdict on the key and is obeyed after it. */
  | { readonly type: 'config.held'; readonly at: number; readonly announced: Announced }
  | { readonly type: 'config.received'; readonly at: number; readonly announced: Announced }
  | { readonly type: 'key.accepted'; readonly at: number }
  | { readonly type: 'key.refused'; readonly at: number; readonly verdict: Exclude<KeyVerdict, 'right'> }
  | { readonly type: 'worker.settled'; readonly at: number }
  | { readonly type: 'worker.unreadied'; readonly at: number }
  | { readonly type: 'worker.readied'; readonly at: number }
  | { readonly type: 'drain.began'; readonly at: number; readonly by: 'worker' | 'router' }
  /** We close it. */
  | { readonly type: 'connection.refused'; readonly at: number; readonly code: number; readonly reason: string }
  /** It is gone. */
  | { readonly type: 'connection.closed'; readonly at: number; readonly code: number };

export type ConnectionEvent =
  | ConnectionTurn
  | { readonly type: 'heartbeat.received'; readonly at: number }
  /** An answer to `count_tokens`; null when the worker cannot tell. */
  | { readonly type: 'count.received'; readonly at: number; readonly countId: string; readonly tokens: number | null }
  | { readonly type: 'status.received'; readonly at: number; readonly status: WorkerStatus }
  | { readonly type: 'model.differed'; readonly at: number; readonly announced: string; readonly wanted: string }
  | { readonly type: 'frame.ignored'; readonly at: number; readonly frame: string; readonly why: string }
  /** It broke its own shape; from an old peer that is dropped and counted. */
  | { readonly type: 'frame.broken'; readonly at: number; readonly message: string };

export interface ConnectionOpened {
  readonly type: 'connection.opened';
  readonly at: number;
  readonly workerId: string;
  readonly remote: string;
  readonly policy: Policy;
  readonly toolsAllowed?: readonly string[];
  readonly limits: ConnectionLimits;
}

/** What the machine asks for, as data; the shard does it by `type`. `workerId` is the connection's own. */
export type ConnectionAction =
  | { readonly type: 'sendFrame'; readonly params: { readonly frame: RouterFrame } }
  | { readonly type: 'closeWorker'; readonly params: { readonly code: number; readonly reason: string } }
  | { readonly type: 'checkKey'; readonly params: { readonly role: KeyRole; readonly key: string } }
  | { readonly type: 'reportCount'; readonly params: { readonly countId: string; readonly tokens: number | null } }
  | {
      readonly type: 'claimJobs';
      readonly params: { readonly offer: WorkerOffer; readonly jobs: readonly JobMark[] };
    }
  | { readonly type: 'offerWorker'; readonly params: { readonly offer: WorkerOffer } }
  | { readonly type: 'withdrawWorker'; readonly params: Readonly<Record<string, never>> }
  /** It is about to leave: its jobs may go on elsewhere. */
  | { readonly type: 'moveJobs'; readonly params: Readonly<Record<string, never>> }
  | { readonly type: 'offerTools'; readonly params: { readonly offer: ToolsOffer } }
  | { readonly type: 'withdrawTools'; readonly params: Readonly<Record<string, never>> }
  | { readonly type: 'armTimer'; readonly params: { readonly name: TimerName; readonly at: number } }
  | { readonly type: 'disarmTimer'; readonly params: { readonly name: TimerName } }
  | {
      readonly type: 'note';
      readonly params: {
        readonly level: 'debug' | 'info' | 'warn';
        readonly message: string;
        readonly fields: Readonly<Record<string, string | number | boolean>>;
      };
    };
