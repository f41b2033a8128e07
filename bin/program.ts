/** What every program does first and last: settings from `.env`, its version, and an exit that says why. */
import { readFileSync } from 'node:fs';
import { loadDotenv } from '../actors/config/dotenv-file.ts';
import { ConfigError, type Env } from '../actors/config/env.ts';
import { UsageError } from '../actors/config/flags.ts';

/** From package.json, one folder up from the sources and two from the built files. */
export function programVersion(): string {
  for (const place of ['../package.json', '../../package.json']) {
    try {
      const { version }: { version?: unknown } = JSON.parse(readFileSync(new URL(place, import.meta.url), 'utf8'));
      if (typeof version === 'string') return version;
    } catch (error) {
      if (!(error instanceof Error && 'code' in error && error.code === 'ENOENT')) throw error;
    }
  }
  throw new Error('package.json is missing beside the program');
}

/** The environment with the values of `.env` in the current directory behind it. */
export function programEnv(): Env {
  const { env, warning } = loadDotenv(process.env, process.cwd());
  if (warning !== null) process.stderr.write(`${warning}\n`);
  return env;
}

/** The exit status for an error, after it was shown: 2 for misuse, else 1. */
export function showFailure(error: unknown): number {
  if (error instanceof UsageError) {
    process.stderr.write(`${error.message}\n`);
    return error.exitCode;
  }
  if (error instanceof ConfigError) {
    process.stderr.write(
      `${JSON.stringify({ time: new Date().toISOString(), level: 'ERROR', msg: 'configuration error', error: error.message })}\n`,
    );
    return 1;
  }
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  return 1;
}

/** A reader of the output that goes (`| head`, a log program that ends) takes its lines with it, and not this program. */
export function outliveReaders(): void {
  for (const out of [process.stdout, process.stderr]) out.on('error', () => undefined);
}

/** A terminal, a shell and npm may each pass on the same key press. */
const sameAskMs = 1000;

/** Resolves with the name of the first signal that asks the program to end. Another, later, ends it at once. */
export function stopSignal(): Promise<NodeJS.Signals> {
  return new Promise(resolve => {
    let askedAt: number | null = null;
    for (const signal of ['SIGINT', 'SIGTERM'] as const) {
      process.on(signal, () => {
        askedAt ??= Date.now();
        if (Date.now() - askedAt > sameAskMs) process.exit(130);
        resolve(signal);
      });
    }
  });
}
