/**
 * Installs, lists and removes worker services, with systemd (Linux) or launchd (macOS).
 *
 * Files with a key are created readable by their owner only, never made so afterwards. An account for system services is
 * created if there is none. Whatever fails says which command it was and what it said.
 */
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import {
  environmentFile,
  launchdPlist,
  plistLabel,
  readEnvironmentFile,
  readPlistEnvironment,
  serviceUser,
  stateFolder,
  systemdUnit,
  unitName,
  type WorkerService,
} from './service-files.ts';

/** The machine, as far as services touch it; `root` goes before every path of the system (a test's own folder). */
export interface Machine {
  readonly platform: string;
  readonly home: string;
  readonly root: string;
  /** Runs a program to its end. */
  readonly run: (program: string, args: readonly string[]) => { readonly status: number; readonly output: string };
}

export interface InstalledService {
  readonly name: string;
  readonly system: boolean;
  readonly running: boolean;
  readonly key: string;
  readonly routerUrl: string;
}

export class ServiceError extends Error {}

interface Places {
  readonly service: string;
  /** Where the key is; null: in the service's own file. */
  readonly env: string | null;
  readonly log: string;
}

function placesOf({ platform, home, root }: Machine, name: string, system: boolean): Places {
  if (platform === 'darwin') {
    const label = plistLabel(name);
    return {
      service: join(home, 'Library/LaunchAgents', `${label}.plist`),
      env: null,
      log: join(home, '.auxot/logs', `${label}.log`),
    };
  }
  if (platform !== 'linux')
    throw new ServiceError(`services are installed with systemd or launchd, and ${platform} has neither`);
  return system
    ? {
        service: join(root, '/etc/systemd/system', unitName(name)),
        env: join(root, '/etc/auxot', `worker-${name}.env`),
        log: `journalctl -u ${unitName(name)}`,
      }
    : {
        service: join(home, '.config/systemd/user', unitName(name)),
        env: join(home, '.config/auxot', `worker-${name}.env`),
        log: `journalctl --user -u ${unitName(name)}`,
      };
}

/** @returns where its output is to be seen. */
export function installService(machine: Machine, service: WorkerService): string {
  const { name, system } = service;
  const places = placesOf(machine, name, system);
  const mac = machine.platform === 'darwin';
  if (mac && system)
    throw new ServiceError('on macOS a worker is installed for the user who installs it: leave --always-on out');
  if (!mac && system && machine.run('id', [serviceUser]).status !== 0) {
    const shell = ['--shell', '/usr/sbin/nologin', serviceUser];
    must(machine, 'useradd', ['--system', '--home-dir', stateFolder, '--no-create-home', ...shell]);
  }
  if (system) mustRead(machine, service);
  if (mac) mkdirSync(dirname(places.log), { recursive: true });
  if (places.env !== null) writePrivate(places.env, environmentFile(service.env), 0o700);
  if (mac) writePrivate(places.service, launchdPlist(service, places.log), 0o755);
  else {
    mkdirSync(dirname(places.service), { recursive: true });
    const envFile = (places.env ?? '').slice(system ? machine.root.length : 0);
    writeFileSync(places.service, systemdUnit(service, envFile), { mode: 0o644 });
  }
  if (mac) {
    // One that is loaded would go on with the settings of before.
    machine.run('launchctl', ['unload', places.service]);
    must(machine, 'launchctl', ['load', '-w', places.service]);
  } else {
    must(machine, 'systemctl', [...scope(system), 'daemon-reload']);
    must(machine, 'systemctl', [...scope(system), 'enable', unitName(name)]);
    must(machine, 'systemctl', [...scope(system), 'restart', unitName(name)]);
  }
  return places.log;
}

/** What is in somebody's home is mostly closed to the account of the service, which would then start and end for ever (G24). */
function mustRead(machine: Machine, { command, env }: WorkerService): void {
  for (const file of [...command, env.AUXOT_MODEL_FILE])
    if (file?.startsWith('/') && machine.run('runuser', ['-u', serviceUser, '--', 'test', '-r', file]).status !== 0)
      throw new ServiceError(
        `the account ${serviceUser} cannot read ${file}: put it where everybody can, as below /opt, and install it from there`,
      );
}

