/**
 * `auxot-router setup`: makes the keys, shows each once, and gives the settings that hold their hashes.
 *
 * Plain keys go to stdout and nowhere else. The file it writes can be read by its owner only, and is never one that was
 * there before. Names and quoting of the settings are interface: people paste them, and scripts read them.
 */
import { existsSync, lstatSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { TextSink } from '../actors/config/diagnostics.ts';
import type { Env } from '../actors/config/env.ts';
import { parseFlags, UsageError } from '../actors/config/flags.ts';
import { generateKey, hashKey, type KeyKind } from '../actors/keys/keys.ts';
import { parsePhc } from '../actors/keys/phc.ts';

export interface SetupIo {
  readonly out: TextSink;
  readonly err: TextSink;
  /** Where `--write-env` writes. */
  readonly directory: string;
}

const defaultModel = 'Qwen3-Coder-30B-A3B';
const defaultCliModel = 'opus';

export const setupHelp = `Usage: auxot-router setup [flags]

Makes the keys of a router and prints them once, with the settings that hold their hashes.

  --write-env       write the settings to .env in the current directory (mode 0600; never over an existing file)
  --fly             print commands for Fly.io instead
  --cli             print settings for CLI workers (Claude Code, Codex, Cursor)
  --model NAME      model to put in the settings (default ${defaultModel}; ${defaultCliModel} with --cli)
  --new-tools-key   make only a new tools key
  -h, --help        this text

--new-tools-key goes before --cli, --cli before the others.
`;

/** Runs the command and gives the exit status: 0 done, 1 failed, 2 misused. `env` has the values of .env in it. */
export async function setup(args: readonly string[], env: Env, io: SetupIo): Promise<number> {
  try {
    return await run(args, env, io);
  } catch (error) {
    io.err.write(`${error instanceof Error ? error.message : error}\n`);
    return error instanceof UsageError ? error.exitCode : 1;
  }
}

async function run(args: readonly string[], env: Env, io: SetupIo): Promise<number> {
  const flags = parseFlags('auxot-router setup', args, {
    'write-env': 'switch',
    fly: 'switch',
    cli: 'switch',
    model: 'value',
    'new-tools-key': 'switch',
    help: 'switch',
  });
  if (flags.has('help')) {
    io.out.write(setupHelp);
    return 0;
  }
  const mode = flags.has('new-tools-key') ? 'new-tools-key' : flags.has('cli') ? 'cli' : flags.has('fly') ? 'fly' : '';
  if (mode === 'fly' && flags.has('write-env'))
    throw new UsageError('auxot-router setup: --fly writes no .env; give --fly or --write-env, not both');
  for (const other of ['cli', 'fly', 'write-env', 'model'] as const)
    if (flags.has(other) && other !== mode && !usedBy(mode, other))
      io.err.write(`auxot-router setup: --${other} has no effect with --${mode}\n`);
  const model = checkedModel(flags.value('model') ?? (mode === 'cli' ? defaultCliModel : defaultModel));

  if (mode === 'new-tools-key') io.out.write(await newToolsKeyText(env));
  else if (mode === 'cli') io.out.write(await cliText(model));
  else if (mode === 'fly') io.out.write(await flyText(model));
  else await setupHere(model, flags.has('write-env'), env, io);
  return 0;
}

const usedBy = (mode: string, flag: string): boolean => mode === '' || (flag === 'model' && mode !== 'new-tools-key');

async function setupHere(model: string, write: boolean, env: Env, { out, err, directory }: SetupIo): Promise<void> {
  const path = join(directory, '.env');
  if (write && isThere(path)) throw new Error(`${path} exists already; move it away first. No keys were made.`);
  const kept = usableToolsHash(env, err);
  const admin = await newKey('admin');
  const tools = kept === null ? await newKey('tools') : null;
  const api = await newKey('api');
  const block = [
    `AUXOT_ADMIN_KEY_HASH='${admin.hash}'`,
    `AUXOT_API_KEY_HASH='${api.hash}'`,
    `AUXOT_TOOLS_KEY_HASH='${tools?.hash ?? kept}'`,
    `AUXOT_MODEL=${envValue(model)}`,
    '# Redis, instead of the embedded store:',
    '# AUXOT_REDIS_URL=redis://localhost:6379',
    '# Tools offered to the model, of those that tools workers bring; without it, none:',
    '# AUXOT_ALLOWED_TOOLS=code_executor,web_fetch,web_search,web_answers',
    '',
  ].join('\n');
  // "wx" refuses a file that came to be while the keys were hashed.
  if (write) await writeFile(path, block, { mode: 0o600, flag: 'wx' });

  const toolsSection =
    tools === null
      ? section(
          'Tools key (tools workers dial in with it)',
          'One is set already (AUXOT_TOOLS_KEY_HASH), and is kept. "auxot-router setup --new-tools-key" replaces it.',
        )
      : section(
          'Tools key (tools workers dial in with it)',
          `  ${tools.key}`,
          '',
          `AUXOT_TOOLS_KEY=${tools.key} auxot-tools`,
        );
  out.write(
    [
      '\nAuxot router setup\n',
      'New keys were made.\n',
      section(
        'GPU key (GPU and CLI workers dial in with it)',
        `  ${admin.key}`,
        '',
        `AUXOT_GPU_KEY=${admin.key} auxot-worker`,
      ),
      toolsSection,
      section('API key (callers send it as Bearer token or x-api-key)', `  ${api.key}`),
      onceOnly,
      write
        ? `The settings are in ${path} (mode 0600). Start the router there: auxot-router\n`
        : `${section('Settings (auxot-router setup --write-env writes them to .env)', '')}${block}`,
    ].join('\n'),
  );
}

async function flyText(model: string): Promise<string> {
  const admin = await newKey('admin');
  const tools = await newKey('tools');
  const api = await newKey('api');
  return `# Auxot router on Fly.io
#
# GPU key, for auxot-worker (AUXOT_GPU_KEY):
#   ${admin.key}
# Tools key, for auxot-tools (AUXOT_TOOLS_KEY):
#   ${tools.key}
# API key, for callers:
#   ${api.key}
#
# Keep them: they are shown only here. The router gets their hashes:

fly secrets set \\
  AUXOT_ADMIN_KEY_HASH='${admin.hash}' \\
  AUXOT_API_KEY_HASH='${api.hash}' \\
  AUXOT_TOOLS_KEY_HASH='${tools.hash}' \\
  AUXOT_MODEL='${model}'

# Then:
# fly deploy
`;
}

async function cliText(model: string): Promise<string> {
  const admin = await newKey('admin');
  const api = await newKey('api');
  return [
    '\nAuxot router setup for CLI workers\n',
    section(
      'Worker key (CLI workers dial in with it)',
      `  ${admin.key}`,
      '',
      `AUXOT_GPU_KEY=${admin.key} AUXOT_ROUTER_URL=ws://localhost:8080/ws auxot-worker`,
    ),
    section('API key (callers send it as Bearer token or x-api-key)', `  ${api.key}`),
    onceOnly,
    section('Settings', ''),
  ]
    .join('\n')
    .concat(`AUXOT_WORKER_TYPE=cli
AUXOT_CLI_TYPE=claude
AUXOT_MODEL=${envValue(model)}
AUXOT_CLI_TOOLS=
AUXOT_ADMIN_KEY_HASH='${admin.hash}'
AUXOT_API_KEY_HASH='${api.hash}'

# AUXOT_CLI_TOOLS=Bash,Read,Edit   turns on these tools of the CLI program
# AUXOT_CLI_TOOLS=default          turns on all of them
#
# Save the settings as .env, start the router there (auxot-router),
# and the worker on a machine where the CLI program is logged in (command above).
`);
}

async function newToolsKeyText(env: Env): Promise<string> {
  const tools = await newKey('tools');
  const before = env.AUXOT_TOOLS_KEY_HASH
    ? 'AUXOT_TOOLS_KEY_HASH is set: the new key replaces that one once the router is restarted with the line below.'
    : 'AUXOT_TOOLS_KEY_HASH was not set: the line below turns tools on.';
  return [
    `\n${before}\n`,
    section(
      'Tools key (tools workers dial in with it)',
      `  ${tools.key}`,
      '',
      `AUXOT_TOOLS_KEY=${tools.key} auxot-tools`,
    ),
    onceOnly,
    section('Put this into the configuration of the router', `  AUXOT_TOOLS_KEY_HASH='${tools.hash}'`),
  ].join('\n');
}

async function newKey(kind: KeyKind): Promise<{ key: string; hash: string }> {
  const key = generateKey(kind);
  return { key, hash: await hashKey(key) };
}

const onceOnly = 'Keep these keys now: they are stored nowhere, and only shown this once.\n';

const section = (title: string, ...lines: readonly string[]): string =>
  [title, '-'.repeat(title.length), ...lines, ''].join('\n');

/** The tools hash that is in force, kept so that a file written by setup does not turn tools off. */
function usableToolsHash(env: Env, err: TextSink): string | null {
  const hash = env.AUXOT_TOOLS_KEY_HASH;
  if (!hash) return null;
  try {
    parsePhc(hash);
    return hash;
  } catch (error) {
    const problem = error instanceof Error ? error.message : error;
    err.write(`AUXOT_TOOLS_KEY_HASH is set but not usable (${problem}); a new tools key replaces it.\n`);
    return null;
  }
}

/** The name ends up in a file and in a shell command, so what could break out of its quotes is refused. */
function checkedModel(model: string): string {
  if (model === '' || model.includes("'") || /[\u0000-\u001f\u007f]/.test(model))
    throw new UsageError('auxot-router setup: --model cannot be empty, or contain quotes or control characters');
  return model;
}

const envValue = (value: string): string => (/^[\w.:/@+-]+$/.test(value) ? value : `'${value}'`);

/** A dangling link counts: writing through it would create a file somewhere else. */
const isThere = (path: string): boolean => existsSync(path) || lstatSync(path, { throwIfNoEntry: false }) !== undefined;
