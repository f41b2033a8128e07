import { fileURLToPath } from 'node:url';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { JobEvent } from '../../protocol/job-events.ts';
import { formatPosition } from '../../protocol/position.ts';
import { readLogFile } from './log-file.ts';
import { type ReplayEntry, ReplayStopped, type Step, stepsOf } from './replay.ts';

const golden = await readLogFile(fileURLToPath(new URL('./golden/0.1.0-adopted.log.jsonl', import.meta.url)));
const entries = [...golden.entries()];

const at = 1_764_000_000_000;
const submitted: JobEvent = {
  type: 'job.submitted',
  at,
  jobId: 'chatcmpl-1',
  instance: 'north',
  boot: 'b0',
  priority: 0,
  deadlineAt: at + 300_000,
  request: { model: 'demo', messages: [{ role: 'user', content: 'hi' }] },
  answer: { api: 'openai.chat', stream: true, model: 'demo' },
};
const assigned: JobEvent = { type: 'job.assigned', at: at + 1, attempt: 1, workerId: 'w1', protocol: 2 };
const failed = (afterMs: number): JobEvent => ({
  type: 'job.failed',
  at: at + afterMs,
  code: 'worker_error',
  message: 'no',
  by: 'worker',
});
const whole: JobEvent = { ...submitted, answer: { ...submitted.answer, stream: false } };

const batch = (sequence: number, ...events: JobEvent[]): ReplayEntry => ({ epoch: 1, sequence, events });

/** The steps that can be told, and why there are no more. */
function told(log: readonly ReplayEntry[], jobId: string | null = null): { steps: Step[]; why: string; where: string } {
  const steps: Step[] = [];
  try {
    for (const step of stepsOf(log, { jobId })) steps.push(step);
    return { steps, why: '', where: '' };
  } catch (error) {
    if (!(error instanceof ReplayStopped)) throw error;
    return { steps, why: error.reason, where: formatPosition(error.position) };
  }
}

test('the golden log of a job that lost its worker and changed its router gives these steps', () => {
  const line = ({ position, sinceMs, event, before, after, actions, caller }: Step): string =>
    [
      formatPosition(position),
      `+${sinceMs}`,
      event.type,
      `${before?.state ?? 'none'}>${after.state}`,
      actions.map(({ type }) => type).join('+'),
      `${caller.head?.status ?? ''}${caller.bytes.length > 0 ? ` ${caller.bytes.match(/^data: /gm)?.length}` : ''}${caller.ended ? ' end' : ''}`,
    ].join(' | ');
  assert.equal([...stepsOf(entries, { jobId: golden.jobId })].map(line), [
    '1-1.0 | +0 | job.submitted | none>queued | armDeadline+requestWorker | ',
    '1-2.0 | +4 | job.assigned | queued>dispatched | sendJob | ',
    '1-3.0 | +896 | job.requeued | dispatched>queued | cancelAtWorker+freeSlot+requestWorker | ',
    '2-1.0 | +1500 | job.adopted | queued>queued |  | ',
    '2-2.0 | +100 | job.assigned | queued>dispatched | sendJob | ',
    '2-3.0 | +110 | output.appended | dispatched>generating |  | 200 2',
    '2-4.0 | +40 | output.appended | generating>generating |  |  1',
    '2-5.0 | +1 | output.appended | generating>generating |  |  1',
    '2-6.0 | +49 | job.completed | generating>completed | freeSlot+finishJob |  3 end',
  ]);
});

test('a step tells where the job stands before and after it', () => {
  const steps = [...stepsOf(entries)];
  const { before, after } = steps[7] ?? {};
  assert.equal(before, {
    state: 'generating',
    attempt: 2,
    workerId: 'cc03',
    lostInARow: 0,
    tokens: 4,
    reasoningTokens: 3,
    textChars: 3,
    reasoningChars: 11,
    answer: 'open',
  });
  assert.equal(after, { ...before, tokens: 6, textChars: 7 });
  assert.is(steps[3]?.after.lostInARow, 1);
  assert.is(steps.at(-1)?.after.workerId, null);
});

