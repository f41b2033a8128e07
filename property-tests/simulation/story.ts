/** A finding as a person can read it: the shortest history, and how to play it again. */
import { type Plan, planOf } from './plan.ts';
import { shrink } from './shrink.ts';
import { runPlan } from './world.ts';

/** Lines of the timeline that are shown at most: the end is where it happens. */
const linesShown = 120;

export async function storyOf(seed: number, rate: number, shrinkMs: number): Promise<string> {
  const plan = planOf(seed, { rate });
  const first = await runPlan(plan);
  if (first.found === null) return `seed ${seed} found nothing when it was played again: chance got in from outside`;
  const until = Date.now() + shrinkMs;
  const shrunk = await shrink(
    plan,
    first.found,
    async shorter => (await runPlan(shorter)).found,
    () => Date.now() > until,
  );
  const { timeline } = await runPlan(shrunk.plan, true);
  const lines = told(timeline);
  return [
    `seed ${seed}${rate === 1 ? '' : ` at rate ${rate}`} (${plan.mood}): ${first.found}`,
    '',
    `shortest history found, after ${shrunk.runs} tries: ${shrunk.plan.asks.length} requests, ${shrunk.plan.faults.length} faults`,
    shapeOf(shrunk.plan),
    ...lines,
    '',
    shrunk.found,
    '',
    `again: npm run simulate -- --seed ${seed}${rate === 1 ? '' : ` --rate ${rate}`} --trace`,
  ].join('\n');
}

export const shapeOf = ({ shape: { store, routers, shards, workers } }: Plan): string =>
  `  ${routers} ${routers === 1 ? 'router' : 'routers'} of ${shards} shards, ${store} store, workers ${workers
    .map(({ version, modelFile }, n) => `w${n + 1} v${version} ${modelFile}`)
    .join(', ')}`;

/** Without what goes on all the time. */
export function told(timeline: readonly string[]): string[] {
  const lines = timeline.filter(
    line => !/auxot:lease|auxot:boots|heartbeat|a command$/.test(line) || line.includes('!!'),
  );
  return lines.length <= linesShown
    ? lines
    : [`  … ${lines.length - linesShown} lines before …`, ...lines.slice(-linesShown)];
}
