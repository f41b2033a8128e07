/** The life of tool jobs under a stepped clock: C1–C4 and J1–J3, and what PROTOCOL.md promises by T1–T5. */
import fc from 'fast-check';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { ToolJobFrame, ToolResultFrame } from '../../protocol/worker-frames.tools.ts';
import { silentDiagnostics } from '../config/diagnostics.ts';
import type { Clock } from '../worker/clock.ts';
import { type JournalCaps, journalCaps, openJournal } from './call-journal.ts';
import { openCalls } from './calls.ts';
import { type Tool, type ToolCall, ToolError, type ToolOutput } from './tool.ts';

const runs = {
  numRuns: Number(process.env.FC_RUNS ?? 300),
  ...(process.env.FC_SEED ? { seed: Number(process.env.FC_SEED) } : {}),
};

function steppedClock(): Clock & { advance(ms: number): Promise<void> } {
  let now = 1_000_000;
  let timers: { at: number; run: () => void }[] = [];
  return {
    now: () => now,
    after(ms, run) {
      const timer = { at: now + ms, run };
      timers.push(timer);
      return () => {
        timers = timers.filter(other => other !== timer);
      };
    },
    async advance(ms) {
      const end = now + ms;
      for (;;) {
        const [next] = timers.filter(({ at }) => at <= end).sort((a, b) => a.at - b.at);
        if (next === undefined) break;
        now = next.at;
        timers = timers.filter(other => other !== next);
        next.run();
        await settled();
      }
      now = end;
    },
  };
}

/** Lets what was promised come to pass. */
const settled = async (): Promise<void> => {
  for (let turn = 0; turn < 20; turn++) await Promise.resolve();
};

interface Held {
  readonly call: ToolCall;
  finish(output: ToolOutput): void;
  fail(error: Error): void;
}

function world({ slots = 2, queueMax = 2, caps = journalCaps as JournalCaps, idempotent = false } = {}) {
  const clock = steppedClock();
  const sent: ToolResultFrame[] = [];
  const begun: Held[] = [];
  const journal = openJournal(caps);
  const state = { open: true, version: 2 as 1 | 2 };
  const tool: Tool = {
    name: 'hold',
    description: '',
    parameters: {},
    idempotent,
    run: call =>
      new Promise((finish, fail) => {
        begun.push({ call, finish, fail });
      }),
  };
  const calls = openCalls({
    instanceId: 'me',
    slots,
    queueMax,
    callMsMax: 60_000,
    journal,
    clock,
    diagnostics: silentDiagnostics,
    toolOf: job => {
      if (job.tool_name === 'hold') return tool;
      throw new ToolError('unknown_tool', 'no such tool');
    },
    credentialsOf: () => ({ OWN: 'own', BOTH: 'own' }),
    send: result => {
      if (state.open) sent.push(result);
      return state.open;
    },
    version: () => state.version,
  });
  const job = (jobId: string, more: Partial<ToolJobFrame> = {}): ToolJobFrame => ({
    type: 'tool_job',
    job_id: jobId,
    parent_job_id: 'p',
    tool_name: 'hold',
    tool_call_id: `call_${jobId}`,
    arguments: {},
    ...more,
  });
  const codes = (): (string | undefined)[] => sent.map(({ code }) => code);
  return { clock, sent, begun, journal, state, calls, job, codes };
}

test('a result mirrors the ids of its job; credentials of the job win', async () => {
  const { calls, begun, sent, job } = world();
  calls.start(job('a', { credentials: { BOTH: 'job' } }));
  assert.equal(begun[0]?.call.credentials, { OWN: 'own', BOTH: 'job' });
  begun[0]?.finish({ result: { x: 1 }, images: [{ mimeType: 'image/png', base64: 'aGk=' }] });
  await settled();
  assert.equal(sent, [
    {
      type: 'tool_result',
      job_id: 'a',
      parent_job_id: 'p',
      tool_call_id: 'call_a',
      tool_name: 'hold',
      result: { x: 1 },
      image_parts: [{ mime_type: 'image/png', data: 'aGk=' }],
      duration_ms: 0,
    },
  ]);
});

