/** A router and a real worker with the demo model behind it. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { untilHealth } from './callers.ts';
import { gpuKey, type RouterProcess, runProgram, startRouter, within } from './processes.ts';

export interface DemoModel {
  readonly router: RouterProcess;
  stop(): Promise<void>;
}

export async function startDemoModel(env: Record<string, string> = {}): Promise<DemoModel> {
  const folder = mkdtempSync(join(tmpdir(), 'auxot-demo-'));
  const router = await startRouter({
    AUXOT_FSYNC: 'no',
    AUXOT_CTX_SIZE: '1024',
    AUXOT_MAX_PARALLEL: '1',
    ...env,
  });
  const args = ['--router-url', router.wsUrl, '--model-path', 'demo'];
  const worker = runProgram('worker', args, { AUXOT_GPU_KEY: gpuKey }, folder);
  await untilHealth(router.url, ({ total_slots }) => total_slots > 0, 'the worker is not there', 60_000);
  return {
    router,
    async stop() {
      worker.kill('SIGTERM');
      await within(15_000, worker.ended, 'the worker did not stop');
      await router.stop();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}
