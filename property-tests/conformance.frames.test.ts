/**
 * Frames with something wrong in them never crash, hang or leak, and get the answer or the close code that PROTOCOL.md §9
 * says; what that is, `conformance/contract.ts` works out from the tables, without our schemas.
 *
 * FC_RUNS and FC_SEED choose how much and which.
 */
import * as fc from 'fast-check';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { expect, pause, shown } from './conformance/case.ts';
import { aJob } from './conformance/cases.worker.ts';
import { claim } from './conformance/claim.ts';
import { routerSays, verdictOn, workerSays } from './conformance/contract.ts';
import { type Delivery, delivered, mutatedFrame, piecesOf } from './conformance/mutations.ts';
import { type OwnWorker, startOwnWorker } from './conformance/own-worker.ts';
import { errorIn, RouterPeer, type WorkerLine } from './conformance/router-peer.ts';
import { type RouterLine, WorkerPeer } from './conformance/worker-peer.ts';
import { apiKey, gpuKey, type RouterProcess, startRouter, waitUntil, within } from './processes.ts';

let router: RouterProcess;
let peer: RouterPeer;
test.before(async () => {
  router = await startRouter({ AUXOT_FSYNC: 'no', AUXOT_REDIAL_GRACE: '300ms' });
  peer = new RouterPeer({ wsUrl: router.wsUrl, httpUrl: router.url, gpuKey, apiKey });
});
test.after(() => router?.stop());

/** Nothing is held, no shard was lost, and a normal job works. */
async function isWell(): Promise<void> {
  await peer.reset();
  const line = await peer.worker();
  const { asked, job } = await peer.askFor(line);
  line.complete(job, 'well', 0);
  assert.is((await asked.answer).status, 200);
  await peer.reset();
  const complaint = /.*(a shard died|could not be handled|killed its shard|at .*\.ts:\d+).*/.exec(router.output());
  assert.is(complaint?.[0] ?? '', '');
}

function send(line: WorkerLine, delivery: Delivery): void {
  const pieces = piecesOf(delivery);
  pieces.forEach((piece, index) => {
    line.raw.frame(index > 0 ? 0 : delivery.binary ? 2 : 1, piece, { fin: index === pieces.length - 1 });
  });
}

/** Until the frame has been read: the code with which the socket was closed for it, or null when it stays. */
async function verdict(line: WorkerLine): Promise<number | null> {
  const before = line.raw.heard.filter(({ type }) => type === 'heartbeat_ack').length;
  line.say({ type: 'heartbeat' });
  await waitUntil(
    () => line.raw.closed() !== null || line.raw.heard.filter(({ type }) => type === 'heartbeat_ack').length > before,
    5000,
    () => 'neither an answer nor a close came',
  );
  return line.raw.closed();
}

test('a stranger is greeted, refused, or closed with the code of what it sent', async () => {
  await claim(
    fc.asyncProperty(delivered(mutatedFrame(workerSays, 'chatcmpl-nobody')), async delivery => {
      peer.hangUp();
      const line = await peer.dial();
      // The key of the sample is `x`; here the right one stands in its place.
      const text = delivery.text.replace('"gpu_key":"x"', `"gpu_key":"${gpuKey}"`);
      const { is, type } = verdictOn(text, workerSays);
      send(line, { ...delivery, text });
      if (is === 'fine' && type === 'hello') {
        const greeted = () => line.raw.heard.length > 0 || line.raw.closed() !== null;
        await waitUntil(greeted, 10_000, () => `no answer to ${text}`);
        const ack = line.raw.heard[0];
        if (JSON.parse(text).gpu_key === gpuKey) assert.is(ack?.success, true, text);
        else assert.is(await line.closed(), 4401, text);
      } else {
        assert.is(await line.closed(), is === 'broken' ? 4400 : 4405, text);
        assert.equal(line.raw.heard, [], text);
      }
      line.raw.close();
    }),
    25,
  );
  await isWell();
});

