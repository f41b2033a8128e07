/**
 * Each side of the worker protocol against a tiny model of the other: any sequence of what may happen leads to what the
 * model says. FC_RUNS and FC_SEED choose how much and which.
 */
import * as fc from 'fast-check';
import { test } from 'uvu';
import { claim } from './conformance/claim.ts';
import { newModel, newReal, routerCommands } from './conformance/router-model.ts';
import { RouterPeer } from './conformance/router-peer.ts';
import { apiKey, gpuKey, type RouterProcess, startRouter } from './processes.ts';

let router: RouterProcess;
let peer: RouterPeer;
test.before(async () => {
  router = await startRouter({ AUXOT_FSYNC: 'no' });
  peer = new RouterPeer({ wsUrl: router.wsUrl, httpUrl: router.url, gpuKey, apiKey });
});
test.after(() => router?.stop());

test('a router between workers and callers does what the model says', () =>
  claim(
    fc
      .asyncProperty(routerCommands, commands =>
        fc.asyncModelRun(() => ({ model: newModel(), real: newReal(peer) }), commands),
      )
      .beforeEach(() => peer.reset()),
    6,
  ));

test.run();
