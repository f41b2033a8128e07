import fc from 'fast-check';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { codes } from '../protocol/codes.ts';
import type { JobEvent, JobSubmitted } from '../protocol/job-events.ts';
import { beginChat, type ChatAnswer, chatHead, chatRefusal, showChat } from './answer.openai-chat.ts';
import { anyLife } from './job-lives.contract.ts';
import type { Shown } from './shown.ts';

const runs = Number(process.env.FC_RUNS ?? 400);
const seeded = process.env.FC_SEED === undefined ? {} : { seed: Number(process.env.FC_SEED) };

/** The parts of chunks, answers and errors that these tests look at. */
interface Body {
  readonly id?: string;
  readonly created?: number;
  readonly model?: string;
  readonly object?: string;
  readonly usage?: object | null;
  readonly error?: { readonly code: string | null; readonly message: string };
  readonly choices?: readonly {
    readonly delta?: Said;
    readonly message?: Said;
    readonly finish_reason: string | null;
  }[];
}
interface Said {
  readonly role?: string;
  readonly content?: string | null;
  readonly reasoning_content?: string;
  readonly tool_calls?: readonly {
    readonly index?: number;
    readonly id?: string;
    readonly function: { name?: string; arguments: string };
  }[];
}

const as = (submitted: JobSubmitted, stream: boolean, includeUsage = false): JobSubmitted => ({
  ...submitted,
  answer: { api: 'openai.chat', stream, model: submitted.answer.model, ...(includeUsage ? { includeUsage } : {}) },
});

/** Folds a log into what it shows, the head of a stream being out from its first frame on. */
function fold(
  submitted: JobSubmitted,
  events: readonly JobEvent[],
): { answer: ChatAnswer; frames: string[]; whole: Whole | null } {
  let answer = beginChat(submitted);
  const frames: string[] = [];
  let whole: Whole | null = null;
  for (const event of events) {
    const [next, shown] = showChat(answer, event, frames.length > 0);
    answer = next;
    if (shown.kind === 'frames') frames.push(...shown.frames);
    if (shown.kind === 'whole') whole = shown;
  }
  return { answer, frames, whole };
}
type Whole = Extract<Shown, { kind: 'whole' }>;

const parse = (json: string): Body => JSON.parse(json) as Body;
const chunks = (frames: readonly string[]): Body[] =>
  frames.flatMap(frame => {
    assert.ok(frame.startsWith('data: ') && frame.endsWith('\n\n'));
    const data = frame.slice(6, -2);
    assert.not.ok(/[\r\n]/.test(data), 'one line of data');
    return data === '[DONE]' ? [] : [parse(data)];
  });
const joined = (bodies: readonly Body[], key: 'content' | 'reasoning_content'): string =>
  bodies.map(({ choices }) => choices?.[0]?.delta?.[key] ?? '').join('');

/** As clients put calls together: by index, the pieces of their arguments joined. */
function together(deltas: NonNullable<Said['tool_calls']>): NonNullable<Said['tool_calls']> {
  const calls: Record<number, NonNullable<Said['tool_calls']>[number]> = {};
  for (const { index = 0, function: fn, ...rest } of deltas) {
    const known = calls[index];
    calls[index] =
      known === undefined
        ? { index, ...rest, function: fn }
        : { ...known, function: { ...known.function, arguments: known.function.arguments + fn.arguments } };
  }
  return Object.values(calls);
}

test('blocking and streamed answers carry the same text, reasoning, tool calls, finish reason and usage', () => {
  fc.assert(
    fc.property(anyLife, ({ job, log }) => {
      const events = log.map(([event]) => event);
      const stream = fold(as(job.submitted, true), events);
      const { whole } = fold(as(job.submitted, false), events);
      assert.is(whole !== null, job.state.status === 'done', 'an answer in one piece comes at the end');
      const bodies = chunks(stream.frames);
      assert.is(joined(bodies, 'content'), job.output.text);
      assert.is(joined(bodies, 'reasoning_content'), job.output.reasoning);
      if (whole === null || job.state.value !== 'completed') return;
      const choice = parse(whole.body).choices?.[0];
      assert.is(choice?.message?.content ?? '', job.output.text);
      assert.is(choice?.message?.reasoning_content ?? '', job.output.reasoning);
      const finish = bodies.filter(({ choices }) => choices?.[0]?.finish_reason !== null && choices?.length === 1);
      assert.equal(
        finish.map(({ choices }) => choices?.[0]?.finish_reason),
        [choice?.finish_reason],
      );
      const streamedCalls = together(bodies.flatMap(({ choices }) => choices?.[0]?.delta?.tool_calls ?? []));
      assert.equal(
        streamedCalls.map(({ index: _, ...call }) => call),
        choice?.message?.tool_calls ?? [],
      );
      assert.equal(
        streamedCalls.map(({ index }) => index),
        streamedCalls.map((_, index) => index),
      );
    }),
    { numRuns: runs, ...seeded },
  );
});

