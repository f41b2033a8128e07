/**
 * What the front and a shard say to each other over a message port: plain data, one batch a tick in each direction.
 *
 * The front numbers its batches; the shard answers each with one `ShardOutput` of the same number, so that a batch whose
 * output never came back can be given to the shard's successor. Time and ids are in the inputs: a shard has none.
 */
import type { CodeName } from './codes.ts';
import type { Feature, Offered } from './features.ts';
import type { RouterTools } from './job-events.tools.ts';
import type { AnswerShape, JobEvent } from './job-events.ts';
import type { Cursor, Position } from './position.ts';
import type { PageAsked } from './responses-api.input-items.ts';
import type { ImagePart, JobMark } from './worker-frames.parts.ts';
import type { ToolDefinition, ToolJobFrame, ToolProgressFrame } from './worker-frames.tools.ts';

/** A job's or worker's hash slot, 0–255: the two hex digits after the prefix. The front maps slots to shards. */
export const slotOf = (id: string): number => {
  const dash = id.lastIndexOf('-') + 1;
  return Number.parseInt(id.slice(dash, dash + 2), 16) & 255;
};

const warming = 'warm:';
/** Names the job by which another worker gets ready to go on with this one (machines/job.moves.ts M2). */
export const warmingOf = (jobId: string): string => warming + jobId;
/** The job that the worker gets ready for; null: this is no such id. */
export const warmedBy = (id: string): string | null => (id.startsWith(warming) ? id.slice(warming.length) : null);

/** One entry of a job's log, read back and checked. */
export interface LoggedEntry {
  readonly epoch: number;
  /** Number, within the epoch, of the first event. */
  readonly sequence: number;
  readonly events: readonly JobEvent[];
}

/** Who writes the log: this instance and this boot of it. */
export interface Writer {
  readonly instance: string;
  readonly boot: string;
}

/**
 * How a caller wants the answer of a job that was asked for before: in the form in which it was asked for, in another, or
 * not at all, but only how the job stands.
 */
export interface Follow {
  /** What it has already. */
  readonly cursor: Cursor | null;
  readonly shape: 'asked' | 'streamed' | 'whole' | 'standing';
  /** False: it wants to know how the job stands, if it has not ended. */
  readonly waits: boolean;
}

/** A job's log as it stands; empty when there is none. */
export interface JobHistory {
  readonly jobId: string;
  readonly entries: readonly LoggedEntry[];
}

/** What somebody wants to know of a response that was asked for before, or wants done with it. */
export type Look = ResponseLook | CompletionLook;

export type ResponseLook =
  | { readonly what: 'response'; readonly jobId: string }
  | { readonly what: 'inputItems'; readonly jobId: string; readonly page: PageAsked }
  /** Its events behind number `after`; null for all. */
  | { readonly what: 'stream'; readonly jobId: string; readonly after: number | null }
  | { readonly what: 'cancel'; readonly jobId: string }
  /** `ended`: it was told to end before. */
  | { readonly what: 'delete'; readonly jobId: string; readonly ended?: true };

/** At a chat completion that was to be stored. */
export type CompletionLook =
  /** `metadata`: noted later, in place of what the request said. */
  | { readonly what: 'completion'; readonly jobId: string; readonly metadata?: Readonly<Record<string, string>> }
  | { readonly what: 'completionMessages'; readonly jobId: string; readonly page: PageAsked }
  | { readonly what: 'deleteCompletion'; readonly jobId: string };

export type LookOutcome =
  | {
      /** `remove`: its log goes first. */
      readonly do: 'answer' | 'remove';
      readonly status: number;
      readonly headers: Readonly<Record<string, string>>;
      readonly body: string;
    }
  | { readonly do: 'follow'; readonly cursor: Cursor | null }
  /** Its job is to end, and then it is looked at again. */
  | { readonly do: 'end' };

