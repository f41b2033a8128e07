/**
 * What tools workers add to a plan: how many there are, requests whose model calls tools, and what goes wrong with them.
 * Made with chance of its own, so that the rest of the plan is what it was without them.
 */
import { type ToolsOptions, toolsOff } from '../../actors/router/tool-offer.ts';
import type { Plan, PlannedAsk, PlannedFault, Shape } from './plan.ts';
import { seededRandom } from './random.ts';
import { simulatedTools } from './tool-truth.ts';

/** How long the calls of a round may take, and a lost tools worker is waited for. */
export const callMs = 20_000;
export const toolsGraceMs = 15_000;

export const routerTools = ({ tools }: Shape): { tools?: ToolsOptions } =>
  tools === undefined ? {} : { tools: { ...toolsOff, allowed: simulatedTools, callMs, graceMs: toolsGraceMs } };

const kinds = [
  'tools worker killed',
  'tools worker frozen',
  'tools worker stopped',
  'tool result nonsense',
  'tool result nonsense',
  'tools slow',
  'tools slow',
] as const;

export function withTools(plan: Plan, rate: number): Plan {
  const random = seededRandom(plan.seed ^ 0x70015);
  // In some worlds no tools worker ever dies: there every call must be run, and once.
  const gentle = random.chance(0.4);
  const asks: PlannedAsk[] = plan.asks.map(ask => {
    const calls = !ask.prompt.includes('#') && random.chance(0.6);
    return calls ? { ...ask, prompt: `${ask.prompt} #calls`, tokensMax: Number.POSITIVE_INFINITY } : ask;
  });
  const faults: PlannedFault[] = [...plan.faults];
  for (let at = random.between(500, 2000); at < plan.calmAt; at += (4000 / rate) * random.next()) {
    const kind = random.pick(gentle ? kinds.slice(3) : kinds);
    if (kind !== undefined) faults.push({ at, kind, pick: [random.next(), random.next(), random.next()] });
  }
  const tools = plan.shape.routers + random.below(2);
  return { ...plan, mood: `${plan.mood}, with tools`, shape: { ...plan.shape, tools }, asks, faults };
}
