/**
 * One script in one QuickJS of its own, on a pool's thread.
 *
 * What stays true: every task gets a fresh WebAssembly instance, so nothing of one script is there for the next; the
 * script sees the language and the prelude and nothing of Node; its memory, stack, time and output have caps.
 */
import { randomBytes } from 'node:crypto';
import {
  newQuickJSWASMModuleFromVariant,
  newVariant,
  type QuickJSContext,
  type QuickJSHandle,
  type QuickJSRuntime,
  RELEASE_SYNC,
} from 'quickjs-emscripten';
import { prelude } from './prelude.ts';

export interface ScriptTask {
  readonly code: string;
  readonly msMax: number;
  readonly memoryBytesMax: number;
  readonly outputCharsMax: number;
}

export interface ScriptAnswer {
  /** What was printed, cut at the cap. */
  readonly output: string;
  readonly outputCut: boolean;
  /** JSON text of the last expression's value; empty when there was none. */
  readonly json: string;
  readonly jsonCut: boolean;
  readonly error: string | null;
  readonly durationMs: number;
}

/** Part of the language's surroundings, but not of the library that types are checked with here. */
const { WebAssembly } = globalThis as unknown as {
  WebAssembly: { Memory: new (pages: { initial: number; maximum: number }) => object };
};

const stackBytesMax = 512 * 1024;
/** JS_EVAL_FLAG_ASYNC: a script may await at its top, and its value is a promise of `{ value }`. */
const asyncScript = 128;
const errorCharsMax = 4000;
const pageBytes = 65_536;
/** What the module was built to begin with: its stack, and a little. */
const pagesMin = 256;

export default async function runScript(task: ScriptTask): Promise<ScriptAnswer> {
  const startedAt = Date.now();
  const endsAt = startedAt + task.msMax;
  // QuickJS's own count of its memory misses much of it here: what holds is the size of the instance's memory.
  const wasmMemory = new WebAssembly.Memory({ initial: pagesMin, maximum: pagesMin + task.memoryBytesMax / pageBytes });
  const quickjs = await newQuickJSWASMModuleFromVariant(newVariant(await RELEASE_SYNC, { wasmMemory }));
  const runtime = quickjs.newRuntime();
  runtime.setMemoryLimit(task.memoryBytesMax);
  runtime.setMaxStackSize(stackBytesMax);
  runtime.setInterruptHandler(() => Date.now() > endsAt);
  const context = runtime.newContext();

  const lines: string[] = [];
  let chars = 0;
  let outputCut = false;
  const print = (text: string): void => {
    if (outputCut) return;
    const room = task.outputCharsMax - chars;
    if (text.length > room) outputCut = true;
    lines.push(text.slice(0, room));
    chars += text.length + 1;
  };
  const answer = (more: { json?: string; error?: string | null }): ScriptAnswer => {
    const json = more.json ?? '';
    const jsonCut = json.length > task.outputCharsMax;
    return {
      output: lines.join('\n'),
      outputCut,
      json: jsonCut ? json.slice(0, task.outputCharsMax) : json,
      jsonCut,
      error: more.error ?? null,
      durationMs: Date.now() - startedAt,
    };
  };

  // The instance and all its memory go when this function returns; nothing in it needs to be disposed of by hand.
  try {
    const host = openHost(context, print);
    const result = context.evalCode(task.code, 'script.js', asyncScript);
    if (result.error) return answer({ error: told(context, result.error, endsAt) });
    let promise = result.value;
    /** What the script's last expression gave is a promise itself, and is awaited as well. */
    let isOwn = true;
    for (;;) {
      const failed = drain(runtime);
      if (failed !== null) return answer({ error: told(context, failed, endsAt) });
      const state = context.getPromiseState(promise);
      if (state.type === 'rejected') return answer({ error: told(context, state.error, endsAt) });
      if (Date.now() > endsAt) return answer({ error: lateError });
      const waitMs = host.nextTimer(Date.now() - startedAt);
      if (waitMs === null && state.type === 'fulfilled') {
        const value = isOwn ? context.getProp(state.value, 'value') : state.value;
        const inner = context.getPromiseState(value);
        const isPromise = inner.type !== 'fulfilled' || inner.notAPromise !== true;
        if (!isPromise) return answer({ json: host.json(value) });
        promise = value;
        isOwn = false;
        continue;
      }
      if (waitMs === null) return answer({ error: 'the script awaits something that never happens' });
      await new Promise(resolve => setTimeout(resolve, Math.min(waitMs, Math.max(0, endsAt - Date.now()) + 1)));
      if (Date.now() > endsAt) return answer({ error: lateError });
      const thrown = host.fire(Date.now() - startedAt);
      if (thrown !== null) return answer({ error: told(context, thrown, endsAt) });
    }
  } catch (error) {
    // QuickJS itself gave up: out of memory or stack at a place where it cannot throw into the script.
    return answer({ error: Date.now() > endsAt ? lateError : `the script ended: ${short(String(error))}` });
  }
}

const lateError = 'the script took too long and was stopped';

/** Null, or what a job threw. */
function drain(runtime: QuickJSRuntime): QuickJSHandle | null {
  const done = runtime.executePendingJobs();
  if (done.error) return done.error;
  done.dispose();
  return null;
}

function openHost(context: QuickJSContext, print: (text: string) => void) {
  const outside = [
    context.newFunction('print', text => {
      print(context.getString(text));
    }),
    context.newFunction('randomBytes', count => {
      const bytes = Math.min(65_536, Math.max(0, context.getNumber(count)));
      return context.newString(randomBytes(bytes).toString('hex'));
    }),
  ];
  const make = context.unwrapResult(context.evalCode(prelude, 'prelude.js', { type: 'global' }));
  const inside = context.unwrapResult(context.callFunction(make, context.undefined, ...outside));
  const [next, fire, json] = ['next', 'fire', 'json'].map(name => context.getProp(inside, name));
  if (next === undefined || fire === undefined || json === undefined) throw new Error('the prelude is incomplete');
  return {
    nextTimer(atMs: number): number | null {
      const wait = context.getNumber(
        context.unwrapResult(context.callFunction(next, context.undefined, context.newNumber(atMs))),
      );
      return wait < 0 ? null : wait;
    },
    fire(atMs: number): QuickJSHandle | null {
      const fired = context.callFunction(fire, context.undefined, context.newNumber(atMs));
      return fired.error ?? null;
    },
    json(value: QuickJSHandle): string {
      return context.getString(context.unwrapResult(context.callFunction(json, context.undefined, value)));
    },
  };
}

/** An exception as text: its name, message and where it was thrown. */
function told(context: QuickJSContext, error: QuickJSHandle, endsAt: number): string {
  const dumped: unknown = context.dump(error);
  if (typeof dumped !== 'object' || dumped === null) return short(String(dumped));
  const { name = 'Error', message = '', stack = '' } = dumped as { name?: unknown; message?: unknown; stack?: unknown };
  if (name === 'InternalError' && message === 'interrupted' && Date.now() > endsAt) return lateError;
  return short(`${String(name)}: ${String(message)}\n${String(stack)}`.trimEnd());
}

const short = (text: string): string => (text.length > errorCharsMax ? `${text.slice(0, errorCharsMax)}…` : text);
