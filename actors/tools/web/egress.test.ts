import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import fc from 'fast-check';
import { request } from 'undici';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { isPublic, openEgress, type Resolve } from './egress.ts';

const runs = {
  numRuns: Number(process.env.FC_RUNS ?? 500),
  ...(process.env.FC_SEED ? { seed: Number(process.env.FC_SEED) } : {}),
};

test('what belongs to this machine, its network or its cloud is not public', () => {
  for (const address of [
    '0.0.0.0',
    '10.1.2.3',
    '100.64.0.1',
    '100.100.100.200',
    '127.0.0.1',
    '127.255.255.254',
    '168.63.129.16',
    '169.254.169.254',
    '172.16.0.1',
    '172.31.255.255',
    '192.0.0.1',
    '192.0.2.1',
    '192.88.99.1',
    '192.168.1.1',
    '198.18.0.1',
    '203.0.113.1',
    '224.0.0.1',
    '240.0.0.1',
    '255.255.255.255',
    '::',
    '::1',
    '::ffff:127.0.0.1',
    '::ffff:7f00:1',
    '::ffff:0:127.0.0.1',
    '::127.0.0.1',
    '64:ff9b::7f00:1',
    '64:ff9b:1::7f00:1',
    '100::1',
    '2001::1',
    '2001:db8::1',
    '2002:7f00:1::',
    'fc00::1',
    'fd12:3456::1',
    'fe80::1',
    'fec0::1',
    'ff02::1',
    '5f00::1',
    'localhost',
    '',
  ])
    assert.not(isPublic(address), address);
  for (const address of [
    '1.1.1.1',
    '8.8.8.8',
    '172.32.0.1',
    '100.128.0.1',
    '2606:4700::1111',
    '2a00:1450:4001::1',
    '::ffff:8.8.8.8',
  ])
    assert.ok(isPublic(address), address);
});

test('an IPv4 address is judged the same in every IPv6 coat, or refused in it', () => {
  fc.assert(
    fc.property(fc.ipV4(), address => {
      const hex = address
        .split('.')
        .map(part => Number(part).toString(16).padStart(2, '0'))
        .join('');
      const tail = `${hex.slice(0, 4)}:${hex.slice(4)}`;
      assert.is(isPublic(`::ffff:${tail}`), isPublic(address), address);
      for (const coat of [`64:ff9b::${tail}`, `2002:${tail}::1`, `::${tail}`, `::ffff:0:${tail}`])
        assert.not(isPublic(coat), coat);
    }),
    runs,
  );
});

/** Says what a request to `host` comes to, with names resolved as told. */
async function tried(allow: readonly string[], host: string, resolve: Resolve, port: number): Promise<string> {
  const egress = openEgress(allow, resolve);
  try {
    const { body } = await request(`http://${host}:${port}/`, { dispatcher: egress.dispatcher });
    return await body.text();
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  } finally {
    await egress.close();
  }
}

test('a name is asked for once, and what it says first is what is connected to', async () => {
  const server = createServer((_req, res) => void res.end('inside'));
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const to =
    (...addresses: string[]): Resolve =>
    (_name, done) =>
      done(
        null,
        addresses.map(address => ({ address, family: address.includes(':') ? 6 : 4 })),
      );

  assert.match(await tried([], 'rebind.example', to('127.0.0.1'), port), 'AUXOT_TOOLS_ALLOW_HOSTS');
  assert.match(await tried([], '127.0.0.1', to('127.0.0.1'), port), 'not a public address');
  assert.match(await tried([], '2130706433', to('127.0.0.1'), port), 'not a public address');
  assert.match(await tried([], '0x7f.1', to('127.0.0.1'), port), 'not a public address');
  assert.match(await tried([], '[::ffff:127.0.0.1]', to(), port), 'not a public address');
  assert.match(await tried([], '[::1]', to(), port), 'not a public address');
  // The second answer of a name that changes it is never asked for: each connection has one lookup.
  let asked = 0;
  const changing: Resolve = (_name, done) => {
    asked += 1;
    done(null, [{ address: asked === 1 ? '127.0.0.1' : '127.0.0.2', family: 4 }]);
  };
  assert.is(await tried(['127.0.0.1'], 'changing.example', changing, port), 'inside');
  assert.is(asked, 1);
  assert.match(await tried(['127.0.0.1'], 'changing.example', changing, port), '127.0.0.2');
  for (const allow of ['*', '127.0.0.0/8', '127.0.0.1', 'inside.example', '*.example'])
    assert.is(await tried([allow], 'inside.example', to('127.0.0.1'), port), 'inside', allow);
  assert.match(await tried(['example', 'side.example'], 'inside.example', to('127.0.0.1'), port), 'not a public');
  server.closeAllConnections();
  await new Promise(resolve => server.close(resolve));
});

test.run();
