/**
 * Commands for a worker under test, whose engine speaks by hand, and the tiny model of a router's books: jobs by attempt, the
 * last number of each, what was acknowledged. Every command waits until its consequence has shown.
 */
import * as fc from 'fast-check';
import { expect, expectSame, pause, shown } from './case.ts';
import { aJob } from './cases.worker.ts';
import type { OwnWorker } from './own-worker.ts';
import type { Heard } from './router-peer.ts';
import { type RunningAnswer, word } from './scripted-engine.ts';
import type { RouterLine, WorkerPeer } from './worker-peer.ts';

interface ModelJob {
  attempt: number;
  /** Tokens said in all, and how far they are acknowledged. */
  seq: number;
  acked: number;
  state: 'running' | 'ended';
}
export interface WorkerModel {
  readonly jobs: Map<string, ModelJob>;
}
export interface WorkerReal {
  readonly peer: WorkerPeer;
  readonly own: OwnWorker;
  readonly sent: Map<string, Heard>;
  readonly answers: Map<string, RunningAnswer>;
  line: RouterLine;
}
type WorkerCommand = fc.AsyncCommand<WorkerModel, WorkerReal, boolean>;

const named = ({ jobs }: WorkerModel, state: ModelJob['state']): string[] =>
  [...jobs].flatMap(([id, job]) => (job.state === state ? [id] : []));

function at<V>(map: ReadonlyMap<string, V>, id: string): V {
  const value = map.get(id);
  if (value === undefined) throw new Error(`there is no ${id}`);
  return value;
}
const pick = (ids: readonly string[], n: number): string => ids[n % ids.length] ?? '';

const command = (
  text: string,
  check: (model: WorkerModel) => boolean,
  run: (model: WorkerModel, real: WorkerReal) => Promise<void>,
): WorkerCommand => ({
  check: model => check(model),
  async run(model, real) {
    await run(model, real);
    await real.line.heardOut();
    expect(real.line.noise.length === 0, `it said ${shown(real.line.noise)}`);
  },
  toString: () => text,
});

/** The engine's answer to a job, once the worker has given it to it. */
async function begun(real: WorkerReal, before: readonly RunningAnswer[]): Promise<RunningAnswer> {
  for (let waitedMs = 0; waitedMs < 5000; waitedMs += 2) {
    const fresh = real.own.engine()?.running.find(answer => !before.includes(answer));
    if (fresh !== undefined) return fresh;
    await pause(2);
  }
  throw new Error('the worker did not give the job to its engine');
}

const give = (): WorkerCommand =>
  command(
    'give',
    model => named(model, 'running').length < 4,
    async (model, real) => {
      const job = aJob({ attempt: 1, max_tokens: 5000, messages: [{ role: 'user', content: 'a story' }] });
      const before = real.own.engine()?.running ?? [];
      real.line.say(job);
      real.sent.set(job.job_id, job);
      real.answers.set(job.job_id, await begun(real, before));
      model.jobs.set(job.job_id, { attempt: 1, seq: 0, acked: 0, state: 'running' });
    },
  );

const runs = (model: WorkerModel): boolean => named(model, 'running').length > 0;

const say = (n: number, count: number): WorkerCommand =>
  command(`say(${n}, ${count})`, runs, async (model, real) => {
    const id = pick(named(model, 'running'), n);
    const job = at(model.jobs, id);
    for (let said = 0; said < count; said += 1) {
      at(real.answers, id).say();
      job.seq += 1;
      const { seq, attempt } = job;
      const frame = await real.line.next('token', one => one.job_id === id);
      expectSame([frame.seq, frame.attempt, frame.token], [seq, attempt, word(seq - 1)], 'seq, attempt and text');
    }
  });

const finish = (n: number): WorkerCommand =>
  command(`finish(${n})`, runs, async (model, real) => {
    const id = pick(named(model, 'running'), n);
    at(real.answers, id).finish();
    const job = at(model.jobs, id);
    const end = await real.line.next('complete', one => one.job_id === id);
    expectSame([end.seq, end.attempt], [job.seq, job.attempt], 'seq and attempt of complete');
    job.state = 'ended';
  });

const cancel = (n: number): WorkerCommand =>
  command(`cancel(${n})`, runs, async (model, real) => {
    const id = pick(named(model, 'running'), n);
    const { attempt } = at(model.jobs, id);
    real.line.say({ type: 'cancel', job_id: id, attempt: attempt + 7 }, { type: 'cancel', job_id: id, attempt });
    const end = await real.line.next('cancelled', one => one.job_id === id);
    expectSame(end.attempt, attempt, 'the attempt of cancelled');
    // Its end is known to the router: it is never named again.
    real.line.say({ type: 'ack', job_id: id, attempt, seq: 0, ended: true });
    model.jobs.delete(id);
  });

