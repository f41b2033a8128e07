import fc from 'fast-check';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { JobEvent } from '../protocol/job-events.ts';
import { evolve, isOver, type Job, owed, ReplayError, replay } from './job.ts';
import { anyKindLife, anyToolLife, submittedWithTools, ToolLife, toolJobId } from './tool-lives.contract.ts';
import { expireRound, finishCall, loseCall, refuseCall, startCall } from './tool-round.decide.ts';
import { contentOf, lateMs, requestNow, roundNow } from './tool-round.ts';

const runs = Number(process.env.FC_RUNS ?? 400);
const seeded = process.env.FC_SEED === undefined ? {} : { seed: Number(process.env.FC_SEED) };

const at = 1_000_100;
const usage = { input: 1, cached: 0, output: 1, reasoning: 0 };
const callOf = (n: number, name = 'note') => ({ callId: `c${n}`, toolCallId: `t${n}`, name, arguments: '{}' });
const assigned: JobEvent = { type: 'job.assigned', at, attempt: 1, workerId: 'gpu', protocol: 2 };
const round: JobEvent = {
  type: 'toolRound.started',
  at,
  attempt: 1,
  round: 1,
  calls: [callOf(1), callOf(2, 'look')],
  usage,
  deadlineAt: at + 20_000,
};
const started: JobEvent = { type: 'toolCall.started', at, callId: 'c1', workerId: 'w', workerInstance: 'i' };
const returned: JobEvent = { type: 'toolCall.returned', at, callId: 'c1', reason: 'not_begun' };
const lost: JobEvent = { type: 'toolCall.returned', at, callId: 'c1', reason: 'worker_lost' };
const finished = (callId: string): JobEvent => ({
  type: 'toolCall.finished',
  at,
  callId,
  by: 'worker',
  result: callId,
});
const roundOver: JobEvent = { type: 'toolRound.finished', at, round: 1 };

const given = (...events: readonly JobEvent[]): Job => {
  const job = replay([submittedWithTools, assigned, ...events]);
  if (job === null) throw new Error('there is no job');
  return job;
};

const states: Record<string, readonly JobEvent[]> = {
  running: [],
  waiting: [round],
  sent: [round, started],
  finished: [round, started, finished('c1')],
  'all finished': [round, finished('c1'), finished('c2')],
  'round over': [round, finished('c1'), finished('c2'), roundOver],
  'job over': [round, started, { type: 'job.cancelled', at, reason: 'requested' }],
};
const events: Record<string, JobEvent> = {
  'round started': round,
  'call started': started,
  'call returned': returned,
  'call lost': lost,
  'call finished': finished('c1'),
  'round finished': roundOver,
  adopted: { type: 'job.adopted', at, instance: 'i', boot: 'b' },
  cancelled: { type: 'job.cancelled', at, reason: 'requested' },
  failed: { type: 'job.failed', at, code: 'log_full', message: 'm', by: 'router' },
  expired: { type: 'job.expired', at, deadlineAt: at },
  assigned: { ...assigned, attempt: 2 },
  output: { type: 'output.appended', at, attempt: 1, kind: 'text', text: 'x', tokens: 1 },
  completed: { type: 'job.completed', at, attempt: 1, finishReason: 'stop', usage },
};
/** What the event asks for, where it can follow. */
const table: Record<string, Record<string, string>> = {
  'round started': { running: 'armRound callTool callTool freeSlot' },
  'call started': { waiting: 'sendTool', sent: 'sendTool' },
  'call returned': { sent: 'callTool' },
  'call lost': { sent: 'callTool' },
  'call finished': { waiting: 'endTool', sent: 'endTool' },
  'round finished': { 'all finished': 'disarmRound requestWorker' },
  adopted: { running: '', waiting: '', sent: '', finished: '', 'all finished': '', 'round over': '', 'job over': '' },
  cancelled: ended('cancelAtWorker freeSlot finishJob'),
  failed: ended('cancelAtWorker freeSlot finishJob'),
  expired: ended('cancelAtWorker freeSlot finishJob'),
  assigned: { 'round over': 'sendJob' },
  output: { running: '' },
  completed: { running: 'freeSlot finishJob' },
};
function ended(running: string): Record<string, string> {
  return {
    running,
    waiting: 'disarmRound endTool endTool finishJob',
    sent: 'disarmRound endTool endTool finishJob',
    finished: 'disarmRound endTool finishJob',
    'all finished': 'disarmRound finishJob',
    'round over': 'withdrawRequest finishJob',
  };
}

test('every event in every state of a call asks for what the table says', () => {
  for (const [name, event] of Object.entries(events))
    for (const [state, way] of Object.entries(states)) {
      const job = given(...way);
      const cell = table[name]?.[state];
      const where = `${name} in ${state}`;
      if (cell === undefined) {
        assert.throws(
          () => evolve(job, event),
          (error: unknown) => error instanceof ReplayError,
          where,
        );
        continue;
      }
      const [, actions] = evolve(job, event);
      assert.is(actions.map(({ type }) => type).join(' '), cell, where);
    }
});

