/**
 * What will happen in one world, made from its seed alone: the cluster, what is asked of it, and what is broken when. A
 * plan is a list that can be shortened: that is how a finding becomes a short story.
 */
import { type Random, seededRandom } from './random.ts';
import type { DelayKind, FaultKind } from './tally.ts';
import { withTools } from './tools-plan.ts';

export interface Shape {
  /** `embedded`: one router with the store inside. `shared`: routers around a store server. */
  readonly store: 'embedded' | 'shared';
  readonly routers: number;
  readonly shards: number;
  readonly workers: readonly { readonly version: 1 | 2; readonly slots: number; readonly modelFile: string }[];
  readonly copies: boolean;
  readonly maxQueue: number;
  /** Tools workers; absent: none, and nobody's model calls tools of the router. */
  readonly tools?: number;
}

export interface PlannedAsk {
  readonly at: number;
  readonly family: number;
  readonly streamed: boolean;
  readonly prompt: string;
  readonly tokensMax: number;
  /** How long the job goes on when its caller has gone. */
  readonly keepMs: number;
  /** With an `Idempotency-Key`. */
  readonly keyed: boolean;
  readonly pick: number;
}

export interface PlannedFault {
  readonly at: number;
  readonly kind: FaultKind | DelayKind;
  /** Whom it hits and how hard: three numbers in [0, 1). */
  readonly pick: readonly [number, number, number];
}

export interface Plan {
  readonly seed: number;
  readonly mood: string;
  readonly shape: Shape;
  readonly asks: readonly PlannedAsk[];
  readonly faults: readonly PlannedFault[];
  /** When faults cease, ms from the start. */
  readonly calmAt: number;
}

type Weights = Partial<Record<FaultKind | DelayKind, number>>;

const frames: Weights = { 'frame lost': 14, 'frame doubled': 20, 'connection cut': 8, 'connection half-open': 1 };
const store: Weights = { 'store reply lost': 8, 'store command lost': 8, 'store command doubled': 20 };
const disk: Weights = { 'disk write failed': 3, 'disk write cut short': 12 };
const people: Weights = {
  'caller left': 4,
  'caller cut off': 5,
  'caller stopped reading': 10,
  'request malformed': 0.6,
};
const delays: Weights = { 'link slow': 1, 'store slow': 1, 'disk slow': 1, 'shard slow': 1, 'worker slow': 1 };
const rare: Weights = {
  'network partition': 0.5,
  'frame garbled': 3,
  'store down': 0.4,
  'store restarted': 0.3,
  'shard killed': 1.2,
  'router killed': 0.3,
  'router frozen': 0.3,
  'router drained': 0.3,
  'clock jumped': 0.1,
  'worker killed': 1,
  'worker frozen': 1,
  'engine failed': 1,
  'engine crashed': 1,
};

/** Worlds that do everything at the same rate seldom get deep into anything: each leans to some of it. */
const moods: readonly (readonly [name: string, share: number, weights: Weights])[] = [
  ['everything', 6, { ...frames, ...store, ...disk, ...people, ...delays, ...rare }],
  ['bad network', 4, { ...frames, ...delays, 'network partition': 1, 'frame garbled': 2 }],
  ['bad store', 4, { ...store, ...disk, 'store down': 0.3, 'store restarted': 0.3, 'store slow': 2, 'disk slow': 2 }],
  ['restless callers', 3, { ...people, ...delays, 'frame doubled': 4 }],
  ['dying workers', 3, { 'worker killed': 3, 'worker frozen': 3, 'engine crashed': 3, 'connection cut': 6, ...people }],
  ['dying shards', 3, { 'shard killed': 4, 'shard slow': 2, ...people, 'frame doubled': 8, ...store }],
  [
    'dying routers',
    3,
    { 'router killed': 1, 'router frozen': 1, 'router drained': 1, 'connection cut': 3, ...people, ...store, ...disk },
  ],
  ['only delays', 1, delays],
];

export interface PlanOptions {
  /** Of faults and of asks. */
  readonly rate: number;
}

const worldMs = 60_000;
/** The first so many families know tools; those behind them do not. */
const chatFamilies = 3;
const textFamily = 3;
const embeddingsFamily = 4;
/** In one world of seven there are tools workers. */
export const hasTools = (seed: number): boolean => seed % 7 === 4;

