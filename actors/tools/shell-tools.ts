/**
 * Shell tools: programs in a folder, each with a descriptor beside it.
 *
 *   weather.sh + weather.tool.json      an executable script, described by the file of its name
 *   weather.tool.json with "command"    any program
 *
 * A tool gets its arguments as JSON on its input and answers on its output. Its process group ends with the call, in
 * time, with its output capped; of the environment it sees what is in credentials.ts and what its descriptor names.
 */
import { accessSync, constants, readdirSync, readFileSync, statSync } from 'node:fs';
import { isAbsolute, join, resolve } from 'node:path';
import type { Diagnostics } from '../config/diagnostics.ts';
import type { Env } from '../config/env.ts';
import { startChild, tailOf, withoutSecrets } from './child-process.ts';
import { type Credentials, plainEnvironment } from './credentials.ts';
import { type Tool, type ToolCall, ToolError, type ToolOutput, type ToolSource } from './tool.ts';

export interface ShellToolsOptions {
  readonly folder: string;
  readonly env: Env;
  readonly credentials: Credentials;
  readonly diagnostics: Diagnostics;
  readonly onChanged: () => void;
  readonly scanMs?: number;
}

const timeoutSecondsDefault = 60;
const outputBytesDefault = 2 ** 20;
const outputBytesMax = 8 * 2 ** 20;
const stderrCharsMax = 2000;
const scanMsDefault = 5000;
const toolsMax = 500;

interface Descriptor {
  readonly name: string;
  readonly description: string;
  readonly parameters: Readonly<Record<string, unknown>>;
  readonly command: string;
  readonly args: readonly string[];
  readonly timeoutMs: number;
  readonly outputBytes: number;
  readonly envNames: readonly string[];
  readonly cwd: string;
  readonly idempotent: boolean;
}

export function shellTools(options: ShellToolsOptions): ToolSource {
  const { folder, diagnostics } = options;
  let tools: readonly Tool[] = [];
  let seen = '';

  const scan = (): boolean => {
    const state = stateOf(folder);
    if (state === seen) return false;
    seen = state;
    tools = descriptorsIn(folder, message => diagnostics.warn(message)).map(descriptor => ({
      ...descriptor,
      run: (call: ToolCall) => runProgram(descriptor, call, options),
    }));
    diagnostics.info('shell tools', { folder, tools: tools.map(({ name }) => name) });
    return true;
  };
  scan();
  const timer = setInterval(() => {
    if (scan()) options.onChanged();
  }, options.scanMs ?? scanMsDefault);
  timer.unref();

  return {
    tools: () => tools,
    async close() {
      clearInterval(timer);
    },
  };
}

/** What a change of the folder changes. */
function stateOf(folder: string): string {
  try {
    return readdirSync(folder)
      .filter(name => /\.(tool\.json|sh)$/.test(name))
      .sort()
      .map(name => {
        const { mtimeMs, size, mode } = statSync(join(folder, name));
        return `${name} ${mtimeMs} ${size} ${mode}`;
      })
      .join('\n');
  } catch {
    return ''; // no folder, or a file that went while it was looked at: the next look settles it
  }
}

export function descriptorsIn(folder: string, warn: (message: string) => void): readonly Descriptor[] {
  let files: string[];
  try {
    files = readdirSync(folder).filter(name => name.endsWith('.tool.json'));
  } catch {
    return []; // there need not be a folder
  }
  const found: Descriptor[] = [];
  for (const file of files.sort().slice(0, toolsMax)) {
    const path = join(folder, file);
    try {
      const descriptor = readDescriptor(
        folder,
        file.slice(0, -'.tool.json'.length),
        JSON.parse(readFileSync(path, 'utf8')),
      );
      if (descriptor !== null) found.push(descriptor);
    } catch (error) {
      warn(`${path} describes no tool: ${error instanceof Error ? error.message : error}`);
    }
  }
  return found;
}

