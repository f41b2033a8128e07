/** All cases, in the order in which they are run. */
import type { Case } from './case.ts';
import { httpCases } from './cases.http.ts';
import { routerGreeting } from './cases.router-greeting.ts';
import { routerJobs } from './cases.router-jobs.ts';
import { routerVersion2 } from './cases.router-version-2.ts';
import type { RouterPeer } from './router-peer.ts';

export const routerCases: readonly Case<RouterPeer>[] = [
  ...routerGreeting,
  ...routerJobs,
  ...routerVersion2,
  ...httpCases,
];
