import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { ConfigError } from './env.ts';
import { parseFlags } from './flags.ts';
import { readToolsConfig, toolsFlags, toolsHelp } from './tools-config.ts';

const read = (env: Record<string, string>, args: readonly string[] = []) =>
  readToolsConfig(env, parseFlags('auxot-tools', args, toolsFlags));

test('without settings there are defaults, and everything but the key has one', () => {
  const { toolsKey, routerUrl, allowedTools, slots, mcpRunner, browserCommand } = read({ AUXOT_TOOLS_KEY: 'k' });
  assert.equal([toolsKey, routerUrl, allowedTools, slots, browserCommand], ['k', 'wss://auxot.com/ws', null, 16, null]);
  assert.equal(mcpRunner, ['npx', '-y']);
  assert.throws(() => read({}), /AUXOT_TOOLS_KEY/);
});

test('a flag wins over its variable, the tools key over that of older installations', () => {
  assert.is(read({ AUXOT_TOOLS_KEY: 'new', AUXOT_GPU_KEY: 'old' }).toolsKey, 'new');
  assert.is(read({ AUXOT_GPU_KEY: 'old' }).toolsKey, 'old');
  const flagged = read({ AUXOT_TOOLS_KEY: 'k', AUXOT_ROUTER_URL: 'ws://a' }, [
    '--router-url',
    'ws://b:1',
    '--log-level=debug',
  ]);
  assert.equal([flagged.routerUrl, flagged.logLevel], ['ws://b:1/ws', 'debug']);
});

test('a value that makes no sense is an error with the name of its variable', () => {
  for (const [variable, value] of [
    ['AUXOT_TOOLS_SLOTS', '0'],
    ['AUXOT_TOOLS_TIMEOUT', '10'],
    ['AUXOT_TOOLS_ALLOW_HOSTS', 'http://a/'],
    ['AUXOT_TOOLS_HEALTH_PORT', '70000'],
    ['AUXOT_BRAVE_API_URL', 'brave'],
    ['AUXOT_LOG_LEVEL', 'loud'],
    ['AUXOT_ROUTER_URL', 'ftp://x'],
  ] as const) {
    assert.throws(
      () => read({ AUXOT_TOOLS_KEY: 'k', [variable]: value }),
      (error: Error) => error instanceof ConfigError && error.message.includes(variable),
      variable,
    );
    assert.match(toolsHelp, variable);
  }
});

test.run();
