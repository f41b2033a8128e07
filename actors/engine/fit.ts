/**
 * What of a wish fits into the memory that is free: how many layers on the GPU, how many slots, how long a context.
 *
 *   all layers on the GPU ─▶ fewer slots ─▶ a smaller cache type ─▶ a shorter context ─▶ fewer layers ─▶ none: the
 *   same again in main memory ─▶ refused, with the numbers
 *
 * F1. What is chosen needs no more than the budget, by the numbers that were given for it.
 * F2. Nothing is chosen that is more than the wish, nor less than its least (one slot, `contextSizeMin`).
 * F3. Only what comes later in that order is given up for what comes earlier, and with more memory nothing gets worse.
 *
 * The search only asks questions: it yields a plan and is told what that needs, so that it stays a function of its
 * inputs although the answers come from native code. It takes for granted that more of anything never needs less.
 */
export const cacheTypes = ['f16', 'q8_0', 'q4_0'] as const;
/** How exactly keys and values are kept: bits of one number are 16, 8.5 and 4.5. */
export type CacheType = (typeof cacheTypes)[number];

export interface Bytes {
  readonly ram: number;
  readonly vram: number;
}

/** Free memory; of `vram`, `unified` is the same memory as `ram`. */
export interface Budget extends Bytes {
  readonly unified: number;
}

export interface Plan {
  /** Tokens of one slot. */
  readonly contextSize: number;
  readonly slots: number;
  readonly gpuLayers: number;
  readonly cacheType: CacheType;
}

export interface Wish {
  readonly contextSize: number;
  /** Not above `contextSize`. */
  readonly contextSizeMin: number;
  readonly slots: number;
  /** How many layers may go to the GPU, and how many must. */
  readonly gpuLayers: { readonly min: number; readonly max: number };
  /** In order of preference, not empty. */
  readonly cacheTypes: readonly CacheType[];
}

export type Fit =
  | { readonly ok: true; readonly plan: Plan; readonly need: Bytes; readonly refused: Refused | null }
  /** The least that was wished for is still too much. */
  | { readonly ok: false; readonly refused: Refused };

export interface Refused {
  readonly plan: Plan;
  readonly need: Bytes;
}

/** Contexts are made in multiples of this. */
const contextStep = 256;

export const fitsInto = (need: Bytes, budget: Budget): boolean =>
  need.vram <= budget.vram && need.ram + Math.min(need.vram, budget.unified) <= budget.ram;

export function* fit(wish: Wish, budget: Budget): Generator<Plan, Fit, Bytes> {
  const { contextSize, contextSizeMin, slots, gpuLayers } = wish;
  /** The first plan that was too much: what was wished for, if anything had to be given up. */
  let refused: Refused | null = null;
  let last: Refused | null = null;

  /** What the plan needs, if that is there. */
  function* asked(plan: Plan): Generator<Plan, Fit | null, Bytes> {
    const need = yield plan;
    if (fitsInto(need, budget)) return { ok: true, plan, need, refused };
    last = { plan, need };
    refused ??= last;
    return null;
  }

  /** The greatest number in the range whose plan fits. More layers on the GPU help where main memory is what is short. */
  function* greatest(
    min: number,
    max: number,
    planOf: (n: number) => Plan,
    helps: (last: Refused) => boolean = () => false,
  ): Generator<Plan, Fit | null, Bytes> {
    let best: Fit | null = null;
    let low = min;
    let high = max;
    while (low <= high) {
      // From above: what was wished for is asked first, and is mostly right.
      const n: number = best === null && high === max ? max : Math.floor((low + high) / 2);
      const found: Fit | null = yield* asked(planOf(n));
      if (found !== null) best = found;
      if (found !== null || (last !== null && helps(last))) low = n + 1;
      else high = n - 1;
    }
    return best;
  }

  function* withLayers(layers: number): Generator<Plan, Fit | null, Bytes> {
    for (const cacheType of wish.cacheTypes) {
      const planOf = (n: number): Plan => ({ contextSize, slots: n, gpuLayers: layers, cacheType });
      const found = yield* greatest(1, slots, planOf);
      if (found !== null) return found;
    }
    const stepMin = Math.floor(contextSizeMin / contextStep);
    const stepMax = Math.ceil(contextSize / contextStep) - 1;
    for (const cacheType of wish.cacheTypes) {
      const planOf = (n: number): Plan => ({
        contextSize: Math.max(contextSizeMin, n * contextStep),
        slots: 1,
        gpuLayers: layers,
        cacheType,
      });
      const found = yield* greatest(stepMin, stepMax, planOf);
      if (found !== null) return found;
    }
    return null;
  }

  const hasRoom = ({ need }: Refused): boolean => need.vram <= budget.vram;

  const whole = yield* withLayers(gpuLayers.max);
  if (whole !== null) return whole;
  const leastCache = wish.cacheTypes.at(-1) ?? 'f16';
  const least = { contextSize: contextSizeMin, slots: 1, cacheType: leastCache };
  const some = yield* greatest(
    Math.max(1, gpuLayers.min),
    gpuLayers.max - 1,
    n => ({ ...least, gpuLayers: n }),
    hasRoom,
  );
  if (some?.ok === true) return (yield* withLayers(some.plan.gpuLayers)) ?? some;
  if (gpuLayers.min === 0 && gpuLayers.max > 0) {
    const none = yield* withLayers(0);
    if (none !== null) return none;
  }
  const leastPlan = { ...least, gpuLayers: gpuLayers.min };
  return (yield* asked(leastPlan)) ?? { ok: false, refused: last ?? { plan: leastPlan, need: { ram: 0, vram: 0 } } };
}

/**
 * The budget for another try, after what should have fitted did not: less than the plan that failed needs, so that the
 * next plan is a smaller one.
 */
export function stepDown(budget: Budget, need: Bytes): Budget {
  return {
    ram: Math.floor(Math.min(budget.ram, need.vram > 0 ? budget.ram : need.ram) * stepShare),
    vram: Math.floor(Math.min(budget.vram, need.vram) * stepShare),
    unified: budget.unified,
  };
}
const stepShare = 0.85;
