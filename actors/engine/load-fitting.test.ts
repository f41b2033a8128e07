import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { EngineError } from './engine.ts';
import type { Plan } from './fit.ts';
import { type Fitting, loadFitting } from './load-fitting.ts';

const GiB = 2 ** 30;

class Short extends Error {}

/** A model of 4 GiB in 32 layers whose cache takes 1 GiB for a slot of 8192 tokens. */
function fitting(
  open: (plan: Plan) => Promise<string>,
  told: string[],
  more: Partial<Fitting<string>> = {},
): Fitting<string> {
  return {
    wish: {
      contextSize: 8192,
      contextSizeMin: 2048,
      slots: 4,
      gpuLayers: { min: 0, max: 0 },
      cacheTypes: ['f16'],
    },
    budget: { ram: 8.5 * GiB, vram: 0, unified: 0 },
    needOf: async ({ contextSize, slots }) => ({ ram: 4 * GiB + (slots * contextSize * GiB) / 8192, vram: 0 }),
    gpu: '',
    layers: 32,
    open,
    isShortOfMemory: error => error instanceof Short,
    onChosen: message => told.push(message),
    ...more,
  };
}

test('what fits is loaded, and one sentence says what and how much', async () => {
  const told: string[] = [];
  const plans: Plan[] = [];
  const done = await loadFitting(
    fitting(async plan => {
      plans.push(plan);
      return 'loaded';
    }, told),
  );
  assert.is(done, 'loaded');
  assert.is(plans[0]?.slots, 4);
  assert.equal(told, ['no layer on a GPU, 4 slots of 8192 tokens, cache f16: 8.0 of 8.5 GB free main memory']);
});

test('when memory runs out all the same, the next try is smaller, and says so (D1)', async () => {
  const told: string[] = [];
  const plans: Plan[] = [];
  const slots = await loadFitting(
    fitting(async plan => {
      plans.push(plan);
      if (plan.slots > 1) throw new Short('Failed to create context');
      return String(plan.slots);
    }, told),
  );
  assert.is(slots, '1');
  assert.equal(
    plans.map(plan => plan.slots),
    [4, 2, 1],
  );
  assert.match(
    told[1] ?? '',
    /^memory ran out, trying less: .*2 slots of 8192 tokens.*; .*4 slots.* would need 8\.0 of 6\.8 GB/,
  );
});

test('the tries end, with the numbers and the reason (D1)', async () => {
  let tries = 0;
  const error = await failure(
    loadFitting(
      fitting(
        async () => {
          tries += 1;
          throw new Short('Failed to create context');
        },
        [],
        { needOf: async ({ contextSize, slots }) => ({ ram: (slots * contextSize * GiB) / 8192, vram: 0 }) },
      ),
    ),
  );
  assert.is(tries, 4);
  assert.match(error.message, /memory ran out 4 times, at last with .*1 slot.*: Failed to create context/);
});

test('another failure is not tried again (D2)', async () => {
  let tries = 0;
  const broken = loadFitting(
    fitting(async () => {
      tries += 1;
      throw new Error('unknown model architecture');
    }, []),
  );
  try {
    await broken;
    assert.unreachable();
  } catch (error) {
    assert.match(error instanceof Error ? error.message : '', 'unknown model architecture');
  }
  assert.is(tries, 1);
});

test('when nothing fits, the error has the numbers and what can be done', async () => {
  const options = fitting(async () => 'loaded', [], { budget: { ram: 4 * GiB, vram: GiB, unified: 0 }, gpu: 'cuda' });
  const error = await failure(loadFitting(options));
  assert.is(error.code, 'model_load_failed');
  assert.match(
    error.message,
    /1 slot of 2048 tokens, cache f16 needs 0\.00 of 1\.0 GB free GPU memory, 4\.3 of 4\.0 GB free main memory/,
  );
  assert.match(error.message, 'AUXOT_MEMORY_CHECK=off');
});

async function failure(outcome: Promise<unknown>): Promise<EngineError> {
  try {
    await outcome;
  } catch (error) {
    if (error instanceof EngineError) return error;
    throw error;
  }
  throw new Error('it was loaded');
}

test.run();
