import fc from 'fast-check';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { codes } from '../protocol/codes.ts';
import { isTerminal, type JobCompleted, type JobEvent, type JobSubmitted } from '../protocol/job-events.ts';
import { comparePositions } from '../protocol/position.ts';
import type { TokenFrame } from '../protocol/worker-frames.ts';
import { lostWorkersMax } from './job.context.ts';
import { acceptToken, completeJob, failAtWorker, outputEvents } from './job.decide.ts';
import { resumeJob, takeOverJob } from './job.losses.ts';
import { idsFor } from './job.output.ts';
import { evolve, isOver, isRunning, type Job, type JobAction, owed, ReplayError, replay } from './job.ts';
import {
  anyCommand,
  anyLife,
  bear,
  deadlineAt,
  type JobCommand,
  type JobLife,
  jobId,
  obey,
  obeyAll,
} from './job-lives.contract.ts';

const runs = Number(process.env.FC_RUNS ?? 500);
const seeded = process.env.FC_SEED === undefined ? {} : { seed: Number(process.env.FC_SEED) };

const submitted: JobSubmitted = {
  type: 'job.submitted',
  at: 1_000_000,
  jobId,
  instance: 'router-1',
  boot: 'boot-1',
  priority: 3,
  deadlineAt,
  request: { model: 'auxot-demo', messages: [{ role: 'user', content: 'hi' }] },
  answer: { api: 'openai.chat', stream: true, model: 'auxot-demo' },
};

const assign: JobCommand = { kind: 'assign', protocol: 2 };
const assign1: JobCommand = { kind: 'assign', protocol: 1 };
const speak = (...texts: string[]): JobCommand => ({
  kind: 'speak',
  from: 'holder',
  pieces: texts.map(text => ({ text, reasoning: false, step: 0 })),
});
const complete = (frame: Extract<JobCommand, { kind: 'complete' }>['frame'] = {}): JobCommand => ({
  kind: 'complete',
  from: 'holder',
  frame,
});
const orphan: JobCommand = { kind: 'orphan', from: 'holder', reason: 'worker_lost' };
const claim: JobCommand = { kind: 'claim', former: 0, stranger: false, ahead: 0 };
const endPatience: JobCommand = { kind: 'endPatience', early: false };
const expire: JobCommand = { kind: 'expire', at: deadlineAt };
const cancel: JobCommand = { kind: 'cancel', reason: 'caller_gone' };

const live = (...commands: JobCommand[]): JobLife => obeyAll(bear(submitted), commands);
const types = ({ log }: JobLife): string[] => log.map(([{ type }]) => type);
const last = ({ log }: JobLife): JobEvent => log.at(-1)?.[0] ?? submitted;
const completed = (life: JobLife): JobCompleted => {
  const event = last(life);
  if (event.type !== 'job.completed') throw new Error(`the job has not completed: ${event.type}`);
  return event;
};
const asked = ({ actions }: JobLife, type: JobAction['type']): JobAction[] =>
  actions.filter(action => action.type === type);

/** What a job is, but for XState's own objects. */
const essence = ({ submitted, state, output, position }: Job) => ({
  submitted,
  value: state.value,
  context: state.context,
  // The array behind the ids may be shared with a job that went on: only the length that is this job's counts.
  output: { ...output, ids: output.ids.items.slice(0, output.ids.length) },
  position,
});

