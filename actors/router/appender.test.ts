/** What the store says of a job comes to those who asked: the job as it was then (appender.ts). */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { Chunk } from '../../protocol/shard-messages.ts';
import type { Diagnostics } from '../config/diagnostics.ts';
import { Appender } from './appender.ts';
import type { Clock, LogPort } from './ports.ts';

type Answer = Awaited<ReturnType<LogPort['append']>>;

const silent: Diagnostics = { debug: say, info: say, warn: say, error: say, child: () => silent };
function say(): void {
  // Nobody reads it here.
}

function opened() {
  const answers: ((answer: Answer) => void)[] = [];
  const told: string[] = [];
  const log = { append: () => new Promise<Answer>(resolve => answers.push(resolve)) };
  const clock: Clock = { now: () => 0, after: () => () => undefined, defer: run => run() };
  const appender = new Appender(
    log as unknown as LogPort, // it asks for nothing else
    clock,
    {
      release: effects => void told.push(`released ${effects.length}`),
      fenced: (jobId, why) => void told.push(`${jobId} ${why}`),
      full: jobId => void told.push(`${jobId} full`),
      storeChanged: () => undefined,
    },
    silent,
  );
  const append = (epoch: number, sequence: number): void => {
    const chunk: Chunk = {
      jobId: 'job',
      epoch,
      sequence,
      count: 1,
      events: '{}',
      creates: false,
      ends: false,
      effects: [],
    };
    appender.add(chunk);
    appender.flush();
  };
  const answer = async (kind: 'ok' | 'fenced'): Promise<void> => {
    answers.shift()?.([{ kind } as Answer[number]]);
    await new Promise<void>(resolve => setImmediate(resolve));
  };
  return { appender, append, answer, told };
}

test('a log that takes nothing more from us is told', async () => {
  const { append, answer, told } = opened();
  append(1, 2);
  await answer('fenced');
  assert.equal(told, ['job fenced']);
});

test('a job that was let go and taken again is not let go for what its earlier epoch is refused', async () => {
  const { appender, append, answer, told } = opened();
  append(1, 2);
  appender.forget('job');
  append(3, 1);
  await answer('fenced');
  assert.equal(told, []);
  await answer('ok');
  assert.equal(appender.ackedOf('job'), { epoch: 3, number: 1 });
});

test.run();
