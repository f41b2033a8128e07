/** Reads from a store that may be in trouble just now: such a read is worth trying again, a corrupt log is not. */
import { StoreTrouble } from '../log/job-log.ts';
import type { Clock } from './ports.ts';

const againMinMs = 20;
const againMaxMs = 1000;

/** What `read` gives, as soon as the store does; null when nobody wants it any more. */
export async function patiently<T>(clock: Clock, wanted: () => boolean, read: () => Promise<T>): Promise<T | null> {
  for (let waitMs = againMinMs; wanted(); waitMs = Math.min(waitMs * 2, againMaxMs)) {
    try {
      const got = await read();
      return wanted() ? got : null;
    } catch (error) {
      if (!(error instanceof StoreTrouble)) throw error;
      await new Promise<void>(resolve => clock.after(waitMs, resolve));
    }
  }
  return null;
}