const at = 1_000_009;
const usage = { input: 1, cached: 0, output: 1, reasoning: 0 };
const events: Record<string, JobEvent> = {
  'job.submitted': submitted,
  'job.adopted': { type: 'job.adopted', at, instance: 'i', boot: 'b' },
  'job.assigned': { type: 'job.assigned', at, attempt: 1, workerId: 'w', protocol: 2 },
  'output.appended': { type: 'output.appended', at, attempt: 1, kind: 'text', text: 'x', tokens: 1 },
  'job.requeued': { type: 'job.requeued', at, attempt: 1, reason: 'worker_lost' },
  'job.orphaned': {
    type: 'job.orphaned',
    at,
    attempt: 1,
    reason: 'worker_lost',
    seq: 0,
    standbyAt: at,
    waitsUntilAt: at + 9,
  },
  'job.orphaned by a gap': {
    type: 'job.orphaned',
    at,
    attempt: 1,
    reason: 'frames_lost',
    seq: 0,
    standbyAt: at,
    waitsUntilAt: at + 9,
  },
  'job.resumed': {
    type: 'job.resumed',
    at,
    attempt: 2,
    began: 1,
    workerId: 'w2',
    workerInstance: 'i',
    protocol: 2,
    seq: 0,
  },
  'job.moved': { type: 'job.moved', at, attempt: 2, workerId: 'w3', protocol: 2 },
  'job.completed': { type: 'job.completed', at, attempt: 1, finishReason: 'stop', usage },
  'job.failed by worker': { type: 'job.failed', at, code: 'worker_error', message: 'm', by: 'worker' },
  'job.failed by router': { type: 'job.failed', at, code: 'worker_lost', message: 'm', by: 'router' },
  'job.cancelled': { type: 'job.cancelled', at, reason: 'requested' },
  'job.expired': { type: 'job.expired', at, deadlineAt },
};
const states: Record<string, readonly JobCommand[]> = {
  queued: [],
  dispatched: [assign],
  generating: [assign, speak('x')],
  orphaned: [assign, orphan],
  resumed: [assign, orphan, claim],
  completed: [assign, complete()],
  failed: [{ kind: 'fail', code: 'log_full' }],
  cancelled: [cancel],
  expired: [expire],
};

/** The state that follows and what it asks for; `.` nothing changes, `!` the log is corrupt. */
const table: Record<string, Record<string, string>> = {
  'job.submitted': {},
  'job.adopted': {
    queued: '.',
    orphaned: '.',
    dispatched: '.',
    resumed: '.',
    generating: '.',
    completed: '.',
    failed: '.',
    cancelled: '.',
    expired: '.',
  },
  'job.assigned': { queued: 'dispatched sendJob', orphaned: 'dispatched disarmPatience sendJob' },
  'output.appended': { dispatched: 'generating', resumed: 'generating', generating: '.' },
  'job.requeued': {
    orphaned: 'queued disarmPatience requestWorker',
    dispatched: 'queued cancelAtWorker freeSlot requestWorker',
    resumed: 'queued cancelAtWorker freeSlot requestWorker',
    generating: 'queued cancelAtWorker freeSlot requestWorker',
  },
  'job.orphaned': {
    orphaned: 'orphaned disarmPatience armPatience requestStandby',
    dispatched: 'orphaned freeSlot armPatience requestStandby',
    resumed: 'orphaned freeSlot armPatience requestStandby',
    generating: 'orphaned freeSlot armPatience requestStandby',
  },
  'job.orphaned by a gap': {
    orphaned: 'orphaned disarmPatience armPatience requestStandby',
    dispatched: 'orphaned cancelAtWorker freeSlot armPatience requestStandby',
    resumed: 'orphaned cancelAtWorker freeSlot armPatience requestStandby',
    generating: 'orphaned cancelAtWorker freeSlot armPatience requestStandby',
  },
  'job.resumed': {
    orphaned: 'resumed disarmPatience withdrawRequest takeBack',
    dispatched: 'resumed cancelAtWorker freeSlot takeBack',
  },
  'job.moved': {
    dispatched: 'dispatched cancelAtWorker takeBack sendJob',
    resumed: 'dispatched cancelAtWorker takeBack sendJob',
    generating: 'dispatched cancelAtWorker takeBack sendJob',
  },
  'job.completed': ended('completed', ''),
  'job.failed by worker': { ...ended('failed', ''), ...waited('failed') },
  'job.failed by router': { ...ended('failed', 'cancelAtWorker '), ...waited('failed') },
  'job.cancelled': { ...ended('cancelled', 'cancelAtWorker '), ...waited('cancelled') },
  'job.expired': { ...ended('expired', 'cancelAtWorker '), ...waited('expired') },
};
function ended(state: string, first: string): Record<string, string> {
  const cell = `${state} ${first}freeSlot finishJob`;
  return { dispatched: cell, resumed: cell, generating: cell };
}
function waited(state: string): Record<string, string> {
  return {
    queued: `${state} withdrawRequest finishJob`,
    orphaned: `${state} disarmPatience withdrawRequest finishJob`,
  };
}

