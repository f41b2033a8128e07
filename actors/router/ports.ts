/**
 * What the front needs of the world. Sockets, threads, the store and the clock stand behind these, so that the whole
 * router also runs in one process under a stepped clock.
 */

import type { CodeName } from '../../protocol/codes.ts';
import type { JobEvent } from '../../protocol/job-events.ts';
import type { Position } from '../../protocol/position.ts';
import type { ShardOutput, ToShard } from '../../protocol/shard-messages.ts';
import type { Letter } from '../log/inbox.ts';
import type { Append, AppendResult, LogEntry } from '../log/job-log.ts';

export interface Clock {
  /** Epoch ms. */
  now(): number;
  /** Calls `fire` once after `ms`; the returned function takes it back. */
  after(ms: number, fire: () => void): () => void;
  /** Calls `run` when what arrived together has been taken in: the end of a tick. */
  defer(run: () => void): void;
}

/** A caller's connection, as far as one answer goes. */
export interface CallerPort {
  respond(status: number, headers: Readonly<Record<string, string>>, body: string): void;
  /** An error as a whole answer, in the envelope of the API that was called. */
  refuse(code: CodeName, message: string): void;
  open(status: number, headers: Readonly<Record<string, string>>): void;
  write(text: string): void;
  end(): void;
  /** Cuts the connection: nothing true can be said any more. */
  destroy(): void;
  /** What a streamed answer says when nothing was said for a while; a comment where this is absent. */
  readonly keepAlive?: string;
  /** Bytes accepted but not yet taken by the network. */
  readonly bufferedBytes: number;
}

/** A worker's socket. */
export interface WorkerPort {
  send(text: string): void;
  ping(): void;
  close(code: number, reason: string): void;
  /** Drops the connection without a handshake. */
  terminate(): void;
  pause(): void;
  resume(): void;
  /** Its key is right: limits for strangers no longer hold. */
  trust(): void;
  readonly bufferedBytes: number;
}

/** One shard, in a thread or not. */
export interface ShardPort {
  post(message: ToShard): void;
}

/** Starts shards. `dead` is called once when one ends, for whatever reason. */
export interface ShardHost {
  readonly count: number;
  start(index: number, heard: (output: ShardOutput) => void, dead: (reason: string) => void): ShardPort;
  /** Ends one that does not answer; `dead` follows. */
  kill(index: number): void;
  /** Ends all shards; resolves when they have ended. */
  stop(): Promise<void>;
}

/** The part of the job log that the front uses. */
export interface LogPort {
  append(batch: readonly Append[]): Promise<readonly AppendResult[]>;
  read(jobId: string, after?: Position, limit?: number): Promise<readonly LogEntry[]>;
  /** Jobs that have not ended; `isWanted` is asked about the boots that write them. */
  openJobs(isWanted?: (boot: string) => boolean): Promise<readonly string[]>;
  /** Forgets a log whose job has ended. */
  remove(jobId: string): Promise<void>;
  /** Another boot has the job. */
  letGo(jobId: string, unclaimed?: boolean): void;
}

/** A job that waits at one router and may be run by any. */
export interface Offer {
  readonly jobId: string;
  /** In which its router writes it: whoever else takes it opens the next one. */
  readonly epoch: number;
  readonly boot: string;
  readonly line: OfferLine;
  readonly id: string;
}

/** Something was said of it already; it was queued before; it is new. In this order they are served. */
export type OfferLine = 'begun' | 'again' | 'new';

/** What routers that share one store do with each other through it. Every promise may reject: the store is in trouble. */
export interface ClusterPort extends TailPort {
  /** Returns the id of the offer. */
  offer(jobId: string, epoch: number, line: OfferLine): Promise<string>;
  /** Offers that nobody was given yet. Each is ours until it is done with, or until we are gone. */
  take(count: number, lines: readonly OfferLine[]): Promise<readonly Offer[]>;
  done(offer: Pick<Offer, 'line' | 'id'>): Promise<void>;
  /** Offers that were given to boots that are gone. */
  inherit(isGone: (boot: string) => boolean): Promise<readonly Offer[]>;
  /** Calls `heard` when there may be offers, until the returned function is called. */
  onOffers(heard: () => void): () => void;
  tell(boot: string, letter: Letter): Promise<void>;
  onLetters(heard: (letter: Letter) => void): () => void;
  /** The boot that writes the job's log; null when the job has ended or is not there. */
  ownerOf(jobId: string): Promise<string | null>;
  /** Keeps this boot's lease for another while. False: it had lapsed, and others may have taken this boot's jobs. */
  renew(): Promise<boolean>;
  /** The boots there are, this one too, with the ms that each one's lease lasts; 0: lapsed. */
  boots(): Promise<ReadonlyMap<string, number>>;
  /** A lapsed boot has left nothing behind. */
  bury(boot: string): Promise<void>;
  /** This boot ends: what it still has may be taken at once. */
  leave(): Promise<void>;
  /** Where each job's log ends; null where there is none. */
  tops(jobIds: readonly string[]): Promise<readonly (Position | null)[]>;
}

/** Which job a caller's request key stands for. All of it may reject: the store is in trouble. */
export interface RequestKeyPort {
  /** Null: `value` stands there now. Else what stood there before. */
  claim(key: string, value: string): Promise<string | null>;
  release(key: string): Promise<void>;
  /** The job's last event, if there is a log and it has ended. */
  ending(jobId: string): Promise<'missing' | 'open' | JobEvent>;
}

/** What a job's log holds behind a position, and what is appended to it later, by whichever router. */
export interface TailPort {
  /**
   * Pages of entries, in order, until the one with the job's last event, or until `wanted` says no. A log that is not
   * there has no page; one that nobody writes any more ends in StoreTrouble or another error, in bounded time.
   */
  tail(jobId: string, after: Position, wanted: () => boolean): AsyncIterable<TailPage>;
}

export interface TailPage {
  readonly entries: readonly LogEntry[];
  /** There is no more for now. */
  readonly reachesEnd: boolean;
}

export interface Ids {
  /** `chatcmpl-` and 24 characters: two hex digits of hash slot and at least 128 unguessable bits. */
  jobId(): string;
  /** 32 hex digits. */
  workerId(): string;
}

/** Checks keys of workers; `source` is the address they dial from. Never rejects. */
export interface KeyPort {
  verify(role: 'admin' | 'tools', key: string, source: string): Promise<'right' | 'wrong' | 'busy' | 'unconfigured'>;
}
