/**
 * A replay as text: for people, one block an event, and for programs, one JSON object a line.
 *
 * What a model or a caller said is shown with its control characters escaped: a log must not be able to steer the
 * terminal it is read on.
 */
import type { Job, JobAction } from '../../machines/job.ts';
import { owed } from '../../machines/job.ts';
import type { JobEvent } from '../../protocol/job-events.ts';
import { formatPosition } from '../../protocol/position.ts';
import { formatDuration } from '../config/duration.ts';
import type { Standing, Step } from './replay.ts';

/** Columns to cut lines to; null: not at all. */
export type Width = number | null;

export const stepJson = (step: Step): string =>
  `${JSON.stringify({ ...step, position: formatPosition(step.position) })}\n`;

/** What stands above the steps. */
export function headText(
  { jobId, at, answer, request }: Extract<JobEvent, { type: 'job.submitted' }>,
  width: Width,
): string {
  const how = answer.stream ? 'streamed' : 'in one piece';
  return cut(`job ${jobId}: ${answer.api}, ${how}, model ${request.model}, submitted ${instant(at)}`, width);
}

export function stepText(step: Step, width: Width): string {
  const { position, sinceMs, event, before, after, actions, caller } = step;
  const place = formatPosition(position).padEnd(9);
  const lines = [`${place} ${signed(sinceMs).padStart(10)}  ${event.type.padEnd(16)}  ${moveText(before, after)}`];
  for (const fact of factsOf(event)) lines.push(`    ${fact}`);
  for (const action of actions) lines.push(`    asks    ${actionText(action, event.at)}`);
  const { head, bytes, ended } = caller;
  if (head !== null) lines.push(`    caller  status ${head.status}, ${head.headers['content-type'] ?? ''}`);
  // Where lines are cut, nobody counts the empty ones.
  for (const line of linesOf(bytes)) if (line !== '' || width === null) lines.push(`    caller  | ${line}`);
  if (ended) lines.push('    caller  has the whole answer');
  return `\n${lines.map(line => cut(line, width)).join('')}`;
}

/** What stands below the last step. */
export function footText(job: Job, last: Step, events: number, bytes: number, width: Width): string {
  const { attempt } = job.state.context;
  const { state, tokens } = last.after;
  const took = span(last.at - job.submitted.at);
  const done = `${state} after ${took}: ${counted(events, 'event')}, ${counted(attempt, 'attempt')}, ${counted(tokens, 'token')}, ${counted(bytes, 'byte')} to the caller`;
  const due = owed(job).map(action => cut(`still owed: ${actionText(action, last.at)}`, width));
  return `\n${cut(done, width)}${due.join('')}`;
}

export interface JobRow {
  readonly jobId: string;
  readonly state: string;
  readonly ageMs: number;
  readonly events: number;
  readonly tokens: number;
  readonly model: string;
}

export function jobsText(jobs: readonly JobRow[], width: Width): string {
  const rows = [
    ['JOB', 'STATE', 'AGE', 'EVENTS', 'TOKENS', 'MODEL'],
    ...jobs.map(job => [job.jobId, job.state, span(job.ageMs), `${job.events}`, `${job.tokens}`, job.model]),
  ];
  const widths = rows.reduce((most, row) => row.map((cell, i) => Math.max(most[i] ?? 0, cell.length)), [] as number[]);
  return rows
    .map(row =>
      cut(
        row
          .map((cell, i) => cell.padEnd(widths[i] ?? 0))
          .join('  ')
          .trimEnd(),
        width,
      ),
    )
    .join('');
}

function moveText(before: Standing | null, after: Standing): string {
  const state = before?.state === after.state ? after.state : `${before?.state ?? 'none'} → ${after.state}`;
  const answer =
    before === null || before.answer === after.answer ? '' : `   (answer: ${before.answer} → ${after.answer})`;
  return state + answer;
}

/** An event's own facts, a line each. Fields that a later version adds are shown without being known here. */
function factsOf(event: JobEvent): string[] {
  switch (event.type) {
    case 'job.submitted': {
      const { jobId: _, request, answer: _answer, ...rest } = event;
      const { messages, model: _model, tools, ...settings } = request;
      const said = `${counted(messages.length, 'message')}${tools === undefined ? '' : `, ${counted(tools.length, 'tool')}`}`;
      return [fields(rest, event.at), [said, fields(settings, event.at)].filter(text => text !== '').join(', ')];
    }
    case 'output.appended': {
      const { kind, text, ids, ...rest } = event;
      return [`${kind} ${JSON.stringify(text)}`, fields({ ...rest, ...(ids === undefined ? {} : { ids }) }, event.at)];
    }
    default:
      return [fields(event, event.at)];
  }
}

function fields(facts: object, at: number): string {
  return Object.entries(facts)
    .filter(([name]) => name !== 'type' && name !== 'at')
    .map(([name, value]) => `${name} ${valueText(name, value, at)}`)
    .join(', ');
}

function valueText(name: string, value: unknown, at: number): string {
  if (typeof value === 'number' && /(?:^at|At)$/.test(name)) return `${signed(value - at)} (${instant(value)})`;
  if (typeof value === 'string' && /^[\w.:/@+-]+$/.test(value)) return value;
  return JSON.stringify(value);
}

/** The job's id is above all. */
function actionText({ type, params }: JobAction, at: number): string {
  const { jobId: _, ...rest } = params;
  return `${type} ${fields('at' in rest ? { dueAt: rest.at } : rest, at)}`.trimEnd();
}

/** A text's lines; an end of line at its end begins no further one. */
const linesOf = (text: string): string[] => (text === '' ? [] : text.replace(/\n$/, '').split('\n'));

const counted = (count: number, noun: string): string =>
  `${count.toLocaleString('en')} ${noun}${count === 1 ? '' : 's'}`;
const signed = (ms: number): string => (ms < 0 ? span(ms) : `+${span(ms)}`);
/** To the millisecond below a minute, to the second above. */
const span = (ms: number): string =>
  Math.abs(ms) < 60_000 ? `${ms} ms` : formatDuration(Math.round(ms / 1000) * 1000);
/** A damaged time must not end a replay. */
const instant = (at: number): string => (Math.abs(at) <= 8.64e15 ? new Date(at).toISOString() : String(at));

/** One line of output: harmless, cut, and ended. */
function cut(line: string, width: Width): string {
  const safe = line.replace(/[\u0000-\u001f\u007f-\u009f\u2028-\u202e\u2066-\u2069]/g, escaped);
  if (width === null || safe.length <= width) return `${safe.trimEnd()}\n`;
  // Never between the halves of a character outside the basic plane.
  return `${safe.slice(0, width - 1).replace(/[\ud800-\udbff]$/, '')}…\n`;
}

const escaped = (char: string): string => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`;
