import fc from 'fast-check';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { httpBase, routerUrl, withoutPassword } from './router-url.ts';

const { FC_RUNS = '200', FC_SEED } = process.env;
const runs = { numRuns: Number(FC_RUNS), ...(FC_SEED === undefined ? {} : { seed: Number(FC_SEED) }) };

const normalised: [id: string, given: string, path: string, url: string | null][] = [
  ['URL1', 'auxot.example.com', '/ws', 'wss://auxot.example.com/ws'],
  ['URL2', 'http://localhost:8080', '/ws', 'ws://localhost:8080/ws'],
  ['URL3', 'https://auxot.example.com', '/ws', 'wss://auxot.example.com/ws'],
  ['URL4', 'ws://localhost:8080/old-path', '/ws', 'ws://localhost:8080/ws'],
  ['URL5', 'wss://auxot.example.com/old-path', '/ws', 'wss://auxot.example.com/ws'],
  ['URL6', 'wss://auxot.example.com/custom/path', '/ws', 'wss://auxot.example.com/ws'],
  ['URL7', 'wss://auxot.example.com/ws/', '/ws', 'wss://auxot.example.com/ws'],
  ['URL8', 'auxot.example.com', '/ws/agent', 'wss://auxot.example.com/ws/agent'],
  ['URL9, better than the reference', 'localhost:8080', '/ws', 'ws://localhost:8080/ws'],
  ['URL10', 'wss://auxot.example.com/ws?debug=1', '/ws', 'wss://auxot.example.com/ws'],
  ['URL11', 'wss://auxot.example.com/ws#section', '/ws', 'wss://auxot.example.com/ws'],
  ['URL12', '', '/ws', null],
  ['URL13', '   ', '/ws', null],
  ['an IPv6 address and a port', '[2001:db8::1]:8080', '/ws', 'wss://[2001:db8::1]:8080/ws'],
  ['user and password', 'wss://user:pw@h:9/p', '/ws', 'wss://user:pw@h:9/ws'],
  ['the case of a host', 'wss://H.Example.COM', '/ws', 'wss://H.Example.COM/ws'],
  ['a default port is kept', 'https://h:443', '/ws', 'wss://h:443/ws'],
  ['white space around', '  http://h \n', '/ws', 'ws://h/ws'],
  ['better than the reference: capitals', 'HTTP://localhost:8080', '/ws', 'ws://localhost:8080/ws'],
  ['better than the reference: another scheme', 'ftp://h/x', '/ws', null],
  ['better than the reference: a bare question mark', 'wss://h/ws?', '/ws', 'wss://h/ws'],
  ['no host', 'wss:///p', '/ws', null],
  ['only a scheme', 'http://', '/ws', null],
  ['only slashes before', '//h/x', '/ws', null],
  ['no scheme before ://', '://x', '/ws', null],
  ['a space in a host', 'host with space', '/ws', null],
  ['a port that is no number', 'wss://h:bad/ws', '/ws', null],
  ['a port above 65535', 'wss://h:70000/ws', '/ws', null],
  ['a backslash, which other readers take for a slash', 'wss://good.example\\@evil.example', '/ws', null],
];

for (const [id, given, path, url] of normalised) {
  test(`${id}: ${JSON.stringify(given)} gives ${url ?? 'an error'}`, () => {
    const result = routerUrl(given, path);
    assert.is(result.ok ? result.url : null, url);
  });
}

const bases: [id: string, url: string, base: string][] = [
  ['URL14', 'wss://auxot.example.com/ws', 'https://auxot.example.com'],
  ['URL15', 'ws://localhost:8080/ws', 'http://localhost:8080'],
  ['URL16', 'wss://auxot.example.com/ws/agent', 'https://auxot.example.com'],
  ['URL17', 'wss://auxot.example.com/ws?test=1', 'https://auxot.example.com'],
  ['URL18', 'wss://auxot.example.com/ws#anchor', 'https://auxot.example.com'],
  ['URL19', 'wss://example.com:invalid/ws', 'https://example.com:invalid/ws'],
  ['URL20, path stripped', 'wss://auxot.example.com/a/b/c', 'https://auxot.example.com'],
  ['URL21, port kept', 'wss://auxot.example.com:8443/ws', 'https://auxot.example.com:8443'],
];

for (const [id, url, base] of bases) test(`${id}: the HTTP base of ${url}`, () => assert.is(httpBase(url), base));

test('without a scheme, near routers are dialled without TLS; a path that ends in /ws is kept (weakness X6)', () => {
  const url = (given: string): string | null => {
    const result = routerUrl(given, '/ws');
    return result.ok ? result.url : null;
  };
  for (const near of [
    'LocalHost:8080',
    '127.0.0.1',
    '[::1]:1',
    '10.1.2.3:80',
    '192.168.0.9',
    '172.31.0.1',
    '[fd00::5]:9',
  ])
    assert.is(url(near), `ws://${near}/ws`);
  for (const far of ['172.32.0.1', '11.0.0.1', '10.example.com', 'localhost.example.com', '8.8.8.8', '[2001:db8::1]'])
    assert.is(url(far), `wss://${far}/ws`);
  assert.is(url('wss://localhost:8443'), 'wss://localhost:8443/ws');
  assert.is(url('https://proxy.example.com/auxot/ws/'), 'wss://proxy.example.com/auxot/ws');
  assert.is(url('proxy.example.com/auxot/ws?x=1'), 'wss://proxy.example.com/auxot/ws');
  assert.is(url('https://proxy.example.com/auxot/news'), 'wss://proxy.example.com/ws');
});

test('an error never shows a password', () => {
  const result = routerUrl('wss://user:secret@h:bad/ws', '/ws');
  assert.not.ok(result.ok);
  assert.not.match(JSON.stringify(result), 'secret');
});

test('no text throws, what comes out is a socket address, and doing it again changes nothing', () => {
  fc.assert(
    fc.property(fc.oneof(fc.string(), fc.webUrl(), fc.domain(), fc.string({ unit: 'binary' })), text => {
      const result = routerUrl(text, '/ws');
      if (!result.ok) return;
      assert.match(new URL(result.url).protocol, /^wss?:$/);
      assert.equal(routerUrl(result.url, '/ws'), result);
      assert.is(new URL(httpBase(result.url)).host, new URL(result.url.replace(/^ws/, 'http')).host);
    }),
    runs,
  );
});

test('a password in an address that is refused is not repeated', () => {
  for (const given of ['user:secret@my router', 'wss://user:secr#et@ho st', 'ftp://user:secret@host']) {
    const refused = routerUrl(given, '/ws');
    assert.ok(!refused.ok && !/secr/.test(refused.message), JSON.stringify(refused));
  }
  assert.is(withoutPassword('ws://host:8080/ws'), 'ws://host:8080/ws');
});

test.run();