test('every chunk of a stream has the same id, created, model and object', () => {
  fc.assert(
    fc.property(anyLife, fc.boolean(), ({ job, log }, includeUsage) => {
      const submitted = as(job.submitted, true, includeUsage);
      const { answer, frames } = fold(
        submitted,
        log.map(([event]) => event),
      );
      for (const body of chunks([chatHead(answer), ...frames])) {
        if (body.error !== undefined) continue;
        assert.equal(
          [body.id, body.created, body.model, body.object],
          [submitted.jobId, Math.floor(submitted.at / 1000), 'auxot-demo', 'chat.completion.chunk'],
        );
      }
    }),
    { numRuns: runs, ...seeded },
  );
});

test('only the head names the role', () => {
  fc.assert(
    fc.property(anyLife, ({ job, log }) => {
      const { answer, frames } = fold(
        as(job.submitted, true),
        log.map(([event]) => event),
      );
      const roles = chunks([chatHead(answer), ...frames]).map(({ choices }) => choices?.[0]?.delta?.role);
      assert.is(roles[0], 'assistant');
      assert.ok(roles.slice(1).every(role => role === undefined));
    }),
    { numRuns: runs, ...seeded },
  );
});

test('usage is in a last chunk of its own if asked for, and then null before; else in the finish chunk', () => {
  fc.assert(
    fc.property(anyLife, ({ job, log }) => {
      const last = log.at(-1)?.[0];
      if (last?.type !== 'job.completed') return;
      const events = log.map(([event]) => event);
      const asked = chunks(fold(as(job.submitted, true, true), events).frames);
      const usage = asked.at(-1);
      assert.equal(usage?.choices, []);
      assert.ok(usage?.usage);
      assert.ok(asked.slice(0, -1).every(body => body.usage === null));
      const plain = chunks(fold(as(job.submitted, true), events).frames);
      assert.is(plain.length, asked.length - 1);
      assert.ok(plain.slice(0, -1).every(body => body.usage === undefined));
    }),
    { numRuns: runs, ...seeded },
  );
});

test('a stream that ends says [DONE] last, and once', () => {
  fc.assert(
    fc.property(anyLife, ({ job, log }) => {
      const { frames } = fold(
        as(job.submitted, true),
        log.map(([event]) => event),
      );
      const done = frames.filter(frame => frame === 'data: [DONE]\n\n').length;
      const told = job.state.status === 'done' && frames.length > 0;
      assert.is(done, told ? 1 : 0);
      if (told) assert.is(frames.at(-1), 'data: [DONE]\n\n');
    }),
    { numRuns: runs, ...seeded },
  );
});

test('every code has its status, and tells clients whether to try again', () => {
  for (const [code, { status, retryable }] of Object.entries(codes)) {
    const answer = chatRefusal(code, 'm');
    assert.is(answer.status, status, code);
    if (status === 429 || status === 503) assert.is(answer.headers['retry-after'], '1', code);
    else if (status >= 500) assert.is(answer.headers['x-should-retry'], retryable ? undefined : 'false', code);
    assert.is(answer.headers['content-type'], 'application/json');
    assert.is(parse(answer.body).error?.message, 'm');
  }
});

