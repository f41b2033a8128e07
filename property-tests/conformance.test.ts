/**
 * The contract, case by case, at our own router: the cases of conformance/, which anybody can run against any peer with
 * `npm run conformance`.
 */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { runCase } from './conformance/case.ts';
import { routerCases } from './conformance/cases.ts';
import { RouterPeer } from './conformance/router-peer.ts';
import { apiKey, gpuKey, type RouterProcess, startRouter } from './processes.ts';

let router: RouterProcess;
const peer = (): RouterPeer => new RouterPeer({ wsUrl: router.wsUrl, httpUrl: router.url, gpuKey, apiKey });
/** Cases that mostly wait, begun at once and looked at in their turn. */
const waiting = new Map<string, ReturnType<typeof runCase>>();

test.before(async () => {
  router = await startRouter({ AUXOT_FSYNC: 'no' });
  for (const one of routerCases) if (one.beside) waiting.set(one.id, runCase(one, peer()));
});
test.after(() => router?.stop());

for (const one of [...routerCases].sort((a, b) => Number(a.beside ?? false) - Number(b.beside ?? false)))
  test(`${one.id} (${one.of}): ${one.says}`, async () => {
    const { outcome, error } = await (waiting.get(one.id) ?? runCase(one, peer()));
    if (outcome.result === 'fail') throw error;
    assert.is(outcome.result, 'pass', outcome.reason);
  });

test.run();
