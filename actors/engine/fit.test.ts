/** The search against a model of memory that is simple enough to try every plan. */
import fc from 'fast-check';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type Budget, type Bytes, cacheTypes, type Fit, fit, fitsInto, type Plan, stepDown, type Wish } from './fit.ts';

const { FC_RUNS, FC_SEED } = process.env;
const runs = { numRuns: Number(FC_RUNS ?? 300), ...(FC_SEED === undefined ? {} : { seed: Number(FC_SEED) }) };

interface Model {
  readonly layers: number;
  readonly layerBytes: number;
  readonly restBytes: number;
  /** Of one layer and token, of f16. */
  readonly tokenBytes: number;
  readonly bufferBytes: number;
}

const share = { f16: 16, q8_0: 8.5, q4_0: 4.5 } as const;

function needOf(model: Model, { contextSize, slots, gpuLayers, cacheType }: Plan): Bytes {
  const layer = model.layerBytes + (model.tokenBytes * contextSize * slots * share[cacheType]) / 16;
  const vram = gpuLayers * layer + (gpuLayers > 0 ? model.bufferBytes : 0);
  return { vram, ram: (model.layers - gpuLayers) * layer + model.restBytes + model.bufferBytes };
}

function searched(model: Model, wish: Wish, budget: Budget): { readonly found: Fit; readonly questions: number } {
  const search = fit(wish, budget);
  let questions = 0;
  for (let step = search.next(); ; ) {
    if (step.done === true) return { found: step.value, questions };
    questions += 1;
    step = search.next(needOf(model, step.value));
  }
}

const anyModel: fc.Arbitrary<Model> = fc.record({
  layers: fc.integer({ min: 1, max: 80 }),
  layerBytes: fc.integer({ min: 1, max: 1000 }),
  restBytes: fc.integer({ min: 0, max: 2000 }),
  tokenBytes: fc.double({ min: 0, max: 0.05, noNaN: true }),
  bufferBytes: fc.integer({ min: 0, max: 500 }),
});

const anyBudget: fc.Arbitrary<Budget> = fc.record({
  ram: fc.integer({ min: 0, max: 200_000 }),
  vram: fc.integer({ min: 0, max: 200_000 }),
  unified: fc.constantFrom(0, 100_000),
});

const anyCase = anyModel.chain(model =>
  fc.record({
    model: fc.constant(model),
    budget: anyBudget,
    wish: fc
      .record({
        contextSize: fc.integer({ min: 1, max: 16_384 }),
        least: fc.integer({ min: 1, max: 4096 }),
        slots: fc.integer({ min: 1, max: 20 }),
        gpu: fc.oneof(
          fc.constant({ min: 0, max: model.layers }),
          fc.constant({ min: 0, max: 0 }),
          fc.integer({ min: 0, max: model.layers }).map(n => ({ min: n, max: n })),
        ),
        types: fc.subarray([...cacheTypes], { minLength: 1 }),
      })
      .map(
        ({ contextSize, least, slots, gpu, types }): Wish => ({
          contextSize,
          contextSizeMin: Math.min(contextSize, least),
          slots,
          gpuLayers: gpu,
          cacheTypes: types,
        }),
      ),
  }),
);

test('what is chosen fits, and is nowhere more than was wished for nor less than its least (F1, F2)', () => {
  fc.assert(
    fc.property(anyCase, ({ model, wish, budget }) => {
      const { found, questions } = searched(model, wish, budget);
      assert.ok(questions < 120, `${questions} questions`);
      const { plan, need } = found.ok ? found : found.refused;
      assert.equal(need, needOf(model, plan));
      assert.is(fitsInto(need, budget), found.ok);
      assert.ok(plan.slots >= 1 && plan.slots <= wish.slots);
      assert.ok(plan.contextSize >= wish.contextSizeMin && plan.contextSize <= wish.contextSize);
      assert.ok(plan.gpuLayers >= wish.gpuLayers.min && plan.gpuLayers <= wish.gpuLayers.max);
      assert.ok(wish.cacheTypes.includes(plan.cacheType));
    }),
    runs,
  );
});

test('a wish is refused only if its least does not fit with any number of layers', () => {
  fc.assert(
    fc.property(anyCase, ({ model, wish, budget }) => {
      const { found } = searched(model, wish, budget);
      const least = { contextSize: wish.contextSizeMin, slots: 1, cacheType: wish.cacheTypes.at(-1) ?? 'f16' };
      const { min, max } = wish.gpuLayers;
      const layers = Array.from({ length: max - min + 1 }, (_, n) => min + n);
      const couldBe = layers.some(gpuLayers => fitsInto(needOf(model, { ...least, gpuLayers }), budget));
      assert.is(found.ok, couldBe);
    }),
    {
      ...runs,
      // Both memories are short: few layers do not fit beside the GPU, and many not onto it.
      examples: [
        [
          {
            model: { layers: 28, layerBytes: 325, restBytes: 287, tokenBytes: 0, bufferBytes: 372 },
            budget: { ram: 1634, vram: 8497, unified: 0 },
            wish: {
              contextSize: 1,
              contextSizeMin: 1,
              slots: 1,
              gpuLayers: { min: 0, max: 28 },
              cacheTypes: ['q8_0'],
            },
          },
        ],
      ],
    },
  );
});

