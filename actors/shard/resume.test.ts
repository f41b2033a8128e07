/** Design §3, "caller's connection lost": an answer cut at any byte and gone on with is the unbroken one, in every API. */
import fc from 'fast-check';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { anyLife } from '../../machines/job-lives.contract.ts';
import type { AnswerShape, JobEvent, JobSubmitted } from '../../protocol/job-events.ts';
import { type Cursor, type Position, parseCursor } from '../../protocol/position.ts';
import type { Effect, Follow } from '../../protocol/shard-messages.ts';
import { Streams } from './streams.ts';

const runs = { numRuns: Number(process.env.FC_RUNS ?? 25) };
const seeded = process.env.FC_SEED === undefined ? runs : { ...runs, seed: Number(process.env.FC_SEED) };

const shapes: readonly AnswerShape[] = [
  { api: 'openai.chat', stream: true, model: 'm' },
  { api: 'openai.chat', stream: true, model: 'm', includeUsage: true },
  { api: 'anthropic.messages', stream: true, model: 'm' },
  { api: 'anthropic.messages', stream: true, model: 'm', hideThinking: true },
  { api: 'openai.responses', stream: true, model: 'm', store: true, echo: {} },
  { api: 'openai.responses', stream: true, model: 'm', store: true, summarises: true, seals: true, echo: {} },
];

type Log = readonly (readonly [JobEvent, Position])[];

const bytesOf = (effects: readonly Effect[]): string =>
  effects
    .map(effect => (effect.kind === 'write' ? effect.text : effect.kind === 'respond' ? effect.body : ''))
    .join('');

const follow = (cursor: Cursor | null, shape: Follow['shape'] = 'asked'): Follow => ({ cursor, shape, waits: true });

/** What a caller gets who was there from the start. */
function unbroken(submitted: JobSubmitted, events: Log): Effect[] {
  const streams = new Streams();
  streams.open(1, submitted);
  return events.flatMap(([event, position]) => streams.show(submitted.jobId, event, position));
}

/** What a caller gets who joins when `events` up to `joinsAt` are in the log, and the rest is still to happen. */
function joined(submitted: JobSubmitted, log: Log, how: Follow, joinsAt: number): Effect[] {
  const streams = new Streams();
  const { jobId } = submitted;
  const effects = streams.join(1, 0, submitted, how);
  effects.push(...streams.catchUp(1, 0, log.slice(0, joinsAt), true));
  for (const [event, position] of log.slice(joinsAt)) effects.push(...streams.show(jobId, event, position));
  return effects;
}

/** The same of a job that is not held here: in pages, as the log gives them. */
function tailed({ jobId }: JobSubmitted, log: Log, how: Follow, page: number): Effect[] {
  const streams = new Streams();
  streams.awaitLog(1, 0, jobId, how);
  const effects: Effect[] = [];
  for (let from = 0; from < log.length; from += page)
    effects.push(...streams.catchUp(1, 0, log.slice(from, from + page), from + page >= log.length));
  return effects;
}

/** What a client makes of the bytes that it has got: those up to the last whole frame, and that frame's id. */
function clientOf(bytes: string): { kept: string; cursor: Cursor | null } {
  const kept = bytes.slice(0, bytes.lastIndexOf('\n\n') + 2 || 0);
  if (!kept.endsWith('\n\n')) return { kept: '', cursor: null };
  const id = /^id: (.*)$/m.exec(kept.slice(kept.slice(0, -2).lastIndexOf('\n\n') + 1))?.[1];
  return { kept, cursor: id === undefined ? null : parseCursor(id) };
}

const anyCase = fc.record({ life: anyLife, answer: fc.constantFrom(...shapes), joinsAt: fc.nat(), page: fc.nat(5) });

test('an answer cut at any byte and gone on with is the unbroken one, live and from the log', () => {
  fc.assert(
    fc.property(anyCase, ({ life, answer, joinsAt, page }) => {
      const submitted: JobSubmitted = { ...life.job.submitted, answer };
      const log: Log = [[submitted, { epoch: 1, number: 1 }], ...life.log.slice(1)];
      const all = unbroken(submitted, log.slice(1));
      const whole = bytesOf(all);
      const streamed = all.some(({ kind }) => kind === 'write');
      for (let cut = 0; cut <= (streamed ? whole.length : 0); cut += 1) {
        const { kept, cursor } = clientOf(whole.slice(0, cut));
        assert.is(kept === '', cursor === null, 'every frame has an id');
        const from = 1 + (joinsAt % log.length);
        assert.is(kept + bytesOf(joined(submitted, log, follow(cursor), from)), whole, `cut at ${cut}, live`);
        assert.is(
          kept + bytesOf(tailed(submitted, log, follow(cursor), page + 1)),
          whole,
          `cut at ${cut}, from the log`,
        );
      }
    }),
    seeded,
  );
});

