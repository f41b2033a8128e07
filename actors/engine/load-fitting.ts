/**
 * Loads what fits: chooses a plan (fit.ts), tries it, and takes the next smaller one when memory runs out all the same.
 *
 * D1. Each try asks for less than the one before, and there are `triesMax` of them.
 * D2. Only a lack of memory leads to another try: a broken file stays broken.
 */
import { GiB } from '../../registry/estimate.ts';
import { EngineError } from './engine.ts';
import { type Budget, type Bytes, type Fit, fit, type Plan, type Refused, stepDown, type Wish } from './fit.ts';

export interface Fitting<T> {
  readonly wish: Wish;
  readonly budget: Budget;
  /** What a plan needs. */
  readonly needOf: (plan: Plan) => Promise<Bytes>;
  /** How the memory is called (`cuda`); '' without a GPU. */
  readonly gpu: string;
  /** All layers of the model, whatever the wish says of them. */
  readonly layers: number;
  /** Loads it; cleans up what it had begun when it throws. */
  readonly open: (plan: Plan) => Promise<T>;
  readonly isShortOfMemory: (error: unknown) => boolean;
  /** One sentence for people, before each try, and what the plan needs. */
  readonly onChosen: (message: string, need: Bytes) => void;
}

const triesMax = 4;

export type Planned = Pick<Fitting<unknown>, 'wish' | 'budget' | 'needOf' | 'gpu' | 'layers'>;

/** The choice alone, in words. Nothing is loaded. */
export async function planFitting(fitting: Planned): Promise<{ readonly ok: boolean; readonly message: string }> {
  const { budget } = fitting;
  const chosen = await searched(fitting, budget);
  const message = chosen.ok ? said(fitting, chosen) : nothingFits(fitting, chosen.refused, budget);
  return { ok: chosen.ok, message };
}

export async function loadFitting<T>(fitting: Fitting<T>): Promise<T> {
  let { budget } = fitting;
  for (let tries = 1; ; tries += 1) {
    const chosen = await searched(fitting, budget);
    if (!chosen.ok) throw new EngineError('model_load_failed', nothingFits(fitting, chosen.refused, budget));
    fitting.onChosen(
      `${tries === 1 ? '' : 'memory ran out, trying less: '}${said({ ...fitting, budget }, chosen)}`,
      chosen.need,
    );
    try {
      return await fitting.open(chosen.plan);
    } catch (error) {
      if (!fitting.isShortOfMemory(error)) throw error;
      const reason = error instanceof Error ? error.message : String(error);
      if (tries === triesMax)
        throw new EngineError(
          'model_load_failed',
          `memory ran out ${triesMax} times, at last with ${planned(fitting, chosen.plan)}: ${reason}`,
          error,
        );
      budget = stepDown(budget, chosen.need);
    }
  }
}

async function searched({ wish, needOf }: Planned, budget: Budget): Promise<Fit> {
  const search = fit(wish, budget);
  for (let step = search.next(); ; ) {
    if (step.done === true) return step.value;
    step = search.next(await needOf(step.value));
  }
}

/** What was chosen, and why not more. */
function said(fitting: Planned, { plan, need, refused }: Extract<Fit, { ok: true }>): string {
  const what = `${planned(fitting, plan)}: ${amounts(fitting, need)}`;
  if (refused === null) return what;
  return `${what}; ${planned(fitting, refused.plan)} would need ${amounts(fitting, refused.need)}`;
}

function planned({ gpu, layers }: Planned, { contextSize, slots, gpuLayers, cacheType }: Plan): string {
  const where =
    gpu === '' || gpuLayers === 0 ? 'no layer on a GPU' : `${gpuLayers} of ${layers} layers on the GPU (${gpu})`;
  return `${where}, ${slots} ${slots === 1 ? 'slot' : 'slots'} of ${contextSize} tokens, cache ${cacheType}`;
}

function amounts({ gpu, budget }: Planned, { ram, vram }: Bytes): string {
  const main = `${gigabytes(ram)} of ${gigabytes(budget.ram)} GB free main memory`;
  return gpu === '' ? main : `${gigabytes(vram)} of ${gigabytes(budget.vram)} GB free GPU memory, ${main}`;
}

const nothingFits = (fitting: Planned, { plan, need }: Refused, budget: Budget): string =>
  `the model does not fit into memory: ${planned(fitting, plan)} needs ${amounts({ ...fitting, budget }, need)}. End other programs, ` +
  'choose a smaller quantization or model at the router (auxot-router models --fits GB), lower AUXOT_CTX_SIZE_MIN or set ' +
  'AUXOT_KV_CACHE_TYPE=auto here, or load it all the same with AUXOT_MEMORY_CHECK=off';

const gigabytes = (bytes: number): string => (bytes / GiB).toFixed(bytes < GiB ? 2 : 1);
