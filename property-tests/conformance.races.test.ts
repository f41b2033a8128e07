/**
 * What happens at once at two ends, in every order: each request has one end, each slot comes back, and a worker says one
 * end to each attempt of a job (PROTOCOL.md §10). FC_RUNS and FC_SEED choose how much and which.
 */
import * as fc from 'fast-check';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { pause, shown } from './conformance/case.ts';
import { said } from './conformance/cases.router-jobs.ts';
import { aJob } from './conformance/cases.worker.ts';
import { claim } from './conformance/claim.ts';
import { type HttpModel, httpCommands, slots } from './conformance/http-model.ts';
import { type OwnWorker, startOwnWorker } from './conformance/own-worker.ts';
import { errorIn, type Heard, RouterPeer, type WorkerLine } from './conformance/router-peer.ts';
import { WorkerPeer } from './conformance/worker-peer.ts';
import { apiKey, gpuKey, type RouterProcess, startRouter, within } from './processes.ts';

let router: RouterProcess;
let peer: RouterPeer;
let listener: WorkerPeer;
let own: OwnWorker;
test.before(async () => {
  router = await startRouter({ AUXOT_FSYNC: 'no', AUXOT_REDIAL_GRACE: '300ms' });
  peer = new RouterPeer({ wsUrl: router.wsUrl, httpUrl: router.url, gpuKey, apiKey });
  const policy = { model_name: 'scripted', quantization: '', context_size: 2048, max_parallelism: 4, capabilities: [] };
  const times = { loadMs: 10_000, redialMs: 5000 };
  listener = await WorkerPeer.listen({ host: '127.0.0.1', port: 0, key: gpuKey, ...times, policy, mayEnd: false });
  own = startOwnWorker(listener.port, gpuKey, null);
});
test.after(async () => {
  listener?.hangUp();
  await own?.worker.stop();
  await listener?.close();
  await router?.stop();
});

const deeds = ['complete', 'fail', 'leave', 'cut', 'join', 'drain', 'ask', 'token'] as const;

test('at a router, whatever meets what: each request has one end, and each slot comes back', () =>
  claim(
    fc
      .asyncProperty(
        fc.scheduler(),
        fc.constantFrom(1 as const, 2 as const),
        fc.subarray([...deeds], { minLength: 2 }),
        async (scheduler, version, chosen) => {
          const line = await peer.worker({ version });
          const { asked, job } = await peer.askFor(line);
          line.token(job, 'a', 1);
          await said(asked, 'a');
          const lines: WorkerLine[] = [line];
          let left = false;
          const others = [peer.ask()];
          const run: Record<(typeof deeds)[number], () => unknown> = {
            complete: () => line.complete(job, 'a', 1),
            fail: () => line.say({ type: 'error', job_id: job.job_id, error: 'broken' }),
            leave: () => {
              left = true;
              asked.leave();
            },
            cut: () => line.raw.close(),
            join: async () => lines.push(await peer.worker({ version })),
            drain: () => line.say({ type: 'status', state: 'draining' }),
            ask: () => others.push(peer.ask()),
            token: () => line.token(job, 'b', 2),
          };
          for (const deed of chosen) void scheduler.schedule(Promise.resolve(), deed).then(() => run[deed]());
          await scheduler.waitIdle();
          // Whatever is left is done by one who serves all.
          lines.push(await peer.worker({ version, slots: 8 }));
          const served = new Set<Heard>();
          const serve = setInterval(() => {
            for (const one of lines)
              for (const given of one.raw.heard)
                if (given?.type === 'job' && !served.has(given) && one.isOpen()) {
                  served.add(given);
                  if (given.job_id !== job.job_id || one !== line)
                    one.complete(given, `${given.resume?.text ?? ''}!`, 0);
                }
          }, 5);
          try {
            if (chosen.every(deed => !['complete', 'fail', 'leave', 'cut'].includes(deed))) line.complete(job, 'a', 1);
            for (const { answer } of others)
              assert.is((await within(8000, answer, 'a request has no end')).status, 200);
            if (!left) {
              const answer = await within(8000, asked.answer, 'the request has no end');
              const ends = [answer.text.includes('"finish_reason":"'), errorIn(answer) !== null].filter(one => one);
              assert.is(ends.length, 1, `one end: ${answer.text}`);
            }
          } finally {
            clearInterval(serve);
          }
        },
      )
      .beforeEach(() => peer.reset()),
    6,
  ));

test('after all those races nothing is held, and what was lost is an error with a code', () => peer.reset());

const turns = ['cancel', 'finish', 'ack', 'again', 'newer', 'say'] as const;

test('at a worker, whatever meets what: each attempt has one end, and nothing follows it', () =>
  claim(
    fc.asyncProperty(fc.scheduler(), fc.subarray([...turns], { minLength: 2 }), async (scheduler, chosen) => {
      const { line } = await listener.line(2);
      const job = aJob({ attempt: 1, max_tokens: 5000, messages: [{ role: 'user', content: 'a story' }] });
      line.say(job);
      while ((own.engine()?.running.length ?? 0) === 0) await pause(1);
      const answer = own.engine()?.running[0];
      answer?.say();
      const run: Record<(typeof turns)[number], () => void> = {
        cancel: () => line.say({ type: 'cancel', job_id: job.job_id, attempt: 1 }),
        finish: () => answer?.finish(),
        ack: () => line.say({ type: 'ack', job_id: job.job_id, attempt: 1, seq: 1 }),
        again: () => line.say(job),
        newer: () => line.say({ ...job, attempt: 2 }),
        say: () => answer?.say(),
      };
      for (const turn of chosen) void scheduler.schedule(Promise.resolve(), turn).then(() => run[turn]());
      await scheduler.waitIdle();
      await line.heardOut();
      line.say({ type: 'cancel', job_id: job.job_id });
      await line.heardOut();
      await pause(5);
      for (const attempt of [1, 2]) {
        const about = line.about(job.job_id).filter(frame => frame.attempt === attempt);
        const ends = about.filter(({ type }) => ['complete', 'cancelled', 'error'].includes(type));
        assert.ok(ends.length <= 1, `attempt ${attempt} ends ${ends.length} times: ${shown(ends)}`);
        if (ends.length === 1) assert.is(about.at(-1), ends[0], `something follows: ${shown(about)}`);
      }
      const first = line.about(job.job_id).findIndex(({ attempt }) => attempt === 2);
      if (first >= 0)
        assert.ok(
          line
            .about(job.job_id)
            .slice(first)
            .every(({ attempt }) => attempt === 2),
          'the older attempt speaks behind the newer one',
        );
      if (!chosen.includes('newer')) {
        const ends = line.about(job.job_id).filter(({ type }) => ['complete', 'cancelled'].includes(type));
        assert.is(ends.length, 1, `it ends ${ends.length} times: ${shown(ends)}`);
      }
    }),
    20,
  ));

test('the HTTP surface answers by method, path and key, whatever runs; and health counts it', () =>
  claim(
    fc
      .asyncProperty(httpCommands, async commands => {
        const line = await peer.worker({ slots });
        await fc.asyncModelRun(
          () => ({ model: { running: 0 } as HttpModel, real: { peer, line, open: [] } }),
          commands,
        );
      })
      .beforeEach(() => peer.reset()),
    3,
  ));

test.run();