test('a resumed answer has one head, before its first bytes, and one end', () => {
  fc.assert(
    fc.property(anyCase, fc.nat(), ({ life, answer, joinsAt, page }, cut) => {
      const submitted: JobSubmitted = { ...life.job.submitted, answer };
      const log: Log = [[submitted, { epoch: 1, number: 1 }], ...life.log.slice(1)];
      const all = unbroken(submitted, log.slice(1));
      if (!all.some(({ kind }) => kind === 'write')) return;
      const whole = bytesOf(all);
      const { cursor } = clientOf(whole.slice(0, cut % (whole.length + 1)));
      const ended = all.some(({ kind }) => kind === 'end');
      for (const effects of [
        joined(submitted, log, follow(cursor), 1 + (joinsAt % log.length)),
        tailed(submitted, log, follow(cursor), page + 1),
      ]) {
        const kinds = effects.map(({ kind }) => kind).filter(kind => kind !== 'write');
        const [first] = effects;
        if (first?.kind === 'respond') assert.is(first.status, 204);
        else if (first !== undefined) assert.equal(kinds, ended ? ['open', 'end'] : ['open']);
      }
    }),
    seeded,
  );
});

test('a slow caller whose shard died before anything was read for it is gone on with when it is fast again', () => {
  fc.assert(
    fc.property(anyCase, ({ life, answer, joinsAt }) => {
      const submitted: JobSubmitted = { ...life.job.submitted, answer };
      const log: Log = [[submitted, { epoch: 1, number: 1 }], ...life.log.slice(1)];
      const sent = log[joinsAt % log.length]?.[1] ?? { epoch: 1, number: 1 };
      const streams = new Streams();
      const how = follow({ position: sent, frames: null });
      streams.awaitLog(1, 1, submitted.jobId, how);
      streams.pause(1, 1);
      assert.equal(streams.wake(1, 2, sent), { epoch: 0, number: 0 });
      assert.is(bytesOf(streams.catchUp(1, 2, log, true)), bytesOf(tailed(submitted, log, how, log.length)));
    }),
    seeded,
  );
});

test('an answer that was asked for streamed can be had whole, and the other way round, with the same words', () => {
  fc.assert(
    fc.property(anyCase, ({ life, answer, page }) => {
      const submitted: JobSubmitted = { ...life.job.submitted, answer };
      const log: Log = [[submitted, { epoch: 1, number: 1 }], ...life.log.slice(1)];
      const streamed = unbroken(submitted, log.slice(1));
      const blocking: JobSubmitted = { ...submitted, answer: { ...answer, stream: false } };
      const whole = bytesOf(unbroken(blocking, log.slice(1)));
      assert.is(bytesOf(tailed(submitted, log, follow(null, 'whole'), page + 1)), whole);
      const swapped: Log = [[blocking, { epoch: 1, number: 1 }], ...log.slice(1)];
      assert.is(bytesOf(tailed(blocking, swapped, follow(null, 'streamed'), page + 1)), bytesOf(streamed));
      if (life.job.state.value === 'completed') assert.equal(saidIn(bytesOf(streamed)), saidWhole(JSON.parse(whole)));
    }),
    seeded,
  );
});

/** Text and reasoning, as a client of either API gathers them. */
function saidIn(sse: string): { text: string; reasoning: string } {
  const said = { text: '', reasoning: '' };
  // A line ends in LF alone: U+2028 is text.
  for (const line of sse.split('\n')) {
    if (!line.startsWith('data: {')) continue;
    const { type, choices, delta } = JSON.parse(line.slice(6));
    if (type === 'response.output_text.delta') said.text += delta;
    if (type === 'response.reasoning_text.delta') said.reasoning += delta;
    said.text += choices?.[0]?.delta?.content ?? (delta?.type === 'text_delta' ? delta.text : '');
    said.reasoning +=
      choices?.[0]?.delta?.reasoning_content ?? (delta?.type === 'thinking_delta' ? delta.thinking : '');
  }
  return said;
}

// biome-ignore lint/suspicious/noExplicitAny: a body of either API.
function saidWhole(body: any): { text: string; reasoning: string } {
  if (body.choices !== undefined) {
    const { content, reasoning_content: reasoning } = body.choices[0].message;
    return { text: content ?? '', reasoning: reasoning ?? '' };
  }
  if (body.output !== undefined) {
    const output: { content?: { type: string; text: string }[] }[] = body.output;
    const parts = output.flatMap(({ content = [] }) => content);
    const textOf = (wanted: string): string => parts.map(({ type, text }) => (type === wanted ? text : '')).join('');
    return { text: textOf('output_text'), reasoning: textOf('reasoning_text') };
  }
  const of = (type: string, field: string): string =>
    // biome-ignore lint/suspicious/noExplicitAny: a block of any type.
    body.content.flatMap((block: any) => (block.type === type ? [block[field]] : [])).join('');
  return { text: of('text', 'text'), reasoning: of('thinking', 'thinking') };
}

test.run();
