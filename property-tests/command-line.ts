/**
 * The command lines of the programs that try the others (`npm run simulate`, `chaos`, `mutations`): `--help` says what there
 * is and ends with 0; a flag that is not known, or a number that is none, is named and ends with 2.
 */
import { type FlagKind, type Flags, parseFlags, UsageError } from '../actors/config/flags.ts';

export interface CommandLine<Name extends string> extends Flags<Name> {
  /** The flag's value, or `otherwise` when it is absent; at least `min` (0). */
  number(name: Name, otherwise: number, min?: number): number;
}

export function commandLine<const Specs extends Readonly<Record<string, FlagKind>>>(
  command: string,
  help: string,
  specs: Specs,
): CommandLine<keyof Specs & string> {
  try {
    const flags = parseFlags(command, process.argv.slice(2), { ...specs, help: 'switch' });
    if (flags.has('help')) {
      process.stdout.write(help);
      process.exit(0);
    }
    return {
      ...flags,
      number: (name, otherwise, min = 0) => numberOf(command, name, flags.value(name), otherwise, min),
    };
  } catch (error) {
    if (error instanceof UsageError) refuse(error.message);
    throw error;
  }
}

function numberOf(command: string, name: string, text: string | undefined, otherwise: number, min: number): number {
  if (text === undefined) return otherwise;
  const number = Number(text);
  if (Number.isFinite(number) && number >= min && text.trim() !== '') return number;
  return refuse(`${command}: --${name} must be a number of at least ${min}, and ${JSON.stringify(text)} is not`);
}

function refuse(message: string): never {
  process.stderr.write(`${message}\n`);
  process.exit(2);
}