/** Null for a description without a program that may be run. */
function readDescriptor(folder: string, base: string, json: unknown): Descriptor | null {
  if (typeof json !== 'object' || json === null || Array.isArray(json)) throw new Error('it is not a JSON object');
  const fields = new Map<string, unknown>(Object.entries(json));
  const text = (name: string): string => {
    const value = fields.get(name);
    if (typeof value === 'string' && value.trim() !== '') return value;
    throw new Error(`"${name}" must be a text that is not empty`);
  };
  const texts = (name: string): readonly string[] => {
    const value = fields.get(name) ?? [];
    if (Array.isArray(value) && value.every(item => typeof item === 'string')) return value;
    throw new Error(`"${name}" must be a list of texts`);
  };
  const count = (name: string, fallback: number, max: number): number => {
    const value = fields.get(name) ?? fallback;
    if (typeof value === 'number' && value > 0 && value <= max) return value;
    throw new Error(`"${name}" must be a number above 0, and at most ${max}`);
  };
  const name = text('name');
  if (!/^[\w.-]{1,64}$/.test(name)) throw new Error('"name" may have letters, digits, _, - and ., at most 64');
  const parameters = fields.get('parameters') ?? { type: 'object', properties: {} };
  if (typeof parameters !== 'object' || parameters === null || Array.isArray(parameters))
    throw new Error('"parameters" must be a JSON schema');
  const envNames = texts('env');
  const ours = envNames.find(variable => variable.startsWith('AUXOT_'));
  if (ours !== undefined) throw new Error(`"env" may not name ${ours}: settings of this program stay in it`);
  const named = fields.has('command') ? text('command') : join(folder, `${base}.sh`);
  // A path is meant from the folder, a bare name from the PATH.
  const command =
    isAbsolute(named) || !/[\\/]/.test(named) ? named : resolve(fields.has('command') ? folder : '.', named);
  if (!fields.has('command') && !isExecutable(command)) return null;
  return {
    name,
    description: text('description'),
    parameters: parameters as Record<string, unknown>,
    command,
    args: texts('args'),
    timeoutMs: count('timeout_seconds', timeoutSecondsDefault, 3600) * 1000,
    outputBytes: count('max_output_bytes', outputBytesDefault, outputBytesMax),
    envNames,
    cwd: fields.has('cwd') ? resolve(folder, text('cwd')) : process.cwd(),
    idempotent: fields.get('idempotent') === true,
  };
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return statSync(path).isFile();
  } catch {
    return false;
  }
}

async function runProgram(descriptor: Descriptor, call: ToolCall, options: ShellToolsOptions): Promise<ToolOutput> {
  const { command, args, cwd, outputBytes, timeoutMs } = descriptor;
  const named: Record<string, string> = {};
  for (const name of descriptor.envNames) {
    const value = options.env[name];
    if (value !== undefined) named[name] = value;
  }
  const secrets = { ...options.credentials.shell, ...call.credentials };
  const env = { ...plainEnvironment(options.env), ...named, ...secrets };
  const child = startChild({ command, args, env, cwd });
  const stderr = tailOf(child.process.stderr, stderrCharsMax);
  const pieces: Buffer[] = [];
  let bytes = 0;
  let stopped: 'late' | 'large' | 'cancelled' | null = null;
  let wake: () => void = () => undefined;
  const stop = new Promise<void>(resolveStop => {
    wake = resolveStop;
  });
  const because = (why: 'late' | 'large' | 'cancelled'): void => {
    stopped ??= why;
    wake();
  };
  const timer = setTimeout(() => because('late'), timeoutMs);
  const cancel = (): void => because('cancelled');
  call.signal.addEventListener('abort', cancel);
  if (call.signal.aborted) cancel();
  const closed = new Promise<void>(resolveClosed => child.process.stdout.once('close', () => resolveClosed()));
  child.process.stdout.on('data', (piece: Buffer) => {
    bytes += piece.length;
    if (bytes <= outputBytes) pieces.push(piece);
    else because('large');
  });
  child.process.stdin.end(JSON.stringify(call.args));
  try {
    // A grandchild may hold the output open for ever; when the program itself has ended, it is over soon.
    const over = child.exit.then(async exit => {
      await Promise.race([closed, new Promise(resolveSoon => setTimeout(resolveSoon, 200))]);
      return exit;
    });
    const exit = await Promise.race([over, stop.then(() => null)]);
    if (stopped === 'cancelled') throw new ToolError('cancelled', 'the program was stopped');
    const problem =
      stopped === 'late'
        ? `the program took longer than ${timeoutMs / 1000} s and was stopped`
        : stopped === 'large'
          ? `the program wrote more than ${outputBytes} bytes and was stopped`
          : exit?.error != null
            ? `the program cannot be started: ${exit.error}`
            : exit?.status !== 0
              ? `the program ended with ${exit?.status === null ? 'a signal' : `status ${exit?.status}`}`
              : null;
    if (problem === null) return { result: shown(Buffer.concat(pieces).toString('utf8')) };
    const said = withoutSecrets(stderr().trim(), secrets);
    return { result: { error: problem, ...(said === '' ? {} : { stderr: said }) } };
  } finally {
    clearTimeout(timer);
    call.signal.removeEventListener('abort', cancel);
    await child.end(0);
  }
}

function shown(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}
