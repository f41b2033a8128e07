/** Runs worlds, one seed after the other, until it is told to stop or finds something. */
import { addOutcome, newFigures } from './figures.ts';
import { planOf } from './plan.ts';
import { runPlan } from './world.ts';

export interface SimulationTask {
  readonly firstSeed: number;
  /** The seeds of this process are so far apart. */
  readonly step: number;
  readonly rate: number;
  /** Epoch ms. */
  readonly stopAt: number;
  readonly seedsMax: number;
}

/** Sent every now and then, and at the end. */
export type SimulationReport =
  | { readonly kind: 'figures'; readonly figures: ReturnType<typeof newFigures>; readonly done: boolean }
  | { readonly kind: 'found'; readonly seed: number; readonly found: string };

const reportMs = 1000;
const now = Date.now;
/** Given by campaign.ts. */
const task: SimulationTask = JSON.parse(process.argv[2] ?? '');

const tell = (report: SimulationReport): void => void process.send?.(report);

let figures = newFigures();
let reportedAt = now();
let found = false;
let cpuToldMs = 0;
/** Since the last report, with what it took to start. */
function cpuSpent(): number {
  const { user, system } = process.cpuUsage();
  const allMs = (user + system) / 1000;
  const ms = allMs - cpuToldMs;
  cpuToldMs = allMs;
  return ms;
}

for (let n = 0; n < task.seedsMax && !found && now() < task.stopAt; n += 1) {
  const seed = task.firstSeed + n * task.step;
  const outcome = await runPlan(planOf(seed, { rate: task.rate }));
  addOutcome(figures, outcome);
  if (outcome.found !== null) {
    found = true;
    tell({ kind: 'found', seed, found: outcome.found });
  }
  if (now() - reportedAt < reportMs) continue;
  reportedAt = now();
  figures.cpuMs = cpuSpent();
  tell({ kind: 'figures', figures, done: false });
  figures = newFigures();
}
figures.cpuMs = cpuSpent();
tell({ kind: 'figures', figures, done: true });
process.disconnect?.();
