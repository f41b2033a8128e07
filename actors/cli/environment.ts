/**
 * What an agent program sees of the worker's environment: little. It runs what a model says, so keys of the router, and
 * whatever else lies about there, are not passed on (C9); what the program needs to reach its provider is.
 */
import type { CliDriver } from './cli.ts';

const common = [
  /^PATH$/,
  /^LANG(UAGE)?$/,
  /^LC_/,
  /^TZ$/,
  /^(HTTPS?|NO|ALL)_PROXY$/i,
  /^SSL_CERT_(FILE|DIR)$/,
  /^NODE_EXTRA_CA_CERTS$/,
];

export function environmentFor(
  driver: CliDriver,
  env: Readonly<Record<string, string | undefined>>,
): Record<string, string> {
  const passed: Record<string, string> = {};
  for (const [name, value] of Object.entries(env)) {
    if (value === undefined || name.startsWith('AUXOT_')) continue;
    if ([...common, ...driver.passes].some(pattern => pattern.test(name))) passed[name] = value;
  }
  return passed;
}
