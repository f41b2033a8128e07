/**
 * Logs of every version, kept for ever: each still replays to the states and, byte for byte, to the answer that it gave
 * when it was written. `<version>-<name>.jsonl` is the log, an event a line; `<version>-<name>.bytes` is what its caller
 * got. Neither is ever edited: what a new version writes goes into new files.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { evolve, type Job, replay } from '../machines/job.ts';
import { openStream, type StreamAction, show } from '../machines/stream.ts';
import { requestNow } from '../machines/tool-round.ts';
import { JobEvent, type JobSubmitted } from '../protocol/job-events.ts';
import { check } from '../protocol/schema.ts';

const folder = new URL('./golden/', import.meta.url);

/** The states that each log goes through, from the first event on, and the text that the model said. */
const expected: Record<string, { readonly states: string; readonly text: string; readonly attempts: number }> = {
  '0.1.0-streamed': {
    states: 'queued dispatched generating generating generating completed',
    text: 'The answer is 42 🙂.',
    attempts: 1,
  },
  '0.1.0-tool-calls': { states: 'queued dispatched generating completed', text: 'Let me look.', attempts: 1 },
  '0.1.0-requeued': {
    states: 'queued dispatched queued dispatched generating generating completed',
    text: 'Second try.\n',
    attempts: 2,
  },
  '0.1.0-adopted': {
    states: 'queued dispatched dispatched queued dispatched generating completed',
    text: 'After the restart.',
    attempts: 2,
  },
  '0.1.0-lost-midway': { states: 'queued dispatched generating failed', text: 'Half of', attempts: 1 },
  '0.1.0-went-on': {
    states:
      'queued dispatched generating orphaned dispatched resumed generating dispatched dispatched orphaned dispatched generating completed',
    text: 'One, two, three.',
    attempts: 5,
  },
  '0.1.0-refused-by-worker': { states: 'queued dispatched failed', text: '', attempts: 1 },
  '0.1.0-expired': { states: 'queued dispatched generating expired', text: 'Too slow', attempts: 1 },
  '0.1.0-message-streamed': {
    states: 'queued dispatched generating generating generating generating generating completed',
    text: 'Let "me"\nlook.',
    attempts: 1,
  },
  '0.1.0-message-whole': { states: 'queued dispatched generating generating completed', text: 'Done.', attempts: 1 },
  '0.1.0-message-failed': { states: 'queued dispatched generating failed', text: 'Half of', attempts: 1 },
  '0.1.0-tool-rounds': {
    states: `queued dispatched generating generating${' calling'.repeat(10)} queued dispatched${' calling'.repeat(3)} queued dispatched generating completed`,
    text: 'Noon 🙂.',
    attempts: 3,
  },
  '0.1.0-cancelled': { states: 'queued cancelled', text: '', attempts: 0 },
};

const parse = check(JobEvent);

function eventsOf(name: string): JobEvent[] {
  const lines = readFileSync(new URL(`${name}.jsonl`, folder), 'utf8')
    .trimEnd()
    .split('\n');
  return lines.map((line, index) => {
    const parsed = parse(JSON.parse(line));
    if (!parsed.ok) throw new Error(`${name}.jsonl line ${index + 1}: ${parsed.path} ${parsed.message}`);
    return parsed.value;
  });
}

const submittedIn = ([first]: readonly JobEvent[]): JobSubmitted => {
  if (first?.type !== 'job.submitted') throw new Error('a log begins with job.submitted');
  return first;
};

test('every golden log is expected here, and every one expected is there', () => {
  const names = readdirSync(folder).filter(file => file.endsWith('.jsonl'));
  assert.equal(names.map(file => file.slice(0, -'.jsonl'.length)).sort(), Object.keys(expected).sort());
});

for (const [name, { states, text, attempts }] of Object.entries(expected)) {
  test(`${name} replays to its states`, () => {
    const events = eventsOf(name);
    let job: Job | null = replay(events.slice(0, 1));
    assert.ok(job);
    const seen = [String(job.state.value)];
    for (const event of events.slice(1)) {
      [job] = evolve(job, event);
      seen.push(String(job.state.value));
    }
    assert.is(seen.join(' '), states);
    assert.is(job.output.text, text);
    assert.is(job.state.context.attempt, attempts);
    assert.is(job.state.status, 'done');
  });

  test(`${name} gives its caller the same bytes`, () => {
    const events = eventsOf(name);
    let stream = openStream(submittedIn(events));
    const actions: StreamAction[] = [];
    events.forEach((_, index) => {
      const job = replay(events.slice(0, index + 1));
      const event = events[index];
      if (job === null || event === undefined) throw new Error('a replayed log has a job');
      const [next, more] = show(stream, event, job.position);
      stream = next;
      actions.push(...more);
    });
    assert.is(bytesOf(actions), readFileSync(new URL(`${name}.bytes`, folder), 'utf8'));
  });
}

test('0.1.0-tool-rounds asks the model with the results of every round', () => {
  const job = replay(eventsOf('0.1.0-tool-rounds'));
  assert.ok(job);
  const { messages } = requestNow(job);
  assert.equal(
    messages.map(({ role, content, tool_call_id: id }) => [role, content, ...(id === undefined ? [] : [id])]),
    [
      ['user', 'hi'],
      ['assistant', 'Let me "look".'],
      ['tool', '{"time":"noon"}', 'call_get_time'],
      ['tool', 'a cat\n(1 images, which this model cannot be shown)', 'call_look'],
      ['tool', '{"error":"the arguments are not JSON","code":"invalid_arguments"}', 'call_0000000000000003_2'],
      ['assistant', ''],
      [
        'tool',
        '{"error":"the tools worker was lost; whether the call was run is not known, and it is not run again","code":"outcome_unknown"}',
        'again',
      ],
    ],
  );
});

/** As the front writes them, the status first: it is part of the answer. */
function bytesOf(actions: readonly StreamAction[]): string {
  return actions
    .map(action => {
      if (action.type === 'open') return `${action.status}\n`;
      if (action.type === 'respond') return `${action.status}\n${action.body}`;
      return action.type === 'write' ? action.text : '';
    })
    .join('');
}

test.run();
