/** `auxot-worker install`, `list` and `uninstall`: a worker as a service of this machine. */
import { spawnSync } from 'node:child_process';
import { existsSync, realpathSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { ConfigError, type Env } from '../actors/config/env.ts';
import { parseFlags, UsageError } from '../actors/config/flags.ts';
import { readWorkerConfig, workerFlags } from '../actors/config/worker-config.ts';
import { maskedKey, stateFolder, unitName } from '../actors/service/service-files.ts';
import { installService, listServices, type Machine, uninstallService } from '../actors/service/services.ts';
import { withoutPassword } from '../protocol/router-url.ts';

export const serviceCommands = ['install', 'list', 'uninstall'] as const;

const help = `auxot-worker install: starts this worker with the machine, or with your session.

Usage: auxot-worker install [flags] [NAME=VALUE ...]
       auxot-worker list
       auxot-worker uninstall NAME

  --name NAME        what it is called: small letters, digits and dashes  (default "default")
  --gpu-key KEY      the workers' key                                     (AUXOT_GPU_KEY, required)
  --router-url URL   the router to dial                                   (AUXOT_ROUTER_URL, default auxot.com)
  --model-path FILE  a GGUF file in the place of the router's model
  --always-on        for the whole machine, from its start on, under an account of its own (Linux, as root);
                     without it: for you, while you are logged in

NAME=VALUE are further settings, as auxot-worker --help lists them. The key is kept in a file that only its owner can read.
`;

const commandMs = 60_000;

/** This machine, as it is. */
const thisMachine: Machine = {
  platform: process.platform,
  home: homedir(),
  root: '/',
  run(program, args) {
    const { status, stdout, stderr, error } = spawnSync(program, args, { encoding: 'utf8', timeout: commandMs });
    return { status: status ?? 1, output: error?.message ?? `${stdout}${stderr}` };
  },
};

export function serviceCommand(command: string, args: readonly string[], env: Env): number {
  if (command === 'list') {
    const asked = parseFlags('auxot-worker list', args, { help: 'switch' });
    return asked.has('help') ? say(help) : list();
  }
  if (command === 'uninstall') return uninstall(args);
  const specs = {
    name: 'value',
    'gpu-key': 'value',
    'router-url': 'value',
    'model-path': 'value',
    'always-on': 'switch',
    help: 'switch',
  } as const;
  const flags = parseFlags('auxot-worker install', args, specs, { restMax: 100 });
  if (flags.has('help')) return say(help);
  const name = flags.value('name') ?? 'default';
  if (!/^[a-z0-9][a-z0-9-]*$/.test(name))
    throw new UsageError(
      `auxot-worker install: --name takes small letters, digits and dashes, not ${JSON.stringify(name)}`,
    );
  const words = settingsIn(flags.rest);
  const key = flags.value('gpu-key') ?? words.AUXOT_GPU_KEY ?? env.AUXOT_GPU_KEY ?? '';
  if (key === '')
    throw new ConfigError('AUXOT_GPU_KEY', null, 'no key', 'Give the workers’ key, by --gpu-key or this variable.');
  const system = flags.has('always-on');
  const modelPath = flags.value('model-path') ?? words.AUXOT_MODEL_FILE;
  const settings: Record<string, string> = {
    ...words,
    AUXOT_GPU_KEY: key,
    AUXOT_ROUTER_URL: flags.value('router-url') ?? words.AUXOT_ROUTER_URL ?? env.AUXOT_ROUTER_URL ?? 'auxot.com',
    // An account without a home has no other place for them.
    ...(system ? { HOME: stateFolder, AUXOT_MODELS_DIR: join(stateFolder, 'models') } : {}),
    ...(modelPath === undefined ? {} : { AUXOT_MODEL_FILE: modelFileAt(modelPath) }),
  };
  for (const [setting, value] of Object.entries(settings))
    if (/[\r\n]/.test(value)) throw new UsageError(`auxot-worker install: ${setting} must be one line`);
  // What the worker would refuse at each start, it refuses here.
  settings.AUXOT_ROUTER_URL = readWorkerConfig(settings, parseFlags('auxot-worker install', [], workerFlags)).routerUrl;
  const program = realpathSync(process.argv[1] ?? '');
  if (!program.endsWith('.js'))
    throw new UsageError('auxot-worker install: build the program first (npm run build), and install the built one');
  const log = installService(thisMachine, { name, system, env: settings, command: [process.execPath, program] });
  const lingers =
    system || process.platform !== 'linux'
      ? ''
      : ' To keep it running while you are logged out: loginctl enable-linger\n';
  return say(
    `The worker "${name}" is installed and starts now.\n Its output: ${log}\n To remove it: auxot-worker uninstall ${name}\n${lingers}`,
  );
}

/** A service starts in another folder than the one that this path is seen from. */
function modelFileAt(path: string): string {
  if (path === 'demo') return path;
  if (existsSync(path)) return realpathSync(path);
  throw new UsageError(`auxot-worker install: no model file is at ${path} (--model-path, AUXOT_MODEL_FILE)`);
}

function settingsIn(words: readonly string[]): Record<string, string> {
  return Object.fromEntries(
    words.map(word => {
      const [, setting, value] = /^([A-Z][A-Z0-9_]*)=(.*)$/.exec(word) ?? [];
      if (setting === undefined || value === undefined)
        throw new UsageError(`auxot-worker install: ${JSON.stringify(word)} is no setting; write NAME=VALUE`);
      return [setting, value];
    }),
  );
}

function list(): number {
  const services = listServices(thisMachine);
  if (services.length === 0) return say('No worker is installed here. To install one: auxot-worker install --help\n');
  const rows = services.map(({ name, system, running, key, routerUrl: url }) => [
    name,
    system ? 'system' : 'user',
    running ? 'running' : 'stopped',
    maskedKey(key),
    withoutPassword(url),
  ]);
  const table = [['NAME', 'MODE', 'STATUS', 'GPU KEY', 'ROUTER URL'], ...rows];
  const widths = table[0]?.map((_, column) => Math.max(...table.map(row => (row[column] ?? '').length))) ?? [];
  return say(
    table
      .map(
        row =>
          `${row
            .map((cell, column) => cell.padEnd(widths[column] ?? 0))
            .join('  ')
            .trimEnd()}\n`,
      )
      .join(''),
  );
}

function uninstall(args: readonly string[]): number {
  const flags = parseFlags('auxot-worker uninstall', args, { help: 'switch' }, { restMax: 1 });
  if (flags.has('help')) return say(help);
  const [name] = flags.rest;
  if (name === undefined)
    throw new UsageError('auxot-worker uninstall: which one? auxot-worker list shows their names');
  if (!/^[a-z0-9][a-z0-9-]*$/.test(name) || !uninstallService(thisMachine, name)) {
    process.stderr.write(
      `no worker of that name is installed here (${unitName(name)}); auxot-worker list shows them\n`,
    );
    return 1;
  }
  return say(`The worker "${name}" is removed.\n`);
}

function say(text: string): number {
  process.stdout.write(text);
  return 0;
}
