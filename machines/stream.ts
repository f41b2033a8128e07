/**
 * One API answer on its way to a caller.
 *
 *   waiting ──opened──▶ open ──ended──▶ ended
 *      ├──────────answered────────────────▲
 *      └── left: from waiting and open ──▶ left
 *
 * S1. Nothing is shown twice and nothing is left out: events are shown in order, each once, from `position` on.
 * S2. The status goes out with the first bytes: a failure before them has a status of its own.
 * S3. Nothing is shown after the end, or to a caller who left.
 * S4. The bytes are a function of the job's events: a stream rebuilt from log and position goes on with the same bytes.
 *
 * Bytes flow beside the machine, in the answer's fold (answer.ts).
 */
import { type SnapshotFrom, setup } from 'xstate';
import type { JobEvent, JobSubmitted } from '../protocol/job-events.ts';
import { type Cursor, comparePositions, formatPosition, type Position } from '../protocol/position.ts';
import { type Answer, answerHead, beginAnswer, showEvent } from './answer.ts';
import { pure } from './pure.ts';
import { streamHeaders } from './shown.ts';

/**
 * A streamed answer's head goes out after this time even if nothing was said yet: long enough for early failures to
 * have a status of their own, short enough for callers that give up on a silent server (spec/http-api §3.3 item 7), ms.
 */
export const openAfterMs = 10_000;

/** What the stream asks for, as data. */
export type StreamAction =
  | {
      readonly type: 'respond';
      readonly status: number;
      readonly headers: Readonly<Record<string, string>>;
      readonly body: string;
    }
  | { readonly type: 'open'; readonly status: number; readonly headers: Readonly<Record<string, string>> }
  | { readonly type: 'write'; readonly text: string }
  | { readonly type: 'end' };

type StreamEvent =
  | { type: 'stream.opened' }
  | { type: 'stream.answered' }
  | { type: 'stream.ended' }
  | { type: 'caller.left' };

export const streamMachine = setup({ types: {} as { events: StreamEvent } }).createMachine({
  id: 'stream',
  initial: 'waiting',
  options: { maxIterations: 100 },
  states: {
    waiting: { on: { 'stream.opened': 'open', 'stream.answered': 'ended', 'caller.left': 'left' } },
    open: { on: { 'stream.ended': 'ended', 'caller.left': 'left' } },
    ended: { type: 'final' },
    left: { type: 'final' },
  },
});

const steps = pure(streamMachine);
const [waiting] = steps.initial(undefined);

export interface Stream {
  readonly state: SnapshotFrom<typeof streamMachine>;
  readonly answer: Answer;
  /** Of the last event shown. */
  readonly position: Position;
}

/** Where `job.submitted` stands, which the head of a streamed answer shows. */
const first: Position = { epoch: 1, number: 1 };

/** A stream that has shown nothing yet: it stands behind `job.submitted`. */
export function openStream(submitted: JobSubmitted): Stream {
  return { state: waiting, answer: beginAnswer(submitted), position: first };
}

/**
 * The stream of a caller that has the answer up to `cursor` (null: nothing of it). The events up to there are to be
 * shown to it again, without heeding what it does.
 */
export function followStream(submitted: JobSubmitted, cursor: Cursor | null): [Stream, StreamAction[]] {
  const stream = openStream(submitted);
  if (cursor === null || !submitted.answer.stream) return [stream, []];
  const within = comparePositions(cursor.position, first) === 0 ? cursor.frames : null;
  const [opened, actions] = openEarly(stream, within ?? 0);
  return [opened, within === null ? [] : actions.filter(({ type }) => type === 'write')];
}

/**
 * Shows the event at `position`, but for its first `without` frames. One at or before the stream's own position was shown
 * already.
 */
export function show(stream: Stream, event: JobEvent, position: Position, without = 0): [Stream, StreamAction[]] {
  if (comparePositions(position, stream.position) <= 0) return [stream, []];
  const opened = stream.state.value === 'open';
  const over = stream.state.status === 'done';
  const [answer, shown] = showEvent(stream.answer, event, opened);
  const next = { ...stream, answer, position };
  if (over || shown.kind === 'nothing') return [next, []];
  if (shown.kind === 'whole') {
    const { status, headers, body } = shown;
    return [moved(next, { type: 'stream.answered' }), [{ type: 'respond', status, headers, body }]];
  }
  const [head, actions] = opened ? ['', []] : [headOf(answer), [openAction]];
  const opening = opened ? next : moved(next, { type: 'stream.opened' });
  const write: StreamAction = { type: 'write', text: head + numbered(shown.frames, position, without) };
  if (!shown.last) return [opening, [...actions, write]];
  return [moved(opening, { type: 'stream.ended' }), [...actions, write, { type: 'end' }]];
}

/** Sends the head of a streamed answer although there is nothing to show yet. */
export function openEarly(stream: Stream, without = 0): [Stream, StreamAction[]] {
  if (stream.state.value !== 'waiting' || !stream.answer.submitted.answer.stream) return [stream, []];
  return [
    moved(stream, { type: 'stream.opened' }),
    [openAction, { type: 'write', text: headOf(stream.answer, without) }],
  ];
}

export const leave = (stream: Stream): Stream =>
  stream.state.status === 'done' ? stream : moved(stream, { type: 'caller.left' });

export const isEnded = (stream: Stream): boolean => stream.state.status === 'done';

/**
 * The stream as it stood when the caller had got everything up to `sent` (null: no event yet); `opened` when the head
 * was out. Shows again, to nobody, what was shown.
 */
export function restoreStream(
  submitted: JobSubmitted,
  events: Iterable<readonly [JobEvent, Position]>,
  sent: Position | null,
  opened: boolean,
): Stream {
  let stream = openStream(submitted);
  if (opened) [stream] = openEarly(stream);
  if (sent === null) return stream;
  for (const [event, position] of events) {
    if (comparePositions(position, sent) > 0) break;
    [stream] = show(stream, event, position);
  }
  return stream;
}

const openAction: StreamAction = { type: 'open', status: 200, headers: streamHeaders };

const moved = (stream: Stream, event: StreamEvent): Stream => ({
  ...stream,
  state: steps.next(stream.state, event)[0],
});

function headOf(answer: Answer, without = 0): string {
  const head = answerHead(answer);
  return head === '' ? '' : numbered(head.split(/(?<=\n\n)/), first, without);
}

/** Gives frames their SSE ids: the event's position on its last frame, `<position>/<k>` on the k-th before it. */
function numbered(frames: readonly string[], position: Position, without: number): string {
  const id = formatPosition(position);
  let text = '';
  for (let k = 1 + without; k <= frames.length; k += 1) {
    text += k === frames.length ? `id: ${id}\n${frames[k - 1]}` : `id: ${id}/${k}\n${frames[k - 1]}`;
  }
  return text;
}