test('every event in every state leads where the table says', () => {
  for (const [name, event] of Object.entries(events)) {
    for (const [state, way] of Object.entries(states)) {
      const { job } = live(...way);
      assert.is(job.state.value, state);
      const cell = table[name]?.[state] ?? '!';
      const where = `${name} in ${state}`;
      if (cell === '!') {
        assert.throws(
          () => evolve(job, event),
          (error: unknown) => error instanceof ReplayError,
          where,
        );
        continue;
      }
      const [next, actions] = evolve(job, event);
      const found = [next.state.value, ...actions.map(({ type }) => type)].join(' ');
      assert.is(found, cell === '.' ? state : cell, where);
      for (const action of actions) {
        if ('workerId' in action.params)
          assert.is.not(action.params.workerId, '', `${where}: ${action.type} names its worker`);
      }
    }
  }
});

test('a job is submitted, asks for a worker and arms its deadline', () => {
  const { actions } = live();
  assert.equal(actions, [
    { type: 'armDeadline', params: { jobId, at: deadlineAt } },
    { type: 'requestWorker', params: { jobId, model: 'auxot-demo', priority: 3, again: false } },
  ]);
});

test('a requeued job has no worker and asks again, before new jobs', () => {
  const life = live(assign1, orphan);
  assert.is(life.job.state.context.workerId, null);
  assert.equal(asked(life, 'requestWorker').at(-1)?.params, { jobId, model: 'auxot-demo', priority: 3, again: true });
});

test('N5: a job that loses two workers with nothing said in between is failed, not given to a third', () => {
  const life = live(assign1, orphan, assign1, orphan);
  assert.is(life.job.state.value, 'failed');
  assert.is(asked(life, 'sendJob').length, lostWorkersMax);
  assert.match(JSON.stringify(last(life)), 'worker_lost');
});

test('N5: after two lost workers of version 2 no third is asked for, but either may still come back', () => {
  const life = live(assign, orphan, assign, orphan);
  assert.is(life.job.state.value, 'orphaned');
  assert.is(asked(life, 'requestStandby').length, 1);
  assert.equal(
    life.job.state.context.formers.map(({ workerInstance, attempt }) => [workerInstance, attempt]),
    [
      ['instance-1', 1],
      ['instance-2', 2],
    ],
  );
  assert.is(obey(life, { ...claim, former: 0 }).job.state.value, 'resumed');
  assert.is(obey(life, { ...claim, former: 1 }).job.state.value, 'resumed');
  const over = obey(life, endPatience);
  assert.is(over.job.state.value, 'failed');
  assert.match(JSON.stringify(last(over)), '2 workers in a row');
});

test('output forgives the losses before it, and a new attempt numbers its frames from 1', () => {
  // A token without text is output too: a character whose first bytes it holds.
  const { job } = live(assign, orphan, assign, speak(''), orphan, assign);
  assert.is(job.state.value, 'dispatched');
  assert.is(job.state.context.lostInARow, 1);
  assert.is(job.output.seq, 0);
});

test('a worker that comes back before its standby speaks has the job, and its frames go on in number', () => {
  const life = live(assign, speak('a', 'b'), orphan, assign, claim);
  const { job } = life;
  assert.is(job.state.value, 'resumed');
  assert.equal([job.state.context.attempt, job.state.context.began, job.output.seq], [3, 1, 2]);
  assert.equal(asked(life, 'cancelAtWorker'), [
    { type: 'cancelAtWorker', params: { jobId, workerId: 'worker-2', attempt: 2 } },
  ]);
  assert.is(obey(life, speak('c')).job.output.text, 'abc');
});

test('a worker that comes back after its standby has spoken has no claim, nor has one that never had the job', () => {
  assert.equal(live(assign, speak('a'), orphan, assign, speak('b'), claim).refusals, ['not_held']);
  assert.equal(live(assign, speak('a'), orphan, { ...claim, stranger: true }).refusals, ['stale']);
  assert.equal(live(assign, speak('a'), orphan, { ...claim, ahead: -1 }).refusals, ['stale']);
  assert.equal(live(assign, speak('a'), claim).refusals, ['not_held']);
});

test('a worker whose answer to a redial was lost may still go by its number before', () => {
  const life = live(assign, speak('a'), orphan, claim, orphan);
  const [former] = life.job.state.context.formers;
  assert.equal([former?.began, former?.attempt], [1, 2]);
  const decision = resumeJob(life.job, {
    at,
    workerId: 'w',
    workerInstance: 'instance-1',
    protocol: 2,
    attempt: 1,
    seq: 1,
  });
  assert.ok(decision.ok);
});

