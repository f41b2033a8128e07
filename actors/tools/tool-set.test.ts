import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { Tool } from './tool.ts';
import { openToolSet } from './tool-set.ts';

const tool = (name: string, group?: string): Tool => ({
  name,
  description: `does ${name}`,
  parameters: { type: 'object' },
  idempotent: name === 'a',
  ...(group === undefined ? {} : { group }),
  run: async () => ({ result: name }),
});
const source = {
  tools: () => [tool('a'), tool('git', 'x'), tool('git__log', 'git'), tool('git__push', 'git')],
  close: async () => undefined,
};

test('T10: what the allow-list leaves out is neither announced nor found, from wherever it comes', () => {
  for (const [allowed, names] of [
    [null, ['a', 'b', 'git', 'git__log', 'git__push']],
    [['b'], ['b']],
    [['git'], ['git', 'git__log', 'git__push']],
    [['git__log'], ['git__log']],
    [['git_*'], ['git__log', 'git__push']],
    [['none'], []],
  ] as const) {
    const set = openToolSet([tool('a'), tool('b')], [source], allowed);
    assert.equal(set.names(), names);
    for (const name of ['a', 'b', 'git', 'git__log', 'git__push'])
      assert.is(typeof set.find(name) === 'object', (names as readonly string[]).includes(name), name);
    assert.is(set.find('other'), 'unknown');
  }
});

test('the router can allow less, never more', () => {
  const set = openToolSet([tool('a'), tool('b')], [source], ['a', 'b']);
  set.restrict(['b', 'git']);
  assert.equal(set.names(), ['b']);
  assert.is(set.find('git'), 'not_allowed');
  set.restrict(null);
  assert.equal(set.names(), ['a', 'b']);
});

test('of two tools with one name the first keeps it, and that is said once', () => {
  const clashes: string[] = [];
  const set = openToolSet([tool('a'), tool('b')], [source], null, name => clashes.push(name));
  const first = set.find('a');
  set.names();
  set.definitions();
  assert.equal(clashes, ['a']);
  assert.is(typeof first === 'object' ? first.group : 'x', undefined);
  assert.equal(set.definitions()[0], {
    name: 'a',
    description: 'does a',
    parameters: { type: 'object' },
    idempotent: true,
  });
});

test.run();