const acknowledge = (n: number, share: number): WorkerCommand =>
  command(
    `acknowledge(${n}, ${share})`,
    ({ jobs }) => jobs.size > 0,
    async (model, real) => {
      const id = pick([...model.jobs.keys()], n);
      const job = at(model.jobs, id);
      job.acked = Math.max(job.acked, Math.floor((job.seq * share) / 4));
      const ended = job.state === 'ended' && share === 4;
      real.line.say({ type: 'ack', job_id: id, attempt: job.attempt, seq: job.acked, ...(ended ? { ended } : {}) });
      if (ended) model.jobs.delete(id);
    },
  );

/** What must change nothing. */
const noise = (): WorkerCommand =>
  command(
    'noise',
    () => true,
    async (model, real) => {
      real.line.say(
        { type: 'no_such_type' },
        real.peer.ack(2),
        { type: 'heartbeat_ack' },
        { type: 'cancel', job_id: 'x' },
      );
      real.line.say({ type: 'ack', job_id: 'nobody', attempt: 1, seq: 4, ended: true });
      for (const [id, { attempt, state }] of model.jobs)
        if (state === 'running') real.line.say({ ...at(real.sent, id), attempt });
    },
  );

/** The connection goes; the router takes back the jobs whose bit is set in `wanted`, `behind` frames before the last. */
const redial = (wanted: number, behind: number): WorkerCommand =>
  command(
    `redial(${wanted.toString(2)}, ${behind})`,
    () => true,
    async (model, real) => {
      real.line.drop();
      const { line, hello } = await real.peer.dialled();
      const marks: readonly Heard[] = hello.jobs ?? [];
      expectSame(
        marks.map(({ job_id: id, attempt, seq }) => [id, attempt, seq]).sort(),
        [...model.jobs].map(([id, { attempt, seq }]) => [id, attempt, seq]).sort(),
        'hello.jobs',
      );
      const granted = [...model.jobs].flatMap(([id, job], index) => {
        if (((wanted >> index) & 1) === 0) {
          model.jobs.delete(id);
          return [];
        }
        job.attempt += 1;
        const seq = Math.max(job.acked, job.seq - behind);
        job.acked = seq;
        return [{ job_id: id, attempt: job.attempt, seq }];
      });
      real.peer.greet(line, hello, 2, { jobs: granted });
      real.line = line;
      for (const { job_id: id, attempt, seq } of granted) {
        const job = at(model.jobs, id);
        for (let next = seq + 1; next <= job.seq; next += 1) {
          const frame = await line.next('token', one => one.job_id === id);
          expectSame([frame.seq, frame.attempt, frame.token], [next, attempt, word(next - 1)], 'a token, again');
        }
        if (job.state !== 'ended') continue;
        const end = await line.next('complete', one => one.job_id === id);
        expectSame([end.attempt, end.seq], [attempt, job.seq], 'the end, again');
      }
      await line.heardOut();
      for (const { job_id: id, seq } of granted)
        expectSame(line.tokens(id).length, at(model.jobs, id).seq - seq, `the number of tokens of ${id}, said again`);
      for (const frame of line.heard)
        expect(frame.job_id === undefined || model.jobs.has(frame.job_id), `a dropped job speaks: ${shown(frame)}`);
    },
  );

const any = fc.nat(7);
export const workerCommands = fc.commands<WorkerModel, WorkerReal, boolean>(
  [
    fc.constant(give()),
    fc.constant(give()),
    fc.constant(give()),
    fc.record({ any, count: fc.integer({ min: 1, max: 5 }) }).map(one => say(one.any, one.count)),
    fc.record({ any, count: fc.integer({ min: 1, max: 5 }) }).map(one => say(one.any, one.count)),
    fc.record({ any, count: fc.integer({ min: 1, max: 5 }) }).map(one => say(one.any, one.count)),
    any.map(finish),
    any.map(cancel),
    fc.record({ any, share: fc.nat(4) }).map(one => acknowledge(one.any, one.share)),
    fc.constant(noise()),
    fc
      .record({ wanted: fc.constantFrom(255, 255, 5, 2, 0), behind: fc.nat(4) })
      .map(one => redial(one.wanted, one.behind)),
  ],
  { maxCommands: 30, size: 'max' },
);
