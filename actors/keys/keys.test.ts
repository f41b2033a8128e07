import fc from 'fast-check';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { generateKey, hashKey, type KeyKind, keyChars, keyPrefix, keyPrefixes, verifyKey } from './keys.ts';
import { formatPhc, PhcError, parsePhc } from './phc.ts';

/** Every hash costs a tenth of a second, so tests that need one share these. */
const adminKey = generateKey('admin');
const adminHash = await hashKey(adminKey);

const salt64 = 'AAECAwQFBgcICQoLDA0ODw';
const hash64 = 'I8jhLgl/jZENuvZmuKdZPDmHD0H5CCSVF/067VVZlao';
const golden: readonly (readonly [string, string])[] = [
  ['adm_conformance-vector-1', `$argon2id$v=19$m=65536,t=3,p=4$${salt64}$${hash64}`],
  [`rtr_${'A'.repeat(43)}`, `$argon2id$v=19$m=65536,t=3,p=4$${salt64}$ZnB1oatUQjePKQDALFHM/X1BOk/A/epSmfHivYWn+H8`],
];

const errorOf = (work: () => unknown): unknown => {
  try {
    work();
  } catch (error) {
    return error;
  }
  return null;
};

test('K1-K4, AU14: generated keys have their prefix and 43 base64url characters, and never repeat', () => {
  for (const [kind, prefix] of Object.entries(keyPrefixes)) {
    const keys = Array.from({ length: 200 }, () => generateKey(kind as KeyKind));
    for (const key of keys) assert.match(key, new RegExp(`^${prefix}[A-Za-z0-9_-]{43}$`));
    assert.is(keys[0]?.length, keyChars);
    assert.is(new Set(keys).size, keys.length);
  }
});

test('K5-K6: the prefix of a key is known or null', () => {
  assert.is(keyPrefix('adm_abc123'), 'adm_');
  assert.is(keyPrefix('rtr_xyz789'), 'rtr_');
  assert.is(keyPrefix('tls_abc123'), 'tls_');
  for (const key of ['gpu_abc123', 'abc123', '', 'ADM_abc', ' adm_abc']) assert.is(keyPrefix(key), null, key);
});

test('K7-K9, K11, AU14: a hash has the one exact form, is salted, and verifies its key and no other', async () => {
  const again = await hashKey(adminKey);
  assert.is.not(again, adminHash);
  for (const hash of [adminHash, again]) {
    assert.match(hash, /^\$argon2id\$v=19\$m=65536,t=3,p=4\$[A-Za-z0-9+/]{22}\$[A-Za-z0-9+/]{43}$/);
    assert.is(hash.split('$').length, 6);
    assert.is(await verifyKey(adminKey, hash), true);
  }
  assert.is(await verifyKey(`${adminKey}x`, adminHash), false);
});

test('hashes made elsewhere verify: golden vectors', async () => {
  for (const [key, hash] of golden) {
    assert.is(await verifyKey(key, hash), true, key);
    assert.is(formatPhc(parsePhc(hash)), hash);
  }
  assert.is(await verifyKey('adm_conformance-vector-2', golden[0]?.[1] ?? ''), false);
});

test('parameters come from the string, trailing ones and the version are not looked at', async () => {
  const phc = parsePhc(`$argon2id$v=16$m=64,t=1,p=2,keyid=7$${salt64}$${hash64}`);
  assert.equal(
    { ...phc, salt: phc.salt.length, hash: phc.hash.length },
    {
      memoryKib: 64,
      passes: 1,
      lanes: 2,
      salt: 16,
      hash: 32,
    },
  );
  assert.is(await verifyKey('x', phc), false);
});

test('K10, S12, AU15: a hash that is damaged, foreign or absurd is an error at once', async () => {
  const p = 'm=65536,t=3,p=4';
  for (const text of [
    '',
    'no dollars',
    '$$$$$',
    `$argon2i$v=19$${p}$${salt64}$${hash64}`,
    `$argon2d$v=19$${p}$${salt64}$${hash64}`,
    `$argon2id$v=19$${p}$${salt64}`,
    `$argon2id$v=19$${p}$${salt64}$`,
    `$argon2id$v=19$${p}$${salt64}$${hash64}$`,
    `x$argon2id$v=19$${p}$${salt64}$${hash64}`,
    `$argon2id$v=19$${p}$not base64!$${hash64}`,
    `$argon2id$v=19$${p}$${salt64}==$${hash64}`,
    `$argon2id$v=19$${p}$${salt64}$${hash64}=`,
    `$argon2id$v=19$${p}$${salt64}$${hash64.replace('/', '_')}`,
    `$argon2id$v=19$${p}$${salt64}$${hash64.slice(0, -2)}`, // 41 characters: no whole number of bytes
    `$argon2id$v=19$${p}$AAAA$${hash64}`,
    `$argon2id$v=19$${p}$${salt64}$AAAAAAAA`,
    `$argon2id$v=19$t=3,m=65536,p=4$${salt64}$${hash64}`,
    `$argon2id$v=19$m=65536,t=0,p=4$${salt64}$${hash64}`,
    `$argon2id$v=19$m=65536,t=3,p=0$${salt64}$${hash64}`,
    `$argon2id$v=19$m=65536,t=3,p=256$${salt64}$${hash64}`,
    `$argon2id$v=19$m=31,t=3,p=4$${salt64}$${hash64}`,
    `$argon2id$v=19$m=4294967295,t=3,p=4$${salt64}$${hash64}`,
    `$argon2id$v=19$m=65536,t=4294967295,p=4$${salt64}$${hash64}`,
    `$argon2id$v=19$m=-1,t=3,p=4$${salt64}$${hash64}`,
  ]) {
    assert.instance(
      errorOf(() => parsePhc(text)),
      PhcError,
      text,
    );
    try {
      await verifyKey('adm_x', text);
      assert.unreachable(`verified against ${text}`);
    } catch (error) {
      assert.instance(error, PhcError);
    }
  }
});

test('whatever the text, parsing gives a sound hash or a PhcError', () => {
  const mangled = fc
    .record({ at: fc.nat(golden[0]?.[1].length ?? 0), cut: fc.nat(3), insert: fc.string({ maxLength: 3 }) })
    .map(({ at, cut, insert }) => {
      const text = golden[0]?.[1] ?? '';
      return text.slice(0, at) + insert + text.slice(at + cut);
    });
  fc.assert(
    fc.property(fc.oneof(fc.string(), mangled), text => {
      const error = errorOf(() => {
        const phc = parsePhc(text);
        assert.ok(phc.hash.length >= 16 && phc.salt.length >= 8 && phc.memoryKib >= 8 * phc.lanes && phc.passes >= 1);
      });
      assert.ok(error === null || error instanceof PhcError, String(error));
    }),
    {
      numRuns: Number(process.env.FC_RUNS ?? 2000),
      ...(process.env.FC_SEED ? { seed: Number(process.env.FC_SEED) } : {}),
    },
  );
});

test.run();
