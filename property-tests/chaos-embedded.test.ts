/** A short run of `npm run chaos -- --embedded`: one router, killed every few seconds. */
import { test } from 'uvu';
import { shortRun } from './chaos/short-run.ts';

test('with one router that is killed every few seconds, every caller gets the right answer', () =>
  shortRun(true, 4, [2, 1]));

test.run();
