/**
 * Ends a connection to Redis that is open and dead: a half-open one answers nothing, and TCP alone notices it after a
 * quarter of an hour. ioredis then dials again and sends once more what was not answered.
 */
import type { Redis } from 'ioredis';

const lookMs = 500;
/** Looks without an answer. Counted and not timed, so that a process that was stopped gets the time to read. */
const looksMax = 6;

export function endWhenSilent(redis: Redis, say: (message: string) => void): void {
  let asking = false;
  let looks = 0;
  const look = (): void => {
    if (redis.status !== 'ready') {
      looks = 0;
      return;
    }
    looks = asking ? looks + 1 : 0;
    if (looks >= looksMax) {
      looks = 0;
      say(`the store has answered nothing for ${(lookMs * looksMax) / 1000} s: dialling it again`);
      redis.disconnect(true);
    }
    if (asking) return;
    asking = true;
    redis
      .ping()
      .catch(() => undefined) // whoever needs the store is told by its own command
      .finally(() => {
        asking = false;
      });
  };
  const timer = setInterval(look, lookMs);
  timer.unref();
  redis.once('end', () => clearInterval(timer));
}
