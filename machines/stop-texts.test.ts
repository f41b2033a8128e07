/** Texts that end an answer, found in pieces of any size; and the jobs of version 1 workers that end at them. */
import fc from 'fast-check';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { JobEvent, JobSubmitted } from '../protocol/job-events.ts';
import { acceptToken, completeJob, outputEvents } from './job.decide.ts';
import { begin, evolve, type Job, type JobAction, replay } from './job.ts';

const runs = {
  numRuns: Number(process.env.FC_RUNS ?? 500),
  ...(process.env.FC_SEED ? { seed: Number(process.env.FC_SEED) } : {}),
};

const submitted = (stop: string[]): JobSubmitted => ({
  type: 'job.submitted',
  at: 1000,
  jobId: 'chatcmpl-0a1b',
  instance: 'router',
  boot: 'boot',
  priority: 0,
  deadlineAt: 301_000,
  request: { model: 'm', messages: [{ role: 'user', content: 'Hello there' }], stop },
  answer: { api: 'openai.chat', stream: true, model: 'm' },
});

interface Life {
  job: Job;
  readonly log: JobEvent[];
  readonly actions: JobAction[];
}

function happen(life: Life, event: JobEvent): void {
  const [job, actions] = evolve(life.job, event);
  life.job = job;
  life.log.push(event);
  life.actions.push(...actions);
}

/** A worker of this version says the pieces, each in a tick of its own, and then that it is done. */
function live(stop: string[], pieces: readonly string[], whole: string | null, protocol = 1): Life {
  const first = submitted(stop);
  const [job] = begin(first);
  const life: Life = { job, log: [first], actions: [] };
  happen(life, { type: 'job.assigned', at: 1, attempt: 1, workerId: 'w', protocol });
  for (const token of pieces) {
    const taken = acceptToken(life.job, null, 'w', { type: 'token', job_id: first.jobId, token });
    if (!taken.ok) break;
    for (const event of outputEvents(life.job, taken.piece, 2)) happen(life, event);
  }
  if (whole === null) return life;
  const frame = { type: 'complete', job_id: first.jobId, full_response: whole, output_tokens: 3 } as const;
  const done = completeJob(life.job, 'w', frame, 3);
  if (done.ok) for (const event of done.events) happen(life, event);
  return life;
}

const textOf = ({ log }: Life): string =>
  log.map(event => (event.type === 'output.appended' && event.kind === 'text' ? event.text : '')).join('');
const endOf = ({ log }: Life) => {
  const last = log.at(-1);
  return last?.type === 'job.completed' ? [last.finishReason, last.stopSequence ?? null] : null;
};

const letters = fc.constantFrom('a', 'b', 'c');
const anyPieces = fc.array(fc.string({ unit: letters, minLength: 1, maxLength: 5 }), { maxLength: 8 });
const anyStops = fc.array(fc.string({ unit: letters, minLength: 1, maxLength: 4 }), { minLength: 1, maxLength: 3 });

test('however a version 1 worker cuts its answer, it ends before the first stop text', () => {
  fc.assert(
    fc.property(anyPieces, anyStops, fc.nat({ max: 8 }), (pieces, stops, streamed) => {
      const whole = pieces.join('');
      const places = stops.map(stop => whole.indexOf(stop)).filter(at => at !== -1);
      const end = places.length === 0 ? whole.length : Math.min(...places);
      // What it did not stream it says at the end.
      const life = live(stops, pieces.slice(0, streamed), whole);
      assert.is(textOf(life), whole.slice(0, end));
      const stop = places.length === 0 ? null : (stops.find(one => whole.startsWith(one, end)) ?? null);
      assert.equal(endOf(life), ['stop', stop]);
    }),
    runs,
  );
});

test('nothing of a stop text is said before it is certain, and what waits is in the log', () => {
  fc.assert(
    fc.property(anyPieces, anyStops, (pieces, stops) => {
      const life = live(stops, pieces, null);
      const said = textOf(life);
      const whole = pieces.join('');
      assert.ok(whole.startsWith(said));
      assert.not(stops.some(stop => said.includes(stop)));
      const again = replay(life.log);
      assert.is(again?.output.held, life.job.output.held);
      if (life.job.state.status !== 'done') assert.is(said + life.job.output.held, whole);
      else assert.is(life.job.state.value, 'completed');
    }),
    runs,
  );
});

test('a job that ends at a stop text is cancelled at its worker, and its slot is free', () => {
  const { log, actions } = live(['END'], ['The E', 'N', 'D is near'], null);
  const [, , ...said] = log;
  assert.equal(
    said.map(event => (event.type === 'output.appended' ? [event.text, event.held ?? ''] : event.type)),
    [['The ', 'E'], ['', 'EN'], ['', ''], 'job.completed'],
  );
  const done = log.at(-1);
  assert.ok(done?.type === 'job.completed');
  assert.equal([done.stopSequence, done.usage.output, done.by], ['END', 3, 'router']);
  assert.ok(done.usage.input > 0);
  const asked = actions.map(({ type }) => type);
  assert.ok(asked.includes('cancelAtWorker') && asked.includes('freeSlot'));
});

test('one that a worker ends is not cancelled there, and a call after a stop text is none', () => {
  const asked = live(['END'], ['The '], 'The end').actions.map(({ type }) => type);
  assert.not(asked.includes('cancelAtWorker'));
  const life = live(['END'], [], null);
  const call = { id: 'c', type: 'function', function: { name: 'f', arguments: '{}' } };
  const frame = { type: 'complete', job_id: 'chatcmpl-0a1b', full_response: 'a END b', tool_calls: [call] } as const;
  const done = completeJob(life.job, 'w', { ...frame, tool_calls: [call] }, 3);
  assert.ok(done.ok);
  const last = done.events.at(-1);
  assert.ok(last?.type === 'job.completed');
  assert.equal([last.finishReason, last.stopSequence, last.toolCalls], ['stop', 'END', undefined]);
});

test('a version 2 worker stops by itself: what it says is taken as it is', () => {
  assert.is(textOf(live(['END'], ['The E', 'ND'], 'The END', 2)), 'The END');
});

test.run();
