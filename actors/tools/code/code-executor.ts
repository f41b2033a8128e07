/**
 * `code_executor`: a JavaScript program of the model's, in a sandbox on a thread (sandbox.thread.ts).
 *
 * Three limits stand behind one another: the interpreter stops a script whose time is over, its allocator refuses what
 * is above the memory limit, and a thread that neither of them stops is ended and replaced.
 */
import { openThreadTasks, ThreadEnd, threadEntry } from '../thread-tasks.ts';
import { intArgument, type Tool, type ToolCall, ToolError, type ToolOutput, textArgument } from '../tool.ts';
import type { ScriptAnswer, ScriptTask } from './sandbox.thread.ts';

export interface CodeExecutorOptions {
  readonly threads: number;
  readonly memoryBytesMax?: number;
  readonly outputCharsMax?: number;
}

const secondsDefault = 10;
const secondsMax = 30;
/** A script cannot use more than this much text; longer ones are data, not code. */
const codeCharsMax = 512 * 1024;
/** How long after its time a script may still be on its thread before the thread is ended. */
const killMs = 1000;

export function codeExecutor({
  threads,
  memoryBytesMax = 64 * 2 ** 20,
  outputCharsMax = 64 * 1024,
}: CodeExecutorOptions): Tool & { close(): Promise<void> } {
  const tasks = openThreadTasks<ScriptTask, ScriptAnswer>({
    entry: threadEntry(import.meta.url, './sandbox.thread'),
    threads,
    memoryMib: 128,
    queueMax: 256,
  });

  return {
    name: 'code_executor',
    description:
      'Runs a JavaScript program in a sandbox and returns what it prints with console.log and the value of its last expression. Modern JavaScript with top-level await; no network, no files, no imports, no require.',
    parameters: {
      type: 'object',
      properties: {
        code: { type: 'string', description: 'The JavaScript program.' },
        timeout_seconds: {
          type: 'integer',
          minimum: 1,
          maximum: secondsMax,
          description: `The longest time it may run, ${secondsDefault} by default.`,
        },
      },
      required: ['code'],
    },
    idempotent: true,
    run: call => runScript(call),
    close: () => tasks.close(),
  };

  async function runScript(call: ToolCall): Promise<ToolOutput> {
    const code = textArgument(call, 'code');
    if (code.length > codeCharsMax)
      throw new ToolError('invalid_arguments', `"code" is longer than ${codeCharsMax} characters`);
    const seconds = intArgument(call, 'timeout_seconds', { min: 1, max: secondsMax, fallback: secondsDefault });
    const startedAt = Date.now();
    const msMax = Math.max(1, Math.min(seconds * 1000, call.deadlineAt - startedAt));
    try {
      const answer = await tasks.run(
        { code, msMax, memoryBytesMax, outputCharsMax },
        { msMax: msMax + killMs, signal: call.signal },
      );
      return { result: shown(answer, outputCharsMax) };
    } catch (error) {
      if (!(error instanceof ThreadEnd)) throw error;
      if (error.why === 'aborted') throw new ToolError('cancelled', 'the script was cancelled');
      if (error.why === 'busy') throw new ToolError('overloaded', 'too many scripts are waiting');
      const why =
        error.why === 'late'
          ? `the script took longer than ${seconds} s and was stopped`
          : 'the script used more memory than it may, and its thread was ended';
      return { result: { error: why, duration_ms: Date.now() - startedAt } };
    }
  }
}

function shown(answer: ScriptAnswer, outputCharsMax: number): Record<string, unknown> {
  const notes = [
    ...(answer.outputCut ? [`the output was cut at ${outputCharsMax} characters`] : []),
    ...(answer.jsonCut ? [`the value was cut at ${outputCharsMax} characters`] : []),
  ];
  return {
    ...(answer.output === '' ? {} : { output: answer.output }),
    ...(answer.json === '' ? {} : { return_value: answer.jsonCut ? answer.json : JSON.parse(answer.json) }),
    ...(answer.error === null ? {} : { error: answer.error }),
    ...(notes.length === 0 ? {} : { note: notes.join('; ') }),
    duration_ms: answer.durationMs,
  };
}