export type ShardInput =
  /** A caller's request; `body` is its raw bytes. */
  | {
      readonly kind: 'requestArrived';
      readonly at: number;
      readonly streamId: number;
      readonly jobId: string;
      readonly requestId: string;
      readonly writer: Writer;
      readonly api: AnswerShape['api'];
      readonly body: Uint8Array;
      readonly deadlineAt: number;
      /** Shown when the request names no model. */
      readonly modelDefault: string;
      /** What connected workers can do. */
      readonly offered?: Offered;
      /** Tools that the router offers the model beside the caller's. */
      readonly routerTools?: RouterTools;
      /** Tools that it offers when the request asks for them. */
      readonly hostedTools?: RouterTools;
      readonly idempotency?: string;
      /** Fields without effect are refused. */
      readonly strict?: boolean;
      /** How long the job goes on when its callers have gone, ms. */
      readonly keepMs?: number;
      /** Logs of the responses that the request names; absent until they have been read. */
      readonly histories?: readonly JobHistory[];
    }
  /** A stored response is asked for. */
  | {
      readonly kind: 'lookArrived';
      readonly lookId: string;
      readonly look: Look;
      readonly entries: readonly LoggedEntry[];
    }
  /** A caller asks how many tokens a conversation has; `body` is its raw bytes. */
  | {
      readonly kind: 'countArrived';
      readonly countId: string;
      readonly requestId: string;
      readonly api: 'anthropic.messages' | 'openai.responses';
      readonly body: Uint8Array;
      readonly histories?: readonly JobHistory[];
    }
  /**
   * The caller's connection is gone, or its answer ended. The job is named as well: a shard built anew was not told of
   * a stream whose caller had gone, and still has to end its job.
   */
  | {
      readonly kind: 'streamClosed';
      readonly at: number;
      readonly streamId: number;
      readonly jobId: string;
      /** It only wanted to know how the job stands: its leaving ends nothing. */
      readonly looked?: true;
    }
  /** A caller wants the answer of a job that was asked for before, by itself or another. */
  | {
      readonly kind: 'streamFollows';
      readonly streamId: number;
      readonly turn: number;
      readonly jobId: string;
      readonly follow: Follow;
    }
  /** Nothing was said for so long that the answer's head must go out now. */
  | { readonly kind: 'streamDue'; readonly at: number; readonly streamId: number }
  /**
   * The caller reads slowly: stop projecting. A stream's turns count how often it was taken up again, from 0: what was
   * said in an earlier turn, in either direction, is late, and nobody acts on it.
   */
  | { readonly kind: 'streamPaused'; readonly streamId: number; readonly turn: number }
  /** The caller has caught up: go on behind `sent`, the last position it was given, in this new turn. */
  | { readonly kind: 'streamWoken'; readonly streamId: number; readonly turn: number; readonly sent: Position }
  /** The log from where the stream stands; `last` when it reaches the point the stream asked for, or all that there is. */
  | {
      readonly kind: 'streamEntries';
      readonly streamId: number;
      readonly turn: number;
      readonly entries: readonly LoggedEntry[];
      readonly last: boolean;
    }
  /** A slot is free: the queue gives the job to a worker. */
  | {
      readonly kind: 'jobMatched';
      readonly at: number;
      readonly jobId: string;
      readonly workerId: string;
      readonly protocol: number;
      readonly workerInstance?: string;
      readonly modelFile?: string;
      readonly backend: string;
    }
  /** The worker that holds the job is about to leave. */
  | { readonly kind: 'jobLeaving'; readonly at: number; readonly jobId: string; readonly workerId: string }
  /**
   * Frames about a job, from the worker that holds it, in order: those of one tick together, one a line (a line break
   * in a frame is white space between its words, and has become a blank).
   */
  | {
      readonly kind: 'jobFrames';
      readonly at: number;
      readonly jobId: string;
      readonly workerId: string;
      readonly lines: string;
    }
  /** The worker that held the job is gone. */
  | {
      readonly kind: 'jobOrphaned';
      readonly at: number;
      readonly jobId: string;
      readonly workerId: string;
      readonly reason: 'worker_lost' | 'worker_silent';
    }
  /** A worker that has redialled holds the job still: may it go on with it? */
  | {
      readonly kind: 'jobClaimed';
      readonly at: number;
      readonly jobId: string;
      readonly workerId: string;
      readonly workerInstance: string;
      readonly protocol: number;
      readonly modelFile?: string;
      readonly attempt: number;
      readonly seq: number;
    }
  /** The same at another router, `boot`: would it get the job, were it dialled in here? */
  | {
      readonly kind: 'jobAsked';
      readonly at: number;
      readonly jobId: string;
      readonly boot: string;
      readonly workerId: string;
      readonly workerInstance: string;
      readonly protocol: number;
      readonly modelFile?: string;
      readonly attempt: number;
      readonly seq: number;
    }
  | {
      readonly kind: 'jobCancel';
      readonly at: number;
      readonly jobId: string;
      readonly reason: 'caller_gone' | 'requested' | 'shutdown';
    }
  /** Fail the job: the front or the store cannot go on with it. */
  | {
      readonly kind: 'jobFail';
      readonly at: number;
      readonly jobId: string;
      readonly code: string;
      readonly message: string;
    }
  /** Another writer holds the job, or its log is gone: forget it. */
  | { readonly kind: 'jobFenced'; readonly jobId: string }
  /** A worker's socket opened; `workerId` names the connection (32 hex digits). */
  | { readonly kind: 'workerOpened'; readonly at: number; readonly workerId: string; readonly remote: string }
  | { readonly kind: 'workerFrame'; readonly at: number; readonly workerId: string; readonly text: string }
  | {
      readonly kind: 'workerKeyChecked';
      readonly at: number;
      readonly workerId: string;
      readonly verdict: 'right' | 'wrong' | 'busy' | 'unconfigured';
    }
  /** All its claims are answered: the jobs that it goes on with. */
  | {
      readonly kind: 'workerClaimed';
      readonly at: number;
      readonly workerId: string;
      readonly jobs: readonly JobMark[];
    }
  /** The router stops: the worker is to finish what it has, and to dial another one. */
  | { readonly kind: 'workerDrained'; readonly at: number; readonly workerId: string }
  | { readonly kind: 'workerClosed'; readonly at: number; readonly workerId: string; readonly code: number }
  | { readonly kind: 'timerFired'; readonly at: number; readonly key: string }
  /** After a restart or the death of a shard: rebuild from the log. */
  | {
      readonly kind: 'jobRestored';
      readonly at: number;
      readonly jobId: string;
      /** Empty when the log cannot be read. */
      readonly entries: readonly LoggedEntry[];
      /**
       * The last entry opens our epoch. Inherited: the boot before us is gone, and so is whoever ran the job for it.
       * Offered: that boot gave the job away while nobody ran it.
       */
      readonly adopted?: 'inherited' | 'offered';
      /** The worker that the queue gave the job to (death of a shard). */
      readonly workerId?: string;
    }
  | {
      readonly kind: 'streamRestored';
      readonly streamId: number;
      readonly turn: number;
      readonly jobId: string;
      /** Position of the last bytes released to the caller; null before the first. */
      readonly sent: Position | null;
      /** Whether the answer's head is out. */
      readonly opened: boolean;
    }
  | { readonly kind: 'workerRestored'; readonly workerId: string; readonly snapshot: string }
  | ToolInput;

