/** The pool's one task: a shard that lives as long as its port. */
import type { MessagePort } from 'node:worker_threads';
import type { ShardOutput, ToShard } from '../../protocol/shard-messages.ts';
import { Shard } from './shard.ts';
import type { WorkerRules } from './workers.ts';

export interface ShardTask {
  readonly port: MessagePort;
  readonly rules: WorkerRules;
}

export default ({ port, rules }: ShardTask): Promise<void> =>
  new Promise((resolve, reject) => {
    const shard = new Shard(rules);
    port.on('message', (message: ToShard) => {
      if ('stop' in message) {
        port.close();
        resolve();
        return;
      }
      try {
        const output: ShardOutput = shard.handle(message);
        port.postMessage(output);
      } catch (error) {
        // A bug: this shard cannot be trusted any more. Its port's end tells the front, which starts a successor.
        port.close();
        reject(error);
      }
    });
  });