test('T1: a call is started by a worker that has room, once, and sent with the time that is left', () => {
  const decision = startCall(given(round), { at: at + 5000, callId: 'c1', workerId: 'w', workerInstance: 'i' });
  assert.equal(decision, { ok: true, events: [{ ...started, at: at + 5000 }] });
  const [, actions] = evolve(given(round), { ...started, at: at + 5000 } as JobEvent);
  const params = { jobId: toolJobId, callId: 'c1', workerId: 'w', sentTo: null, timeoutMs: 15_000 };
  assert.equal(actions, [{ type: 'sendTool', params }]);
  const refused = (job: Job, callId = 'c1') => startCall(job, { at, callId, workerId: 'w', workerInstance: 'i' });
  assert.equal(refused(given(round, started)), { ok: false, refusal: { code: 'repeated' } });
  for (const job of [given(...(states.finished ?? [])), given(...(states['job over'] ?? [])), given()])
    assert.equal(refused(job), { ok: false, refusal: { code: 'over' } });
  assert.equal(refused(given(round), 'none'), { ok: false, refusal: { code: 'over' } });
});

test('T2: a call that may have been begun goes to the process that has it and says so, or is idempotent', () => {
  const again = (callId: string, workerInstance?: string) =>
    startCall(given(round, { ...started, callId } as JobEvent), {
      at,
      callId,
      workerId: 'w2',
      ...(workerInstance === undefined ? {} : { workerInstance }),
    });
  assert.ok(again('c1', 'i').ok, 'another connection of the same process');
  assert.equal(again('c1', 'i2'), { ok: false, refusal: { code: 'not_held' } });
  assert.equal(again('c1'), { ok: false, refusal: { code: 'not_held' } }, 'a process without a name');
  assert.ok(again('c2', 'i2').ok, 'an idempotent one');
  const nameless: JobEvent = { type: 'toolCall.started', at, callId: 'c1', workerId: 'w' };
  const after = startCall(given(round, nameless), { at, callId: 'c1', workerId: 'w2' });
  assert.equal(after, { ok: false, refusal: { code: 'not_held' } }, 'nobody can be asked that has no name');
  const [, [sent]] = evolve(given(round, started), { ...started, workerId: 'w2' } as JobEvent);
  assert.is(sent?.type === 'sendTool' && sent.params.sentTo, 'i');
});

test('what was not begun may begin anywhere; what was lost is asked for by its process’s name', () => {
  const sentTo = (...way: JobEvent[]) => {
    const found = owed(given(round, started, ...way)).find(({ type }) => type === 'callTool');
    return found?.type === 'callTool' ? found.params.sentTo : 'nothing is asked for';
  };
  assert.is(sentTo(), 'i');
  assert.is(sentTo(returned), null);
  assert.is(sentTo(lost), 'i');
  assert.is(sentTo({ ...started, workerId: 'w2' } as JobEvent, returned), 'i', 'the second time it was not begun');
});

test('T3: a round is over with its last call, however that ends', () => {
  const ends = [
    finishCall(given(round, finished('c2'), started), 'w', resultOf('c1'), at),
    loseCall(given(round, finished('c2'), started), 'c1', at),
    refuseCall(given(round, finished('c2')), 'c1', 'unknown_tool', 'nobody has it', at),
  ];
  for (const decision of ends) {
    if (!decision.ok) throw new Error('refused');
    assert.equal(
      decision.events.map(({ type }) => type),
      ['toolCall.finished', 'toolRound.finished'],
    );
  }
  const first = finishCall(given(round, started), 'w', resultOf('c1'), at);
  assert.is(first.ok && first.events.length, 1);
});

test('a result counts from the connection that has the call, and once', () => {
  const sent = given(round, started);
  assert.equal(finishCall(sent, 'stranger', resultOf('c1'), at), { ok: false, refusal: { code: 'not_held' } });
  assert.equal(finishCall(given(round), 'w', resultOf('c1'), at), { ok: false, refusal: { code: 'not_held' } });
  const over = given(...(states.finished ?? []));
  assert.equal(finishCall(over, 'w', resultOf('c1'), at), { ok: false, refusal: { code: 'over' } });
  const returnedNow = finishCall(sent, 'w', { ...resultOf('c1'), error: 'full', code: 'overloaded' }, at);
  assert.equal(returnedNow.ok && returnedNow.events, [returned]);
  const unknown = finishCall(sent, 'w', { ...resultOf('c1'), error: 'e', code: 'a code of tomorrow' }, at);
  assert.is(unknown.ok && unknown.events[0]?.type, 'toolCall.finished');
});

test('N10: a lost worker ends a call as an unknown outcome, unless it may be run twice', () => {
  const decision = loseCall(given(round, started), 'c1', at);
  assert.is(
    decision.ok && decision.events[0]?.type === 'toolCall.finished' && decision.events[0].code,
    'outcome_unknown',
  );
  const moved = loseCall(given(round, { ...started, callId: 'c2' } as JobEvent), 'c2', at);
  assert.equal(moved.ok && moved.events, [{ ...lost, callId: 'c2' }]);
});

