/** Whether the program is there and can do what its driver needs: asked once, before the router is offered anything. */
import { execFile } from 'node:child_process';
import type { CliDriver } from './cli.ts';

export interface Probed {
  readonly command: string;
  readonly version: string;
  readonly flags: ReadonlySet<string>;
}

const probeMsMax = 30_000;

/** @throws a sentence that names what is missing, and what to do. */
export async function probe(driver: CliDriver, env: Readonly<Record<string, string>>, path: string): Promise<Probed> {
  const { title, pathVariable, versionMin, helpArgs, needs } = driver;
  const said = await ask(path, ['--version'], env).catch((error: Error) => {
    const fix = `Install it, or give its path by ${pathVariable}.`;
    throw new Error(`${title} cannot be started (${path}: ${error.message}). ${fix}`);
  });
  const version = /\d+(?:\.\d+)+/.exec(said)?.[0];
  if (version === undefined) throw new Error(`${path} does not seem to be ${title}: its --version says ${cut(said)}`);
  if (isOlder(version, versionMin))
    throw new Error(`${title} ${version} is too old; ${versionMin} or newer is needed. Update it.`);
  const help = await ask(path, helpArgs, env);
  const flags = new Set(help.match(/--[a-z][a-z-]*/g) ?? []);
  const missing = needs.filter(flag => !flags.has(flag));
  if (missing.length > 0)
    throw new Error(`${title} ${version} lacks ${missing.join(', ')}, which this worker needs. Update it.`);
  return { command: path, version, flags };
}

function ask(command: string, args: readonly string[], env: Readonly<Record<string, string>>): Promise<string> {
  return new Promise((resolve, reject) => {
    const options = { env: { ...env }, timeout: probeMsMax, maxBuffer: 4 * 2 ** 20, killSignal: 'SIGKILL' as const };
    const child = execFile(command, [...args], options, (error, stdout, stderr) => {
      if (error === null) resolve(stdout);
      else if (error.killed === true) reject(new Error(`no answer within ${probeMsMax / 1000} s`));
      else reject(new Error(cut(stderr) || error.message));
    });
    child.stdin?.end();
  });
}

const cut = (text: string): string => JSON.stringify(text.trim().slice(0, 200));

function isOlder(version: string, than: string): boolean {
  const [a, b] = [version, than].map(text => text.split('.').map(Number));
  for (let at = 0; at < 3; at += 1) {
    const difference = (a?.[at] ?? 0) - (b?.[at] ?? 0);
    if (difference !== 0) return difference < 0;
  }
  return false;
}
