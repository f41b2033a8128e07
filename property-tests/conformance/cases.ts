/** All cases, in the order in which they are run. */
import type { Case } from './case.ts';
import { httpCases } from './cases.http.ts';
import { routerGreeting } from './cases.router-greeting.ts';
import { routerJobs } from './cases.router-jobs.ts';
import { routerVersion2 } from './cases.router-version-2.ts';
import { workerJobs } from './cases.worker.ts';
import { workerRedial } from './cases.worker-redial.ts';
import type { RouterPeer } from './router-peer.ts';
import type { WorkerPeer } from './worker-peer.ts';

export const routerCases: readonly Case<RouterPeer>[] = [
  ...routerGreeting,
  ...routerJobs,
  ...routerVersion2,
  ...httpCases,
];

export const workerCases: readonly Case<WorkerPeer>[] = [...workerJobs, ...workerRedial];
