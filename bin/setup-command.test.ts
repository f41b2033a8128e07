import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, statSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { parseDotenv } from '../actors/config/dotenv-file.ts';
import type { Env } from '../actors/config/env.ts';
import { readRouterConfig } from '../actors/config/router-config.ts';
import { hashKey, verifyKey } from '../actors/keys/keys.ts';
import { setup } from './setup-command.ts';

const tools = await hashKey('tls_existing');

const commands = suite<{ directory: string }>('setup');
commands.before.each(context => {
  context.directory = mkdtempSync(join(tmpdir(), 'auxot-setup-'));
});
commands.after.each(({ directory }) => rmSync(directory, { recursive: true, force: true }));

async function run(directory: string, args: string, env: Env = {}) {
  const texts = { out: '', err: '' };
  const sink = (name: 'out' | 'err') => ({
    write: (text: string) => {
      texts[name] += text;
    },
  });
  const argv = args.split(' ').filter(arg => arg !== '');
  const code = await setup(argv, env, { out: sink('out'), err: sink('err'), directory });
  return { code, ...texts, keys: keysIn(texts.out) };
}

/** The plain keys in a text, each once. */
const keysIn = (text: string): string[] => [
  ...new Set(text.match(/\b(?:adm|tls|rtr)_[A-Za-z0-9_-]{43}(?![A-Za-z0-9_-])/g)),
];
const prefixes = (keys: readonly string[]): string => keys.map(key => key.slice(0, 3)).join(' ');
const settingsIn = (text: string): Map<string, string> =>
  parseDotenv((text.match(/^(?:AUXOT_\w+=(?!\S+ auxot-| ).*|AUXOT_CLI_TOOLS=)$/gm) ?? []).join('\n'));

async function assertOpens(settings: Env, keys: readonly string[]): Promise<void> {
  const { keyHashes } = readRouterConfig(settings);
  for (const [prefix, hash] of [
    ['adm_', keyHashes.admin],
    ['rtr_', keyHashes.api],
  ] as const)
    assert.is(await verifyKey(keys.find(key => key.startsWith(prefix)) ?? '', hash), true, prefix);
}

commands(
  'CL1, CL5: the printed block, saved as .env, is a configuration that the printed keys open',
  async ({ directory }) => {
    const { code, out, err, keys } = await run(directory, '--model some-model');
    assert.is(code, 0);
    assert.is(err, '');
    assert.is(prefixes(keys), 'adm tls rtr');
    for (const key of keys) assert.ok(out.includes(`\n  ${key}\n`), 'alone on its line, indented by two');
    assert.match(out, /^AUXOT_GPU_KEY=adm_\S+ auxot-worker$/m);
    assert.match(out, /^AUXOT_TOOLS_KEY=tls_\S+ auxot-tools$/m);
    const settings = Object.fromEntries(settingsIn(out));
    await assertOpens(settings, keys);
    assert.is(await verifyKey(keys[1] ?? '', settings.AUXOT_TOOLS_KEY_HASH ?? ''), true);
    assert.is(settings.AUXOT_MODEL, 'some-model');
    assert.match(out, /^AUXOT_ADMIN_KEY_HASH='\$argon2id\$v=19\$m=65536,t=3,p=4\$[^']+'$/m);
    assert.is(existsSync(join(directory, '.env')), false);
  },
);

commands('CL2: --write-env writes a file only its owner can read, and never over another', async ({ directory }) => {
  const path = join(directory, '.env');
  const { code, out, keys } = await run(directory, '--write-env');
  assert.is(code, 0);
  assert.match(out, /\.env \(mode 0600\)/);
  assert.not.match(out, /argon2id/);
  assert.is(statSync(path).mode & 0o777, 0o600);
  const written = readFileSync(path, 'utf8');
  await assertOpens(Object.fromEntries(parseDotenv(written)), keys);
  assert.equal(keysIn(written), []);

  chmodSync(path, 0o644);
  const again = await run(directory, '--write-env');
  assert.is(again.code, 1);
  assert.is(again.out, '');
  assert.match(again.err, /exists already/);
  assert.is(readFileSync(path, 'utf8'), written);
});

commands('CL2: a link that leads nowhere is not written through', async ({ directory }) => {
  symlinkSync(join(directory, 'elsewhere'), join(directory, '.env'));
  const { code, out } = await run(directory, '--write-env');
  assert.is(code, 1);
  assert.is(out, '');
  assert.is(existsSync(join(directory, 'elsewhere')), false);
});