test('an orphaned job waits for its end: then it fails if something was said, and is queued anew if not', () => {
  assert.equal(live(assign, orphan, { kind: 'endPatience', early: true }).refusals, ['not_held']);
  assert.is(live(assign, orphan, endPatience).job.state.value, 'queued');
  const failed = live(assign, speak('a'), orphan, endPatience);
  assert.is(failed.job.state.value, 'failed');
  assert.match(JSON.stringify(last(failed)), 'AUXOT_REDIAL_GRACE');
});

test('what was said is not given to a worker of version 1', () => {
  assert.equal(live(assign, speak('a'), orphan, assign1).refusals, ['not_queued']);
  assert.is(live(assign, orphan, assign1).job.state.value, 'dispatched');
});

test('ids are kept while they are of one model file, and then say all of the output', () => {
  const { job } = live(assign, speak('a', 'bcd'), orphan, assign, speak('e'));
  assert.equal(idsFor(job.output, 'sha256:1'), [1, 3, 1]);
  assert.is(idsFor(job.output, 'sha256:2'), null);
  assert.is(idsFor(live(assign1, speak('a')).job.output, null), null);
});

test('of several choices, each is kept apart, and the next worker is told which are over', () => {
  const token = (text: string, seq: number, more: object) =>
    ({ type: 'token', job_id: 'j', token: text, seq, ids: [seq], ...more }) as TokenFrame;
  const { job: two } = live(assign);
  const submitted = { ...two.submitted, request: { ...two.submitted.request, choices: 2 } };
  let job = { ...two, submitted };
  const { workerId } = job.state.context;
  const end = {
    finish_reason: 'tool_calls',
    tool_calls: [{ id: '', type: 'function', function: { name: 'f', arguments: '' } }],
  };
  for (const frame of [
    token('a', 1, {}),
    token('', 2, { end }),
    token('b', 3, { choice: 1 }),
    token('c', 4, { choice: 1 }),
  ]) {
    const taken = acceptToken(job, null, workerId ?? '', frame);
    assert.ok(taken.ok);
    if (taken.ok) for (const event of outputEvents(job, taken.piece, at)) job = { ...evolve(job, event)[0], submitted };
  }
  const { output } = job;
  assert.equal([output.text, output.end?.finishReason, output.tokens], ['a', 'tool_calls', 2]);
  assert.is(output.end?.toolCalls?.[0]?.arguments, '{}');
  assert.equal(
    output.others.map(({ text, end }) => [text, end]),
    [['bc', null]],
  );
  assert.equal(
    output.others.map(other => idsFor(output, 'sha256:1', other)),
    [[3, 4]],
  );
  assert.equal(idsFor(output, 'sha256:1'), [1, 2]);
  const stray = acceptToken(job, null, workerId ?? '', token('x', 5, { choice: 2 }));
  assert.not(stray.ok);
  const joins = (first: object, second: object): boolean => {
    const one = acceptToken(job, null, workerId ?? '', token('x', 5, first));
    const other = one.ok && acceptToken(job, one.piece, workerId ?? '', token('y', 6, second));
    return other !== false && other.ok && other.joins;
  };
  assert.ok(joins({}, {}));
  assert.not(joins({}, { choice: 1 }));
  assert.not(joins({ end: { finish_reason: 'stop' } }, {}));
  const done = completeJob(job, workerId ?? '', { type: 'complete', job_id: 'j', full_response: 'a', seq: 4 }, at);
  const completed = done.ok ? done.events.at(-1) : undefined;
  assert.is(completed?.type === 'job.completed' && completed.finishReason, 'tool_calls');
});

test('a router that ends says nothing about the workers: its restarts are no losses', () => {
  const adopt: JobCommand = { kind: 'adopt' };
  const { job } = live(assign, speak('a'), adopt, claim, adopt, adopt, claim, adopt);
  assert.is(job.state.value, 'orphaned');
  assert.is(job.state.context.lostInARow, 0);
  assert.ok(job.state.context.standbyAt > 1_000_000, 'workers get a moment to come back');
});

test('routers that die one after the other do not put the standby off each time', () => {
  let { job } = live(assign, speak('a'));
  const standbyAt: number[] = [];
  for (const afterMs of [0, 2000, 4000, 6000, 8000]) {
    const decision = takeOverJob(job, 1_100_000 + afterMs);
    assert.ok(decision.ok);
    for (const event of decision.events) job = evolve(job, event)[0];
    standbyAt.push(job.state.context.standbyAt - 1_100_000);
  }
  assert.equal(standbyAt, [5000, 5000, 5000, 7000, 9000]);
});

