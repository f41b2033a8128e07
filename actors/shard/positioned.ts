import type { JobEvent } from '../../protocol/job-events.ts';
import type { Position } from '../../protocol/position.ts';
import type { LoggedEntry } from '../../protocol/shard-messages.ts';

/** The events of entries with where they stand. */
export function* positioned(entries: readonly LoggedEntry[]): Generator<[JobEvent, Position]> {
  for (const { epoch, sequence, events } of entries) {
    for (const [index, event] of events.entries()) yield [event, { epoch, number: sequence + index }];
  }
}
