/** Many worlds, on several processes, for a time: what they found, and the figures. */
import { type ChildProcess, fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { addFigures, type Figures, faultsOf, newFigures } from './figures.ts';
import type { SimulationReport, SimulationTask } from './seeds.process.ts';

/** A world's objects die young and all at once: with room for them, a fifth of the processor time is saved. */
const youngSpace = '--max-semi-space-size=128';

export interface CampaignOptions {
  readonly firstSeed: number;
  readonly processes: number;
  readonly rate: number;
  readonly msMax: number;
  /** Enough, even before the time is over. */
  readonly faultsWanted: number;
  readonly seedsMax: number;
  readonly told?: (figures: Figures, realMs: number) => void;
}

export interface Campaign {
  readonly figures: Figures;
  readonly realMs: number;
  readonly found: readonly { readonly seed: number; readonly found: string }[];
}

export async function campaign(options: CampaignOptions): Promise<Campaign> {
  const { firstSeed, processes: count, rate, msMax, faultsWanted, seedsMax, told } = options;
  const startedAt = Date.now();
  const figures = newFigures();
  const found: { seed: number; found: string }[] = [];
  const processes: ChildProcess[] = [];
  const stopAll = (): void => {
    for (const each of processes) each.kill('SIGKILL');
  };
  await Promise.all(
    Array.from({ length: count }, (_, n) => {
      const task: SimulationTask = {
        firstSeed: firstSeed + n,
        step: count,
        rate,
        stopAt: startedAt + msMax,
        seedsMax: Math.ceil((seedsMax - n) / count),
      };
      const file = fileURLToPath(new URL('./seeds.process.ts', import.meta.url));
      const child = fork(file, [JSON.stringify(task)], {
        execArgv: [youngSpace, '--import', import.meta.resolve('tsx')],
      });
      processes.push(child);
      return new Promise<void>((resolve, reject) => {
        child.on('message', message => {
          const report = message as SimulationReport; // our own program's words
          if (report.kind === 'found') {
            found.push(report);
            return;
          }
          addFigures(figures, report.figures);
          told?.(figures, Date.now() - startedAt);
          if (report.done && found.length > 0) stopAll();
          if (faultsOf(figures) >= faultsWanted) stopAll();
        });
        child.on('error', reject);
        child.on('exit', (code, signal) => {
          if (code === 0 || signal === 'SIGKILL') resolve();
          else reject(new Error(`a process of the simulation ended with ${code ?? signal}`));
        });
      });
    }),
  );
  return { figures, realMs: Date.now() - startedAt, found };
}
