/**
 * Each side of the worker protocol against a tiny model of the other: any sequence of what may happen leads to what the
 * model says. FC_RUNS and FC_SEED choose how much and which.
 */
import * as fc from 'fast-check';
import { test } from 'uvu';
import { claim } from './conformance/claim.ts';
import { type OwnWorker, startOwnWorker } from './conformance/own-worker.ts';
import { newModel, newReal, routerCommands } from './conformance/router-model.ts';
import { RouterPeer } from './conformance/router-peer.ts';
import { workerCommands } from './conformance/worker-model.ts';
import { WorkerPeer } from './conformance/worker-peer.ts';
import { apiKey, gpuKey, type RouterProcess, startRouter } from './processes.ts';

let router: RouterProcess;
let peer: RouterPeer;
test.before(async () => {
  router = await startRouter({ AUXOT_FSYNC: 'no' });
  peer = new RouterPeer({ wsUrl: router.wsUrl, httpUrl: router.url, gpuKey, apiKey });
});
test.after(() => router?.stop());

// The worker's side

let listener: WorkerPeer;
let own: OwnWorker;
test.before(async () => {
  const policy = { model_name: 'scripted', quantization: '', context_size: 2048, max_parallelism: 4, capabilities: [] };
  const times = { loadMs: 10_000, redialMs: 5000 };
  listener = await WorkerPeer.listen({ host: '127.0.0.1', port: 0, key: gpuKey, ...times, policy, mayEnd: false });
  own = startOwnWorker(listener.port, gpuKey, null);
});
test.after(async () => {
  listener?.hangUp();
  await own?.worker.stop();
  await listener?.close();
});

test('a worker says, resends and forgets what the model of a router’s books says', () =>
  claim(
    fc.asyncProperty(workerCommands, async commands => {
      // A hello_ack that names no job: what an earlier run left is dropped.
      const { line } = await listener.line(2);
      const real = { peer: listener, own, sent: new Map(), answers: new Map(), line };
      await fc.asyncModelRun(() => ({ model: { jobs: new Map() }, real }), commands);
    }),
    20,
  ));

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
