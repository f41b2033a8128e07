/** Replay held to what happened: any life of a job, batched in any way, gives the states and the bytes of the live run. */
import fc from 'fast-check';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import {
  Replay,
  type ReplayEntry,
  ReplayStopped,
  replayDefaults,
  type Step,
  stepsOf,
} from '../actors/replay/replay.ts';
import { anyLife, type JobLife } from '../machines/job-lives.contract.ts';
import { leave, openEarly, openStream, type StreamAction, show } from '../machines/stream.ts';
import type { JobEvent, JobSubmitted } from '../protocol/job-events.ts';
import { comparePositions, formatPosition, type Position } from '../protocol/position.ts';

const options = {
  numRuns: Number(process.env.FC_RUNS ?? 300),
  ...(process.env.FC_SEED === undefined ? {} : { seed: Number(process.env.FC_SEED) }),
};

type Log = readonly (readonly [JobEvent, Position])[];

/** Lives at all paces: text after milliseconds, and silences that make a router send the head of an answer early. */
const anyLog = fc
  .tuple(anyLife, fc.array(fc.constantFrom(0, 7, 1000, 5000), { minLength: 1 }))
  .map(([life, pauses]) => {
    let at = life.job.submitted.at;
    const log = life.log.map(([event, position], index): readonly [JobEvent, Position] => {
      if (index > 0) at += pauses[index % pauses.length] ?? 0;
      return [{ ...event, at }, position];
    });
    return { life, log, [fc.toStringMethod]: () => log.map(([event]) => JSON.stringify(event)).join('\n') };
  });

/** A batch holds events of one epoch; where it ends is chance. */
function batched(log: Log, cuts: readonly boolean[]): ReplayEntry[] {
  const entries: { epoch: number; sequence: number; events: JobEvent[] }[] = [];
  for (const [index, [event, { epoch, number }]] of log.entries()) {
    const last = entries.at(-1);
    if (last !== undefined && last.epoch === epoch && cuts[index % cuts.length] !== true) last.events.push(event);
    else entries.push({ epoch, sequence: number, events: [event] });
  }
  // As a store gives them back.
  return JSON.parse(JSON.stringify(entries));
}

/** What a caller that stays gets from a router that looks every moment whether the head is due. */
function live(submitted: JobSubmitted, log: Log): { status: number | null; bytes: string; ended: boolean } {
  const got = { status: null as number | null, bytes: '', ended: false };
  const take = (actions: readonly StreamAction[]): void => {
    for (const action of actions) {
      if (action.type === 'respond' || action.type === 'open') {
        assert.is(got.status, null, 'one status');
        got.status = action.status;
      }
      if (action.type === 'respond') got.bytes += action.body;
      if (action.type === 'write') got.bytes += action.text;
      if (action.type === 'respond' || action.type === 'end') got.ended = true;
    }
  };
  let stream = openStream(submitted);
  let actions: StreamAction[];
  for (const [event, position] of log) {
    if (event.at >= submitted.at + replayDefaults.openAfterMs) {
      [stream, actions] = openEarly(stream);
      take(actions);
    }
    if (event.type === 'job.cancelled' && event.reason === 'caller_gone') stream = leave(stream);
    [stream, actions] = show(stream, event, position);
    take(actions);
  }
  return got;
}

const cutsOf = fc.array(fc.boolean(), { minLength: 1 });

test('the bytes of a replay are the bytes that were shown live, however the log is batched', () => {
  fc.assert(
    fc.property(anyLog, cutsOf, ({ life, log }, cuts) => {
      const steps = [...stepsOf(batched(log, cuts))];
      const wanted = live(life.job.submitted, log);
      assert.is(steps.map(({ caller }) => caller.bytes).join(''), wanted.bytes);
      assert.equal(
        steps.flatMap(({ caller }) => (caller.head === null ? [] : [caller.head.status])),
        wanted.status === null ? [] : [wanted.status],
      );
      assert.is(
        steps.some(({ caller }) => caller.ended),
        wanted.ended,
      );
    }),
    options,
  );
});

test('a replay passes through the states of the live run and tells of the same actions', () => {
  fc.assert(
    fc.property(anyLog, cutsOf, ({ life, log }, cuts) => {
      const replay = new Replay({ jobId: life.job.submitted.jobId });
      const steps = batched(log, cuts).flatMap(entry => [...replay.take(entry)]);
      assert.equal(
        steps.map(({ position }) => formatPosition(position)),
        log.map(([, position]) => formatPosition(position)),
      );
      assert.equal(
        steps.flatMap(({ actions }) => actions),
        life.actions,
      );
      assert.equal(essence(replay.job), essence(life.job));
      for (const [index, step] of steps.entries()) assert.equal(step.before, steps[index - 1]?.after ?? null);
    }),
    options,
  );
});

test('a log cut anywhere gives the steps up to the cut', () => {
  fc.assert(
    fc.property(anyLog, cutsOf, fc.nat(), ({ log }, cuts, where) => {
      const length = where % (log.length + 1);
      const all = [...stepsOf(batched(log, cuts))];
      assert.equal([...stepsOf(batched(log.slice(0, length), cuts))], all.slice(0, length));
    }),
    options,
  );
});

test('an event that is missing, repeated or moved ends the replay there, with the steps before it', () => {
  const damaged = anyLog.filter(({ log }) => log.length > 2);
  fc.assert(
    fc.property(damaged, fc.nat(), fc.constantFrom('missing', 'repeated', 'moved'), ({ log }, where, how) => {
      // One event a batch, so that each stands where it says; the last may be missing, which is a log not yet ended.
      const entries = batched(log, [true]);
      const at = 1 + (where % (log.length - 2));
      // What an epoch lost at its end leaves no gap: a writer that was fenced off may never have got it down.
      fc.pre(how === 'repeated' || entries[at]?.epoch === entries[at + 1]?.epoch);
      const [taken] = entries.splice(at, how === 'repeated' ? 0 : 1);
      const again = how === 'repeated' ? entries[at] : taken;
      if (how !== 'missing' && again !== undefined) entries.splice(at + 1, 0, again);
      const sound = at + (how === 'repeated' ? 1 : 0);
      const { steps, error } = untilStopped(entries);
      assert.is(steps.length, sound);
      assert.instance(error, ReplayStopped);
      assert.ok(error instanceof ReplayStopped && comparePositions(error.position, entryAt(entries, sound)) === 0);
    }),
    options,
  );
});

function untilStopped(entries: readonly ReplayEntry[]): { steps: Step[]; error: unknown } {
  const steps: Step[] = [];
  try {
    for (const step of stepsOf(entries)) steps.push(step);
    return { steps, error: null };
  } catch (error) {
    return { steps, error };
  }
}

const entryAt = (entries: readonly ReplayEntry[], index: number): Position => ({
  epoch: entries[index]?.epoch ?? 0,
  number: entries[index]?.sequence ?? 0,
});

const essence = (job: JobLife['job'] | null) =>
  job && { value: job.state.value, context: job.state.context, output: job.output, position: job.position };

test.run();
