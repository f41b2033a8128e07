/**
 * Stdout for a command that writes much. Its errors come as events, some time later, and one that nobody listens for ends
 * the program with a stack trace. Here the next write throws it, and `settled` waits until the last one is known.
 */
import { setImmediate } from 'node:timers/promises';
import type { TextSink } from '../actors/config/diagnostics.ts';

/** As much of stdout as is needed: a test's sink has neither columns nor errors. */
export interface Output extends TextSink {
  readonly columns?: number | undefined;
  on?(event: 'error', listener: (error: Error) => void): unknown;
}

export interface WatchedOutput extends Output {
  /** Rejects with the first error of what was written. */
  settled(): Promise<void>;
}

export function watchOutput(out: Output): WatchedOutput {
  let failure: Error | null = null;
  out.on?.('error', error => {
    failure ??= error;
  });
  const check = (): void => {
    if (failure !== null) throw failure;
  };
  return {
    columns: out.columns,
    write: text => {
      check();
      out.write(text);
    },
    settled: async () => {
      await setImmediate();
      check();
    },
  };
}
