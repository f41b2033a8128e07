import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { CheckBusyError } from './check-line.ts';
import { generateKey, hashKey, keyCharsMax, verifyKey } from './keys.ts';
import { type Phc, parsePhc } from './phc.ts';
import { KeyNotConfiguredError, openKeyVerifier } from './verifier.ts';

const keys = { admin: generateKey('admin'), api: generateKey('api'), tools: generateKey('tools') };
const hashes = {
  admin: await hashKey(keys.admin),
  api: await hashKey(keys.api),
  tools: await hashKey(keys.tools),
};
const none = { admin: null, api: null, tools: null };

type Check = (key: string, phc: Phc) => Promise<boolean>;
type Hashes = Readonly<Record<keyof typeof hashes, string | null>>;

/** A verifier over the real Argon2 that counts runs, with a clock that is stepped. */
function world({ ttlMs = 60_000, given = hashes as Hashes, check = verifyKey as Check, runsMax = 1 } = {}) {
  let at = 1_000_000;
  let running = 0;
  const count = { runs: 0, most: 0 };
  const verifier = openKeyVerifier({
    hashes: given,
    ttlMs,
    now: () => at,
    runsMax,
    check: async (key: string, phc: Phc) => {
      count.runs++;
      count.most = Math.max(count.most, ++running);
      try {
        return await check(key, phc);
      } finally {
        running--;
      }
    },
  });
  return {
    verifier,
    count,
    step: (ms: number) => {
      at += ms;
    },
  };
}

/** Stands in for Argon2 where only the number of runs matters. */
const quick = async (key: string): Promise<boolean> => Object.values(keys).includes(key);

const settled = () => new Promise(resolve => setImmediate(resolve));

const rejectionOf = async (promise: Promise<unknown>): Promise<unknown> =>
  promise.then(
    () => null,
    error => error,
  );

test('K12-K13, K16-K17: each key opens its own door and no other', async () => {
  const { verifier } = world();
  for (const kind of ['admin', 'api', 'tools'] as const)
    for (const [of, key] of Object.entries(keys))
      assert.is(await verifier.verify(kind, key), of === kind, `${of} as ${kind}`);
  assert.is(await verifier.verify('admin', generateKey('admin')), false);
});

test('K14: without configured hashes admin and API checks are errors', async () => {
  const { verifier } = world({ given: none });
  assert.instance(await rejectionOf(verifier.verify('admin', keys.admin)), KeyNotConfiguredError);
  assert.instance(await rejectionOf(verifier.verify('api', keys.api)), KeyNotConfiguredError);
  assert.is(verifier.cached('admin', keys.admin), null);
});

test('K18, AU17: without a tools hash a tools key is just not right', async () => {
  const { verifier } = world({ given: none });
  assert.is(verifier.toolsConfigured, false);
  assert.is(await verifier.verify('tools', keys.tools), false);
  assert.is(verifier.cached('tools', keys.tools), false);
  assert.is(world().verifier.toolsConfigured, true);
});

test('K15, AU16: the second check is a memory, five times faster at the least', async () => {
  const { verifier, count } = world();
  assert.is(verifier.cached('api', keys.api), null);
  const before = performance.now();
  assert.is(await verifier.verify('api', keys.api), true);
  const first = performance.now();
  assert.is(await verifier.verify('api', keys.api), true);
  const second = performance.now();
  assert.ok(second - first < (first - before) / 5, `${first - before} ms, then ${second - first} ms`);
  assert.is(verifier.cached('api', keys.api), true);
  assert.is(count.runs, 1);
});

test('K19, AU16: after the TTL a key is verified again, behind the answer and once', async () => {
  const { verifier, count, step } = world({ ttlMs: 1, check: quick });
  assert.is(await verifier.verify('api', keys.api), true);
  step(1);
  for (let n = 0; n < 10; n++) assert.is(verifier.cached('api', keys.api), true);
  assert.is(await verifier.verify('api', keys.api), true);
  await settled();
  assert.is(count.runs, 2);
  assert.is(verifier.cached('api', keys.api), true);
  assert.is(count.runs, 2, 'fresh again');
});

test('a check that breaks while refreshing takes nothing away', async () => {
  let broken = false;
  const { verifier, step } = world({
    ttlMs: 1,
    check: async key => {
      if (broken) throw new Error('out of memory');
      return quick(key);
    },
  });
  assert.is(await verifier.verify('api', keys.api), true);
  broken = true;
  step(5);
  assert.is(await verifier.verify('api', keys.api), true);
  await settled();
  assert.is(verifier.cached('api', keys.api), true);
});

test('a check that breaks is an error to its caller and is not remembered', async () => {
  let broken = true;
  const { verifier } = world({
    check: async key => {
      if (broken) throw new Error('out of memory');
      return quick(key);
    },
  });
  assert.instance(await rejectionOf(verifier.verify('api', keys.api)), Error);
  broken = false;
  assert.is(await verifier.verify('api', keys.api), true);
});

