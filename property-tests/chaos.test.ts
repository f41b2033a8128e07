/**
 * A short run of `npm run chaos`: two routers on a real Redis, workers and callers of every API, killed, stopped and cut
 * off, and every caller gets the right answer.
 */
import { test } from 'uvu';
import { shortRun } from './chaos/short-run.ts';

test('with two routers on Redis, whatever is killed, every caller gets the right answer', () =>
  shortRun(false, 6, [3, 1]));

test.run();
