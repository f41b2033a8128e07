/** A worker for as long as a test needs it: gone, and known to be gone, when the test goes on. */
import { untilHealth } from './callers.ts';
import type { RouterProcess } from './processes.ts';
import { type Script, type ScriptedWorker, startWorker } from './scripted-worker.ts';

export async function withWorker(
  router: RouterProcess,
  script: Script,
  run: (worker: ScriptedWorker) => Promise<void>,
  hello: object = {},
): Promise<void> {
  const worker = await startWorker(router.wsUrl, {
    script,
    hello: { protocol_version: 2, instance_id: 'i1', ...hello },
  });
  try {
    await run(worker);
  } finally {
    worker.close();
    await untilHealth(router.url, ({ workers }) => workers === 0, 'the worker is still there');
  }
}
