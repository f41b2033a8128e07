/**
 * A cluster under virtual time whose faults are made by hand, one after the other: for what was found once and is to be
 * told without a seed. The seed only sets latencies.
 */
import { JobLog } from '../../actors/log/job-log.ts';
import type { JobEvent } from '../../protocol/job-events.ts';
import type { CallerNode } from './caller-node.ts';
import { Cluster } from './cluster.ts';
import { installClock } from './globals.ts';
import type { PlannedAsk, Shape } from './plan.ts';

export class World {
  readonly cluster: Cluster;

  constructor(cluster: Cluster) {
    this.cluster = cluster;
  }

  pass(ms: number): Promise<void> {
    const { clock } = this.cluster;
    return clock.runUntil(clock.now + ms);
  }

  /** `router`: its number, from 0. */
  ask(router: number, ask: Partial<PlannedAsk> = {}): CallerNode {
    const { routers } = this.cluster;
    const caller = this.cluster.ask({
      at: 0,
      family: 0,
      streamed: true,
      prompt: 'by hand',
      tokensMax: Number.POSITIVE_INFINITY,
      keepMs: 0,
      keyed: false,
      pick: (router + 0.5) / routers.length,
      ...ask,
    });
    if (caller === null) throw new Error(`the router ${router} does not listen`);
    return caller;
  }

  /** What the job's log says. */
  async eventsOf(jobId: string): Promise<JobEvent[]> {
    const store = this.cluster.store.look();
    if (store === null) throw new Error('the store is not there');
    const [entries] = await Promise.all([new JobLog(store).read(jobId), this.pass(50)]);
    return entries.flatMap(({ events }) => [...events]);
  }
}

/** Plays `happen` in a cluster of this shape; what the cluster itself finds wrong fails it. */
export async function byHand(shape: Partial<Shape>, happen: (world: World) => Promise<void>): Promise<void> {
  const whole: Shape = {
    store: 'shared',
    routers: 1,
    shards: 1,
    workers: [],
    copies: false,
    maxQueue: 200,
    ...shape,
  };
  const plan = { seed: 1, mood: 'by hand', shape: whole, asks: [], faults: [], calmAt: 0 };
  const cluster = new Cluster(plan, false);
  const installed = installClock(cluster.clock);
  try {
    await cluster.start();
    const world = new World(cluster);
    // Until all have greeted, and a router counts others as gone when they are.
    await world.pass(4000);
    await happen(world);
    if (cluster.found !== null) throw cluster.found;
  } finally {
    installed.remove();
    cluster.store.close();
  }
}
