/** Every seeded bug there is. */
import { answerMutations } from './list.answers.ts';
import { cliMutations } from './list.cli.ts';
import { edgeMutations } from './list.edge.ts';
import { logMutations } from './list.log.ts';
import { machineMutations } from './list.machines.ts';
import { routerMutations } from './list.router.ts';
import { shardMutations } from './list.shard.ts';
import { toolMutations } from './list.tools.ts';
import { workerMutations } from './list.worker.ts';
import type { Mutation } from './mutation.ts';

export const mutations: readonly Mutation[] = [
  ...machineMutations,
  ...routerMutations,
  ...logMutations,
  ...shardMutations,
  ...workerMutations,
  ...edgeMutations,
  ...answerMutations,
  ...toolMutations,
  ...cliMutations,
];