/** Calls of tools: of a job's round, or made by a caller directly. */
export type ToolInput =
  /** A tools worker has room for a call of this job. */
  | {
      readonly kind: 'toolMatched';
      readonly at: number;
      readonly jobId: string;
      readonly callId: string;
      readonly workerId: string;
      readonly workerInstance?: string;
    }
  /** A `tool_result`, as the worker that has the call wrote it. */
  | {
      readonly kind: 'toolAnswered';
      readonly at: number;
      readonly jobId: string;
      readonly callId: string;
      readonly workerId: string;
      readonly text: string;
    }
  /** The worker that had the call is gone, and was waited for. */
  | { readonly kind: 'toolLost'; readonly at: number; readonly jobId: string; readonly callId: string }
  /** Nobody can run the call. */
  | {
      readonly kind: 'toolRefused';
      readonly at: number;
      readonly jobId: string;
      readonly callId: string;
      readonly code: string;
      readonly message: string;
    }
  /** A `tool_result` for a caller that called the tool directly. */
  | { readonly kind: 'directAnswered'; readonly callId: string; readonly text: string }
  /** A `tool_progress` of a call that somebody waits for. */
  | { readonly kind: 'toolProgressed'; readonly callId: string; readonly text: string };

/**
 * Events of one job in one tick, to be appended as one piece, and what to do once they are acknowledged. Without any
 * event, what to do once all that the job said before is acknowledged.
 */
export interface Chunk {
  readonly jobId: string;
  readonly epoch: number;
  /** Number of the first event within the epoch. */
  readonly sequence: number;
  readonly count: number;
  /** The events as JSON, joined by commas, without brackets. */
  readonly events: string;
  /** Holds `job.submitted`: may create the log. */
  readonly creates: boolean;
  /** Holds `job.adopted`, which the front says itself. */
  readonly adopts?: true;
  /** Holds the terminal event. */
  readonly ends: boolean;
  readonly effects: readonly Effect[];
}

