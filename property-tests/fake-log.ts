/** A job log in memory, with levers: fail the next appends, lose their replies, hold them back. */
import { type Append, type AppendResult, type LogEntry, StoreTrouble } from '../actors/log/job-log.ts';
import type { LogPort } from '../actors/router/ports.ts';
import type { JobEvent } from '../protocol/job-events.ts';
import { origin, type Position } from '../protocol/position.ts';

export class FakeLog implements LogPort {
  readonly logs = new Map<string, LogEntry[]>();
  readonly ended = new Set<string>();
  /** The store is down: appends reject. */
  down = false;
  /** This many appends take effect, and then reject: their replies are lost. */
  loseReplies = 0;
  /** Appends wait here while set. */
  gate: Promise<void> | null = null;
  appends = 0;

  async append(batch: readonly Append[]): Promise<AppendResult[]> {
    this.appends += 1;
    if (this.gate !== null) await this.gate;
    if (this.down) throw new StoreTrouble('the fake store is down');
    const results = batch.map(append => this.#put(append));
    if (this.loseReplies > 0) {
      this.loseReplies -= 1;
      throw new StoreTrouble('the reply was lost');
    }
    return results;
  }

  async read(jobId: string, after: Position = origin, limit = Number.POSITIVE_INFINITY): Promise<LogEntry[]> {
    const entries = (this.logs.get(jobId) ?? []).flatMap(entry => {
      if (entry.epoch < after.epoch) return [];
      const seen = entry.epoch > after.epoch ? 0 : Math.max(0, after.number - entry.sequence + 1);
      if (seen >= entry.count) return [];
      const events = entry.events.slice(seen);
      return [{ ...entry, sequence: entry.sequence + seen, count: events.length, events }];
    });
    return entries.slice(0, limit);
  }

  async openJobs(): Promise<string[]> {
    return [...this.logs.keys()].filter(jobId => !this.ended.has(jobId));
  }

  async remove(jobId: string): Promise<void> {
    this.logs.delete(jobId);
  }

  letGo(): void {
    // What is open shows in the logs themselves.
  }

  events(jobId: string): JobEvent[] {
    return (this.logs.get(jobId) ?? []).flatMap(({ events }) => events);
  }

  #put({ jobId, epoch, sequence, count, events: text, creates, ends }: Append): AppendResult {
    const log = this.logs.get(jobId);
    if (log === undefined && creates !== true) return { kind: 'gone' };
    const top = log?.at(-1);
    if (top !== undefined && (epoch < top.epoch || (epoch === top.epoch && sequence <= top.sequence))) {
      return top.epoch === epoch && top.sequence === sequence && top.text === text
        ? { kind: 'ok' }
        : { kind: 'fenced' };
    }
    const events: JobEvent[] = JSON.parse(text);
    if (events.length !== count) throw new Error(`an append says ${count} events and holds ${events.length}`);
    if (top !== undefined && epoch === top.epoch && sequence !== top.sequence + top.count)
      throw new Error('a gap in the log');
    const entry: LogEntry = { epoch, sequence, count, events, text, bytes: Buffer.byteLength(text) };
    this.logs.set(jobId, [...(log ?? []), entry]);
    if (ends === true) this.ended.add(jobId);
    return { kind: 'ok' };
  }
}
