/**
 * The files that make a worker a service, as text: a systemd unit with its environment file, or a launchd property list.
 *
 * F1. The key stands in one file only, which its owner alone can read: beside a unit its environment file (weakness G22),
 *     with launchd, which knows no such file, the property list itself.
 * F2. What people write (keys, paths, addresses) is quoted for the format it goes into, and read back from it as it was.
 */
export interface WorkerService {
  readonly name: string;
  /** Program and arguments; all of them absolute where they are files. */
  readonly command: readonly string[];
  /** With the key. */
  readonly env: Readonly<Record<string, string>>;
  /** For everybody, from the start of the machine on; else for one user, while logged in. */
  readonly system: boolean;
}

export const unitName = (name: string): string => `auxot-worker-${name}.service`;
export const plistLabel = (name: string): string => `com.auxot.worker.${name}`;

/** The account of system services, and where it keeps models: it has no home that it could write to (weakness G24). */
export const serviceUser = 'auxot';
export const stateFolder = '/var/lib/auxot';

export function systemdUnit({ name, command, system }: WorkerService, envFile: string): string {
  const account = system
    ? [`User=${serviceUser}`, `Group=${serviceUser}`, 'StateDirectory=auxot', `WorkingDirectory=${stateFolder}`]
    : [];
  return `${[
    '[Unit]',
    `Description=Auxot worker (${name})`,
    'After=network-online.target',
    'Wants=network-online.target',
    '',
    '[Service]',
    `EnvironmentFile=${envFile.replaceAll('%', '%%')}`,
    `ExecStart=${command.map((word, n) => systemdWord(word, n === 0)).join(' ')}`,
    ...account,
    'Restart=always',
    'RestartSec=5',
    'TimeoutStopSec=30',
    '',
    '[Install]',
    `WantedBy=${system ? 'multi-user.target' : 'default.target'}`,
  ].join('\n')}\n`;
}

/** A word of a command line: systemd expands `%` in them, and `$` in all but the program. */
const systemdWord = (word: string, isProgram: boolean): string => {
  const plain = word.replaceAll('%', '%%').replaceAll('$', isProgram ? '$$' : '$$$$');
  return /^[\w@%+=:,./$-]+$/.test(plain) ? plain : `"${plain.replaceAll('\\', '\\\\').replaceAll('"', '\\"')}"`;
};

export const environmentFile = (env: Readonly<Record<string, string>>): string =>
  Object.entries(env)
    .map(([key, value]) => `${key}="${value.replaceAll('\\', '\\\\').replaceAll('"', '\\"')}"\n`)
    .join('');

export function readEnvironmentFile(text: string): Record<string, string> {
  const env: Record<string, string> = {};
  for (const [, key = '', value = ''] of text.matchAll(/^(\w+)="((?:[^"\\]|\\.)*)"$/gm))
    env[key] = value.replace(/\\(.)/g, '$1');
  return env;
}

export function launchdPlist({ name, command, env }: WorkerService, logFile: string): string {
  const text = (value: string): string => `<string>${escapeXml(value)}</string>`;
  return `<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
<plist version="1.0">
<dict>
  <key>Label</key>
  ${text(plistLabel(name))}
  <key>ProgramArguments</key>
  <array>
${command.map(word => `    ${text(word)}`).join('\n')}
  </array>
  <key>EnvironmentVariables</key>
  <dict>
${Object.entries(env)
  .map(([key, value]) => `    <key>${escapeXml(key)}</key>\n    ${text(value)}`)
  .join('\n')}
  </dict>
  <key>RunAtLoad</key>
  <true/>
  <key>KeepAlive</key>
  <true/>
  <key>StandardOutPath</key>
  ${text(logFile)}
  <key>StandardErrorPath</key>
  ${text(logFile)}
</dict>
</plist>
`;
}

/** The environment in a property list that `launchdPlist` wrote. */
export function readPlistEnvironment(plist: string): Record<string, string> {
  const [, dict = ''] = /<key>EnvironmentVariables<\/key>\s*<dict>([\s\S]*?)<\/dict>/.exec(plist) ?? [];
  const env: Record<string, string> = {};
  for (const [, key = '', value = ''] of dict.matchAll(/<key>([^<]*)<\/key>\s*<string>([^<]*)<\/string>/g))
    env[unescapeXml(key)] = unescapeXml(value);
  return env;
}

const entities: Readonly<Record<string, string>> = { '&': '&amp;', '<': '&lt;', '>': '&gt;' };
const escapeXml = (text: string): string => text.replace(/[&<>]/g, c => entities[c] ?? c);
const unescapeXml = (text: string): string =>
  text.replaceAll('&lt;', '<').replaceAll('&gt;', '>').replaceAll('&amp;', '&');

/** Enough of a key to know it again (weakness G23: short ones, too). */
export function maskedKey(key: string): string {
  if (key === '') return '(none)';
  return key.length <= 12 ? `${key.slice(0, 4)}...` : `${key.slice(0, 8)}...${key.slice(-4)}`;
}
