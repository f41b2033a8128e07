import { planOf } from './plan.ts';
import { runPlan } from './world.ts';
const sum = {} as Record<string, number>;

const [from = '1', to = from, trace] = process.argv.slice(2);
for (let seed = Number(from); seed <= Number(to); seed += 1) {
  const plan = planOf(seed);
  const out = await runPlan(plan, trace === 'trace');
  if (trace === 'trace') console.log(out.timeline.join('\n'));
  console.log(seed, plan.mood, plan.shape.store, plan.shape.routers, 'r', plan.shape.workers.length, 'w', [...out.faults.values()].reduce((a, b) => a + b, 0), 'faults', out.virtualMs, 'vms', out.realMs, 'ms', out.events, 'events', out.satisfied, '/', out.callers, JSON.stringify(Object.fromEntries(out.endings)));
  if (out.found !== null) { console.log('FOUND', out.found); if (trace !== 'go') break; }
}
