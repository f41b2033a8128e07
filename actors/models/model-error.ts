/** What can go wrong between a hub and this disk. `retryable` says whether the same thing may work a little later. */
export type ModelErrorCode =
  /** The hub wants a token, or another one. */
  | 'hub_denied'
  | 'hub_not_found'
  /** Cannot be reached, is overloaded, breaks off. */
  | 'hub_trouble'
  /** Answered with something that makes no sense. */
  | 'hub_answer'
  /** The file on the hub is another one than a moment ago. */
  | 'file_changed'
  /** What arrived does not have the checksum or the size it should have. */
  | 'file_corrupt'
  /** The hub has another file than the registry says. */
  | 'registry_mismatch'
  | 'disk_full'
  | 'offline'
  | 'stopped';

export class ModelError extends Error {
  override readonly name = 'ModelError';
  readonly code: ModelErrorCode;
  readonly retryable: boolean;
  /** The hub asked for at least this wait. */
  readonly waitMs: number;

  constructor(
    code: ModelErrorCode,
    message: string,
    { retryable = false, waitMs = 0, cause }: { retryable?: boolean; waitMs?: number; cause?: unknown } = {},
  ) {
    super(message, cause === undefined ? undefined : { cause });
    this.code = code;
    this.retryable = retryable;
    this.waitMs = waitMs;
  }
}

export const stopped = (): ModelError => new ModelError('stopped', 'the download was stopped');

/** The message with those of its causes, of which the last is usually the one that helps. */
export function reasonOf(error: unknown): string {
  const messages: string[] = [];
  for (let at = error; at instanceof Error && messages.length < 4; at = at.cause)
    messages.push(at.message || ('code' in at ? String(at.code) : at.name));
  return messages.length > 0 ? messages.join(': ') : String(error);
}