export function listServices(machine: Machine): InstalledService[] {
  return scopes(machine).flatMap(system => {
    const folder = dirname(placesOf(machine, 'x', system).service);
    if (!existsSync(folder)) return [];
    return readdirSync(folder).flatMap(file => {
      const name = /^(?:auxot-worker-|com\.auxot\.worker\.)([a-z0-9-]+)\.(?:service|plist)$/.exec(file)?.[1];
      return name === undefined ? [] : [serviceAt(machine, name, system)];
    });
  });
}

/**
 * @returns whether there was one.
 * @throws ServiceError when it cannot be told that it no longer runs: its files stay then, so that it can still be stopped.
 */
export function uninstallService(machine: Machine, name: string): boolean {
  let found = false;
  for (const system of scopes(machine).reverse()) {
    const places = placesOf(machine, name, system);
    if (!existsSync(places.service)) continue;
    found = true;
    stop(machine, name, system, places.service);
    rmSync(places.service);
    if (places.env !== null) rmSync(places.env, { force: true });
    if (machine.platform !== 'darwin') machine.run('systemctl', [...scope(system), 'daemon-reload']);
  }
  return found;
}

function serviceAt(machine: Machine, name: string, system: boolean): InstalledService {
  const places = placesOf(machine, name, system);
  const mac = machine.platform === 'darwin';
  const status = mac
    ? machine.run('launchctl', ['list', plistLabel(name)])
    : machine.run('systemctl', [...scope(system), 'is-active', unitName(name)]);
  const running = mac
    ? status.status === 0 && /"PID"\s*=\s*\d+/.test(status.output)
    : status.output.trim() === 'active';
  const text = read(places.env ?? places.service);
  const env = text === null ? {} : mac ? readPlistEnvironment(text) : readEnvironmentFile(text);
  return { name, system, running, key: env.AUXOT_GPU_KEY ?? '', routerUrl: env.AUXOT_ROUTER_URL ?? '' };
}

/** One that does not run cannot be stopped, and is well. */
function stop(machine: Machine, name: string, system: boolean, file: string): void {
  const mac = machine.platform === 'darwin';
  const [program, ...args] = mac
    ? (['launchctl', 'unload', '-w', file] as const)
    : (['systemctl', ...scope(system), 'disable', '--now', unitName(name)] as const);
  const { status, output } = machine.run(program, args);
  if (status === 0) return;
  const state = mac
    ? machine.run('launchctl', ['list', plistLabel(name)])
    : machine.run('systemctl', [...scope(system), 'is-active', unitName(name)]);
  const isOver = mac ? state.status !== 0 : /^(inactive|failed|unknown)$/.test(state.output.trim());
  if (isOver) return;
  const why = `${[program, ...args].join(' ')} failed: ${output.trim()}`;
  throw new ServiceError(`the worker may still run, so its files are kept: ${why}`);
}

/** System services, then those of the user. */
const scopes = ({ platform }: Machine): boolean[] => (platform === 'darwin' ? [false] : [true, false]);

const scope = (system: boolean): string[] => (system ? [] : ['--user']);

function must(machine: Machine, program: string, args: readonly string[]): void {
  const { status, output } = machine.run(program, args);
  if (status !== 0) throw new ServiceError(`${[program, ...args].join(' ')} failed: ${output.trim()}`);
}

function writePrivate(path: string, text: string, folderMode: number): void {
  mkdirSync(dirname(path), { recursive: true, mode: folderMode });
  rmSync(path, { force: true }); // a file that is there keeps its mode
  writeFileSync(path, text, { mode: 0o600, flag: 'wx' });
  chmodSync(path, 0o600);
}

/** Null for a file that may not be read: another user's. */
function read(path: string): string | null {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return null; // It is shown without its settings.
  }
}
