import * as fc from 'fast-check';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { assign, initialTransition, setup, transition } from 'xstate';
import { pure } from './pure.ts';

const machine = setup({
  types: {} as {
    context: { n: number };
    events: { type: 'up'; by: number } | { type: 'down' } | { type: 'end' };
    input: { n: number } | undefined;
  },
  actions: {
    tell: (_, _params: { n: number }) => undefined,
    grow: assign({ n: ({ context }) => context.n + 1 }),
    plain: () => undefined,
  },
  guards: { large: ({ context }) => context.n > 3 },
}).createMachine({
  id: 'sample',
  context: ({ input }) => ({ n: input?.n ?? 0 }),
  initial: 'low',
  states: {
    low: {
      entry: ['plain', 'grow'],
      on: {
        up: [
          { guard: 'large', target: 'high' },
          { actions: assign({ n: ({ context, event }) => context.n + event.by }) },
        ],
      },
    },
    high: {
      entry: { type: 'tell', params: ({ context }) => ({ n: context.n }) },
      exit: 'grow',
      on: { down: { target: 'low', actions: { type: 'tell', params: { n: -1 } } }, end: 'over' },
    },
    over: { type: 'final', entry: 'plain' },
  },
});

const named = (actions: readonly { type: string; params?: unknown }[]) =>
  actions.filter(({ type }) => type === 'tell' || type === 'plain').map(({ type, params }) => ({ type, params }));

test('steps are those of XState itself: same value, context, status, and the same named actions', () => {
  const steps = pure(machine);
  const event = fc.oneof(
    fc.record({ type: fc.constant('up' as const), by: fc.integer({ min: 0, max: 3 }) }),
    fc.constant({ type: 'down' as const }),
    fc.constant({ type: 'end' as const }),
  );
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 5 }), fc.array(event), (n, events) => {
      let [ours, asked] = steps.initial({ n });
      let [theirs, told] = initialTransition(machine, { n });
      for (const next of [null, ...events]) {
        if (next !== null) {
          [ours, asked] = steps.next(ours, next);
          [theirs, told] = transition(machine, theirs, next);
        }
        assert.equal([ours.value, ours.context, ours.status], [theirs.value, theirs.context, theirs.status]);
        assert.equal(asked, named(told));
      }
    }),
  );
});

test('a snapshot that was stepped from stays as it was', () => {
  const steps = pure(machine);
  const [start] = steps.initial({ n: 9 });
  const before = JSON.stringify([start.value, start.context]);
  steps.next(start, { type: 'up', by: 1 });
  assert.is(JSON.stringify([start.value, start.context]), before);
});

test('a throw inside a step leaves nothing behind for the next one', () => {
  const failing = setup({ types: {} as { events: { type: 'go' } }, actions: { tell: () => undefined } }).createMachine({
    initial: 'a',
    context: {},
    states: {
      a: {
        on: {
          go: [
            {
              guard: () => {
                throw new Error('bug');
              },
              target: 'a',
            },
          ],
        },
      },
    },
  });
  const steps = pure(failing);
  const [state] = steps.initial(undefined as never);
  try {
    steps.next(state, { type: 'go' });
    assert.unreachable();
  } catch (error) {
    assert.match(String(error), /bug/);
  }
  assert.equal(steps.initial(undefined as never)[1], []);
});

test.run();
