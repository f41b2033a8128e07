/** What version 2 of the worker protocol adds at a router: acknowledgements, attempts, redial, migration. */
import { parseRouterFrame } from '../../protocol/worker-frames.ts';
import { within } from '../processes.ts';
import { type Case, expect, expectSame, pause, shown } from './case.ts';
import { said } from './cases.router-jobs.ts';
import { answerText, capabilities, errorIn, instanceId, type RouterPeer, soonMs } from './router-peer.ts';

const file = { model_file: 'sha256:conformance' };

export const routerVersion2: readonly Case<RouterPeer>[] = [
  {
    id: 'router/v2/job',
    says: 'A version 2 worker is sent attempt 1 and the fields of version 2 that the request has.',
    of: '§4.2',
    async run(peer) {
      const line = await peer.worker({ version: 2 });
      const sampling = { top_p: 0.5, seed: 7, stop: ['END'], frequency_penalty: 0.5, presence_penalty: 0.25 };
      const { asked, job } = await peer.askFor(line, { ...sampling, max_tokens: 9 });
      expect(parseRouterFrame(JSON.stringify(job)).ok, `the job does not fit its shape: ${shown(job)}`);
      for (const [field, value] of Object.entries({ ...sampling, max_tokens: 9, attempt: 1 }))
        expectSame(job[field], value, field);
      expect(!('resume' in job), 'nothing was begun elsewhere');
      line.token(job, 'Hi', 1, { ids: [1] });
      line.complete(job, 'Hi', 1);
      expectSame(answerText(await asked.answer), 'Hi', 'the answer');
    },
  },
  {
    id: 'router/v2/ack',
    says: 'Tokens are acknowledged within the interval, never beyond what was sent; the end with ended.',
    of: 'P5, §4.2',
    async run(peer) {
      const { line, ack: greeting } = await peer.greeted({ version: 2 });
      const withinMs = greeting.ack_interval_ms + 900;
      const { asked, job } = await peer.askFor(line);
      for (const seq of [1, 2, 3]) line.token(job, `${seq} `, seq);
      await line.next('ack', ack => ack.job_id === job.job_id && ack.attempt === 1 && ack.seq === 3, withinMs);
      line.complete(job, '1 2 3 ', 3);
      const last = await line.next('ack', ({ ended }) => ended === true, withinMs);
      expectSame([last.job_id, last.attempt, last.seq], [job.job_id, 1, 3], 'the last acknowledgement');
      for (const ack of line.raw.heard.filter(({ type }) => type === 'ack'))
        expect(ack.seq <= 3, `acknowledged beyond what was sent: ${shown(ack)}`);
      expectSame(answerText(await asked.answer), '1 2 3 ', 'the answer');
    },
  },
  {
    id: 'router/v2/not-ready',
    says: 'A worker that says ready false gets no job, and does once config and status say that it can work.',
    of: '§4.1, §6',
    async run(peer) {
      const pending = { backend: 'pending', model: 'pending', ctx_size: 0 };
      const { line } = await peer.greeted({ version: 2, hello: { ready: false, capabilities: pending } });
      line.say({ type: 'status', state: 'downloading', progress: 0.5, message: 'half' });
      line.say({ type: 'status', state: 'loading' });
      const asked = peer.ask();
      await line.none('job', 200, 'it was given a job');
      line.say({ type: 'config', capabilities, ...file }, { type: 'status', state: 'ready' });
      line.complete(await line.next('job'), 'x', 0);
      expectSame(answerText(await asked.answer), 'x', 'the answer');
    },
  },
  {
    id: 'router/v2/status',
    says: 'While a worker says loading it gets no new job; the one that it has goes on.',
    of: '§4.1, §6',
    async run(peer) {
      const line = await peer.worker({ version: 2, slots: 2 });
      const { asked, job } = await peer.askFor(line);
      line.say({ type: 'status', state: 'loading' });
      await line.heardOut();
      const waiting = peer.ask();
      await line.none('job', 150, 'it was given a job');
      line.token(job, 'x', 1);
      line.complete(job, 'x', 1);
      expectSame(answerText(await asked.answer), 'x', 'the answer');
      line.say({ type: 'status', state: 'ready' });
      line.complete(await line.next('job'), 'y', 0);
      expectSame(answerText(await waiting.answer), 'y', 'the answer that waited');
    },
  },
  {
    id: 'router/v2/draining',
    says: 'A worker that says draining gets no job any more, and finishes what it has.',
    of: '§6, R7',
    async run(peer) {
      const line = await peer.worker({ version: 2, slots: 2 });
      const { asked, job } = await peer.askFor(line);
      line.say({ type: 'status', state: 'draining' });
      await line.heardOut();
      const waiting = peer.ask();
      await line.none('job', 150, 'it was given a job');
      line.complete(job, 'x', 0);
      expectSame(answerText(await asked.answer), 'x', 'the answer');
      waiting.leave();
    },
  },
  {
    id: 'router/v2/repeated-seq',
    says: 'A token with a number that was seen before is ignored.',
    of: 'P4, §9',
    async run(peer) {
      const line = await peer.worker({ version: 2 });
      const { asked, job } = await peer.askFor(line);
      line.token(job, 'a', 1);
      line.token(job, 'b', 2);
      line.token(job, 'a', 1);
      line.token(job, 'B', 2);
      line.token(job, 'c', 3);
      line.complete(job, 'abc', 3);
      expectSame(answerText(await asked.answer), 'abc', 'the answer');
    },
  },
  {
    id: 'router/v2/gap',
    says: 'A number left out, also before complete, ends the attempt with cancel; the job goes on elsewhere from the log.',
    of: 'P4, §9',
    async run(peer) {
      for (const how of ['token', 'complete'] as const) {
        const line = await peer.worker({ version: 2, hello: file });
        const { asked, job } = await peer.askFor(line);
        line.token(job, 'a', 1, { ids: [1] });
        await said(asked, 'a');
        const other = await peer.worker({ version: 2, hello: file });
        if (how === 'token') line.token(job, 'c', 3, { ids: [3] });
        else line.complete(job, 'abc', 3);
        await line.next('cancel', ({ job_id: id }) => id === job.job_id);
        // With the same slot free again it may be asked itself.
        const [next, on] = await Promise.any(
          [other, line].map(async one => [await one.next('job', given => given.attempt === 2), one] as const),
        );
        expectSame(next.resume?.text, 'a', 'the text in resume');
        on.token(next, 'bc', 1);
        on.complete(next, 'abc', 1);
        expectSame(answerText(await asked.answer), 'abc', `the answer after a gap before a ${how}`);
        line.raw.close();
        other.raw.close();
        await peer.untilHealth(({ workers }) => workers === 0, 'a worker is still there');
      }
    },
  },
  {
    id: 'router/v2/old-attempt',
    says: 'Frames that name an attempt that does not run are ignored.',
    of: 'P2, R4',
    async run(peer) {
      const line = await peer.worker({ version: 2 });
      const { asked, job } = await peer.askFor(line);
      for (const attempt of [2, 7]) {
        line.token({ ...job, attempt }, 'wrong', 1);
        line.complete({ ...job, attempt }, 'wrong', 1);
        line.say({ type: 'error', job_id: job.job_id, error: 'wrong', attempt });
      }
      line.token(job, 'right', 1);
      line.complete(job, 'right', 1);
      expectSame(answerText(await asked.answer), 'right', 'the answer');
    },
  },
  {
    id: 'router/v2/broken',
    says: 'A broken frame about no job closes with 4400; unknown ones are ignored.',
    of: '§9',
    async run(peer) {
      for (const text of ['no json', '[]', '{"type":7}', '{"type":"status","state":7}', '{"type":"heartbeat"}{}']) {
        const { line } = await peer.greeted({ version: 2 });
        line.say({ type: 'no_such_type' }, '{}', { type: null }, { type: 'job', job_id: 'x' });
        await line.heardOut();
        line.say(text);
        expectSame(await line.closed(), 4400, `the close code after ${text}`);
      }
    },
  },
  {
    id: 'router/v2/broken-job',
    says: 'A broken frame about a job fails that job with worker_error; the connection and other jobs stay.',
    of: '§9',
    async run(peer) {
      const line = await peer.worker({ version: 2, slots: 2 });
      const one = await peer.askFor(line);
      const two = await peer.askFor(line);
      line.token(two.job, 'x', 1);
      line.say({ type: 'token', job_id: one.job.job_id, token: 7, attempt: 1, seq: 1 });
      const answer = await within(soonMs, one.asked.answer, 'the caller was told nothing');
      expectSame(errorIn(answer)?.code, 'worker_error', 'the code of the error');
      line.complete(two.job, 'x', 1);
      expectSame(answerText(await two.asked.answer), 'x', 'the other answer');
      expect(line.isOpen(), 'the connection was closed');
    },
  },
  {
    id: 'router/v2/cancel',
    says: 'cancel names the attempt; the slot is free before cancelled comes, and cancelled changes nothing.',
    of: 'P8, R2',
    async run(peer) {
      const line = await peer.worker({ version: 2 });
      const { asked, job } = await peer.askFor(line);
      line.token(job, 'x', 1);
      await said(asked, 'x');
      asked.leave();
      const cancel = await line.next('cancel', undefined, 1000);
      expectSame([cancel.job_id, cancel.attempt], [job.job_id, 1], 'job_id and attempt');
      const next = await peer.askFor(line);
      line.say({ type: 'cancelled', job_id: job.job_id, attempt: 1 });
      line.complete(next.job, 'y', 0);
      expectSame(answerText(await next.asked.answer), 'y', 'the next answer');
    },
  },
  {
    id: 'router/v2/unasked-cancelled',
    says: 'cancelled that nobody asked for fails the job with worker_error.',
    of: '§9',
    async run(peer) {
      const line = await peer.worker({ version: 2 });
      const { asked, job } = await peer.askFor(line, { stream: false });
      line.say({ type: 'cancelled', job_id: job.job_id, attempt: 1 });
      const answer = await within(soonMs, asked.answer, 'the caller was told nothing');
      expectSame([answer.status, errorIn(answer)?.code], [500, 'worker_error'], 'status and code');
    },
  },
  {
    id: 'router/v2/error-codes',
    says: 'The code of an error tells the caller what is wrong; an unknown one means worker_error.',
    of: '§4.2; spec OA39',
    async run(peer) {
      const line = await peer.worker({ version: 2 });
      for (const [code, status, told] of [
        ['context_length_exceeded', 400, 'context_length_exceeded'],
        ['worker_error', 500, 'worker_error'],
        ['malformed_tool_call', 500, 'malformed_tool_call'],
        ['no_such_code', 500, 'worker_error'],
      ] as const) {
        const { asked, job } = await peer.askFor(line, { stream: false });
        line.say({ type: 'error', job_id: job.job_id, error: 'it cannot be', code, attempt: job.attempt });
        const answer = await within(soonMs, asked.answer, 'the caller was told nothing');
        expectSame([answer.status, errorIn(answer)?.code], [status, told], `status and code of ${code}`);
      }
    },
  },
  {
    id: 'router/v2/finish',
    says: 'finish_reason length reaches the caller.',
    of: '§4.2; spec OA21',
    async run(peer) {
      const line = await peer.worker({ version: 2 });
      const { asked, job } = await peer.askFor(line, { stream: false, max_tokens: 1 });
      line.token(job, 'x', 1);
      line.complete(job, 'x', 1, { finish_reason: 'length' });
      expectSame((await asked.answer).json.choices[0].finish_reason, 'length', 'finish_reason');
    },
  },
  {
    id: 'router/v2/redial',
    says: 'A worker that comes back with a job goes on with it under a new attempt, behind what is in the log.',
    of: '§4.1, R3, R8, R9',
    async run(peer) {
      const instance = { instance_id: instanceId(), ...file };
      const first = await peer.worker({ version: 2, hello: instance });
      const { asked, job } = await peer.askFor(first);
      first.token(job, 'a', 1);
      first.token(job, 'b', 2);
      await said(asked, 'ab');
      first.raw.close();
      const jobs = [{ job_id: job.job_id, attempt: 1, seq: 4 }];
      const { line, ack } = await peer.greeted({ version: 2, hello: { ...instance, jobs } });
      expectSame(ack.jobs, [{ job_id: job.job_id, attempt: 2, seq: 2 }], 'hello_ack.jobs');
      const again = { ...job, attempt: 2 };
      line.token(again, 'c', 3);
      line.token(again, 'd', 4);
      line.complete(again, 'abcd', 4);
      expectSame(answerText(await asked.answer), 'abcd', 'the answer');
      await line.next('ack', ({ ended, attempt }) => ended === true && attempt === 2);
    },
  },
  {
    id: 'router/v2/redial-lost',
    says: 'When the answer to a redial is lost, the worker may name the job by the attempt that it knows.',
    of: 'R12',
    async run(peer) {
      const instance = { instance_id: instanceId(), ...file };
      const first = await peer.worker({ version: 2, hello: instance });
      const { asked, job } = await peer.askFor(first);
      first.token(job, 'a', 1);
      await said(asked, 'a');
      first.raw.close();
      const jobs = [{ job_id: job.job_id, attempt: 1, seq: 1 }];
      const second = await peer.greeted({ version: 2, hello: { ...instance, jobs } });
      expectSame(second.ack.jobs?.[0]?.attempt, 2, 'the attempt of the first redial');
      second.line.raw.close();
      const { line, ack } = await peer.greeted({ version: 2, hello: { ...instance, jobs } });
      expectSame(ack.jobs, [{ job_id: job.job_id, attempt: 3, seq: 1 }], 'hello_ack.jobs of the second redial');
      line.complete({ ...job, attempt: 3 }, 'a', 1);
      expectSame(answerText(await asked.answer), 'a', 'the answer');
    },
  },
  {
    id: 'router/v2/redial-half-open',
    says: 'A worker that dials in again while its old connection still counts replaces it, and goes on with its jobs.',
    of: 'R13',
    async run(peer) {
      const instance = { instance_id: instanceId(), ...file };
      const old = await peer.worker({ version: 2, hello: instance });
      const { asked, job } = await peer.askFor(old);
      old.token(job, 'a', 1);
      await said(asked, 'a');
      const jobs = [{ job_id: job.job_id, attempt: 1, seq: 1 }];
      const { line, ack } = await peer.greeted({ version: 2, hello: { ...instance, jobs } });
      expectSame(ack.jobs, [{ job_id: job.job_id, attempt: 2, seq: 1 }], 'hello_ack.jobs');
      await old.closed();
      line.token({ ...job, attempt: 2 }, 'b', 2);
      line.complete({ ...job, attempt: 2 }, 'ab', 2);
      expectSame(answerText(await asked.answer), 'ab', 'the answer');
    },
  },
  {
    id: 'router/v2/redial-foreign',
    says: 'A job that is not the worker’s, or not any more, is not named in hello_ack.',
    of: '§9',
    async run(peer) {
      const holder = await peer.worker({ version: 2, hello: file });
      const { asked, job } = await peer.askFor(holder);
      holder.token(job, 'a', 1);
      await said(asked, 'a');
      const mark = { attempt: 1, seq: 1 };
      const jobs = [
        { job_id: job.job_id, ...mark },
        { job_id: 'chatcmpl-00nobodyknowsthisjob00', ...mark },
        { job_id: '__proto__', ...mark },
        { job_id: '', ...mark },
      ];
      const { ack } = await peer.greeted({ version: 2, hello: { ...file, jobs } });
      expectSame(ack.jobs ?? [], [], 'hello_ack.jobs');
      holder.complete(job, 'a', 1);
      expectSame(answerText(await asked.answer), 'a', 'the answer');
    },
  },
  {
    id: 'router/v2/standby',
    says: 'A started job of a lost worker goes on elsewhere at once, told by text and ids what was said.',
    of: '§4.2, §6',
    async run(peer) {
      const first = await peer.worker({ version: 2, hello: file });
      const { asked, job } = await peer.askFor(first);
      first.token(job, 'Once', 1, { ids: [11, 12] });
      first.token(job, ' upon', 2, { ids: [13] });
      await said(asked, 'Once upon');
      const second = await peer.worker({ version: 2, hello: file });
      first.raw.close();
      const on = await second.next('job', ({ job_id: id }) => id === job.job_id, 1000);
      expectSame(
        [on.attempt, on.resume?.text, on.resume?.ids],
        [2, 'Once upon', [11, 12, 13]],
        'attempt, text and ids',
      );
      expect(Number.isInteger(on.resume.tokens), `resume.tokens is ${shown(on.resume.tokens)}`);
      second.token(on, ' a time', 1, { ids: [14] });
      second.complete(on, 'Once upon a time', 1);
      expectSame(answerText(await asked.answer), 'Once upon a time', 'the answer');
    },
  },
  {
    id: 'router/v2/standby-other-file',
    says: 'A worker with another model file is told the text, and no ids.',
    of: '§4.2',
    async run(peer) {
      const first = await peer.worker({ version: 2, hello: file });
      const { asked, job } = await peer.askFor(first);
      first.token(job, 'Once', 1, { ids: [11] });
      await said(asked, 'Once');
      const second = await peer.worker({ version: 2, hello: { model_file: 'sha256:another' } });
      first.raw.close();
      const on = await second.next('job', undefined, 1000);
      expectSame([on.resume?.text, on.resume?.ids ?? null], ['Once', null], 'text and ids');
      second.complete(on, 'Once more', 0);
      expectSame(answerText(await asked.answer), 'Once more', 'the answer');
    },
  },
  {
    id: 'router/v2/standby-beaten',
    says: 'The worker that comes back before its standby speaks has the job, and the standby is told to cancel.',
    of: 'R9',
    async run(peer) {
      const instance = { instance_id: instanceId(), ...file };
      const first = await peer.worker({ version: 2, hello: instance });
      const { asked, job } = await peer.askFor(first);
      first.token(job, 'a', 1);
      await said(asked, 'a');
      const standby = await peer.worker({ version: 2, hello: file });
      first.raw.close();
      const given = await standby.next('job', undefined, 1000);
      const jobs = [{ job_id: job.job_id, attempt: 1, seq: 1 }];
      const { line, ack } = await peer.greeted({ version: 2, hello: { ...instance, jobs } });
      expectSame(ack.jobs?.length, 1, 'the number of jobs in hello_ack');
      const cancel = await standby.next('cancel', undefined, 1000);
      expectSame([cancel.job_id, cancel.attempt], [given.job_id, given.attempt], 'what is cancelled');
      standby.token(given, 'late', 1);
      const again = { ...job, attempt: ack.jobs[0].attempt };
      line.token(again, 'b', 2);
      line.complete(again, 'ab', 2);
      expectSame(answerText(await asked.answer), 'ab', 'the answer');
    },
  },
  {
    id: 'router/v2/standby-first',
    says: 'When the standby speaks first the job is its own, and the worker that comes back is not named it.',
    of: 'R10',
    async run(peer) {
      const instance = { instance_id: instanceId(), ...file };
      const first = await peer.worker({ version: 2, hello: instance });
      const { asked, job } = await peer.askFor(first);
      first.token(job, 'a', 1);
      await said(asked, 'a');
      const standby = await peer.worker({ version: 2, hello: file });
      first.raw.close();
      const given = await standby.next('job', undefined, 1000);
      standby.token(given, 'B', 1);
      await said(asked, 'aB');
      const jobs = [{ job_id: job.job_id, attempt: 1, seq: 2 }];
      const { ack } = await peer.greeted({ version: 2, hello: { ...instance, jobs } });
      expectSame(ack.jobs ?? [], [], 'hello_ack.jobs');
      standby.complete(given, 'aB', 1);
      expectSame(answerText(await asked.answer), 'aB', 'the answer');
    },
  },
  {
    id: 'router/v2/ended-while-away',
    says: 'A worker whose job ended while it was away delivers the end when it is back, and the end is acknowledged.',
    of: 'R15',
    async run(peer) {
      const instance = { instance_id: instanceId(), ...file };
      const first = await peer.worker({ version: 2, hello: instance });
      const { asked, job } = await peer.askFor(first);
      first.token(job, 'a', 1);
      await said(asked, 'a');
      first.raw.close();
      await pause(50);
      const jobs = [{ job_id: job.job_id, attempt: 1, seq: 3 }];
      const { line, ack } = await peer.greeted({ version: 2, hello: { ...instance, ready: false, jobs } });
      const again = { ...job, attempt: ack.jobs?.[0]?.attempt };
      line.token(again, 'b', 2);
      line.token(again, 'c', 3);
      line.complete(again, 'abc', 3);
      expectSame(answerText(await asked.answer), 'abc', 'the answer');
      await line.next('ack', ({ ended }) => ended === true);
    },
  },
  {
    id: 'router/v2/engine-crashed',
    says: 'error with engine_crashed is a lost worker and no answer: the job goes on elsewhere.',
    of: '§6',
    async run(peer) {
      const first = await peer.worker({ version: 2, hello: file });
      const { asked, job } = await peer.askFor(first);
      first.token(job, 'a', 1, { ids: [1] });
      await said(asked, 'a');
      const second = await peer.worker({ version: 2, hello: file });
      first.say({ type: 'error', job_id: job.job_id, error: 'it crashed', code: 'engine_crashed', attempt: 1 });
      const [on, line] = await Promise.any(
        [first, second].map(async one => [await one.next('job', ({ attempt }) => attempt === 2), one] as const),
      );
      expectSame(on.resume?.text, 'a', 'the text in resume');
      line.complete(on, 'ab', 0);
      expectSame(answerText(await asked.answer), 'ab', 'the answer');
    },
  },
  {
    id: 'router/v2/silent',
    says: 'A worker with jobs that answers no ping loses them within 3 s, and its connection with 4504.',
    of: '§8, §5',
    async run(peer) {
      const first = await peer.worker({ version: 2, hello: file });
      const { asked, job } = await peer.askFor(first);
      first.token(job, 'a', 1, { ids: [1] });
      await said(asked, 'a');
      const second = await peer.worker({ version: 2, hello: file });
      first.raw.answersPings = false;
      const on = await second.next('job', ({ job_id: id }) => id === job.job_id, 3000);
      second.complete(on, 'ab', 0);
      expectSame(answerText(await asked.answer), 'ab', 'the answer');
      const code = await first.closed();
      expect(code === 4504 || code === 1006, `the close code is ${code}`);
    },
  },
  {
    id: 'router/v2/count-tokens',
    says: 'A count of tokens is asked of a worker, without a slot; without an answer it is estimated after 2 s.',
    of: '§4.2',
    async run(peer) {
      const line = await peer.worker({ version: 2 });
      const count = (): ReturnType<RouterPeer['call']> =>
        peer.call('/api/anthropic/v1/messages/count_tokens', {
          method: 'POST',
          headers: { 'x-api-key': peer.key(), 'content-type': 'application/json' },
          body: JSON.stringify({ model: 'any', max_tokens: 1, messages: [{ role: 'user', content: 'hi there' }] }),
        });
      const counting = count();
      const asked = await line.next('count_tokens');
      line.say({ type: 'token_count', count_id: 'unknown', input_tokens: 1 });
      line.say({ type: 'token_count', count_id: asked.count_id, input_tokens: 4321 });
      expectSame((await counting).json?.input_tokens, 4321, 'input_tokens');
      const startedMs = performance.now();
      const estimated = await count();
      expect(estimated.status === 200 && estimated.json.input_tokens > 0, `the estimate is ${estimated.text}`);
      expect(performance.now() - startedMs < 4000, 'the estimate took more than 4 s');
    },
  },
];
