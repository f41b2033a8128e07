/** The programs that can answer jobs. A new one is a file like claude.ts and a row here. */
import { claude } from './claude.ts';
import type { CliDriver } from './cli.ts';
import { codex } from './codex.ts';
import { cursor } from './cursor.ts';

const drivers: readonly CliDriver[] = [claude, codex, cursor];

export const driverNames: readonly string[] = drivers.map(({ name }) => name);

/** `type` as the policy says it; empty means the first. */
export const driverOf = (type: string): CliDriver | undefined =>
  drivers.find(({ name }) => name === (type === '' ? drivers[0]?.name : type.toLowerCase()));