test('T1, T2: the same job again is not run again, neither while it runs nor when it has ended', async () => {
  const { calls, begun, sent, job } = world();
  calls.start(job('a'));
  calls.start(job('a', { sent_to: 'me' }));
  assert.is(begun.length, 1);
  assert.is(sent.length, 0);
  begun[0]?.finish({ result: 1 });
  await settled();
  calls.start(job('a', { sent_to: 'me' }));
  calls.acknowledge('a');
  calls.start(job('a', { sent_to: 'me' }));
  assert.is(begun.length, 1);
  assert.equal(sent, [sent[0], sent[0], sent[0]]);
});

test('T3: a job that another may have run is not run, unless that makes no difference', async () => {
  for (const idempotent of [false, true]) {
    const { calls, begun, codes, job } = world({ idempotent });
    calls.start(job('a', { sent_to: 'somebody else' }));
    assert.is(begun.length, idempotent ? 1 : 0);
    assert.equal(codes(), idempotent ? [] : ['outcome_unknown']);
  }
  const ours = world();
  ours.calls.start(ours.job('a', { sent_to: 'me' }));
  assert.is(ours.begun.length, 1, 'it never came here, and this worker knows all that did');
});

test('T3, J2: a worker that has forgotten results does not know what it ran', async () => {
  const { calls, begun, codes, job, clock } = world({ caps: { ...journalCaps, keepMs: 1000 } });
  calls.start(job('a'));
  begun[0]?.finish({ result: 1 });
  await settled();
  await clock.advance(2000);
  calls.start(job('b'));
  begun[1]?.finish({ result: 1 });
  await settled();
  calls.start(job('a', { sent_to: 'me' }));
  assert.is(begun.length, 2);
  assert.is(codes().at(-1), 'outcome_unknown');
});

test('J3: at the cap a result goes before its key', async () => {
  const { calls, begun, codes, job, journal } = world({ slots: 9, caps: { ...journalCaps, bytesMax: 3000 } });
  for (const [at, id] of ['a', 'b', 'c'].entries()) {
    calls.start(job(id));
    begun[at]?.finish({ result: 'x'.repeat(1000) });
    await settled();
    if (id === 'b') calls.acknowledge('b');
  }
  assert.ok(journal.bytes <= 3000);
  calls.start(job('b', { sent_to: 'me' }));
  assert.is(begun.length, 3);
  assert.is(codes().at(-1), 'outcome_unknown', 'the one that the router has goes first');
  calls.start(job('a', { sent_to: 'me' }));
  assert.is(codes().at(-1), undefined);
});

test('T4, C3: what has neither slot nor place is refused, and may come again', async () => {
  const { calls, begun, codes, job } = world({ slots: 1, queueMax: 1 });
  for (const id of ['a', 'b', 'c']) calls.start(job(id));
  assert.equal([calls.running, calls.waiting, begun.length], [1, 1, 1]);
  assert.equal(codes(), ['overloaded']);
  begun[0]?.finish({ result: 1 });
  await settled();
  assert.is(begun.length, 2);
  calls.start(job('c', { sent_to: 'me' }));
  begun[1]?.finish({ result: 1 });
  await settled();
  assert.is(begun.length, 3);
});

test('C4: a late call is told to stop, and answered when it does or does not', async () => {
  const { calls, begun, codes, job, clock } = world({ slots: 1 });
  calls.start(job('a', { timeout_ms: 1000 }));
  calls.start(job('b', { timeout_ms: 1500 }));
  calls.start(job('c'));
  await clock.advance(1000);
  assert.is(begun[0]?.call.signal.aborted, true);
  assert.equal(codes(), []);
  begun[0]?.fail(new Error('whatever it says then'));
  await settled();
  assert.equal(codes(), ['timeout']);
  await clock.advance(600); // b runs since, and does not listen
  assert.is(begun.length, 2);
  await clock.advance(2000);
  assert.equal(codes(), ['timeout', 'timeout']);
  assert.is(begun.length, 3, 'its slot is free');
  begun[1]?.finish({ result: 'too late' });
  await settled();
  assert.is(codes().length, 2);
  assert.is(calls.running, 1);
});