for (const version of [1, 2] as const)
  test(`a version ${version} worker without a job: ${version === 1 ? 'all is ignored' : 'broken frames close with 4400'}`, async () => {
    let line: WorkerLine | null = null;
    await claim(
      fc.asyncProperty(delivered(mutatedFrame(workerSays, 'chatcmpl-nobody')), async delivery => {
        if (line === null || !line.isOpen()) line = await peer.worker({ version });
        const { is, jobId } = verdictOn(delivery.text, workerSays);
        send(line, delivery);
        // What names a job that it does not hold is late by nature, and not looked at.
        const closes = version === 2 && is === 'broken' && jobId === null;
        assert.is(await verdict(line), closes ? 4400 : null, `${is}: ${delivery.text}`);
      }),
      20,
    );
    await isWell();
  });

test('a broken frame about a job fails that job alone, any other leaves it as the contract says', async () => {
  const connection = ['hello', 'heartbeat', 'config', 'status', 'token_count'];
  await claim(
    fc
      .asyncProperty(
        fc.constantFrom(1, 2),
        delivered(mutatedFrame(workerSays, 'THE_JOB', connection)),
        async (version, delivery) => {
          const line = await peer.worker({ version: version === 2 ? 2 : 1, slots: 2 });
          const { asked, job } = await peer.askFor(line);
          const other = await peer.askFor(line);
          const text = delivery.text.replaceAll('THE_JOB', job.job_id);
          const { is, jobId } = verdictOn(text, workerSays);
          send(line, { ...delivery, text });
          if (is === 'broken' && jobId === job.job_id) {
            const error = errorIn(await within(5000, asked.answer, `no answer after ${text}`));
            assert.is(error?.code, 'worker_error', text);
            assert.is(await verdict(line), null, text);
          } else if (is === 'broken' && jobId === null && version === 2) {
            assert.is(await line.closed(), 4400, text);
          } else assert.is(await verdict(line), null, text);
          if (line.isOpen()) {
            other.job.attempt ??= 1;
            line.complete(other.job, 'untouched', 0);
            assert.match((await within(5000, other.asked.answer, `no answer after ${text}`)).text, 'untouched');
          }
        },
      )
      .beforeEach(() => peer.reset()),
    8,
  );
  await isWell();
});

// The worker's side

let listener: WorkerPeer;
let own: OwnWorker;
test.before(async () => {
  const policy = { model_name: 'scripted', quantization: '', context_size: 2048, max_parallelism: 4, capabilities: [] };
  const times = { loadMs: 10_000, redialMs: 3000 };
  listener = await WorkerPeer.listen({ host: '127.0.0.1', port: 0, key: gpuKey, ...times, policy, mayEnd: false });
  own = startOwnWorker(listener.port, gpuKey, 1);
});
test.after(async () => {
  listener?.hangUp();
  await own?.worker.stop();
  await listener?.close();
});

for (const version of [1, 2] as const)
  test(`towards a version ${version} router a worker ignores, answers or closes as the contract says`, async () => {
    let line: RouterLine | null = null;
    await claim(
      fc.asyncProperty(delivered(mutatedFrame(routerSays, 'chatcmpl-mutated', [])), async delivery => {
        if (line === null || line.closedWith !== null) ({ line } = await listener.line(version));
        const { is, type, jobId } = verdictOn(delivery.text, routerSays);
        const pieces = piecesOf(delivery);
        pieces.forEach((piece, index) => {
          line?.socket.send(piece, { binary: delivery.binary, fin: index === pieces.length - 1 });
        });
        if (is === 'broken' && type === 'job' && jobId !== null) {
          await line.next('error', frame => frame.job_id === jobId);
          await line.heardOut();
          return;
        }
        const isBrokenJob = is === 'broken' && type === 'job';
        if (is === 'broken' && version === 2 && !isBrokenJob) assert.is(await line.closed(), 4400, delivery.text);
        else if (!isBrokenJob) {
          await line.heardOut().catch(() => expect(false, `closed with ${line?.closedWith} after ${delivery.text}`));
          assert.is(line.closedWith, null, `${is}: ${delivery.text}`);
        } else await pause(20);
      }),
      20,
    );
    listener.hangUp();
    const { line: last } = await listener.line(version);
    const job = aJob(version === 2 ? { attempt: 1 } : {});
    last.say(job);
    assert.is((await last.end(job.job_id)).type, 'complete', shown(last.heard.slice(-3)));
  });

test.run();
