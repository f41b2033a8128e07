/** What a worker does when its connection goes: redial with what it holds, resume, drain, and refusals that are final. */
import { type Case, expect, expectSame, NotApplicable, pause, shown } from './case.ts';
import { aJob, aLongJob, midway, textOf } from './cases.worker.ts';
import type { Heard } from './router-peer.ts';
import type { RouterLine, WorkerPeer } from './worker-peer.ts';

/** The worker's next connection, greeted; what it says it holds of the job. */
async function back(
  peer: WorkerPeer,
  job: Heard,
  grant: (mark: Heard) => object[],
): Promise<{ line: RouterLine; mark: Heard }> {
  const { line, hello } = await peer.dialled();
  const mark = (hello.jobs ?? []).find(({ job_id: id }: Heard) => id === job.job_id);
  peer.greet(line, hello, 2, { jobs: grant(mark) });
  return { line, mark };
}

async function stopsForEver(peer: WorkerPeer, refuse: (line: RouterLine) => void): Promise<void> {
  if (!peer.options.mayEnd) throw new NotApplicable('it ends the worker: name this case in --only');
  const { line } = await peer.dialled();
  refuse(line);
  await line.closed();
  await peer.dialled(peer.options.redialMs / 2).then(
    () => expect(false, 'it dialled again'),
    () => undefined,
  );
}