test('slots are given up before the length of the context, and that before layers (F3, G6)', () => {
  fc.assert(
    fc.property(anyCase, ({ model, wish, budget }) => {
      const { found } = searched(model, wish, budget);
      if (!found.ok) return;
      const { plan } = found;
      const { gpuLayers, slots, contextSize } = plan;
      const fits = (change: Partial<Plan>): boolean => fitsInto(needOf(model, { ...plan, ...change }), budget);
      if (contextSize < wish.contextSize && (gpuLayers === wish.gpuLayers.max || gpuLayers === 0)) {
        assert.is(slots, 1);
        assert.not.ok(fits({ contextSize: wish.contextSize }), 'the whole context would fit');
        assert.not.ok(fits({ contextSize: Math.min(wish.contextSize, contextSize + 512) }), 'a longer one would fit');
      }
      if (slots < wish.slots && contextSize === wish.contextSize) assert.not.ok(fits({ slots: slots + 1 }));
      if (gpuLayers < wish.gpuLayers.max) {
        const least = { contextSize: wish.contextSizeMin, slots: 1, cacheType: wish.cacheTypes.at(-1) ?? 'f16' };
        assert.not.ok(fits({ ...least, gpuLayers: wish.gpuLayers.max }), 'all layers would fit');
      }
    }),
    runs,
  );
});

test('with more memory the choice is never a worse one (F3)', () => {
  fc.assert(
    fc.property(anyCase, anyBudget, ({ model, wish, budget }, more) => {
      const greater = { ...budget, ram: budget.ram + more.ram, vram: budget.vram + more.vram };
      const [a, b] = [searched(model, wish, budget).found, searched(model, wish, greater).found];
      if (!a.ok) return;
      // More of a GPU whose memory is the machine's own takes from it: then nothing is promised.
      if (budget.unified > 0 && more.vram > 0) return;
      assert.ok(b.ok);
      assert.ok(rank(wish, b.plan) <= rank(wish, a.plan), JSON.stringify([a.plan, b.plan]));
    }),
    runs,
  );
});

/** Lower is preferred. */
function rank({ contextSize, slots, cacheTypes: types }: Wish, plan: Plan): number {
  const type = types.indexOf(plan.cacheType);
  const isWhole = plan.contextSize === contextSize;
  const place = isWhole
    ? type * (slots + 1) + slots - plan.slots
    : 100 + type * 100 + 1 - plan.contextSize / contextSize;
  return -plan.gpuLayers * 10_000 + place;
}

test('each step down gives a smaller plan, and few of them reach the end', () => {
  fc.assert(
    fc.property(anyCase, ({ model, wish, budget }) => {
      let left = budget;
      let { found } = searched(model, wish, budget);
      for (let steps = 0; found.ok; steps += 1) {
        assert.ok(steps < 100);
        const before: Bytes = found.need;
        left = stepDown(left, before);
        found = searched(model, wish, left).found;
        if (found.ok)
          assert.ok(found.need.vram < before.vram || found.need.ram < before.ram || before.vram + before.ram === 0);
        if (before.vram + before.ram === 0) break;
      }
    }),
    runs,
  );
});

const GiB = 2 ** 30;
/** About Qwen3-8B in Q4_K_M: 36 layers, 144 KiB a token of cache. */
const eight: Model = {
  layers: 36,
  layerBytes: (4.6 * GiB) / 36,
  restBytes: 0.3 * GiB,
  tokenBytes: 4096,
  bufferBytes: 0.3 * GiB,
};
const wish8: Wish = {
  contextSize: 32_768,
  contextSizeMin: 4096,
  slots: 4,
  gpuLayers: { min: 0, max: 36 },
  cacheTypes: ['f16'],
};

const chosen = (vramGb: number, ramGb: number, more: Partial<Wish> = {}): Plan | null => {
  const { found } = searched(eight, { ...wish8, ...more }, { vram: vramGb * GiB, ram: ramGb * GiB, unified: 0 });
  return found.ok ? found.plan : null;
};

test('a card of 24, 12, 8 and 4 GB, and none', () => {
  assert.equal(chosen(24, 32), { contextSize: 32_768, slots: 4, gpuLayers: 36, cacheType: 'f16' });
  assert.equal(chosen(12, 32), { contextSize: 32_768, slots: 1, gpuLayers: 36, cacheType: 'f16' });
  assert.equal(chosen(8, 32), { contextSize: 22_528, slots: 1, gpuLayers: 36, cacheType: 'f16' });
  assert.equal(chosen(8, 32, { cacheTypes: ['f16', 'q8_0'] }), {
    contextSize: 32_768,
    slots: 1,
    gpuLayers: 36,
    cacheType: 'q8_0',
  });
  assert.equal(chosen(4, 32), { contextSize: 5120, slots: 1, gpuLayers: 25, cacheType: 'f16' });
  assert.equal(chosen(0, 32), { contextSize: 32_768, slots: 4, gpuLayers: 0, cacheType: 'f16' });
  assert.equal(chosen(0, 4), null);
});

test('memory that is the GPU’s and the machine’s is counted once as either and not twice as both', () => {
  const need = { vram: 10, ram: 5 };
  assert.ok(fitsInto(need, { vram: 10, ram: 5, unified: 0 }));
  assert.not.ok(fitsInto(need, { vram: 10, ram: 14, unified: 10 }));
  assert.ok(fitsInto(need, { vram: 10, ram: 15, unified: 10 }));
});

test.run();