test('AU19: fifty first uses at once cost one Argon2 run', async () => {
  const { verifier, count } = world();
  const answers = await Promise.all(Array.from({ length: 50 }, () => verifier.verify('api', keys.api)));
  assert.ok(answers.every(Boolean));
  assert.is(count.runs, 1);
});

test('a wrong key asked for by many at once is one Argon2 run, too', async () => {
  const { verifier, count } = world({ check: quick, runsMax: 2 });
  const wrong = generateKey('api');
  const answers = await Promise.all(Array.from({ length: 50 }, () => verifier.verify('api', wrong)));
  assert.ok(answers.every(answer => answer === false));
  assert.is(count.runs, 1);
});

test('a key tried at the wrong door first still opens its own', async () => {
  const { verifier } = world({
    check: async (key, phc) => (await quick(key)) && phc.hash.equals(parsePhc(hashes.api).hash),
  });
  assert.is(await verifier.verify('admin', keys.api), false);
  assert.is(await verifier.verify('api', keys.api), true);
});

test('AU18: two hundred wrong keys at once are all refused, one run at a time, and memory stays bounded', async () => {
  const { verifier, count } = world();
  const before = process.memoryUsage().rss;
  let most = 0;
  const watch = setInterval(() => {
    most = Math.max(most, process.memoryUsage().rss);
  }, 5);
  const wrong = Array.from({ length: 200 }, () => generateKey('api'));
  const asked = wrong.map(key => verifier.verify('api', key, '192.0.2.1'));
  // A caller elsewhere does not wait for them, and once its key is known the rest costs nothing (V3).
  const startedAt = performance.now();
  assert.is(await verifier.verify('api', keys.api, '192.0.2.2'), true);
  const waitedMs = performance.now() - startedAt;
  const answers = await Promise.all(asked);
  clearInterval(watch);
  assert.ok(answers.every(answer => answer === false));
  assert.is(count.most, 1);
  assert.ok(count.runs <= 3, `${count.runs} runs`);
  assert.ok(waitedMs < 5000, `${waitedMs} ms`);
  assert.ok(most - before < 160 * 2 ** 20, `${Math.round((most - before) / 2 ** 20)} MiB more`);
});

test('wrong keys before any right one: each runs once, is remembered for a while, and the memory is bounded', async () => {
  const { verifier, count, step } = world({ check: quick });
  const wrong = Array.from({ length: 3000 }, () => generateKey('api'));
  for (const key of wrong) assert.is(await verifier.verify('api', key), false);
  assert.is(count.runs, 3000);
  assert.is(verifier.cached('api', wrong.at(-1) ?? ''), false);
  assert.is(verifier.cached('api', wrong[0] ?? ''), null, 'the oldest are forgotten');
  step(60_000);
  assert.is(verifier.cached('api', wrong.at(-1) ?? ''), null, 'and all of them after a while');
  assert.is(await verifier.verify('api', keys.api), true);
});

test('more than can wait are told so, with an error that says to try again', async () => {
  const open: (() => void)[] = [];
  const { verifier } = world({
    check: key => new Promise(resolve => open.push(() => resolve(Object.values(keys).includes(key)))),
  });
  const asked = Array.from({ length: 400 }, () => verifier.verify('api', generateKey('api'), 'one address'));
  const outcomes = asked.map(promise => rejectionOf(promise));
  const real = verifier.verify('api', keys.api, 'another address');
  let answered = false;
  real.finally(() => {
    answered = true;
  });
  for (let n = 0; n < 1000 && !answered; n++) {
    open.shift()?.();
    await settled();
  }
  assert.is(await real, true);
  const busy = (await Promise.all(outcomes)).filter(error => error instanceof CheckBusyError);
  assert.is(busy.length, 400 + 1 - 1 - 256, 'one runs, 256 wait, the right one among them');
  assert.ok(busy.every(error => error instanceof CheckBusyError && error.retryable && error.retryAfterMs > 0));
});

test('AU7: an empty or endless key is refused without Argon2; one of odd shape is still checked', async () => {
  const { verifier, count } = world({ check: quick });
  for (const key of ['', 'x'.repeat(keyCharsMax + 1), 'x'.repeat(10_240)]) {
    assert.is(verifier.cached('api', key), false);
    assert.is(await verifier.verify('api', key), false);
  }
  assert.is(count.runs, 0);
  const vector = '$argon2id$v=19$m=65536,t=3,p=4$AAECAwQFBgcICQoLDA0ODw$I8jhLgl/jZENuvZmuKdZPDmHD0H5CCSVF/067VVZlao';
  const old = world({ given: { ...hashes, admin: vector } });
  assert.is(await old.verifier.verify('admin', 'adm_conformance-vector-1'), true);
});

test('a damaged hash is refused when the verifier is opened', () => {
  assert.throws(() => world({ given: { ...hashes, tools: '$argon2id$' } }), /five parts/);
});

test.run();