test('N16: frames from a worker that does not hold the job, or of a former attempt, are refused', () => {
  const { job, refusals } = obeyAll(live(assign, orphan, assign1), [
    { kind: 'speak', from: 'former', pieces: [{ text: 'x', reasoning: false, step: 0 }] },
    { kind: 'complete', from: 'stranger', frame: {} },
    { kind: 'complete', from: 'holder', frame: { attempt: 1 } },
    { kind: 'giveUp', from: 'former', code: '' },
    { kind: 'stop', from: 'stranger' },
    { kind: 'orphan', from: 'former', reason: 'worker_lost' },
  ]);
  assert.equal(refusals, ['not_held', 'not_held', 'stale', 'not_held', 'not_held', 'not_held']);
  assert.is(job.output.text, '');
});

test('nothing follows the end: what comes late is refused', () => {
  const life = live(
    assign,
    speak('a'),
    expire,
    speak('b'),
    complete(),
    orphan,
    cancel,
    expire,
    { kind: 'adopt' },
    assign,
    {
      kind: 'fail',
      code: 'timeout',
    },
  );
  assert.is(last(life).type, 'job.expired');
  assert.is(life.job.output.text, 'a');
  assert.ok(life.refusals.length === 8 && life.refusals.every(code => code === 'over'));
});

test('N9: a job that passes its deadline is cancelled at its worker and frees the slot; an early timer does nothing', () => {
  const early = live(assign, { kind: 'expire', at: deadlineAt - 1 });
  assert.is(early.job.state.value, 'dispatched');
  const life = obey(early, expire);
  assert.equal(asked(life, 'cancelAtWorker').length, 1);
  assert.equal(asked(life, 'freeSlot'), [{ type: 'freeSlot', params: { jobId, workerId: 'worker-1' } }]);
});

test('N7: a cancelled job that waits leaves the queue; one that runs is cancelled at its worker', () => {
  assert.equal(
    live(cancel)
      .actions.slice(2)
      .map(({ type }) => type),
    ['withdrawRequest', 'finishJob'],
  );
  assert.equal(asked(live(assign, cancel), 'cancelAtWorker'), [
    { type: 'cancelAtWorker', params: { jobId, workerId: 'worker-1', attempt: 1 } },
  ]);
});

test('text that arrives in one tick is one event, and its frames are counted', () => {
  const life = live(assign, speak('a', 'b', 'c'), speak('d'));
  assert.equal(types(life).filter(type => type === 'output.appended').length, 2);
  assert.is(life.job.output.text, 'abcd');
  assert.is(life.job.output.tokens, 4);
  assert.is(life.job.output.seq, 4);
});

test('reasoning and text are kept apart, in events of their own', () => {
  const life = live(assign, {
    kind: 'speak',
    from: 'holder',
    pieces: [
      { text: 'hm', reasoning: true, step: 0 },
      { text: 'ok', reasoning: false, step: 0 },
    ],
  });
  assert.equal([life.job.output.reasoning, life.job.output.text, life.job.output.reasoningTokens], ['hm', 'ok', 1]);
  assert.is(types(life).filter(type => type === 'output.appended').length, 2);
});

test('a token frame seen before is refused as a repeat, and one left out as a gap', () => {
  const stepping = (step: number): JobCommand => ({
    kind: 'speak',
    from: 'holder',
    pieces: [{ text: 'x', reasoning: false, step }],
  });
  assert.equal(live(assign, speak('a'), stepping(-1)).refusals, ['repeated']);
  assert.equal(live(assign, speak('a'), stepping(1)).refusals, ['sequence_gap']);
  assert.equal(live(assign, speak('a'), complete({ seq: 2 })).refusals, ['sequence_gap']);
  assert.is(live(assign, speak('a'), complete({ seq: 1 })).job.state.value, 'completed');
});

test('a worker that streams nothing says its whole text at the end', () => {
  const life = live(assign1, complete({ full_response: 'whole', reasoning_content: 'why' }));
  assert.equal(types(life).slice(2), ['output.appended', 'output.appended', 'job.completed']);
  assert.equal([life.job.output.text, life.job.output.reasoning], ['whole', 'why']);
});

