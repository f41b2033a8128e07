/**
 * The shortest history found for a finding: asks, faults and workers are left out in ever smaller pieces while something
 * is still found. Another finding than the first is as good: it is the shorter story that counts.
 */
import type { Plan } from './plan.ts';

export interface Shrunk {
  readonly plan: Plan;
  readonly found: string;
  readonly runs: number;
}

export async function shrink(
  plan: Plan,
  found: string,
  run: (plan: Plan) => Promise<string | null>,
  until: () => boolean,
): Promise<Shrunk> {
  let best = { plan, found };
  let runs = 0;
  const tries = async (shorter: Plan): Promise<boolean> => {
    runs += 1;
    const again = await run(shorter);
    if (again === null) return false;
    best = { plan: shorter, found: again };
    return true;
  };
  for (const list of ['faults', 'asks', 'faults'] as const) {
    for (
      let piece = Math.ceil(best.plan[list].length / 2);
      piece >= 1;
      piece = piece === 1 ? 0 : Math.ceil(piece / 2)
    ) {
      for (let from = 0; from < best.plan[list].length && !until(); ) {
        const items = best.plan[list];
        const left = [...items.slice(0, from), ...items.slice(from + piece)];
        if (!(await tries({ ...best.plan, [list]: left }))) from += piece;
      }
    }
  }
  return { ...best, runs };
}
