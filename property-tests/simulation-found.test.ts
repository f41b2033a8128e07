/**
 * What the simulation found once and no smaller test tells, played by hand in the same clusters (simulation/by-hand.ts).
 */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { byHand, type World } from './simulation/by-hand.ts';
import { StoreServer } from './simulation/store.ts';

const workers = (count: number) =>
  Array.from({ length: count }, () => ({ version: 2, slots: 2, modelFile: 'sha256:a' }) as const);

const slowly = ({ cluster }: World): void => {
  for (const { pace } of cluster.workers) pace.promptMs = 30_000;
};

/** Only the worker of this router is left. */
function keepOnly({ cluster }: World, kept: number): void {
  for (const [n, worker] of cluster.workers.entries()) if (n !== kept) cluster.killWorker(worker, false);
}

const endOf = async (world: World, jobId: string) => (await world.eventsOf(jobId)).at(-1);

test('a caller leaves while another router runs its job: the job ends', () =>
  byHand({ routers: 2, workers: workers(2) }, async world => {
    slowly(world);
    keepOnly(world, 1);
    await world.pass(500);
    const caller = world.ask(0);
    await world.pass(500);
    assert.is((await endOf(world, caller.jobId))?.type, 'job.assigned');
    caller.leave();
    await world.pass(1000);
    assert.is((await endOf(world, caller.jobId))?.type, 'job.cancelled');
  }));

test('a caller leaves a job that is kept for a while, and that a third router takes meanwhile: it ends in time', () =>
  byHand({ routers: 3, workers: workers(3) }, async world => {
    slowly(world);
    keepOnly(world, 1);
    await world.pass(500);
    const caller = world.ask(0, { keepMs: 3000 });
    await world.pass(500);
    caller.leave();
    await world.pass(500);
    const [, second, third] = world.cluster.workers;
    assert.ok(second !== undefined && third !== undefined);
    third.start();
    third.pace.promptMs = 30_000;
    await world.pass(1000);
    world.cluster.killWorker(second, false);
    await world.pass(1000);
    const events = await world.eventsOf(caller.jobId);
    assert.is(events.filter(({ type }) => type === 'job.adopted').length, 2);
    await world.pass(4000);
    assert.is((await endOf(world, caller.jobId))?.type, 'job.cancelled');
  }));

test('a log that is removed under a caller who read slowly ends its connection, and leaves nobody waiting', () =>
  byHand({ routers: 2, workers: workers(2) }, async world => {
    const { cluster } = world;
    slowly(world);
    keepOnly(world, 1);
    await world.pass(500);
    const caller = world.ask(0, { family: 2 });
    await world.pass(15_000);
    caller.slow = true;
    assert.ok(caller.heard.sequence !== null, 'it has the beginning of its answer');
    await world.pass(20_000);
    const store = cluster.store.look();
    await Promise.all([store?.del(`auxot:{${caller.jobId}}:log`), world.pass(50)]);
    caller.drain(false);
    await world.pass(15_000);
    assert.is(caller.ending, 'cut by the router');
    assert.is(cluster.routers[0]?.life?.front.load.callers, 0);
  }));

test('a router whose clock is an hour ahead takes no log away that others promise', () =>
  byHand({ routers: 2, workers: workers(2) }, async world => {
    const { cluster } = world;
    const caller = world.ask(0);
    await world.pass(3000);
    assert.ok(caller.satisfied);
    const ahead = cluster.routers[1];
    assert.ok(ahead !== undefined && cluster.store instanceof StoreServer);
    ahead.node.skewMs = 3_600_000;
    await world.pass(10_000);
    assert.is((await endOf(world, caller.jobId))?.type, 'job.completed');
  }));

test('a job goes over to a router whose clock is an hour behind: it still ends at its deadline', () =>
  byHand({ routers: 2, workers: workers(2) }, async world => {
    const { cluster } = world;
    for (const { pace } of cluster.workers) pace.promptMs = 100_000;
    const [first, behind] = cluster.routers;
    assert.ok(first !== undefined && behind !== undefined);
    cluster.killRouter(behind, false);
    behind.skewMs = -3_600_000;
    behind.start();
    await world.pass(5000);
    const caller = world.ask(0, { keepMs: 600_000 });
    await world.pass(1000);
    cluster.killRouter(first, false);
    await world.pass(60_000);
    const events = await world.eventsOf(caller.jobId);
    assert.ok(events.some(({ type }) => type === 'job.adopted'));
    assert.is(events.at(-1)?.type, 'job.expired');
  }));

test('a router whose store does not answer at its start takes its first lease when it does', () =>
  byHand({ routers: 2, workers: workers(2) }, async world => {
    const { cluster } = world;
    const { store } = cluster;
    const router = cluster.routers[1];
    assert.ok(router !== undefined && store instanceof StoreServer);
    cluster.killRouter(router, false);
    store.downUntil = cluster.clock.now + 7000;
    router.start();
    await world.pass(6000);
    assert.not(router.listening);
    await world.pass(6000);
    assert.ok(router.listening);
    const caller = world.ask(1);
    await world.pass(3000);
    assert.ok(caller.satisfied);
  }));

test('a store that restarts under several routers leaves nothing of one that is killed meanwhile to the others', () =>
  byHand({ routers: 3, workers: workers(3) }, async world => {
    const { cluster } = world;
    const { store } = cluster;
    assert.ok(store instanceof StoreServer);
    // Whether a connection breaks or is dialled again is chance.
    for (let n = 0; n < 4; n += 1) {
      for (const router of cluster.routers) {
        store.restart(20);
        await world.pass(50);
        cluster.killRouter(router, false);
        await world.pass(5000);
        router.start();
        await world.pass(5000);
      }
    }
    assert.equal(
      [...store.links].filter(({ client }) => client.dead).map(({ client }) => client.name),
      [],
    );
  }));

test('a clock that is set back an hour stops no timer: a job ends at its deadline', () =>
  byHand({ store: 'embedded', workers: workers(1) }, async world => {
    const { cluster } = world;
    slowly(world);
    for (const { pace } of cluster.workers) pace.promptMs = 100_000;
    const caller = world.ask(0);
    await world.pass(1000);
    const [router] = cluster.routers;
    assert.ok(router !== undefined);
    router.node.skewMs = -3_600_000;
    await world.pass(45_000);
    assert.is(caller.ending, 'answered');
    assert.is((await endOf(world, caller.jobId))?.type, 'job.expired');
  }));

test.run();
