/** Every seeded bug there is. */
import { edgeMutations } from './list.edge.ts';
import { logMutations } from './list.log.ts';
import { machineMutations } from './list.machines.ts';
import { routerMutations } from './list.router.ts';
import { shardMutations } from './list.shard.ts';
import { workerMutations } from './list.worker.ts';
import type { Mutation } from './mutation.ts';

export const mutations: readonly Mutation[] = [
  ...machineMutations,
  ...routerMutations,
  ...logMutations,
  ...shardMutations,
  ...workerMutations,
  ...edgeMutations,
];
