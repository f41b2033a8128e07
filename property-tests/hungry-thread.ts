/** A shard's thread that eats all of its memory when a frame says `EAT`. */

import runShard, { type ShardTask } from '../actors/shard/thread.ts';
import type { ToShard } from '../protocol/shard-messages.ts';

export default (task: ShardTask): Promise<void> => {
  // Registered before the shard's own, and so called first.
  task.port.on('message', (message: ToShard) => {
    if (!JSON.stringify(message).includes('EAT')) return;
    const eaten: number[][] = [];
    for (;;) eaten.push(Array.from({ length: 100_000 }, (_, n) => n + eaten.length));
  });
  return runShard(task);
};
