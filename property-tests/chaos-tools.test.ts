/** A short run of `npm run chaos -- --tools`: programs are killed in mid-round, and no call runs twice. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { runToolsChaos, toolsTold } from './chaos/tools-run.ts';

test('router, tools worker and GPU workers are killed in tool rounds: nothing runs twice, and once where it may', async () => {
  const seed = Number(process.env.FC_SEED ?? 3);
  const stop = new AbortController().signal;
  const outcome = await runToolsChaos({ seed, ms: 25_000, callers: 4, everyMs: 800, stop });
  assert.is(outcome.found.join('\n'), '', `seed ${seed}; what the programs said is in ${outcome.evidence}`);
  assert.ok(outcome.whole > 0, 'no request had all of its results');
  for (const line of toolsTold(outcome)) console.log(`» ${line}`);
});

test.run();
