/** The contract, case by case, at our own worker: its connection, jobs and redial code, with a scripted engine. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { runCase } from './conformance/case.ts';
import { workerCases } from './conformance/cases.ts';
import { type OwnWorker, startOwnWorker } from './conformance/own-worker.ts';
import { WorkerPeer } from './conformance/worker-peer.ts';
import { gpuKey } from './processes.ts';

let peer: WorkerPeer;
let own: OwnWorker | null = null;
/** Cases that end the worker get one of their own, and leave none behind. */
let over = false;

test.before(async () => {
  peer = await WorkerPeer.listen({
    host: '127.0.0.1',
    port: 0,
    key: gpuKey,
    loadMs: 10_000,
    redialMs: 2000,
    policy: {
      model_name: 'scripted',
      quantization: '',
      context_size: 2048,
      max_parallelism: 4,
      capabilities: ['chat'],
    },
    mayEnd: true,
  });
});
test.after(async () => {
  peer?.hangUp();
  await own?.worker.stop();
  await peer?.close();
});

for (const one of workerCases)
  test(`${one.id} (${one.of}): ${one.says}`, async () => {
    if (own === null || over) {
      over = false;
      own = startOwnWorker(peer.port, gpuKey, 3);
      void own.worker.ended.then(() => {
        over = true;
      });
    }
    const { outcome, error } = await runCase(one, peer);
    if (outcome.result === 'fail') throw error;
    assert.is(outcome.result, 'pass', outcome.reason);
  });

test.run();
