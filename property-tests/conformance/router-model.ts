/**
 * Commands for a router under test, and the tiny model that says what must follow: workers with slots, requests that wait,
 * run or are over, and the text that each has been said. Every command waits until its consequence has shown.
 */
import * as fc from 'fast-check';
import { expect, expectSame } from './case.ts';
import { said } from './cases.router-jobs.ts';
import {
  type Asked,
  answerText,
  errorIn,
  type Heard,
  instanceId,
  type RouterPeer,
  type WorkerLine,
} from './router-peer.ts';

interface ModelWorker {
  readonly version: 1 | 2;
  readonly slots: number;
  readonly jobs: Set<string>;
  ready: boolean;
}
interface ModelJob {
  worker: string | null;
  text: string;
  seq: number;
  attempt: number;
}
export interface RouterModel {
  readonly workers: Map<string, ModelWorker>;
  /** Requests that are not over, in the order in which they came. */
  readonly jobs: Map<string, ModelJob>;
  names: number;
}
export interface RouterReal {
  readonly peer: RouterPeer;
  readonly lines: Map<string, WorkerLine>;
  readonly instances: Map<string, string>;
  readonly asked: Map<string, Asked>;
  readonly given: Map<string, Heard>;
}

export const newModel = (): RouterModel => ({ workers: new Map(), jobs: new Map(), names: 0 });
export const newReal = (peer: RouterPeer): RouterReal => ({
  peer,
  lines: new Map(),
  instances: new Map(),
  asked: new Map(),
  given: new Map(),
});

type RouterCommand = fc.AsyncCommand<RouterModel, RouterReal>;

const free = ({ ready, slots, jobs }: ModelWorker): boolean => ready && jobs.size < slots;
const waiting = ({ jobs }: RouterModel): string[] =>
  [...jobs].flatMap(([name, { worker }]) => (worker === null ? [name] : []));
const running = ({ jobs }: RouterModel): string[] =>
  [...jobs].flatMap(([name, { worker }]) => (worker === null ? [] : [name]));
/** One of them, chosen by a number. */
const pick = <T>(items: readonly T[], n: number): T => {
  const item = items[n % items.length];
  if (item === undefined) throw new Error('there is none');
  return item;
};
function must<V>(map: ReadonlyMap<string, V>, name: string): V {
  const value = map.get(name);
  if (value === undefined) throw new Error(`there is no ${name}`);
  return value;
}
function nameIn(model: RouterModel, kind: string): string {
  model.names += 1;
  return `${kind} ${model.names}`;
}
const nameOf = (job: Heard): string => job.messages[0].content;

/** P1: whoever waits is given to a worker with a free slot, the oldest first, and nobody else is given anything. */
async function match(model: RouterModel, real: RouterReal): Promise<void> {
  for (const name of waiting(model)) {
    const able = [...model.workers].filter(([, worker]) => free(worker)).map(([id]) => id);
    if (able.length === 0) break;
    const [id, job] = await Promise.any(
      able.map(async one => [one, await must(real.lines, one).next('job', given => nameOf(given) === name)] as const),
    );
    Object.assign(must(model.jobs, name), { worker: id, seq: 0, attempt: job.attempt ?? 0 });
    must(model.workers, id).jobs.add(name);
    real.given.set(name, job);
  }
  const left = waiting(model).length;
  const held = running(model).length;
  await real.peer.untilHealth(
    ({ queued_jobs: queued, active_jobs: active }) => queued === left && active === held,
    `${left} should wait and ${held} should run`,
  );
  for (const [id, { slots }] of model.workers) {
    const own = must(real.lines, id)
      .raw.heard.filter(({ type }) => type === 'job')
      .map(nameOf);
    const now = own.filter(name => model.jobs.get(name)?.worker === id);
    expect(new Set(now).size <= slots, `${id} has ${now.length} jobs and ${slots} slots`);
  }
}

const over = (model: RouterModel, name: string): void => {
  const { worker } = must(model.jobs, name);
  if (worker !== null) model.workers.get(worker)?.jobs.delete(name);
  model.jobs.delete(name);
};

/** A command that says itself, and lets the queue move on behind it. */
const command = (
  text: string,
  check: (model: RouterModel) => boolean,
  run: (model: RouterModel, real: RouterReal) => Promise<void>,
): RouterCommand => ({
  check: model => check(model),
  async run(model, real) {
    await run(model, real);
    await match(model, real);
  },
  toString: () => text,
});

