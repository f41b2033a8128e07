/** All cases, in the order in which they are run. */
import type { Case } from './case.ts';
import { routerGreeting } from './cases.router-greeting.ts';
import { routerJobs } from './cases.router-jobs.ts';
import type { RouterPeer } from './router-peer.ts';

export const routerCases: readonly Case<RouterPeer>[] = [...routerGreeting, ...routerJobs];
