/** Jobs on their way from one router to another, under a stepped clock: whatever is lost, somebody writes them (H1–H3). */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type HandoverEvents, type HandoverLetter, Handovers } from '../actors/router/handovers.ts';
import type { ClusterPort } from '../actors/router/ports.ts';
import { SteppedClock } from './world.ts';

const claim = { workerId: 'w', workerInstance: 'i', protocol: 2, attempt: 1, seq: 3 };

/** Two routers and what is between them: who writes the job `j` and in which epoch, and a post that can lose letters. */
function openPair() {
  const clock = new SteppedClock();
  const state = { owner: 'a', epoch: 1, lost: (_letter: object): boolean => false, storeIsDown: false };
  const routers = new Map<string, Handovers>();
  const told: [boot: string, letter: object][] = [];
  const asStore = <T>(value: () => T): Promise<T> =>
    state.storeIsDown ? Promise.reject(new Error('the store is down')) : Promise.resolve().then(value);

  const open = (boot: string): Handovers => {
    const port = {
      ownerOf: () => asStore(() => state.owner),
      boots: () => asStore(() => new Map([...routers.keys()].map(each => [each, 1500] as const))),
      tops: () => asStore(() => [{ epoch: state.epoch, sequence: 1, index: 0 }]),
      tell: (to: string, letter: HandoverLetter) =>
        asStore(() => {
          told.push([to, letter]);
          if (!state.lost(letter)) routers.get(to)?.read(letter);
        }),
    };
    const events: HandoverEvents = {
      isOurs: () => state.owner === boot,
      ask: (jobId, from) => handovers.answered({ jobId, boot: from, granted: true }),
      async letGo() {
        if (state.owner !== boot) return null;
        state.owner = 'nobody';
        return state.epoch;
      },
      async take(_, epoch) {
        // The log lets only one of several open the next epoch.
        if (state.epoch === epoch) Object.assign(state, { owner: boot, epoch: epoch + 1 });
        return state.owner === boot;
      },
      claimed: () => undefined,
      inherit: async () => false,
    };
    // These are all that a handover asks of a cluster.
    const handovers: Handovers = new Handovers(boot, port as unknown as ClusterPort, clock, events);
    routers.set(boot, handovers);
    return handovers;
  };
  open('a');
  return { clock, state, told, b: open('b') };
}

test('H2: a job that is asked for is let go, and the asker writes it', async () => {
  const { clock, state, b } = openPair();
  const fetched = b.fetch('j', claim);
  await clock.pass(100);
  await fetched;
  assert.equal([state.owner, state.epoch], ['b', 2]);
  await clock.pass(10_000);
  assert.equal([state.owner, state.epoch], ['b', 2], 'its former writer leaves it alone');
});

test('H2: a job whose release was never heard of is taken back', async () => {
  const { clock, state, b } = openPair();
  state.lost = letter => 'kind' in letter && letter.kind === 'released';
  const fetched = b.fetch('j', claim);
  await clock.pass(3000);
  await fetched;
  assert.is(state.owner, 'nobody');
  await clock.pass(3000);
  assert.equal([state.owner, state.epoch], ['a', 2]);
});

test('H2: it is taken back also when the store was away meanwhile', async () => {
  const { clock, state, b } = openPair();
  state.lost = letter => 'kind' in letter && letter.kind === 'released';
  void b.fetch('j', claim);
  await clock.pass(1000);
  state.storeIsDown = true;
  await clock.pass(20_000);
  assert.is(state.owner, 'nobody');
  state.storeIsDown = false;
  await clock.pass(5500);
  assert.is(state.owner, 'a');
});

test('H2: an answer that comes when nobody waits any more gives the job all the same', async () => {
  const { clock, state, b } = openPair();
  b.read({ kind: 'released', jobId: 'j', epoch: 1 });
  await clock.settle();
  assert.equal([state.owner, state.epoch], ['b', 2]);
});

test('H3: a writer that does not answer is asked again, for a bounded time', async () => {
  const { clock, state, told, b } = openPair();
  state.lost = letter => 'kind' in letter && letter.kind === 'asked';
  let over = false;
  void b.fetch('j', claim).then(() => {
    over = true;
  });
  await clock.pass(2700);
  assert.is(over, false);
  assert.ok(told.filter(([to]) => to === 'a').length >= 4, `asked ${told.length} times`);
  await clock.pass(1000);
  assert.is(over, true);
  assert.is(state.owner, 'a');
});

test.run();