const join = (version: 1 | 2, slots: number): RouterCommand =>
  command(
    `join(v${version}, ${slots})`,
    ({ workers }) => workers.size < 3,
    async (model, real) => {
      const id = nameIn(model, 'worker');
      const instance = instanceId();
      real.instances.set(id, instance);
      const hello = version === 2 ? { instance_id: instance, model_file: 'sha256:m' } : {};
      real.lines.set(id, await real.peer.worker({ version, slots, hello }));
      model.workers.set(id, { version, slots, jobs: new Set(), ready: true });
    },
  );

const ask = (): RouterCommand =>
  command(
    'ask',
    ({ jobs }) => jobs.size < 6,
    async (model, real) => {
      const name = nameIn(model, 'request');
      real.asked.set(name, real.peer.ask({ messages: [{ role: 'user', content: name }] }));
      model.jobs.set(name, { worker: null, text: '', seq: 0, attempt: 0 });
    },
  );

const some = (model: RouterModel): boolean => running(model).length > 0;
const lineOf = (model: RouterModel, real: RouterReal, name: string): WorkerLine =>
  must(real.lines, must(model.jobs, name).worker ?? '');
const frameOf = (model: RouterModel, real: RouterReal, name: string): Heard => {
  const { attempt } = must(model.jobs, name);
  return { ...must(real.given, name), ...(attempt === 0 ? {} : { attempt }) };
};

const say = (n: number, token: string): RouterCommand =>
  command(`say(${n}, ${JSON.stringify(token)})`, some, async (model, real) => {
    const name = pick(running(model), n);
    const job = must(model.jobs, name);
    job.seq += 1;
    job.text += token;
    lineOf(model, real, name).token(frameOf(model, real, name), token, job.seq);
    await said(must(real.asked, name), job.text);
  });

const complete = (n: number, rest: string): RouterCommand =>
  command(`complete(${n}, ${JSON.stringify(rest)})`, some, async (model, real) => {
    const name = pick(running(model), n);
    const { text, seq } = must(model.jobs, name);
    lineOf(model, real, name).complete(frameOf(model, real, name), text + rest, seq);
    expectSame(answerText(await must(real.asked, name).answer), text + rest, `the answer of ${name}`);
    over(model, name);
  });

const fail = (n: number): RouterCommand =>
  command(`fail(${n})`, some, async (model, real) => {
    const name = pick(running(model), n);
    const { attempt } = frameOf(model, real, name);
    lineOf(model, real, name).say({ type: 'error', job_id: must(real.given, name).job_id, error: 'broken', attempt });
    const answer = await must(real.asked, name).answer;
    expect(errorIn(answer)?.message.includes('broken') === true, `the answer of ${name} is ${answer.text}`);
    over(model, name);
  });

const leave = (n: number): RouterCommand =>
  command(
    `leave(${n})`,
    ({ jobs }) => jobs.size > 0,
    async (model, real) => {
      const name = pick([...model.jobs.keys()], n);
      must(real.asked, name).leave();
      const { worker } = must(model.jobs, name);
      const id = real.given.get(name)?.job_id;
      if (worker !== null) await must(real.lines, worker).next('cancel', ({ job_id: jobId }) => jobId === id, 2000);
      over(model, name);
    },
  );

/** What must change nothing: late, foreign, repeated, unknown. */
const noise = (n: number): RouterCommand =>
  command(
    `noise(${n})`,
    ({ workers }) => workers.size > 0,
    async (model, real) => {
      const id = pick([...model.workers.keys()], n);
      const line = must(real.lines, id);
      line.say({ type: 'no_such_type', job_id: 'x' }, { type: 'token', job_id: 'chatcmpl-nobody', token: 'lost' });
      line.say({ type: 'error', error: 'about no job' }, real.peer.hello());
      for (const [name, job] of real.given) {
        const known = model.jobs.get(name);
        if (known?.worker === id && line.version === 2 && known.seq > 0)
          line.token(frameOf(model, real, name), 'again', known.seq);
        if (known?.worker === id) continue;
        line.token(job, 'not mine', 1);
        line.complete(job, 'not mine', 1);
      }
      await line.heardOut();
    },
  );

