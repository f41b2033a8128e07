/**
 * What may be done to a router (router.property.test.ts), and in which mood: a script that does everything at the same
 * rate seldom gets deep into anything, so each leans to some of it.
 */
import fc from 'fast-check';

export type Saying =
  | { readonly what: 'tokens'; readonly texts: readonly string[]; readonly reasoning: boolean; readonly odd: boolean }
  | { readonly what: 'complete'; readonly tail: string }
  | { readonly what: (typeof twists)[number] | (typeof failures)[number] };

export type Deed =
  | { readonly do: 'ask'; readonly streamed: boolean; readonly broken: boolean }
  | { readonly do: 'leave' | 'slow' | 'drain' | 'trickle'; readonly who: number }
  | { readonly do: 'join'; readonly protocol: number; readonly slots: number }
  | { readonly do: 'say'; readonly who: number; readonly run: number; readonly saying: Saying }
  | { readonly do: 'drop' | 'mute' | 'redial'; readonly who: number }
  /** A set of shards, as bits; the bit above them: of the router before the last. */
  | { readonly do: 'kill'; readonly shards: number }
  | { readonly do: 'store'; readonly down: boolean }
  /** Appends wait, and reads with them or not. */
  | { readonly do: 'gate'; readonly shut: boolean; readonly reads: boolean }
  | { readonly do: 'lose'; readonly replies: number }
  | { readonly do: 'pass'; readonly ms: number }
  | { readonly do: 'boot' | 'rest' };

/** What is done, and how much of what it causes happens before the next deed: so many rounds, or all of it. */
export interface Step {
  readonly deed: Deed;
  readonly rounds: number;
}
export const allRounds = 9;

/** Frames that must change nothing, or end the attempt: repeated, with one left out before it, of an attempt to come … */
const twists = ['repeat', 'skip', 'stale', 'foreign', 'unknown', 'progress', 'late'] as const;
const failures = ['error', 'stopped', 'overload', 'json', 'shape'] as const;

const who = fc.nat(7);
const text = fc.oneof(
  { weight: 9, arbitrary: fc.constantFrom('a', ' the', 'é', '漢字', '😀', '\n', '"', '\\', 'data: x\n\n', ' ') },
  { weight: 1, arbitrary: fc.constant('') },
);
const tokens = fc.record({
  what: fc.constant('tokens' as const),
  texts: fc.array(text, { minLength: 1, maxLength: 4 }),
  reasoning: fc.boolean(),
  odd: fc.boolean(),
});
const complete = fc.record({ what: fc.constant('complete' as const), tail: fc.constantFrom('', '', ' tail') });
const twist = fc.record({ what: fc.constantFrom(...twists, 'skip' as const) });
const failure = fc.record({ what: fc.constantFrom(...failures) });

const weighed = <T>(...pairs: readonly [number, fc.Arbitrary<T>][]): fc.Arbitrary<T> =>
  fc.oneof(...pairs.map(([weight, arbitrary]) => ({ weight, arbitrary })));
const says = (saying: fc.Arbitrary<Saying>): fc.Arbitrary<Deed> =>
  fc.record({ do: fc.constant('say' as const), who, run: fc.nat(5), saying });

