import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import {
  maskedKey,
  readEnvironmentFile,
  readPlistEnvironment,
  systemdUnit,
  type WorkerService,
} from './service-files.ts';
import { installService, listServices, type Machine, ServiceError, uninstallService } from './services.ts';

const test = suite<{ folder: string }>('services');
test.before.each(context => {
  context.folder = mkdtempSync(join(tmpdir(), 'auxot-services-'));
});
test.after.each(({ folder }) => rmSync(folder, { recursive: true, force: true }));

const key = 'adm_"quoted" \\ & <odd> %h $HOME';
const serviceOf = (system: boolean): WorkerService => ({
  name: 'den',
  command: ['/opt/my node/bin/node', '/opt/auxot/worker.js'],
  env: { AUXOT_GPU_KEY: key, AUXOT_ROUTER_URL: 'wss://r.example/ws' },
  system,
});

function machineIn(folder: string, platform: string, answers: Record<string, [number, string]> = {}) {
  const ran: string[] = [];
  const machine: Machine = {
    platform,
    home: join(folder, 'home'),
    root: folder,
    run(program, args) {
      const line = [program, ...args].join(' ');
      ran.push(line);
      const [status, output] = Object.entries(answers).find(([start]) => line.startsWith(start))?.[1] ?? [0, ''];
      return { status, output };
    },
  };
  return { machine, ran };
}

for (const system of [true, false]) {
  const kind = system ? 'system' : 'user';
  test(`a systemd ${kind} service: the key is in a file that only its owner reads, quoted, and not in the unit (G22, G24)`, ({
    folder,
  }) => {
    const { machine, ran } = machineIn(folder, 'linux', { id: [1, ''], 'systemctl is-active': [0, 'active\n'] });
    installService(machine, serviceOf(system));
    const unit = readFileSync(
      join(folder, system ? 'etc/systemd/system' : 'home/.config/systemd/user', 'auxot-worker-den.service'),
      'utf8',
    );
    const envFile = join(folder, system ? 'etc/auxot' : 'home/.config/auxot', 'worker-den.env');
    assert.is(statSync(envFile).mode & 0o777, 0o600);
    assert.not.match(unit, 'adm_');
    assert.match(unit, 'ExecStart="/opt/my node/bin/node" /opt/auxot/worker.js\n');
    assert.match(unit, system ? 'StateDirectory=auxot' : 'WantedBy=default.target');
    assert.is(readEnvironmentFile(readFileSync(envFile, 'utf8')).AUXOT_GPU_KEY, key);
    const scope = system ? '' : ' --user';
    assert.ok(ran.includes(`systemctl${scope} enable auxot-worker-den.service`), ran.join('\n'));
    assert.is(
      ran.some(line => line.startsWith('useradd')),
      system,
      'G24: it has an account and a folder of its own',
    );
    const [listed] = listServices(machine);
    assert.equal(listed, { name: 'den', system, running: system, key, routerUrl: 'wss://r.example/ws' });
    assert.is(uninstallService(machine, 'den'), true);
    assert.equal(listServices(machine), []);
    assert.throws(() => statSync(envFile));
    assert.is(uninstallService(machine, 'den'), false);
  });
}

test('a launchd service is listed with its key, its address and whether it runs (G23)', ({ folder }) => {
  const { machine } = machineIn(folder, 'darwin', { 'launchctl list': [0, '{\n\t"PID" = 4711;\n};'] });
  installService(machine, serviceOf(false));
  const plist = join(folder, 'home/Library/LaunchAgents/com.auxot.worker.den.plist');
  assert.is(statSync(plist).mode & 0o777, 0o600);
  assert.is(readPlistEnvironment(readFileSync(plist, 'utf8')).AUXOT_GPU_KEY, key);
  const listed = { name: 'den', system: false, running: true, key, routerUrl: 'wss://r.example/ws' };
  assert.equal(listServices(machine), [listed]);
  assert.throws(() => installService(machine, serviceOf(true)), /leave --always-on out/);
});

test('a file that others could read is not written over but made anew', ({ folder }) => {
  const { machine } = machineIn(folder, 'linux');
  installService(machine, serviceOf(false));
  const envFile = join(folder, 'home/.config/auxot/worker-den.env');
  rmSync(envFile);
  writeFileSync(envFile, '', { mode: 0o644 });
  installService(machine, serviceOf(false));
  assert.is(statSync(envFile).mode & 0o777, 0o600);
});

test('what fails is told with the command, and other systems are refused', ({ folder }) => {
  const { machine } = machineIn(folder, 'linux', { 'systemctl --user daemon-reload': [1, 'no bus'] });
  assert.throws(() => installService(machine, serviceOf(false)), /systemctl --user daemon-reload failed: no bus/);
  assert.throws(
    () => listServices(machineIn(folder, 'win32').machine),
    (error: unknown) => error instanceof ServiceError,
  );
});

test('a worker that cannot be stopped keeps its files, and one that does not run is removed', ({ folder }) => {
  const noBus: [number, string] = [1, 'Failed to connect to bus'];
  const unit = join(folder, 'home/.config/systemd/user/auxot-worker-den.service');
  const stops = 'systemctl --user disable --now';
  const asks = 'systemctl --user is-active';
  installService(machineIn(folder, 'linux').machine, serviceOf(false));
  for (const answer of [noBus, [0, 'active\n'] as [number, string]]) {
    const { machine } = machineIn(folder, 'linux', { [stops]: noBus, [asks]: answer });
    assert.throws(() => uninstallService(machine, 'den'), /its files are kept: systemctl .* failed: Failed to connect/);
    assert.ok(statSync(unit).isFile());
  }
  const { machine } = machineIn(folder, 'linux', { [stops]: [1, 'not loaded'], [asks]: [3, 'inactive\n'] });
  assert.ok(uninstallService(machine, 'den'));
  assert.throws(() => statSync(unit));
});

test('a system service whose account cannot read its program is not installed (G24)', ({ folder }) => {
  const { machine } = machineIn(folder, 'linux', { 'runuser -u auxot -- test -r /opt/auxot/worker.js': [1, ''] });
  assert.throws(
    () => installService(machine, serviceOf(true)),
    /the account auxot cannot read \/opt\/auxot\/worker.js/,
  );
  assert.equal(listServices(machine), []);
  installService(machine, serviceOf(false));
});

test('a launchd service that is installed again starts with its new settings', ({ folder }) => {
  const { machine, ran } = machineIn(folder, 'darwin');
  installService(machine, serviceOf(false));
  assert.equal(
    ran.map(line => line.split(' ').slice(0, 2).join(' ')),
    ['launchctl unload', 'launchctl load'],
  );
});

test('systemd gets its words as they are: no variable is expanded in them', () => {
  const unit = systemdUnit({ ...serviceOf(false), command: ['/a/no$de', '/b/wor$ker.js', '100%'] }, '/e');
  assert.match(unit, 'ExecStart=/a/no$de /b/wor$$ker.js 100%%\n');
});

test('keys of any length are masked (G23)', () => {
  assert.equal(['', 'ab', 'adm_12345678', 'adm_1234567890abc'].map(maskedKey), [
    '(none)',
    'ab...',
    'adm_...',
    'adm_1234...0abc',
  ]);
});

test.run();