export function planOf(seed: number, { rate }: PlanOptions = { rate: 1 }): Plan {
  const random = seededRandom(seed);
  const [mood, weights] = moodOf(random);
  const shape = shapeOf(random);
  const asks: PlannedAsk[] = [];
  const askMs = random.between(400, 1400) / rate;
  for (let at = random.between(300, 1500); at < worldMs; at += askMs * 2 * random.next()) {
    const prompt = `p${seed}.${asks.length}${random.chance(0.2) ? ' #tools' : ''}`;
    asks.push({
      at,
      family: random.below(chatFamilies),
      streamed: random.chance(0.75),
      prompt,
      tokensMax: random.chance(0.15) ? 1 + random.below(8) : Number.POSITIVE_INFINITY,
      keepMs: random.chance(0.5) ? 0 : 3000,
      keyed: random.chance(0.3),
      pick: random.next(),
    });
  }
  const faults: PlannedFault[] = [];
  const kinds = Object.entries(weights).filter(([kind]) => fits(kind, shape)) as [PlannedFault['kind'], number][];
  const sum = kinds.reduce((all, [, weight]) => all + weight, 0);
  // Gentle kinds come thick, deadly ones seldom: in proportion to what all of them weigh together.
  const faultMs = 3000 / sum / rate;
  for (let at = random.between(500, 3000); at < worldMs; at += faultMs * 2 * random.next()) {
    const found = weighed(kinds, random);
    if (found !== undefined) faults.push({ at, kind: found, pick: [random.next(), random.next(), random.next()] });
  }
  const plan = { seed, mood, shape, asks, faults, calmAt: worldMs };
  return withStops(withEmbeddings(withCompletions(hasTools(seed) ? withTools(plan, rate) : plan)));
}

/** Some requests are completions of the older API. */
const withCompletions = (plan: Plan): Plan =>
  withSome(plan, 0xc0317, ask => ask.family === 0 && !ask.prompt.includes('#'), { family: textFamily });

/** Some ask for vectors, which old workers do not make. */
const withEmbeddings = (plan: Plan): Plan =>
  withSome(plan, 0xe3bed, ask => ask.family === textFamily && ask.tokensMax === Number.POSITIVE_INFINITY, {
    family: embeddingsFamily,
    streamed: false,
  });

/** Some workers are told to stop, where others are killed. */
function withStops(plan: Plan): Plan {
  const random = seededRandom(plan.seed ^ 0x570b5);
  const faults = plan.faults.map(fault =>
    fault.kind === 'worker killed' && random.chance(0.4) ? { ...fault, kind: 'worker stopped' as const } : fault,
  );
  return { ...plan, faults };
}

/** Some of those that fit become others, by chance of their own, so that the rest of the plan stays what it was. */
function withSome(plan: Plan, salt: number, fitting: (ask: PlannedAsk) => boolean, other: Partial<PlannedAsk>): Plan {
  const random = seededRandom(plan.seed ^ salt);
  const asks = plan.asks.map(ask => (fitting(ask) && random.chance(0.4) ? { ...ask, ...other } : ask));
  return { ...plan, asks };
}

const fits = (kind: string, { store: where }: Shape): boolean =>
  where === 'embedded' ? !kind.startsWith('store ') : !kind.startsWith('disk ');

const moodOf = (random: Random): readonly [string, Weights] =>
  weighed(
    moods.map(([name, share, weights]) => [[name, weights] as const, share] as const),
    random,
  ) ?? ['nothing', {}];

function weighed<T>(list: readonly (readonly [T, number])[], random: Random): T | undefined {
  let left = random.next() * list.reduce((all, [, weight]) => all + weight, 0);
  for (const [item, weight] of list) {
    left -= weight;
    if (left < 0) return item;
  }
  return list.at(-1)?.[0];
}

function shapeOf(random: Random): Shape {
  const shared = random.chance(0.5);
  const routers = shared ? 1 + random.below(3) : 1;
  const workers: Shape['workers'][number][] = [];
  const count = routers + 1 + random.below(3);
  for (let n = 0; n < count; n += 1) {
    // Every router has at least one of version 2: old ones cannot go on with what others began.
    const version = n >= routers && random.chance(0.25) ? 1 : 2;
    workers.push({ version, slots: 2, modelFile: random.chance(0.75) ? 'sha256:a' : 'sha256:b' });
  }
  return {
    store: shared ? 'shared' : 'embedded',
    routers,
    shards: 1 + random.below(2),
    workers,
    copies: random.chance(0.1),
    maxQueue: random.chance(0.2) ? 4 : 200,
  };
}
