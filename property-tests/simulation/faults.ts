/** Carries one planned fault out, on whoever lives. Counted only when it hit. */
import type { CallerNode } from './caller-node.ts';
import type { Cluster } from './cluster.ts';
import type { PlannedFault } from './plan.ts';
import { EmbeddedStore, StoreServer } from './store.ts';
import { injectTool } from './tools-faults.ts';

const at = <T>(list: readonly T[], pick: number): T | undefined => list[Math.floor(pick * list.length)];

/** Deaths of one shard in a minute at which we stop: the router rightly gives up at nine. */
const shardDeathsMax = 6;
/** A clock that was set wrong and is set right. */
const jumpsMs = [-3_600_000, -5_000, -200, 300, 7_000, 3_600_000];

export function inject(cluster: Cluster, { kind, pick }: PlannedFault): void {
  const { clock, network, tally, timeline, store } = cluster;
  if (injectTool(cluster, { at: 0, kind, pick })) return;
  const [who, how, more] = pick;
  const hit = (what: string): void => {
    tally.fault(kind as Parameters<typeof tally.fault>[0], clock.now);
    timeline?.fault(kind, what);
  };
  const slowed = (what: string): void => {
    tally.delay(kind as Parameters<typeof tally.delay>[0]);
    timeline?.fault(kind, what);
  };
  const wire = at([...network.wires], who);
  const worker = at(
    cluster.workers.filter(({ node }) => !node.dead),
    who,
  );
  const router = at(cluster.liveRouters(), who);
  const waiting = (wanted: (caller: CallerNode) => boolean): CallerNode | undefined =>
    at(
      cluster.callers.slice(-60).filter(caller => caller.waits && caller.live && wanted(caller)),
      who,
    );
  switch (kind) {
    case 'connection cut':
      if (wire?.cut() === true) hit(wire.name);
      return;
    case 'connection half-open':
      if (wire?.darken(how < 0.5 ? ['up', 'down'] : how < 0.75 ? ['up'] : ['down']) === true) hit(wire.name);
      return;
    case 'network partition':
      if (worker !== undefined && router !== undefined && network.partition(worker.node, router.node, 500 + how * 8000))
        hit(`${worker.name} and ${router.name} for ${(0.5 + how * 8).toFixed(1)} s`);
      return;
    case 'frame lost':
    case 'frame doubled':
    case 'frame garbled':
      wire?.arm(kind);
      return;
    case 'store reply lost':
    case 'store command lost':
    case 'store command doubled':
      if (store instanceof StoreServer) at([...store.links], who)?.arm(kind);
      return;
    case 'store down':
      if (!(store instanceof StoreServer) || store.isDown) return;
      store.downUntil = clock.now + 50 + how * how * 6000;
      return hit(`for ${((store.downUntil - clock.now) / 1000).toFixed(2)} s`);
    case 'store restarted':
      if (store instanceof StoreServer && store.restart(20 + how * 1500)) hit('');
      return;
    case 'disk write failed':
    case 'disk write cut short':
      if (store instanceof EmbeddedStore) store.disk.arm(kind);
      return;
    case 'shard killed': {
      const shards = router?.life?.shards;
      if (router === undefined || shards === undefined || router.node.frozen) return;
      const index = Math.floor(how * shards.count);
      if (shards.recentDeaths(index) < shardDeathsMax && shards.kill(index)) hit(`${router.node.name} shard ${index}`);
      return;
    }
    case 'router killed':
      if (router === undefined || !cluster.killRouter(router, how < 0.2)) return;
      hit(router.node.name);
      clock.after(100 + more * 4000, null, () => router.start());
      return;
    case 'router frozen': {
      const node = router?.node;
      if (node?.freeze() !== true) return;
      hit(`${node.name} for ${(0.1 + how * how * 6).toFixed(2)} s`);
      clock.after(100 + how * how * 6000, null, () => node.thaw());
      return;
    }
    case 'router drained':
      if (router === undefined || router.node.frozen) return;
      hit(router.node.name);
      return cluster.drainRouter(router, how * 6000, 100 + more * 2000);
    case 'clock jumped': {
      if (router === undefined) return;
      const jumpMs = at(jumpsMs, how) ?? 0;
      router.skewMs += jumpMs;
      router.node.skewMs += jumpMs;
      return hit(`${router.node.name} by ${jumpMs} ms`);
    }
    case 'worker killed':
      if (worker === undefined || !cluster.killWorker(worker, how < 0.3)) return;
      hit(worker.node.name);
      clock.after(100 + more * 5000, null, () => worker.start());
      return;
    case 'worker stopped': {
      // One with something to hand over, if there is one, and in no hurry to be done with it.
      const busy = cluster.workers.filter(({ node, engine }) => !node.dead && (engine?.active ?? 0) > 0);
      const leaver = at(busy, who) ?? worker;
      if (leaver === undefined || leaver.node.frozen) return;
      const { node } = leaver;
      const over = (): void => {
        if (leaver.node !== node || !cluster.killWorker(leaver, false)) return;
        leaver.pace.tokenMs = leaver.usualTokenMs;
        clock.after(100 + more * 2000, null, () => leaver.start());
      };
      if (!leaver.stop(over)) return;
      leaver.pace.tokenMs = leaver.usualTokenMs * (1 + how * 30);
      // Whoever runs it kills it when it takes too long.
      clock.after(15_000, null, over);
      return hit(node.name);
    }
    case 'worker frozen': {
      const node = worker?.node;
      if (node?.freeze() !== true) return;
      hit(`${node.name} for ${(0.1 + how * how * 12).toFixed(2)} s`);
      clock.after(100 + how * how * 12_000, null, () => node.thaw());
      return;
    }
    case 'engine failed':
      if (worker?.engine === null || worker === undefined || worker.engine.active === 0) return;
      worker.pace.failWith = how < 0.5 ? 'internal_error' : 'engine_crashed';
      return hit(worker.node.name);
    case 'engine crashed':
      if (worker?.parts.version === 2 && worker.engine?.crash() === true) hit(worker.node.name);
      return;
    case 'caller left': {
      const caller = waiting(() => true);
      if (caller?.leave() === true) hit(caller.name);
      return;
    }
    case 'caller cut off': {
      const caller = waiting(({ ask, jobId }) => (ask.streamed || ask.keyed) && jobId !== '');
      if (caller === undefined) return;
      const cut = (): void => {
        const { life, streamId } = caller;
        caller.lose();
        hit(caller.name);
        // Its end may learn of it long before the router does, or after.
        caller.cutHeardAt = clock.now + how * 1500;
        if (life !== null) clock.after(how * 1500, life.node, () => life.front.callerClosed(streamId));
        clock.after(more * 1500, null, () => cluster.resume(caller));
      };
      // Between two frames, or anywhere within what comes next.
      if (how < 0.3 || !caller.ask.streamed) cut();
      else caller.cutWithin(more, cut);
      return;
    }
    case 'caller stopped reading': {
      const caller = waiting(({ ask, slow }) => ask.streamed && !slow);
      if (caller === undefined) return;
      caller.slow = true;
      hit(caller.name);
      for (let n = 1; n <= 3; n += 1) clock.after(n * (50 + how * 1500), null, () => caller.drain(n < 3 && more < 0.5));
      return;
    }
    case 'request malformed':
      cluster.malformed += 1;
      return;
    case 'link slow':
      if (wire === undefined) return;
      wire.slow = 2 + how * 60;
      slowed(wire.name);
      clock.after(200 + more * 3000, null, () => {
        wire.slow = 1;
      });
      return;
    case 'store slow': {
      const link = store instanceof StoreServer ? at([...store.links], who) : undefined;
      if (link === undefined) return;
      link.slow = 10 + how * 200;
      slowed(link.client.name);
      clock.after(200 + more * 3000, null, () => {
        link.slow = 1;
      });
      return;
    }
    case 'disk slow': {
      if (!(store instanceof EmbeddedStore)) return;
      const { disk } = store;
      disk.writeMs = 10 + how * 600;
      slowed('');
      clock.after(200 + more * 3000, null, () => {
        disk.writeMs = 1;
      });
      return;
    }
    case 'shard slow': {
      const shards = router?.life?.shards;
      if (shards === undefined) return;
      shards.slowUntil = clock.now + 200 + how * 2000;
      return slowed(router?.node.name ?? '');
    }
    case 'worker slow': {
      if (worker === undefined) return;
      worker.pace.tokenMs = worker.usualTokenMs * (2 + how * 20);
      slowed(worker.name);
      clock.after(500 + more * 4000, null, () => {
        worker.pace.tokenMs = worker.usualTokenMs;
      });
      return;
    }
    case 'append file cut':
    case 'frame delayed':
      return; // they come with others, not by themselves
  }
}
