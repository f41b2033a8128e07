/**
 * Shards on threads: a Piscina pool with one long task a thread (port file of this folder).
 *
 * A thread that dies rejects its task and closes its port; the pool replaces the thread, and the front asks for the
 * shard's successor by `start`. A task's end never counts as an answer: what a shard has said has come through its port.
 */
import { fileURLToPath } from 'node:url';
import { MessageChannel } from 'node:worker_threads';
import { Piscina } from 'piscina';
import type { ShardOutput, ToShard } from '../../protocol/shard-messages.ts';
import type { ShardTask } from './thread.ts';
import type { WorkerRules } from './workers.ts';

export { Shard } from './shard.ts';
export { type WorkerRules, workerRules } from './workers.ts';

export interface ShardPoolOptions {
  readonly shards: number;
  readonly rules: WorkerRules;
  /** MiB of a shard's old generation: it holds the text of the jobs that run, and 32 MiB requests on their way. */
  readonly memoryMib?: number;
  /** Another thread entry, for tests that kill shards. */
  readonly entry?: URL;
  readonly trouble: (message: string) => void;
}

/** Shards end within this time when asked to; then their threads are ended. */
const stopMs = 2000;
/** How long the successor of a shard waits to hear why it died. */
const reasonMs = 1000;

export function openShardPool({ shards, rules, memoryMib = 1024, entry, trouble }: ShardPoolOptions) {
  const file = import.meta.url.endsWith('.ts') ? './thread.ts' : './thread.js';
  const pool = new Piscina({
    filename: fileURLToPath(entry ?? new URL(file, import.meta.url)),
    minThreads: shards,
    maxThreads: shards,
    concurrentTasksPerWorker: 1,
    atomics: 'disabled',
    // Most of what a shard makes lives for one tick: a roomier nursery halves what collecting it costs.
    resourceLimits: { maxOldGenerationSizeMb: memoryMib, maxYoungGenerationSizeMb: 48 },
  });
  pool.on('error', error => trouble(`shard thread: ${error instanceof Error ? error.message : String(error)}`));
  const running = new Map<number, { tell: (message: ToShard) => void; kill: () => void }>();

  return {
    count: shards,

    start(index: number, heard: (output: ShardOutput) => void, dead: (reason: string) => void) {
      const { port1, port2 } = new MessageChannel();
      const abort = new AbortController();
      let reason = 'its thread ended';
      const task: ShardTask = { port: port2, rules };
      const ended = pool
        .run(task, { transferList: [port2], signal: abort.signal })
        .catch(error => {
          reason = error instanceof Error ? error.message : String(error);
        })
        .finally(() => port1.close());
      port1.on('message', heard);
      // After the last message: what the shard said before it died has been heard. Why it died is known a little later.
      port1.on('close', () => {
        running.delete(index);
        const late = new Promise<void>(resolve => setTimeout(resolve, reasonMs).unref());
        void Promise.race([ended, late]).then(() => dead(reason));
      });
      running.set(index, { tell: message => port1.postMessage(message), kill: () => abort.abort() });
      return { post: (message: ToShard) => port1.postMessage(message) };
    },

    /** Kills a shard's thread at once; for tests and for a shard that hangs. */
    kill(index: number): void {
      running.get(index)?.kill();
    },

    async stop(): Promise<void> {
      for (const { tell } of running.values()) tell({ stop: true });
      const late = new Promise<void>(resolve => setTimeout(resolve, stopMs).unref());
      await Promise.race([pool.close({ force: false }), late]);
      await pool.destroy();
    },
  };
}
