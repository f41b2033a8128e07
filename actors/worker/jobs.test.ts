import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { WorkerFrame } from '../../protocol/worker-frames.ts';
import { silentDiagnostics } from '../config/diagnostics.ts';
import { type Engine, EngineError, type GenerateHooks } from '../engine/engine.ts';
import { openJobs } from './jobs.ts';

test('B3: what an engine still gives of a job that was cancelled is not said', async () => {
  const said: WorkerFrame[] = [];
  let hooks: GenerateHooks | null = null;
  let fail: (error: Error) => void = () => undefined;
  const engine: Engine = {
    state: 'ready',
    info: null,
    load: () => Promise.reject(new Error('it is loaded')),
    generate: (_job, given) => {
      hooks = given;
      return new Promise((_, reject) => {
        fail = reject;
      });
    },
    countTokens: () => Promise.resolve(0),
    close: () => Promise.resolve(),
  };
  const jobs = openJobs({
    engine: () => engine,
    send: frame => said.push(frame),
    version: () => 2,
    jobMsMax: 1000,
    keepMs: 1000,
    clock: { now: () => 0, after: () => () => undefined },
    diagnostics: silentDiagnostics,
  });
  const piece = (text: string): void => (hooks as GenerateHooks | null)?.onPiece({ kind: 'text', text, ids: [1] });
  jobs.start({ type: 'job', job_id: 'j', attempt: 1, messages: [{ role: 'user', content: 'x' }] });
  piece('a');
  jobs.cancel('j', 1);
  piece('b');
  fail(new EngineError('cancelled', 'ended'));
  await jobs.idle(0);
  await Promise.resolve();
  piece('c');
  const told = said.map(frame => (frame.type === 'token' ? frame.token : frame.type));
  assert.equal(told, ['a', 'cancelled']);
  jobs.close();
});

test('a job that outlasts its time ends with a frame that says so (G5)', async () => {
  const said: WorkerFrame[] = [];
  const timers: { readonly ms: number; readonly run: () => void }[] = [];
  const engine: Engine = {
    state: 'ready',
    info: null,
    load: () => Promise.reject(new Error('it is loaded')),
    generate: (_job, { signal }) =>
      new Promise((_, reject) => {
        signal.addEventListener('abort', () => reject(new EngineError('cancelled', 'stopped')));
      }),
    countTokens: () => Promise.resolve(0),
    close: () => Promise.resolve(),
  };
  const jobs = openJobs({
    engine: () => engine,
    send: frame => said.push(frame),
    version: () => 2,
    jobMsMax: 1234,
    keepMs: 1000,
    clock: {
      now: () => 0,
      after: (ms, run) => {
        timers.push({ ms, run });
        return () => undefined;
      },
    },
    diagnostics: silentDiagnostics,
  });
  jobs.start({ type: 'job', job_id: 'j', attempt: 1, messages: [{ role: 'user', content: 'x' }] });
  timers.find(({ ms }) => ms === 1234)?.run();
  await jobs.idle(0);
  await Promise.resolve();
  assert.equal(
    said.map(frame => (frame.type === 'error' ? frame.code : frame.type)),
    ['timeout'],
  );
  jobs.close();
});

test.run();