test('N19: an answer that runs out of time is an error, never a stop', () => {
  const submitted: JobSubmitted = {
    type: 'job.submitted',
    at: 1,
    jobId: 'j',
    instance: 'i',
    boot: 'b',
    priority: 0,
    deadlineAt: 9,
    request: { model: 'm', messages: [] },
    answer: { api: 'openai.chat', stream: true, model: 'm' },
  };
  const text: JobEvent = { type: 'output.appended', at: 2, attempt: 1, kind: 'text', text: 'x', tokens: 1 };
  const expired: JobEvent = { type: 'job.expired', at: 9, deadlineAt: 9 };
  const { frames } = fold(submitted, [text, expired]);
  const bodies = chunks(frames);
  assert.is(bodies.at(-1)?.error?.code, 'timeout');
  assert.ok(bodies.every(({ choices }) => (choices?.[0]?.finish_reason ?? null) === null));
  assert.is(fold(submitted, [expired]).whole?.status, 504);
});

const several: JobEvent[] = [
  { type: 'output.appended', at: 1, attempt: 1, kind: 'text', text: 'a', tokens: 1 },
  { type: 'output.appended', at: 1, attempt: 1, kind: 'text', text: 'b', tokens: 1, end: { finishReason: 'length' } },
  { type: 'output.appended', at: 1, attempt: 1, kind: 'reasoning', text: 'r', tokens: 1, choice: 1 },
  {
    type: 'output.appended',
    at: 1,
    attempt: 1,
    kind: 'text',
    text: 'c',
    tokens: 1,
    choice: 1,
    logprobs: [{ token: 'c', logprob: -1, bytes: [99], top_logprobs: [] }],
  },
  {
    type: 'output.appended',
    at: 1,
    attempt: 1,
    kind: 'text',
    text: '',
    tokens: 0,
    choice: 1,
    end: { finishReason: 'tool_calls', toolCalls: [{ id: 'c1', name: 'f', arguments: '{}' }] },
  },
  {
    type: 'job.completed',
    at: 1,
    attempt: 1,
    finishReason: 'length',
    usage: { input: 4, cached: 0, output: 4, reasoning: 1 },
  },
];
const asked: JobSubmitted = {
  type: 'job.submitted',
  at: 1000,
  jobId: 'chatcmpl-00',
  instance: 'i',
  boot: 'b',
  priority: 0,
  deadlineAt: 9,
  request: { model: 'm', messages: [], choices: 2, logprobs: true },
  answer: { api: 'openai.chat', stream: false, model: 'm' },
};

test('OA27, OA28: several choices in one piece, each with its end and its logprobs; the counts once', () => {
  const { whole } = fold(asked, several);
  const body = JSON.parse(whole?.body ?? '');
  assert.equal(
    body.choices.map((choice: { index: number; finish_reason: string; message: { content: string } }) => [
      choice.index,
      choice.finish_reason,
      choice.message.content,
    ]),
    [
      [0, 'length', 'ab'],
      [1, 'tool_calls', 'c'],
    ],
  );
  assert.is(body.choices[1].message.reasoning_content, 'r');
  assert.is(body.choices[1].message.tool_calls[0].id, 'c1');
  assert.is(body.choices[1].logprobs.content[0].logprob, -1);
  assert.is(body.usage.completion_tokens, 4);
});

test('OA27: several choices in a stream say what they say in one piece, and each ends once', () => {
  const streamed = fold(as(asked, true, true), several);
  const said = [chatHead(streamed.answer), ...streamed.frames].join('').split('\n\n').slice(0, -2);
  const all = said.map(frame => JSON.parse(frame.slice('data: '.length)));
  const of = (index: number) =>
    all.flatMap(({ choices }) => choices.filter((one: { index: number }) => one.index === index));
  const text = (index: number): string =>
    of(index)
      .map(({ delta }: { delta: Said }) => delta.content ?? '')
      .join('');
  assert.equal([text(0), text(1)], ['ab', 'c']);
  assert.equal(
    of(0).flatMap(({ finish_reason: why }) => why ?? []),
    ['length'],
  );
  assert.equal(
    of(1).flatMap(({ finish_reason: why }) => why ?? []),
    ['tool_calls'],
  );
  assert.equal([of(0)[0].delta.role, of(1)[0].delta.role], ['assistant', 'assistant']);
  assert.is(of(1).flatMap(({ logprobs }) => logprobs?.content ?? []).length, 1);
  assert.is(all.at(-1).usage.completion_tokens, 4);
});

test.run();
