/**
 * The chat completions that were stored, in the order in which they ended, and what their callers have noted on them
 * since. What stands here may be of a log that is gone: whoever reads it finds that out.
 */
import { completionsKey, metadataKey } from './log-keys.ts';
import { type Store, StoreTrouble } from './store.ts';

/** More than that in a list, and the oldest go. */
const listedMax = 10_000;

export class CompletionList {
  readonly #store: Store;
  readonly #retentionMs: number;

  constructor(store: Store, retentionMs: number) {
    this.#store = store;
    this.#retentionMs = retentionMs;
  }

  async add(jobId: string): Promise<void> {
    await trying(() => this.#store.xadd(completionsKey, 'MAXLEN', '~', listedMax, '*', 'job', jobId));
  }

  /** Ids of jobs that ended within the retention, the oldest first. */
  async list(now: number): Promise<string[]> {
    const oldest = Math.max(0, now - this.#retentionMs);
    const entries = await trying(() => this.#store.xrange(completionsKey, oldest, '+', 'COUNT', listedMax));
    return [...new Set(entries.map(([, fields]) => fields[1] ?? ''))];
  }

  /** Kept for as long as a log that ends now. */
  async note(jobId: string, metadata: string): Promise<void> {
    await trying(() => this.#store.set(metadataKey(jobId), metadata, 'PX', this.#retentionMs));
  }

  /** Null: what the request said still holds. */
  noted(jobId: string): Promise<string | null> {
    return trying(() => this.#store.get(metadataKey(jobId)));
  }
}

async function trying<T>(run: () => Promise<T>): Promise<T> {
  try {
    return await run();
  } catch (error) {
    throw new StoreTrouble('The store refused a command about stored completions.', error);
  }
}
