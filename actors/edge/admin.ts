/**
 * What who runs the router may ask of it, with the workers' key:
 *
 *   POST /api/admin/drain   the router stops as by SIGTERM: nothing new, what runs is finished or handed over
 */
import { answerError, answerJson, type Exchange } from './answers.ts';
import { authorised, type KeyCheck } from './api-key.ts';

export interface AdminParts {
  readonly checkWorkerKey: KeyCheck;
  /** Asked more than once, it does the same. */
  readonly drain: () => void;
}

/** `path`: below `api/admin/`. */
export async function answerAdmin(
  exchange: Exchange,
  method: string,
  path: string,
  { checkWorkerKey, drain }: AdminParts,
): Promise<void> {
  if (method !== 'POST' || path !== 'drain')
    return answerError(exchange, 'not_found', `there is nothing at ${method} /api/admin/${path.slice(0, 200)}`);
  if (!(await authorised(exchange, checkWorkerKey))) return;
  // Its connection is one of those that the end waits for.
  exchange.res.setHeader('connection', 'close');
  answerJson(exchange, 202, { status: 'draining' });
  drain();
}