test('a worker that streamed says only what was left out; a whole that contradicts what was said adds nothing', () => {
  assert.is(live(assign1, speak('Hel'), complete({ full_response: 'Hello' })).job.output.text, 'Hello');
  assert.is(live(assign1, speak('Hello'), complete({ full_response: 'Hello' })).job.output.text, 'Hello');
  assert.is(live(assign1, speak('Hello'), complete({ full_response: 'Bye, all' })).job.output.text, 'Hello');
});

test('N11, N12: tool calls get ids of their own, and empty arguments become an empty object', () => {
  const call = (id: string, text: string) => ({ id, type: 'function', function: { name: 'look', arguments: text } });
  const { toolCalls = [], finishReason } = completed(
    live(assign, complete({ tool_calls: [call('a', ''), call('a', '{}'), call('', '{}')] })),
  );
  assert.is(new Set(toolCalls.map(({ id }) => id)).size, 3);
  assert.ok(toolCalls.every(({ id }) => id !== ''));
  assert.is(toolCalls[0]?.arguments, '{}');
  assert.is(finishReason, 'tool_calls');
});

test('what ended the answer is kept: the stop text, or the full context', () => {
  const stopped = completed(live(assign, complete({ finish_reason: 'stop', stop_sequence: 'END' })));
  assert.equal([stopped.finishReason, stopped.stopSequence, stopped.contextFull], ['stop', 'END', undefined]);
  const full = completed(live(assign, complete({ finish_reason: 'length', context_full: true })));
  assert.equal([full.finishReason, full.contextFull], ['length', true]);
});

test('AN26: a version 1 worker whose prompt did not fit has no code for it, but words', () => {
  const error = 'request (9 tokens) exceeds the available context size (8 tokens)';
  const { job } = live(assign1);
  for (const [code, expected] of [
    [{}, 'context_length_exceeded'],
    [{ code: 'engine_crashed' }, 'worker_error'],
    [{ code: 'malformed_tool_call' }, 'malformed_tool_call'],
  ] as const) {
    const decision = failAtWorker(job, 'worker-1', { type: 'error', job_id: jobId, error, ...code }, 1);
    assert.is(decision.ok && decision.events[0]?.type === 'job.failed' && decision.events[0].code, expected);
  }
});

test('the finish reason is what a version 2 worker says, and is inferred for version 1', () => {
  assert.is(completed(live(assign, complete({ finish_reason: 'length' }))).finishReason, 'length');
  const short = obeyAll(bear({ ...submitted, request: { ...submitted.request, maxTokens: 5 } }), [
    assign1,
    complete({ output_tokens: 5 }),
  ]);
  assert.is(completed(short).finishReason, 'length');
  assert.is(completed(live(assign1, complete({ output_tokens: 5 }))).finishReason, 'stop');
});

test('usage counts reused prompt tokens as input, and tokens said when the worker counts none', () => {
  assert.equal(completed(live(assign, complete({ input_tokens: 5, cache_tokens: 7, output_tokens: 3 }))).usage, {
    input: 12,
    cached: 7,
    output: 3,
    reasoning: 0,
  });
  assert.is(completed(live(assign1, speak('a', 'b'), complete())).usage.output, 2);
});

test('another writer opens the next epoch, and the worker of the one before is lost', () => {
  const life = live(assign1, { kind: 'adopt' });
  assert.equal(
    life.log.map(([{ type }, { epoch, number }]) => [type, epoch, number]),
    [
      ['job.submitted', 1, 1],
      ['job.assigned', 1, 2],
      ['job.adopted', 2, 1],
      ['job.requeued', 2, 2],
    ],
  );
});

test('every failure carries a code that is known', () => {
  for (const code of [
    '',
    'context_length_exceeded',
    'invalid_request',
    'timeout',
    'overloaded',
    'engine_crashed',
    'who knows',
  ]) {
    const event = last(live(assign, { kind: 'giveUp', from: 'holder', code }));
    assert.ok(event.type === 'job.failed' && Object.hasOwn(codes, event.code), code);
  }
});

test('what is still owed is read from the state', () => {
  const kinds = (life: JobLife): string[] => owed(life.job).map(({ type }) => type);
  assert.equal(kinds(live()), ['armDeadline', 'requestWorker']);
  assert.equal(kinds(live(assign)), ['armDeadline']);
  assert.equal(kinds(live(assign, speak('a'))), ['armDeadline']);
  assert.equal(kinds(live(assign, speak('a'), orphan)), ['armDeadline', 'armPatience', 'requestStandby']);
  assert.equal(kinds(live(assign, orphan, assign, orphan)), ['armDeadline', 'armPatience']);
  assert.equal(kinds(live(cancel)), []);
});