export type Effect =
  /** A whole answer at once. */
  | {
      readonly kind: 'respond';
      readonly streamId: number;
      readonly status: number;
      readonly headers: Readonly<Record<string, string>>;
      readonly body: string;
    }
  /** The job cannot be shown: an error in the envelope of the API that was called, or a cut connection. */
  | { readonly kind: 'refuse'; readonly streamId: number; readonly code: CodeName; readonly message: string }
  /** The head of a streamed answer. */
  | {
      readonly kind: 'open';
      readonly streamId: number;
      readonly status: number;
      readonly headers: Readonly<Record<string, string>>;
    }
  /** How far the stream's job is with its prompt, or with the tools of a round: shown while there is nothing else to say. */
  | {
      readonly kind: 'progress';
      readonly streamId: number;
      readonly what: 'prompt' | 'tools';
      readonly processed: number;
      readonly total: number;
    }
  /** The request goes on from these jobs: it is to come again with their logs. */
  | {
      readonly kind: 'readHistories';
      readonly input: Extract<ShardInput, { kind: 'requestArrived' | 'countArrived' }>;
      readonly jobIds: readonly string[];
    }
  | { readonly kind: 'looked'; readonly lookId: string; readonly outcome: LookOutcome }
  /** A chat completion is complete that was to be stored. */
  | { readonly kind: 'listCompletion'; readonly jobId: string }
  /** The request to count tokens is refused. */
  | { readonly kind: 'refuseCount'; readonly countId: string; readonly answer: CountRefusal }
  /** A worker is asked by `frame`; `estimate` is the answer when none can tell. */
  | {
      readonly kind: 'countTokens';
      readonly countId: string;
      readonly model: string;
      readonly frame: string;
      readonly estimate: number;
    }
  /** A worker has counted; null when it cannot. */
  | {
      readonly kind: 'tokensCounted';
      readonly workerId: string;
      readonly countId: string;
      readonly tokens: number | null;
    }
  /** Bytes of a streamed answer, as text; `position` of the last event they show. */
  | {
      readonly kind: 'write';
      readonly streamId: number;
      readonly turn: number;
      readonly text: string;
      readonly position: Position;
    }
  /** Nothing follows the bytes of `position`. */
  | { readonly kind: 'end'; readonly streamId: number; readonly turn: number; readonly position: Position }
  /** The stream waits for the log after `after`, up to event `until` of the job; null: up to its end, whoever writes it. */
  | {
      readonly kind: 'read';
      readonly streamId: number;
      readonly turn: number;
      readonly jobId: string;
      readonly after: Position;
      readonly until: Position | null;
    }
  | { readonly kind: 'sendFrame'; readonly workerId: string; readonly text: string }
  /** Token frames up to `seq` are in the log; the front sends these together, at intervals. */
  | {
      readonly kind: 'ackFrames';
      readonly workerId: string;
      readonly jobId: string;
      readonly attempt: number;
      readonly seq: number;
      /** The job's end is in the log, too: the worker forgets the job. */
      readonly ended?: true;
    }
  /** Ask the jobs that a redialled worker still holds; each answers by `claimAnswered`. */
  | {
      readonly kind: 'claimJobs';
      readonly workerId: string;
      readonly offer: WorkerOffer;
      readonly jobs: readonly JobMark[];
    }
  | {
      readonly kind: 'claimAnswered';
      readonly workerId: string;
      readonly jobId: string;
      /** Null: the worker has lost the job. */
      readonly mark: JobMark | null;
    }
  /** The answer to `jobAsked`. */
  | { readonly kind: 'askAnswered'; readonly jobId: string; readonly boot: string; readonly granted: boolean }
  /** The worker has the job again, and a slot of it is taken. */
  | { readonly kind: 'takeBack'; readonly jobId: string; readonly workerId: string }
  | { readonly kind: 'closeWorker'; readonly workerId: string; readonly code: number; readonly reason: string }
  | { readonly kind: 'checkKey'; readonly workerId: string; readonly role: 'admin' | 'tools'; readonly key: string }
  /** What the front keeps so that the connection's machine can be rebuilt. */
  | { readonly kind: 'keepWorker'; readonly workerId: string; readonly snapshot: string }
  /** The worker may get jobs (first time, or with other slots). */
  | { readonly kind: 'offerWorker'; readonly workerId: string; readonly offer: WorkerOffer }
  /** The worker may not get jobs any more; those it has go on unless the socket is gone. */
  | { readonly kind: 'withdrawWorker'; readonly workerId: string }
  /** The worker is about to leave: each of its jobs is told. */
  | { readonly kind: 'moveJobs'; readonly workerId: string }
  | {
      readonly kind: 'enqueueJob';
      readonly jobId: string;
      readonly model: string;
      readonly priority: number;
      /** Has been queued before: goes before new jobs of its priority. */
      readonly again: boolean;
      /** Something was said already: only a worker that can be told so may have it (version 2). */
      readonly continues?: boolean;
      /** A worker with this model file goes on exactly, so it is preferred. */
      readonly modelFile?: string;
      /** Only a worker that offers all of these may have it. */
      readonly needs?: readonly Feature[];
      /** This worker, if it is free when the job's turn comes: its cache holds the conversation. */
      readonly prefers?: string;
      /** Not given to a worker before; the one that had it may come back until then. */
      readonly notBeforeAt?: number;
    }
  | { readonly kind: 'dequeueJob'; readonly jobId: string }
  /** The job's slot on the worker is free. */
  | { readonly kind: 'freeSlot'; readonly jobId: string; readonly workerId: string }
  | { readonly kind: 'armTimer'; readonly key: string; readonly at: number }
  | { readonly kind: 'disarmTimer'; readonly key: string }
  /** A call of a tool waits for a worker. */
  | {
      readonly kind: 'callTool';
      readonly jobId: string;
      readonly callId: string;
      readonly name: string;
      /** The process that may have begun it: it alone is asked again, unless the tool is idempotent. */
      readonly sentTo: string | null;
      readonly idempotent: boolean;
    }
  /** Secrets are added by the front. */
  | { readonly kind: 'sendTool'; readonly workerId: string; readonly frame: ToolJobFrame }
  /** The call is over; without `thanks` its worker is to stop, if it has one. */
  | { readonly kind: 'endTool'; readonly callId: string; readonly thanks: boolean }
  /** The result of a call that was made directly. */
  | { readonly kind: 'toolResulted'; readonly callId: string; readonly outcome: ToolOutcome }
  | { readonly kind: 'toolProgressed'; readonly callId: string; readonly frame: ToolProgressFrame }
  | { readonly kind: 'offerTools'; readonly workerId: string; readonly offer: ToolsOffer }
  | { readonly kind: 'withdrawTools'; readonly workerId: string }
  /** The job has ended: the front forgets it. */
  | { readonly kind: 'retireJob'; readonly jobId: string }
  | {
      readonly kind: 'note';
      readonly level: 'debug' | 'info' | 'warn' | 'error';
      readonly message: string;
      readonly fields: Readonly<Record<string, string | number | boolean>>;
    };