const ask: fc.Arbitrary<Deed> = fc.record({
  do: fc.constant('ask' as const),
  streamed: fc.nat(3).map(n => n > 0),
  broken: fc.nat(19).map(n => n === 19),
});
const leave: fc.Arbitrary<Deed> = fc.record({ do: fc.constant('leave' as const), who });
const read: fc.Arbitrary<Deed> = fc.record({ do: fc.constantFrom('slow', 'drain', 'trickle'), who });
const join: fc.Arbitrary<Deed> = fc.record({
  do: fc.constant('join' as const),
  protocol: fc.constantFrom(1, 2),
  slots: fc.integer({ min: 1, max: 3 }),
});
const lose: fc.Arbitrary<Deed> = fc.record({ do: fc.constantFrom('drop', 'mute'), who });
const redial: fc.Arbitrary<Deed> = fc.record({ do: fc.constant('redial' as const), who });
const kill: fc.Arbitrary<Deed> = fc.record({
  do: fc.constant('kill' as const),
  shards: fc.integer({ min: 1, max: 7 }),
});
const store: fc.Arbitrary<Deed> = fc.record({ do: fc.constant('store' as const), down: fc.boolean() });
const gate: fc.Arbitrary<Deed> = fc.record({
  do: fc.constant('gate' as const),
  shut: fc.boolean(),
  reads: fc.boolean(),
});
const forget: fc.Arbitrary<Deed> = fc.record({
  do: fc.constant('lose' as const),
  replies: fc.integer({ min: 1, max: 3 }),
});
const wait = (...ms: readonly number[]): fc.Arbitrary<Deed> =>
  fc.record({ do: fc.constant('pass' as const), ms: fc.constantFrom(...ms) });
const boot: fc.Arbitrary<Deed> = fc.record({ do: fc.constant('boot' as const) });
const rest: fc.Arbitrary<Deed> = fc.record({ do: fc.constant('rest' as const) });

const rounds = fc.constantFrom(0, 0, 1, 2, 3, 5, allRounds, allRounds);
const stepsOf = (deed: fc.Arbitrary<Deed>, maxLength: number): fc.Arbitrary<Step[]> =>
  fc.array(fc.record({ deed, rounds }), { minLength: 1, maxLength, size: 'max' });

const anything = weighed<Deed>(
  [8, ask],
  [1, leave],
  [6, read],
  [4, join],
  [30, says(weighed<Saying>([12, tokens], [4, complete], [4, twist], [1, failure]))],
  [1, lose],
  [4, kill],
  [2, store],
  [4, gate],
  [1, forget],
  [4, wait(5, 30, 150, 1_500, 11_000, 21_000)],
  [1, boot],
  [1, redial],
  [3, rest],
);
/** Workers that come, go, and come back. */
const flapping = weighed<Deed>(
  [3, ask],
  [5, join],
  [6, lose],
  [8, redial],
  [24, says(weighed<Saying>([12, tokens], [3, complete], [2, twist]))],
  [2, kill],
  [2, gate],
  [2, wait(5, 150, 2_500, 6_000, 16_000)],
  [1, boot],
  [2, rest],
);
/** Long answers, and callers that cannot keep up with them. */
const slowReaders = weighed<Deed>(
  [1, ask],
  [12, read],
  [16, says(weighed<Saying>([30, tokens], [2, complete]))],
  [5, kill],
  [5, gate],
  [1, store],
  [2, wait(5, 30, 1_500)],
  [3, rest],
);
/** A store that comes and goes, and boots that take over from each other. */
const changes = weighed<Deed>(
  [5, ask],
  [2, leave],
  [3, join],
  [1, lose],
  [12, says(weighed<Saying>([6, tokens], [2, complete], [3, twist]))],
  [3, kill],
  [3, store],
  [4, gate],
  [1, forget],
  [3, wait(30, 1_500)],
  [4, boot],
  [1, rest],
);

const begun: readonly Step[] = [
  { deed: { do: 'join', protocol: 2, slots: 2 }, rounds: allRounds },
  { deed: { do: 'ask', streamed: true, broken: false }, rounds: 0 },
  { deed: { do: 'ask', streamed: true, broken: false }, rounds: allRounds },
];
const afterBeginning = (steps: fc.Arbitrary<Step[]>): fc.Arbitrary<Step[]> => steps.map(list => [...begun, ...list]);

export const script: fc.Arbitrary<readonly Step[]> = fc.oneof(
  stepsOf(anything, 60),
  afterBeginning(stepsOf(slowReaders, 60)),
  afterBeginning(stepsOf(changes, 40)),
  afterBeginning(stepsOf(flapping, 50)),
);