/** Whether the queue has the job, from what the machine asked of it. */
const waits = ({ actions }: JobLife): boolean =>
  actions.reduce((waiting, { type }) => {
    if (type === 'requestWorker' || type === 'requestStandby') return true;
    return type === 'withdrawRequest' || type === 'sendJob' ? false : waiting;
  }, false);

test('no sequence of commands breaks an invariant', () => {
  fc.assert(
    fc.property(fc.array(anyCommand, { maxLength: 25 }), commands => {
      let life = bear(submitted);
      for (const command of commands) {
        const before = life;
        life = obey(life, command);
        const { state } = life.job;
        const running = ['dispatched', 'resumed', 'generating'].includes(state.value);
        assert.is(state.context.workerId !== null, running, 'J1');
        assert.is(isRunning(life.job), running, 'J1');
        assert.ok(state.context.attempt >= before.job.state.context.attempt, 'J2');
        if (isOver(before.job)) assert.is(life.log, before.log, 'J3');
        const held = asked(life, 'sendJob').length + asked(life, 'takeBack').length;
        assert.is(held, state.context.attempt, 'J2: one dispatch or resumption an attempt');
        assert.is(asked(life, 'freeSlot').length, held - (running ? 1 : 0), 'each slot is freed once');
        assert.is(asked(life, 'finishJob').length, isOver(life.job) ? 1 : 0, 'J3');
        const { formers, lostInARow } = state.context;
        if (state.value === 'generating') assert.equal([formers, lostInARow], [[], 0], 'J6');
        if (state.value === 'dispatched') assert.ok(lostInARow < lostWorkersMax, 'J4');
        const asks = state.value === 'queued' || (state.value === 'orphaned' && lostInARow < lostWorkersMax);
        assert.is(waits(life), asks, 'J7');
      }
      const kinds = types(life);
      assert.is(kinds.filter(isTerminal).length, isOver(life.job) ? 1 : 0, 'J3');
      for (const [index, [event, position]] of life.log.entries()) {
        const before = life.log[index - 1]?.[1];
        if (before === undefined) continue;
        const expected = event.type === 'job.adopted' ? [before.epoch + 1, 1] : [before.epoch, before.number + 1];
        assert.equal([position.epoch, position.number], expected, 'J5');
        assert.ok(comparePositions(before, position) < 0, 'J5');
      }
    }),
    { numRuns: runs, ...seeded },
  );
});

test('a job rebuilt from its log equals the job that wrote it, cut anywhere', () => {
  fc.assert(
    fc.property(anyLife, fc.nat(40), (life, cut) => {
      const log = life.log.map(([event]) => JSON.parse(JSON.stringify(event)) as JobEvent);
      const whole = replay(log);
      assert.ok(whole);
      assert.equal(essence(whole), essence(life.job));
      let job = replay(log.slice(0, Math.max(1, cut)));
      assert.ok(job);
      for (const event of log.slice(Math.max(1, cut))) [job] = evolve(job, event);
      assert.equal(essence(job), essence(life.job));
    }),
    { numRuns: runs, ...seeded },
  );
});

test('what was said is what the log holds, and nothing is said of an attempt that is over', () => {
  fc.assert(
    fc.property(anyLife, ({ job, log }) => {
      const said = (kind: string): string =>
        log
          .flatMap(([event]) => (event.type === 'output.appended' && event.kind === kind ? [event.text] : []))
          .join('');
      assert.is(job.output.text, said('text'));
      assert.is(job.output.reasoning, said('reasoning'));
      let attempt = 0;
      for (const [event] of log) {
        if (event.type === 'job.assigned' || event.type === 'job.resumed') attempt = event.attempt;
        if ('attempt' in event) assert.is(event.attempt, attempt, event.type);
      }
    }),
    { numRuns: runs, ...seeded },
  );
});

test('a log that does not begin with job.submitted, or goes on after the end, is corrupt', () => {
  assert.throws(
    () => replay([events['job.cancelled'] ?? submitted]),
    (error: unknown) => error instanceof ReplayError,
  );
  const done = live(cancel).log.map(([event]) => event);
  assert.throws(() => replay([...done, ...done.slice(1)]), /corrupt/);
  assert.is(replay([]), null);
});

test.run();