test('cancel stops a call that runs and takes back one that waits', async () => {
  const { calls, begun, codes, job } = world({ slots: 1 });
  calls.start(job('a'));
  calls.start(job('b'));
  calls.cancel('b');
  assert.equal(codes(), ['cancelled']);
  calls.cancel('a');
  begun[0]?.fail(new ToolError('tool_failed', 'stopped'));
  await settled();
  assert.equal(codes(), ['cancelled', 'cancelled']);
  calls.cancel('a');
  calls.cancel('unknown');
  assert.is(codes().length, 2);
});

test('C1: what is not acknowledged is said again; to a version 1 router only what it cannot have heard', async () => {
  for (const version of [1, 2] as const) {
    const { calls, begun, sent, job, state } = world({ slots: 3 });
    state.version = version;
    for (const id of ['a', 'b', 'c']) calls.start(job(id));
    begun[0]?.finish({ result: 'heard' });
    await settled();
    state.open = false;
    begun[1]?.finish({ result: 'not heard' });
    await settled();
    assert.is(sent.length, 1);
    assert.equal(calls.held(), ['a', 'b', 'c']);
    state.open = true;
    calls.resume();
    assert.equal(
      sent.map(({ result }) => result),
      version === 2 ? ['heard', 'heard', 'not heard'] : ['heard', 'not heard'],
    );
    calls.acknowledge('a');
    calls.acknowledge('b');
    assert.equal(calls.held(), version === 2 ? ['c'] : ['c']);
  }
});

test('a result that no frame can carry fails the call and nothing else', async () => {
  const { calls, begun, codes, job } = world({ slots: 9 });
  let deep: unknown = 1;
  for (let level = 0; level < 10_000; level++) deep = [deep];
  for (const [at, result] of [deep, 'x'.repeat(9 * 2 ** 20)].entries()) {
    calls.start(job(`j${at}`));
    begun[at]?.finish({ result });
    await settled();
  }
  assert.equal(codes(), ['tool_failed', 'tool_failed']);
  calls.start(job('text', { arguments: '{"a":1}' }));
  assert.equal(begun.at(-1)?.call.args, { a: 1 });
  calls.start(job('list', { arguments: [1] }));
  assert.is(codes().at(-1), 'invalid_arguments');
});

test('whatever happens, a job is begun at most once and its results are all the same', async () => {
  const step = fc.record({
    what: fc.constantFrom('start', 'again', 'finish', 'fail', 'cancel', 'ack', 'cut', 'mend', 'wait'),
    which: fc.nat({ max: 5 }),
  });
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 60 }), async steps => {
      const { calls, begun, sent, job, state, clock } = world({ slots: 2, queueMax: 3 });
      for (const { what, which } of steps) {
        const id = `j${which}`;
        if (what === 'start') calls.start(job(id));
        else if (what === 'again') calls.start(job(id, { sent_to: 'me' }));
        else if (what === 'finish') begun[which]?.finish({ result: which });
        else if (what === 'fail') begun[which]?.fail(new ToolError('tool_failed', 'no'));
        else if (what === 'cancel') calls.cancel(id);
        else if (what === 'ack') calls.acknowledge(id);
        else if (what === 'cut') state.open = false;
        else if (what === 'mend') {
          state.open = true;
          calls.resume();
        } else await clock.advance(30_000);
        await settled();
        assert.ok(calls.running <= 2 && calls.waiting <= 3);
      }
      await clock.advance(300_000);
      state.open = true;
      calls.resume();
      assert.equal([calls.running, calls.waiting], [0, 0]);
      const results = new Map<string, string>();
      for (const result of sent.filter(({ code }) => code !== 'overloaded')) {
        const text = JSON.stringify(result);
        assert.is(results.get(result.job_id) ?? text, text);
        results.set(result.job_id, text);
      }
      assert.ok(begun.length <= 6, `${begun.length} calls were begun for 6 jobs`);
    }),
    runs,
  );
});

test.run();