const status = (n: number, ready: boolean): RouterCommand =>
  command(
    `${ready ? 'ready' : 'loading'}(${n})`,
    ({ workers }) => [...workers.values()].some(({ version }) => version === 2),
    async (model, real) => {
      const able = [...model.workers].filter(([, { version }]) => version === 2).map(([id]) => id);
      const id = pick(able, n);
      const line = must(real.lines, id);
      line.say({ type: 'status', state: ready ? 'ready' : 'loading' });
      await line.heardOut();
      must(model.workers, id).ready = ready;
    },
  );

/** A version 2 worker loses its connection and comes back with its jobs, and with frames that were lost on the way. */
const redial = (n: number, lost: number): RouterCommand =>
  command(
    `redial(${n}, ${lost} lost)`,
    ({ workers }) => [...workers.values()].some(({ version }) => version === 2),
    async (model, real) => {
      const able = [...model.workers].filter(([, { version }]) => version === 2).map(([id]) => id);
      const id = pick(able, n);
      const worker = must(model.workers, id);
      must(real.lines, id).raw.close();
      const jobs = [...worker.jobs].map(name => {
        const { attempt, seq } = must(model.jobs, name);
        return { job_id: must(real.given, name).job_id as string, attempt, seq: seq + lost };
      });
      const hello = { instance_id: must(real.instances, id), model_file: 'sha256:m', jobs };
      const { line, ack } = await real.peer.greeted({ version: 2, slots: worker.slots, hello });
      real.lines.set(id, line);
      worker.ready = true;
      for (const name of worker.jobs) {
        const job = must(model.jobs, name);
        const mark = (ack.jobs ?? []).find(({ job_id: jobId }: Heard) => jobId === must(real.given, name).job_id);
        expect(mark !== undefined, `${name} was not taken back`);
        expect(mark.attempt > job.attempt, `${name} has attempt ${mark.attempt} after ${job.attempt}`);
        expectSame(mark.seq, job.seq, `the mark of ${name}`);
        job.attempt = mark.attempt;
        for (let extra = 0; extra < lost; extra += 1) {
          job.seq += 1;
          job.text += `+${extra}`;
          line.token(frameOf(model, real, name), `+${extra}`, job.seq);
        }
        await said(must(real.asked, name), job.text);
      }
    },
  );

/** A worker that is gone for good. What a version 1 worker had said is lost with an error, what it had not goes on. */
const drop = (n: number): RouterCommand =>
  command(
    `drop(${n})`,
    model => droppable(model).length > 0,
    async (model, real) => {
      const id = pick(droppable(model), n);
      must(real.lines, id).raw.close();
      const { jobs } = must(model.workers, id);
      model.workers.delete(id);
      await real.peer.untilHealth(({ workers }) => workers === model.workers.size, 'the worker is still there');
      for (const name of jobs) {
        const answer = await must(real.asked, name).answer;
        expectSame(errorIn(answer)?.code, 'worker_lost', `the error of ${name}`);
        over(model, name);
      }
    },
  );

/** Whose jobs, if any, have been begun and cannot go on: of the others, the named cases tell. */
const droppable = ({ workers, jobs }: RouterModel): string[] =>
  [...workers].flatMap(([id, { version, jobs: own }]) =>
    own.size === 0 || (version === 1 && [...own].every(name => jobs.get(name)?.text !== '')) ? [id] : [],
  );

const any = fc.nat(7);
const text = fc.constantFrom('a', 'bc ', '\u2028', '"', '😀', '<b>', '\\', 'é');
export const routerCommands = fc.commands<RouterModel, RouterReal, boolean>(
  [
    fc
      .record({ version: fc.constantFrom(1 as const, 2 as const), slots: fc.integer({ min: 1, max: 3 }) })
      .map(one => join(one.version, one.slots)),
    fc.constant(ask()),
    fc.constant(ask()),
    fc.record({ any, text }).map(one => say(one.any, one.text)),
    fc.record({ any, text }).map(one => say(one.any, one.text)),
    fc.record({ any, text: fc.oneof(fc.constant(''), text) }).map(one => complete(one.any, one.text)),
    any.map(fail),
    any.map(leave),
    any.map(noise),
    fc.record({ any, ready: fc.boolean() }).map(one => status(one.any, one.ready)),
    fc.record({ any, lost: fc.nat(2) }).map(one => redial(one.any, one.lost)),
    any.map(drop),
  ],
  { maxCommands: 25, size: 'max' },
);