test('the end of the time ends every open call and the round, not before', () => {
  const job = given(round, started);
  const endsAt = at + 20_000 + lateMs;
  assert.equal(expireRound(job, endsAt - 1), { ok: false, refusal: { code: 'over' } });
  const decision = expireRound(job, endsAt);
  if (!decision.ok) throw new Error('refused');
  const [first, second, last] = decision.events;
  assert.match(first?.type === 'toolCall.finished' ? String(first.error) : '', 'took too long');
  assert.match(second?.type === 'toolCall.finished' ? String(second.error) : '', 'no tools worker was free');
  assert.equal(last, { ...roundOver, at: endsAt });
  assert.not.ok(expireRound(given(), endsAt).ok);
});

test('T4: results stand in the order of the calls, each with its own id, and nothing of the request is lost', () => {
  const job = given(round, finished('c2'), finished('c1'), roundOver);
  const { messages, ...rest } = requestNow(job);
  assert.equal(messages.slice(1), [
    {
      role: 'assistant',
      content: '',
      tool_calls: ['1', '2'].map((n, index) => ({
        id: `t${n}`,
        type: 'function',
        function: { name: ['note', 'look'][index], arguments: '{}' },
      })),
    },
    { role: 'tool', tool_call_id: 't1', content: 'c1' },
    { role: 'tool', tool_call_id: 't2', content: 'c2' },
  ]);
  assert.is(rest.model, 'm');
});

test('TL8: text and a picture are a list of two parts, the text first; text alone is text', () => {
  const finish = { type: 'toolCall.finished', at, callId: 'c', by: 'worker' } as const;
  const images = [{ mime_type: 'image/png', data: 'iVBORw0KGgo=' }];
  assert.equal(contentOf({ ...finish, result: 'a cat', images }, true), [
    { type: 'text', text: 'a cat' },
    { type: 'image_url', image_url: { url: 'data:image/png;base64,iVBORw0KGgo=' } },
  ]);
  assert.match(String(contentOf({ ...finish, result: 'a cat', images }, false)), '1 images');
  assert.is(contentOf({ ...finish, result: { a: 1 } }, true), '{"a":1}');
  assert.is(contentOf({ ...finish, result: null }, true), '');
  assert.is(contentOf({ ...finish, result: 'kept out', error: 'no' }, true), '{"error":"no"}');
});

const essence = ({ state, tools, output, position }: Job) => ({
  value: state.value,
  context: state.context,
  tools,
  text: output.text,
  position,
});

test('whatever happens, nothing runs twice that may not, every wait ends, and the log tells it all', () => {
  fc.assert(
    fc.property(anyToolLife, fc.nat(), (commands, cut) => {
      const life = new ToolLife();
      for (const command of commands) life.obey(command);
      for (const [callId, { times, name }] of life.ran)
        if (name === 'note') assert.is(times, 1, `${callId} ran ${times} times`);
      const part = life.log.slice(0, 1 + (cut % life.log.length));
      const rebuilt = replay(part);
      const more = life.log
        .slice(part.length)
        .reduce<Job | null>((job, event) => job && evolve(job, event)[0], rebuilt);
      assert.equal(more && essence(more), essence(life.job));
      const waits = roundNow(life.job.tools);
      const armed = owed(life.job).filter(({ type }) => type === 'armRound').length;
      assert.is(armed, waits === null || isOver(life.job) ? 0 : 1);
      life.obey({ kind: 'timeOver', early: false });
      assert.is(roundNow(life.job.tools), null, 'a round outlived its time');
      assert.ok(life.job.tools.rounds.length <= 3, 'T3: rounds have an end (N15)');
    }),
    { numRuns: runs, ...seeded },
  );
});

test('with tools workers that live, every call runs exactly once, and the model reads its own result', () => {
  fc.assert(
    fc.property(anyKindLife, commands => {
      const life = new ToolLife();
      for (const command of commands) life.obey(command);
      life.comeToRest();
      assert.ok(isOver(life.job), `it hangs: ${life.log.map(({ type }) => type).join(' ')}`);
      const sound = life.finished.filter(({ outcome }) => outcome?.code !== 'invalid_arguments');
      for (const { callId, name, outcome } of sound) {
        if (name === 'note') assert.is(life.ran.get(callId)?.times, 1, `${callId} of ${name}`);
        assert.ok((life.ran.get(callId)?.times ?? 0) >= 1);
        assert.is(outcome?.result, `of ${callId}`);
      }
    }),
    { numRuns: runs, ...seeded },
  );
});

function resultOf(callId: string) {
  return {
    type: 'tool_result',
    job_id: callId,
    parent_job_id: '',
    tool_call_id: '',
    tool_name: '',
    result: 1,
  } as const;
}

test.run();