commands('CL3: --fly prints comments, three keys and one command', async ({ directory }) => {
  const { code, out, keys } = await run(directory, '--fly --model m', { AUXOT_TOOLS_KEY_HASH: tools });
  assert.is(code, 0);
  assert.is(prefixes(keys), 'adm tls rtr');
  for (const key of keys) assert.match(out, new RegExp(`^# {3}${key}$`, 'm'));
  const command = out.split('\n').filter(line => line !== '' && !line.startsWith('#'));
  assert.is(command.length, 5);
  assert.is(command[0], 'fly secrets set \\');
  assert.is(command[4], "  AUXOT_MODEL='m'");
  const settings = Object.fromEntries(parseDotenv(command.slice(1).join('\n').replaceAll(' \\', '')));
  await assertOpens(settings, keys);
});

commands('CL3: --cli prints settings for CLI workers and no tools key', async ({ directory }) => {
  const { code, out, keys } = await run(directory, '--cli');
  assert.is(code, 0);
  assert.is(prefixes(keys), 'adm rtr');
  const settings = Object.fromEntries(settingsIn(out));
  assert.equal(
    [settings.AUXOT_WORKER_TYPE, settings.AUXOT_CLI_TYPE, settings.AUXOT_MODEL, settings.AUXOT_CLI_TOOLS],
    ['cli', 'claude', 'opus', ''],
  );
  await assertOpens(settings, keys);
});

commands(
  'CL3: --new-tools-key goes before --cli, --cli before the rest, and what has no effect is told',
  async ({ directory }) => {
    const first = await run(directory, '--cli --new-tools-key --write-env', { AUXOT_TOOLS_KEY_HASH: tools });
    assert.is(prefixes(first.keys), 'tls');
    assert.match(first.out, /^ {2}AUXOT_TOOLS_KEY_HASH='\$argon2id/m);
    assert.match(first.out, /AUXOT_TOOLS_KEY_HASH is set/);
    assert.match(first.err, /--cli has no effect with --new-tools-key\n.*--write-env has no effect/);
    const second = await run(directory, '--fly --cli --write-env --model=sonnet');
    assert.is(prefixes(second.keys), 'adm rtr');
    assert.match(second.out, /^AUXOT_MODEL=sonnet$/m);
    assert.match(second.err, /--fly has no effect with --cli\n.*--write-env has no effect with --cli/);
    assert.is(existsSync(join(directory, '.env')), false);
    assert.is((await run(directory, '--new-tools-key')).err, '');
  },
);

commands('CL4: an existing tools hash is kept, in what is printed and in what is written', async ({ directory }) => {
  const env = { AUXOT_TOOLS_KEY_HASH: tools };
  const printed = await run(directory, '', env);
  assert.is(prefixes(printed.keys), 'adm rtr');
  assert.is(settingsIn(printed.out).get('AUXOT_TOOLS_KEY_HASH'), tools);
  assert.match(printed.out, /--new-tools-key/);
  await run(directory, '--write-env', env);
  assert.is(parseDotenv(readFileSync(join(directory, '.env'), 'utf8')).get('AUXOT_TOOLS_KEY_HASH'), tools);
});

commands('a tools hash that cannot work is replaced, and that is said', async ({ directory }) => {
  const { keys, err } = await run(directory, '', { AUXOT_TOOLS_KEY_HASH: 'damaged' });
  assert.is(prefixes(keys), 'adm tls rtr');
  assert.match(err, /AUXOT_TOOLS_KEY_HASH is set but not usable/);
});

commands('mistakes are told with exit 2, before any key is made', async ({ directory }) => {
  for (const [args, message] of [
    ['--write-evn', /Did you mean --write-env\?/],
    ['extra', /unexpected argument/],
    ['--model', /needs a value/],
    ["--model=a'b", /quotes/],
    ['--fly --write-env', /not both/],
  ] as const) {
    const { code, out, err } = await run(directory, args);
    assert.is(code, 2, args);
    assert.is(out, '', args);
    assert.match(err, message);
  }
});

commands('--help says what each flag does', async ({ directory }) => {
  const { code, out } = await run(directory, '--help');
  assert.is(code, 0);
  for (const flag of ['--write-env', '--fly', '--cli', '--model', '--new-tools-key']) assert.ok(out.includes(flag));
});

commands.run();
