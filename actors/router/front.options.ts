/** What a front is given: its limits and times, and everything that touches the world (ports.ts). */
import type { Writer } from '../../protocol/shard-messages.ts';
import type { Diagnostics } from '../config/diagnostics.ts';
import type { Clock, ClusterPort, Ids, KeyPort, LogPort, RequestKeyPort, ShardHost, TailPort } from './ports.ts';
import type { ToolsOptions } from './tool-offer.ts';

export interface FrontOptions {
  readonly writer: Writer;
  readonly jobTimeoutMs: number;
  readonly queueTimeoutMs: number;
  readonly maxQueue: number;
  readonly keepAliveMs: number;
  readonly pingMs: number;
  /** A worker whose process shows no sign of life for this long is gone; 0: never. */
  readonly silentMs: number;
  /** Shown when a request names no model. */
  readonly modelDefault: string;
  /** Fields of requests that have no effect are refused. */
  readonly strictParams?: boolean;
  /** What tools workers may do; nothing is offered to models where it is absent. */
  readonly tools?: ToolsOptions;
}

export interface FrontParts {
  readonly clock: Clock;
  readonly log: LogPort;
  /** How logs are followed that this router does not write; by reading them again and again where it is absent. */
  readonly tail?: TailPort;
  readonly shards: ShardHost;
  readonly ids: Ids;
  readonly keys: KeyPort;
  readonly diagnostics: Diagnostics;
  /** Where keys of requests are kept; absent where they are not. */
  readonly requestKeys?: RequestKeyPort;
  /** Notes that a chat completion was stored; absent where they are not listed. */
  readonly listCompletion?: (jobId: string) => Promise<void>;
  /** Other routers write to the same store; absent where it is this router's own. */
  readonly cluster?: ClusterPort;
  /** The router cannot go on. */
  readonly failed: (reason: string) => void;
}
