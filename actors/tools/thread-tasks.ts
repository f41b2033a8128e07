/**
 * Short work on threads of its own: a Piscina pool whose tasks have an end, even when they do not want one.
 *
 * What stays true: `run` settles soon after its time is over; a thread that did not stop by then is ended and replaced;
 * threads see none of the process's environment and cannot grow beyond their memory.
 */
import { fileURLToPath } from 'node:url';
import { Piscina } from 'piscina';

export interface ThreadTasksOptions {
  readonly entry: URL;
  readonly threads: number;
  /** MiB of a thread's heap; what WebAssembly holds is bounded by the task itself. */
  readonly memoryMib: number;
  /** Tasks that may wait for a thread. */
  readonly queueMax: number;
}

export interface ThreadTasks<Task, Answer> {
  /** Rejects with a ThreadEnd when the thread had to be ended, died, or `signal` fired. */
  run(task: Task, options: { readonly msMax: number; readonly signal: AbortSignal }): Promise<Answer>;
  close(): Promise<void>;
}

export class ThreadEnd extends Error {
  override readonly name = 'ThreadEnd';
  readonly why: 'late' | 'aborted' | 'died' | 'busy';

  constructor(why: 'late' | 'aborted' | 'died' | 'busy', cause?: unknown) {
    super(`the thread's task ended: ${why}`, { cause });
    this.why = why;
  }
}

export function openThreadTasks<Task, Answer>(options: ThreadTasksOptions): ThreadTasks<Task, Answer> {
  let pool: Piscina<Task, Answer> | null = null;
  const opened = (): Piscina<Task, Answer> => {
    if (pool !== null) return pool;
    pool = new Piscina<Task, Answer>({
      filename: fileURLToPath(options.entry),
      minThreads: 0,
      maxThreads: options.threads,
      idleTimeout: 30_000,
      maxQueue: options.queueMax,
      concurrentTasksPerWorker: 1,
      atomics: 'disabled',
      env: {},
      resourceLimits: { maxOldGenerationSizeMb: options.memoryMib, maxYoungGenerationSizeMb: 16, stackSizeMb: 4 },
    });
    // The task's own promise says it as well.
    pool.on('error', () => undefined);
    return pool;
  };

  return {
    async run(task, { msMax, signal }) {
      if (signal.aborted) throw new ThreadEnd('aborted');
      const late = new AbortController();
      const timer = setTimeout(() => late.abort(), msMax);
      try {
        return await opened().run(task, { signal: AbortSignal.any([signal, late.signal]) });
      } catch (error) {
        if (signal.aborted) throw new ThreadEnd('aborted');
        if (late.signal.aborted) throw new ThreadEnd('late');
        const busy = error instanceof Error && /queue/i.test(error.message);
        throw new ThreadEnd(busy ? 'busy' : 'died', error);
      } finally {
        clearTimeout(timer);
      }
    },
    async close() {
      await pool?.destroy();
    },
  };
}

/** The file of a thread beside the module that names it, in the sources and in what is built of them. */
export const threadEntry = (module: string, name: string): URL =>
  new URL(`${name}${module.endsWith('.ts') ? '.ts' : '.js'}`, module);
