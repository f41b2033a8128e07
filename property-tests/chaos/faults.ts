/**
 * What is done to the programs and the network between them, by chance from a seed. At most one thing happens to a
 * program at a time, and to one router at a time: with both of them gone nobody could answer.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { RedisServer } from '../redis-server.ts';
import type { Random } from '../simulation/random.ts';
import type { Link } from './link.ts';
import type { ChaosRouter, ChaosWorker } from './programs.ts';

export interface Targets {
  readonly routers: readonly ChaosRouter[];
  readonly workers: readonly ChaosWorker[];
  /** Between callers and routers. */
  readonly callers: Link;
  readonly redis: RedisServer | null;
}

export interface Done {
  readonly kind: string;
  readonly target: string;
  /** Epoch ms. */
  readonly at: number;
}

interface Fault {
  readonly kind: string;
  readonly weight: number;
  /** Null: there is nothing to do it to now. */
  begin(targets: Targets, random: Random): { readonly target: string; readonly over: Promise<void> } | null;
}

/** A stop takes up to 15 s. */
const stopMsMax = 16_000;

function toRouter(kind: string, weight: number, what: (router: ChaosRouter, random: Random) => Promise<void>): Fault {
  return {
    kind: `router ${kind}`,
    weight,
    begin({ routers }, random) {
      const router = random.pick(routers);
      if (router === undefined || routers.some(({ busy }) => busy)) return null;
      return { target: router.name, over: busyWith(router, what(router, random)) };
    },
  };
}

function toWorker(kind: string, weight: number, what: (worker: ChaosWorker, random: Random) => Promise<void>): Fault {
  return {
    kind: `worker ${kind}`,
    weight,
    begin({ workers }, random) {
      const free = workers.filter(({ busy }) => !busy);
      const worker = random.pick(free);
      // Half of them are left alone, so that there is somebody to go on.
      if (worker === undefined || free.length <= workers.length / 2) return null;
      return { target: worker.name, over: busyWith(worker, what(worker, random)) };
    },
  };
}

/** To a link that is a router's to its store, a worker's to a router, or the callers'. */
function toLinks(
  kind: string,
  weight: number,
  linksOf: (targets: Targets, random: Random) => { readonly name: string; readonly links: readonly Link[] } | null,
  what: (link: Link, random: Random) => Promise<void>,
): Fault {
  return {
    kind,
    weight,
    begin(targets, random) {
      const found = linksOf(targets, random);
      if (found === null || found.links.length === 0) return null;
      return {
        target: found.name,
        over: Promise.all(found.links.map(link => what(link, random))).then(() => undefined),
      };
    },
  };
}

async function busyWith(target: { busy: boolean }, over: Promise<void>): Promise<void> {
  target.busy = true;
  await over.finally(() => {
    target.busy = false;
  });
}

const ofWorker = ({ workers }: Targets, random: Random) => {
  const worker = random.pick(workers);
  return worker === undefined ? null : { name: worker.name, links: worker.links };
};
const ofStore = ({ routers }: Targets, random: Random) => {
  const router = random.pick(routers);
  return router?.store == null ? null : { name: router.name, links: [router.store] };
};
const ofCallers = ({ callers }: Targets) => ({ name: 'callers', links: [callers] });

const cut = async (link: Link): Promise<void> => link.cut();
const hang = async (link: Link): Promise<void> => link.hang();
const slow =
  (msMax: number) =>
  async (link: Link, random: Random): Promise<void> => {
    link.delay(random.between(5, msMax));
    await sleep(random.between(500, 3000));
    link.delay(0);
  };
/** Nothing passes, and nothing new gets through, for a while. */
const pull = async (link: Link, random: Random): Promise<void> => {
  link.refuse(true);
  link.hang();
  await sleep(random.between(300, 3000));
  link.refuse(false);
};

const faults: readonly Fault[] = [
  toRouter('killed', 3, async (router, random) => {
    await router.kill();
    await sleep(random.between(0, 1500));
    await router.start();
  }),
  toRouter('stopped and continued', 2, async (router, random) => {
    router.freeze();
    await sleep(random.between(200, 4000));
    router.thaw();
  }),
  toRouter('drained by SIGTERM', 1, async router => {
    await router.end(stopMsMax);
    await router.start();
  }),
  toWorker('killed', 5, async (worker, random) => {
    await worker.kill();
    await sleep(random.between(0, 1500));
    await worker.start();
    await worker.untilConnected();
  }),
  toWorker('stopped and continued', 4, async (worker, random) => {
    worker.freeze();
    await sleep(random.between(200, 5000));
    worker.thaw();
  }),
  toWorker('drained by SIGTERM', 2, async worker => {
    await worker.end(stopMsMax);
    await worker.start();
    await worker.untilConnected();
  }),
  toLinks('worker cut off', 6, ofWorker, cut),
  toLinks('worker half-open', 3, ofWorker, hang),
  toLinks('worker slow', 3, ofWorker, slow(300)),
  toLinks('worker’s cable pulled', 2, ofWorker, pull),
  toLinks('store cut off', 2, ofStore, cut),
  toLinks('store half-open', 1, ofStore, hang),
  toLinks('store slow', 2, ofStore, slow(60)),
  toLinks('store’s cable pulled', 1, ofStore, pull),
  toLinks('callers cut off', 3, ofCallers, cut),
  toLinks('callers half-open', 1, ofCallers, hang),
  toLinks('callers slow', 1, ofCallers, slow(300)),
  {
    kind: 'redis killed',
    weight: 1,
    begin({ redis }, random) {
      return redis === null ? null : { target: 'redis', over: redis.restart(random.between(0, 800)) };
    },
  },
];

/** Of an embedded store, its router is what is killed, every few seconds. */
const weightOf = ({ kind, weight }: Fault, embedded: boolean): number =>
  embedded && kind === 'router killed' ? weight * 6 : weight;

/** Breaks things until `until` fires, `perSecond` of them, and resolves when everything is whole again. */
export async function breakThings(
  targets: Targets,
  random: Random,
  perSecond: number,
  until: AbortSignal,
  tell: (done: Done) => void,
): Promise<void> {
  const embedded = targets.redis === null;
  const bag = faults.flatMap(fault => Array.from({ length: weightOf(fault, embedded) }, () => fault));
  const open = new Set<Promise<void>>();
  let redisBusy = false;
  while (!until.aborted) {
    await sleep((random.between(0.3, 1.7) * 1000) / perSecond, null, { signal: until }).catch(() => undefined);
    const fault = random.pick(bag);
    if (until.aborted || fault === undefined || (fault.kind === 'redis killed' && redisBusy)) continue;
    const begun = fault.begin(targets, random);
    if (begun === null) continue;
    tell({ kind: fault.kind, target: begun.target, at: Date.now() });
    if (begun.target === 'redis') redisBusy = true;
    const over = begun.over.finally(() => {
      if (begun.target === 'redis') redisBusy = false;
      open.delete(over);
    });
    over.catch(() => undefined); // whoever waits for all of them below is told
    open.add(over);
  }
  await Promise.all(open);
}