test('an answer in one piece is told with its status, in the step that sent it', () => {
  const { steps } = told([batch(1, whole, assigned, failed(5))]);
  assert.equal(
    steps.map(({ caller }) => caller.head?.status ?? null),
    [null, null, 500],
  );
  const { bytes, ended, head } = steps[2]?.caller ?? { bytes: '', ended: false, head: null };
  assert.equal(JSON.parse(bytes).error.message, 'no');
  assert.is(head?.headers['content-type'], 'application/json');
  assert.ok(ended);
});

test('a job that fails unheard has a status of its own, but not when the head was out by then', () => {
  const soon = told([batch(1, submitted, assigned, failed(9_999))]).steps[2]?.caller;
  assert.is(soon?.head?.status, 500);
  const late = told([batch(1, submitted, assigned, failed(10_000))]).steps[2]?.caller;
  assert.is(late?.head?.status, 200);
  assert.match(
    late?.bytes ?? '',
    /^id: 1-1\.0\ndata: .*"role":"assistant".*\n\nid: 1-3\.0\/1\ndata: .*"message":"no".*\n\nid: 1-3\.0\ndata: \[DONE\]\n\n$/,
  );
});

test('a caller that left gets nothing more', () => {
  const left: JobEvent = { type: 'job.cancelled', at: at + 9, reason: 'caller_gone' };
  const step = told([batch(1, submitted, assigned, left)]).steps[2];
  assert.equal(step?.caller, { head: null, bytes: '', ended: false });
  assert.is(step?.after.answer, 'left');
});

test('what cannot be replayed is told with its position and the steps before it', () => {
  const text: JobEvent = { type: 'output.appended', at: at + 2, attempt: 1, kind: 'text', text: 'a', tokens: 1 };
  const adopted: JobEvent = { type: 'job.adopted', at: at + 2, instance: 'south', boot: 'b1' };
  for (const [log, count, where, why] of [
    [[batch(1, assigned)], 0, '1-1.0', 'job.assigned cannot open an epoch'],
    [[batch(1, adopted)], 0, '1-1.0', 'a log begins with job.submitted, not with job.adopted'],
    [[batch(2, submitted)], 0, '1-2.0', 'the first events of epoch 1 are missing'],
    [[batch(1, submitted), batch(4, text)], 1, '1-4.0', 'the events from 1-2.0 up to it are missing'],
    [[batch(1, submitted, assigned), batch(2, text)], 2, '1-2.0', 'it stands behind 1-2.0'],
    [[batch(1, submitted, text)], 1, '1-2.0', 'output.appended cannot follow in state queued'],
    [[batch(1, submitted, assigned, failed(3), text)], 3, '1-4.0', 'output.appended cannot follow in state failed'],
    [[batch(1, submitted, submitted)], 1, '1-2.0', 'job.submitted can only stand first in an epoch'],
    [[batch(1, submitted, adopted)], 1, '1-2.0', 'job.adopted can only stand first in an epoch'],
    [[batch(1, submitted), { ...batch(1, adopted), epoch: 3 }], 1, '3-1.0', 'epoch 3 cannot follow epoch 1'],
    [[batch(1, submitted), { ...batch(2, assigned), epoch: 2 }], 1, '2-2.0', 'the first events of epoch 2 are missing'],
    [[batch(1, submitted), { ...batch(1, assigned), epoch: 2 }], 1, '2-1.0', 'job.assigned cannot open an epoch'],
  ] as const) {
    const got = told(log);
    assert.equal([got.steps.length, got.where, got.why], [count, where, why]);
  }
  const foreign = told([batch(1, submitted)], 'chatcmpl-2');
  assert.equal([foreign.where, foreign.why], ['1-1.0', 'it is the log of job chatcmpl-1']);
});

test.run();