export const workerRedial: readonly Case<WorkerPeer>[] = [
  {
    id: 'worker/redial/goes-on',
    says: 'A job outlives its connection: the worker names it when it redials, resends what is missing, and goes on.',
    of: '§4.1, R3, R8, P4',
    async run(peer) {
      const { line } = await peer.line(2);
      const job = aLongJob({ attempt: 1, max_tokens: 120 });
      line.say(job);
      await midway(line, job, 5);
      const before = line.tokens(job.job_id);
      line.drop();
      const kept = 2;
      const { line: next, mark } = await back(peer, job, () => [{ job_id: job.job_id, attempt: 2, seq: kept }]);
      expectSame(mark?.attempt, 1, 'the attempt in hello.jobs');
      expect(mark.seq >= before.length, `seq in hello.jobs is ${mark.seq}, and ${before.length} tokens came`);
      const end = await next.end(job.job_id);
      expectSame([end.type, end.attempt], ['complete', 2], 'type and attempt of the end');
      const after = next.tokens(job.job_id);
      after.forEach((frame, index) => {
        expectSame([frame.seq, frame.attempt], [kept + 1 + index, 2], 'seq and attempt of a token');
      });
      expectSame(end.seq, kept + after.length, 'seq of complete');
      const text = textOf(before.slice(0, kept)) + textOf(after);
      expect(end.full_response.trim() === text.trim(), `full_response is not what the tokens say: ${shown(text)}`);
      for (const again of after) {
        const [same] = before.filter(({ seq }) => seq === again.seq);
        if (same !== undefined)
          expectSame([again.token, again.ids], [same.token, same.ids], `token ${again.seq}, again`);
      }
    },
  },
  {
    id: 'worker/redial/not-named',
    says: 'A job that hello_ack does not name is dropped: nothing more is said about it.',
    of: '§4.1, R10',
    async run(peer) {
      const { line } = await peer.line(2);
      const job = aLongJob({ attempt: 1 });
      line.say(job);
      await midway(line, job);
      line.drop();
      const { line: next, mark } = await back(peer, job, () => []);
      expect(mark !== undefined, 'hello.jobs does not name the job');
      await pause(200);
      expectSame(next.about(job.job_id), [], 'said about the job');
    },
  },
  {
    id: 'worker/redial/no-jobs-field',
    says: 'A hello_ack without jobs takes none back.',
    of: '§4.1',
    async run(peer) {
      const { line } = await peer.line(2);
      const job = aLongJob({ attempt: 1 });
      line.say(job);
      await midway(line, job);
      line.drop();
      const { line: next } = await peer.line(2);
      await pause(200);
      expectSame(next.about(job.job_id), [], 'said about the job');
    },
  },
  {
    id: 'worker/redial/ended-while-away',
    says: 'The end of a job that came while the worker was away is said when it is back, until ended is acknowledged.',
    of: 'R15',
    async run(peer) {
      const { line } = await peer.line(2);
      const job = aLongJob({ attempt: 1, max_tokens: 40 });
      line.say(job);
      await midway(line, job, 2);
      line.drop();
      const waiting = await peer.dialled();
      await pause(1000);
      waiting.line.drop();
      const { line: next, mark } = await back(peer, job, () => [{ job_id: job.job_id, attempt: 2, seq: 1 }]);
      expect(mark !== undefined, 'hello.jobs does not name the job');
      const end = await next.end(job.job_id);
      expectSame([end.type, end.attempt], ['complete', 2], 'type and attempt of the end');
      expectSame(end.seq, next.tokens(job.job_id).length + 1, 'seq of complete');
      // Not acknowledged yet: it is named again, and said again under the next number.
      next.drop();
      const again = await back(peer, job, known => [{ job_id: job.job_id, attempt: 3, seq: known?.seq ?? 0 }]);
      expectSame(again.mark?.attempt, 2, 'the attempt in hello.jobs, after an end without acknowledgement');
      const last = await again.line.end(job.job_id);
      expectSame([last.type, last.attempt, last.seq], ['complete', 3, end.seq], 'the end, said again');
      expectSame(again.line.tokens(job.job_id).length, 0, 'tokens that are in the log, said again');
      again.line.say({ type: 'ack', job_id: job.job_id, attempt: 3, seq: last.seq, ended: true });
      await again.line.heardOut();
      again.line.drop();
      const gone = await back(peer, job, () => []);
      expect(gone.mark === undefined, 'it names a job whose end was acknowledged');
    },
  },
  {
    id: 'worker/redial/odd-acks',
    says: 'An ack for nobody, for another attempt or beyond what was sent harms nothing.',
    of: '§9',
    async run(peer) {
      const { line } = await peer.line(2);
      const job = aLongJob({ attempt: 1, max_tokens: 30 });
      line.say(job, { type: 'ack', job_id: 'nobody', attempt: 1, seq: 9 });
      await midway(line, job);
      line.say({ type: 'ack', job_id: job.job_id, attempt: 9, seq: 1, ended: true });
      line.say({ type: 'ack', job_id: job.job_id, attempt: 1, seq: 100_000 });
      const end = await line.end(job.job_id);
      expectSame([end.type, end.seq], ['complete', line.tokens(job.job_id).length], 'type and seq of the end');
    },
  },
  {
    id: 'worker/redial/version-1',
    says: 'A version 1 connection that is lost ends its jobs: the next one hears nothing of them.',
    of: '§10 (what version 1 allows); spec 3.3',
    async run(peer) {
      const { line } = await peer.line(1);
      const job = aLongJob();
      line.say(job);
      await midway(line, job);
      line.drop();
      const { line: next } = await peer.line(1);
      await pause(200);
      expectSame(next.about(job.job_id), [], 'said about the job');
    },
  },
  {
    id: 'worker/resume/text-and-ids',
    says: 'A job with resume goes on behind it: tokens are numbered from 1 and say only what is new, complete says all.',
    of: '§4.2',
    async run(peer) {
      const { line } = await peer.line(2);
      const job = aLongJob({ attempt: 1, max_tokens: 24 });
      line.say(job);
      const whole = await line.end(job.job_id);
      const tokens = line.tokens(job.job_id);
      if (tokens.length < 6 || tokens.some(({ reasoning }) => reasoning === true))
        throw new NotApplicable('the model says too little to be gone on with');
      const begun = tokens.slice(0, 4);
      const ids: number[] = begun.flatMap(token => token.ids ?? []);
      if (ids.length === 0) throw new NotApplicable('the worker tells no token ids');
      const resume = { text: textOf(begun), reasoning: '', tokens: ids.length, reasoning_tokens: 0, ids };
      const next = { ...job, job_id: `${job.job_id}r`, attempt: 2, resume };
      line.say(next);
      const end = await line.end(next.job_id);
      expectSame([end.type, end.full_response], ['complete', whole.full_response], 'the whole answer');
      expectSame(end.output_tokens, whole.output_tokens, 'output_tokens of the whole answer');
      const said = line.tokens(next.job_id);
      expectSame(
        said.map(({ seq }) => seq),
        said.map((_, index) => index + 1),
        'the numbers',
      );
      expectSame(`${resume.text}${textOf(said)}`.trim(), whole.full_response.trim(), 'what was begun and what is new');
    },
  },
  {
    id: 'worker/drain/finishes',
    says: 'A worker that is told to drain finishes its jobs, closes with 1000 or 1001, and dials again.',
    of: '§4.1, §5, R7',
    async run(peer) {
      const { line } = await peer.line(2);
      const job = aLongJob({ attempt: 1, max_tokens: 40 });
      line.say(job);
      await midway(line, job);
      line.say({ type: 'drain' });
      expectSame((await line.end(job.job_id)).type, 'complete', 'the end of the job');
      line.say({ type: 'ack', job_id: job.job_id, attempt: 1, seq: line.tokens(job.job_id).length, ended: true });
      const code = await line.closed();
      expect(code === 1000 || code === 1001, `the close code is ${code}`);
      await peer.line(2);
    },
  },
  {
    id: 'worker/drain/router-gone',
    says: 'A router that goes with 1001 is dialled again, and gets work done.',
    of: '§5',
    async run(peer) {
      const { line } = await peer.line(2);
      line.socket.close(1001, 'the router is shutting down');
      const { line: next } = await peer.line(2);
      const job = aJob({ attempt: 1 });
      next.say(job);
      expectSame((await next.end(job.job_id)).type, 'complete', 'the end of a job');
    },
  },
  {
    ms: 120_000,
    id: 'worker/refused/hello-ack',
    says: 'hello_ack with success false and no reconnectInSeconds is final: the worker stops.',
    of: '§5; spec 3.3',
    run: peer => stopsForEver(peer, line => line.say({ type: 'hello_ack', success: false, error: 'invalid GPU key' })),
  },
  {
    ms: 120_000,
    id: 'worker/refused/error',
    says: 'The error texts of reference routers for a wrong key are final.',
    of: '§5',
    weakness: 'H12',
    run: peer => stopsForEver(peer, line => line.say({ type: 'error', error: 'invalid GPU key', details: 'x' })),
  },
  {
    ms: 120_000,
    id: 'worker/refused/code',
    says: 'Close code 4401 is final.',
    of: '§5',
    weakness: 'R15',
    run: peer => stopsForEver(peer, line => line.socket.close(4401, 'the key is wrong')),
  },
];