export interface CountRefusal {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

/** What a worker offers to the queue. */
export interface WorkerOffer {
  readonly slots: number;
  readonly model: string;
  readonly backend: string;
  readonly contextSize: number;
  readonly protocol: number;
  readonly workerInstance?: string;
  readonly modelFile?: string;
  readonly features?: readonly Feature[];
}

/** What a tools worker offers. */
export interface ToolsOffer {
  readonly protocol: number;
  readonly workerInstance?: string;
  readonly tools: readonly string[];
  readonly definitions: readonly ToolDefinition[];
  /** Calls that it runs at the same time. */
  readonly slots: number;
  /** Of one that dials in again: calls that it runs, or whose results it keeps. */
  readonly held: readonly string[];
}

/** What came of a call: `error` wins. */
export interface ToolOutcome {
  /** JSON text. */
  readonly result: string;
  readonly images: readonly ImagePart[];
  readonly error?: string;
  readonly code?: string;
}

export interface ShardBatch {
  readonly n: number;
  readonly inputs: readonly ShardInput[];
}

export interface ShardOutput {
  readonly n: number;
  readonly chunks: readonly Chunk[];
  /** What depends on no event. */
  readonly effects: readonly Effect[];
}

/** To a shard. `stop` asks it to end after what it has. */
export type ToShard = ShardBatch | { readonly stop: true };
