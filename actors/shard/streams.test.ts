import fc from 'fast-check';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { anyLife } from '../../machines/job-lives.contract.ts';
import type { AnswerShape, JobSubmitted } from '../../protocol/job-events.ts';
import { comparePositions } from '../../protocol/position.ts';
import type { Effect } from '../../protocol/shard-messages.ts';
import { Streams } from './streams.ts';

const runs = { numRuns: Number(process.env.FC_RUNS ?? 300) };
const seeded = process.env.FC_SEED === undefined ? runs : { ...runs, seed: Number(process.env.FC_SEED) };

type Write = Extract<Effect, { kind: 'write' }>;
const writesIn = (effects: readonly Effect[]): Write[] =>
  effects.filter((effect): effect is Write => effect.kind === 'write');
const textOf = (writes: readonly Write[]): string => writes.map(({ text }) => text).join('');

const shapes: readonly AnswerShape[] = [
  { api: 'openai.chat', stream: true, model: 'm', includeUsage: true },
  { api: 'anthropic.messages', stream: true, model: 'm' },
  { api: 'anthropic.messages', stream: true, model: 'm', hideThinking: true },
];

test('a caller that was too slow gets the same bytes in every API, wherever it stopped', () => {
  fc.assert(
    fc.property(anyLife, fc.constantFrom(...shapes), fc.nat(), fc.nat(), fc.nat(), (life, answer, a, b, c) => {
      const submitted: JobSubmitted = { ...life.job.submitted, answer };
      const { jobId } = submitted;
      const open = (): Streams => {
        const streams = new Streams();
        streams.open(1, submitted);
        return streams;
      };
      const events = life.log.slice(1);
      const whole = open();
      const all = textOf(events.flatMap(([event, position]) => writesIn(whole.show(jobId, event, position))));

      const streams = open();
      const pausedAt = a % (events.length + 1);
      const early = events.slice(0, pausedAt).flatMap(([event, at]) => writesIn(streams.show(jobId, event, at)));
      if (early.length === 0) return;
      // The front has given the connection only so much of what the shard has said.
      const sent = early[b % early.length]?.position ?? early[0]?.position;
      if (sent === undefined) return;
      const got = early.filter(({ position }) => comparePositions(position, sent) <= 0);
      streams.pause(1, 0);
      const wokenAt = pausedAt + (c % (events.length - pausedAt + 1));
      for (const [event, at] of events.slice(pausedAt, wokenAt)) assert.equal(streams.show(jobId, event, at), []);
      const after = streams.wake(1, 1, sent);
      if (after === null) return assert.unreachable();
      const logged = events.slice(0, wokenAt).filter(([, at]) => comparePositions(at, after) > 0);
      // What happens while the log is being read waits for its end.
      const meanwhile = events.slice(wokenAt, wokenAt + 1);
      for (const [event, at] of meanwhile) assert.equal(streams.show(jobId, event, at), []);
      const late = writesIn(streams.catchUp(1, 1, logged, true));
      for (const [event, at] of events.slice(wokenAt + 1)) late.push(...writesIn(streams.show(jobId, event, at)));
      assert.is(textOf(got) + textOf(late), all);
    }),
    seeded,
  );
});

test.run();
