import { test } from 'uvu';
import * as assert from 'uvu/assert';
import {
  ConfigError,
  readBytes,
  readChoice,
  readDurationMs,
  readFlag,
  readInt,
  readList,
  readOptional,
  readString,
} from './env.ts';

const port = { fallback: 8080, min: 0, max: 65_535 };
const span = { fallbackMs: 15_000 };
const size = { fallbackBytes: 2 ** 25, minBytes: 1024, maxBytes: 2 ** 30 };

test('unset and empty give the default', () => {
  for (const env of [{}, { A: '' }, { A: undefined }]) {
    assert.is(readString(env, 'A', 'x'), 'x');
    assert.is(readOptional(env, 'A'), null);
    assert.is(readInt(env, 'A', port), 8080);
    assert.is(readDurationMs(env, 'A', span), 15_000);
    assert.is(readBytes(env, 'A', size), 2 ** 25);
    assert.equal(readList(env, 'A'), []);
    assert.is(readFlag(env, 'A'), false);
    assert.is(readChoice(env, 'A', ['x', 'y'], 'y'), 'y');
  }
});

test('well-formed values are read', () => {
  assert.is(readInt({ A: '+80' }, 'A', port), 80);
  assert.ok(Object.is(readInt({ A: '-0' }, 'A', port), 0));
  assert.is(readDurationMs({ A: '1m30s' }, 'A', span), 90_000);
  assert.is(readFlag({ A: 'true' }, 'A'), true);
  assert.is(readFlag({ A: 'false' }, 'A'), false);
  assert.is(readChoice({ A: 'x' }, 'A', ['x', 'y'], 'y'), 'x');
  for (const [text, bytes] of [
    ['2048', 2048],
    ['1.5MiB', 1.5 * 2 ** 20],
    ['32mib', 2 ** 25],
    ['2 MB', 2_000_000],
    ['4KiB', 4096],
    ['1GiB', 2 ** 30],
  ] as const)
    assert.is(readBytes({ A: text }, 'A', size), bytes, text);
});

test('CF5: lists are trimmed and empty items dropped', () => {
  assert.equal(readList({ A: ' a, ,b ,,c d' }, 'A'), ['a', 'b', 'c d']);
});

test('CF5, CF9: a malformed or senseless value is an error that names variable, value and a fix', () => {
  for (const [value, read] of [
    ['80x', (env: Record<string, string>) => readInt(env, 'AUXOT_X', port)],
    ['8080.0', (env: Record<string, string>) => readInt(env, 'AUXOT_X', port)],
    ['65536', (env: Record<string, string>) => readInt(env, 'AUXOT_X', port)],
    ['-1', (env: Record<string, string>) => readInt(env, 'AUXOT_X', port)],
    ['5', (env: Record<string, string>) => readDurationMs(env, 'AUXOT_X', span)],
    ['0', (env: Record<string, string>) => readDurationMs(env, 'AUXOT_X', span)],
    ['-5s', (env: Record<string, string>) => readDurationMs(env, 'AUXOT_X', span)],
    ['9999h', (env: Record<string, string>) => readDurationMs(env, 'AUXOT_X', span)],
    ['lots', (env: Record<string, string>) => readBytes(env, 'AUXOT_X', size)],
    ['12', (env: Record<string, string>) => readBytes(env, 'AUXOT_X', size)],
    ['TRUE', (env: Record<string, string>) => readFlag(env, 'AUXOT_X')],
    ['1', (env: Record<string, string>) => readFlag(env, 'AUXOT_X')],
    ['z', (env: Record<string, string>) => readChoice(env, 'AUXOT_X', ['x', 'y'], 'y')],
  ] as const) {
    let error: unknown = null;
    try {
      read({ AUXOT_X: value });
    } catch (thrown) {
      error = thrown;
    }
    assert.instance(error, ConfigError, value);
    const { message, variable } = error as ConfigError;
    assert.is(variable, 'AUXOT_X');
    assert.ok(message.startsWith(`AUXOT_X=${JSON.stringify(value)}: `), message);
    assert.match(message, /Write /);
  }
});

test('an endless or many-lined value is shown short and on one line', () => {
  const { message } = new ConfigError('A', `x\n${'y'.repeat(5000)}`, 'bad', 'Fix it.');
  assert.ok(message.length < 200 && !message.includes('\n'));
});

test.run();
