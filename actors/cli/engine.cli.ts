/**
 * An engine whose answers come from an agent program (Claude Code, Codex, Cursor): one process a job.
 *
 * K1. A job ends when its answer is whole; its process, and all that it started, is gone before its folder is, and both
 *     before the job is over (C22, C23).
 * K2. A program that says nothing for `quietMsMax` is ended. So is one whose job is.
 * K3. An answer that its provider refused for lack of room is no failure of the job: it is told as such, and the engine
 *     takes nothing more until that is over (state `broken`).
 */
import fs from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import {
  type Engine,
  EngineError,
  type EngineInfo,
  type EngineJob,
  type EngineResult,
  type EngineState,
  type GeneratedToolCall,
  type GenerateHooks,
} from '../engine/engine.ts';
import { type StopStrings, stopStrings } from '../engine/stop-strings.ts';
import { type Child, startChild } from './child.ts';
import type { CliDriver, CliJob, CliSaying, CliTool, CliUsage } from './cli.ts';
import { conversationOf, record } from './conversation.ts';
import { environmentFor } from './environment.ts';
import { openPlaces, type Place, type Places } from './places.ts';
import { type Probed, probe } from './probe.ts';
import { openToolServer } from './tool-server.ts';

export interface CliEngineOptions {
  readonly driver: CliDriver;
  /** The policy's model; '' = the program's own default. */
  readonly model: string;
  readonly builtins: readonly string[];
  readonly contextSize: number;
  readonly slots: number;
  /** Where the private folders are made. */
  readonly folder: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly onState: (state: EngineState) => void;
  readonly onTrouble: (message: string) => void;
}

/** Longer than a tool of its own may take; a provider that answers sends something every few seconds. */
const quietMsMax = 10 * 60_000;
/** For the end of a program that has said its last word, before it is ended. */
const lastMs = 2000;
/** When a provider refuses without saying for how long. */
const limitMsDefault = 60_000;
const limitMsMax = 6 * 3600_000;

export function cliEngine(options: CliEngineOptions): Engine {
  const { driver, env, onTrouble } = options;
  const passed = environmentFor(driver, env);
  const toolServer = openToolServer();
  const running = new Set<() => void>();
  let state: EngineState = 'loading';
  let info: EngineInfo | null = null;
  let probed: Probed | null = null;
  let places: Places | null = null;
  let limitEnds: NodeJS.Timeout | undefined;

  const turn = (next: EngineState): void => {
    if (state === 'closed' || state === next) return;
    state = next;
    options.onState(next);
  };

  /** K3. */
  const limited = (retryAfterMs: number | null): void => {
    const ms = Math.min(retryAfterMs ?? limitMsDefault, limitMsMax);
    onTrouble(`${driver.title} takes nothing more for ${Math.ceil(ms / 1000)} s: its provider's limit is reached`);
    clearTimeout(limitEnds);
    limitEnds = setTimeout(() => turn('ready'), ms);
    turn('broken');
  };

  const run = async (
    job: EngineJob,
    hooks: GenerateHooks,
    at: Place,
    tools: readonly CliTool[],
  ): Promise<EngineResult> => {
    const offer = driver.toolsByMcp && tools.length > 0 ? await toolServer.offer(tools) : null;
    const cliJob: CliJob = {
      model: options.model,
      conversation: conversationOf(job.messages, job.resume?.text),
      tools,
      builtins: options.builtins,
      effort: job.reasoningEffort,
      thinkingBudget: job.thinkingBudget,
      maxTokens: job.maxTokens,
      place: at,
      toolServer: offer,
      flags: probed?.flags ?? new Set(),
      env: passed,
    };
    try {
      return await answer(driver, cliJob, job, hooks, {
        command: probed?.command ?? '',
        env: homely(passed, at),
        running,
      });
    } catch (error) {
      if (error instanceof EngineError && error.code === 'server_overloaded') limited(error.retryAfterMs);
      throw error;
    } finally {
      offer?.withdraw();
    }
  };

  return {
    get state() {
      return state;
    },
    get info() {
      return info;
    },
    async load() {
      const path = env[driver.pathVariable] ?? driver.command;
      places = openPlaces(options.folder);
      const at = places.open();
      try {
        probed = await probe(driver, homely(passed, at), path);
      } catch (error) {
        throw new EngineError('model_load_failed', error instanceof Error ? error.message : String(error));
      } finally {
        at.remove();
      }
      const model = options.model === '' ? driver.name : options.model;
      const opened: EngineInfo = {
        model,
        backend: `cli/${driver.name}`,
        contextSize: options.contextSize,
        slots: options.slots,
        vramGb: 0,
        parameters: '',
        modelFile: `cli:${driver.name}:${model}`,
        threads: 0,
        gpu: '',
        features: driver.features,
      };
      info = opened;
      turn('ready');
      return opened;
    },
    async generate(job, hooks) {
      if (places === null || info === null || state !== 'ready')
        throw new EngineError('engine_unavailable', `${driver.title} takes no jobs now (${state})`);
      const refusal = beyond(driver, job) ?? driver.refuses(job);
      if (refusal !== null) throw new EngineError('unsupported_parameter', `${driver.title}: ${refusal}`);
      hooks.signal.throwIfAborted();
      const at = places.open();
      try {
        linkLogin(driver, env, at);
        return await run(job, hooks, at, (job.tools ?? []).map(toolOf));
      } finally {
        at.remove();
      }
    },
    countTokens() {
      return Promise.reject(new EngineError('invalid_request', `${driver.title} cannot count tokens`));
    },
    async close() {
      turn('closed');
      clearTimeout(limitEnds);
      for (const end of running) end();
      toolServer.close();
      places?.close();
    },
  };
}

interface Runner {
  readonly command: string;
  readonly env: Readonly<Record<string, string>>;
  readonly running: Set<() => void>;
}

/** Runs the program for one job, to the end of its answer. */
async function answer(
  driver: CliDriver,
  cliJob: CliJob,
  job: EngineJob,
  hooks: GenerateHooks,
  { command, env, running }: Runner,
): Promise<EngineResult> {
  const startedAt = performance.now();
  const heard = new Heard(job, hooks);
  const listener = driver.listen(cliJob);
  const { args, env: more } = driver.launch(cliJob);
  let child: Child | null = null;
  let quiet: NodeJS.Timeout | undefined;
  let lastWords: NodeJS.Timeout | undefined;

  const stillThere = (): void => {
    clearTimeout(quiet);
    quiet = setTimeout(() => {
      heard.fail('internal_error', `${driver.title} said nothing for ${quietMsMax / 60_000} minutes`);
      child?.kill();
    }, quietMsMax);
  };
  const onLine = (line: string): void => {
    stillThere();
    const event = objectOf(line);
    if (event === null || heard.over) return;
    for (const saying of listener.hear(event)) {
      if (saying.kind === 'write') child?.write(saying.line);
      else heard.take(saying);
      if (!heard.over) continue;
      child?.closeInput();
      // With calls to make it would ask for their results, and at a stop string it would write on.
      if (saying.kind === 'done' && heard.calls === 0) lastWords = setTimeout(() => child?.kill(), lastMs);
      else child?.kill();
      return;
    }
  };

  child = startChild({ command, args, env: { ...env, ...more }, cwd: cliJob.place.work, onLine });
  cliJob.place.occupied(child.pid);
  const { kill } = child;
  running.add(kill);
  hooks.signal.addEventListener('abort', kill, { once: true });
  stillThere();
  for (const line of listener.opening) child.write(line);
  const end = await child.ended;
  clearTimeout(quiet);
  clearTimeout(lastWords);
  running.delete(kill);
  hooks.signal.removeEventListener('abort', kill);
  if (hooks.signal.aborted) throw new EngineError('cancelled', 'the job was ended');
  if (!heard.over) {
    const how = end.signal ?? `status ${end.status}`;
    const message = `${driver.title} ended (${how}) before its answer did: ${end.errors.trim().slice(-1000)}`;
    throw new EngineError('internal_error', message);
  }
  return heard.result(Math.round(performance.now() - startedAt));
}

/** The answer as it is heard: pieces go out, with stop strings applied, and the whole is kept. */
class Heard {
  readonly #hooks: GenerateHooks;
  readonly #stops: StopStrings;
  #text: string;
  #reasoning: string;
  #calls: GeneratedToolCall[] = [];
  #usage: CliUsage = { input: 0, cached: 0, output: 0, reasoning: 0 };
  #finish: EngineResult['finishReason'] | null = null;
  #stopped: string | null = null;
  #error: EngineError | null = null;

  constructor(job: EngineJob, hooks: GenerateHooks) {
    this.#hooks = hooks;
    this.#stops = stopStrings(job.stop ?? []);
    this.#text = job.resume?.text ?? '';
    this.#reasoning = job.resume?.reasoning ?? '';
  }

  get over(): boolean {
    return this.#finish !== null || this.#error !== null;
  }

  get calls(): number {
    return this.#calls.length;
  }

  fail(code: EngineError['code'], message: string, retryAfterMs: number | null = null): void {
    this.#error ??= new EngineError(code, message, undefined, retryAfterMs);
  }

  take(saying: Exclude<CliSaying, { kind: 'write' }>): void {
    switch (saying.kind) {
      case 'text':
        return this.#say(this.#stops.push(saying.text));
      case 'reasoning':
        this.#reasoning += saying.text;
        return this.#hooks.onPiece({ kind: 'reasoning', text: saying.text, ids: [] });
      case 'callBegun':
        if (this.#calls.length === 0) this.#hooks.onToolCall();
        return;
      case 'call':
        this.#calls.push({ id: saying.id, name: saying.name, arguments: saying.arguments });
        return;
      case 'usage':
        this.#usage = saying.usage;
        return;
      case 'limit':
        return this.fail('server_overloaded', saying.message, saying.retryAfterMs ?? limitMsDefault);
      case 'failed':
        return this.fail(saying.code, saying.message);
      case 'done':
        this.#say(this.#stops.flush());
        this.#finish ??= saying.finishReason;
    }
  }

  #say({ text, stopped }: { readonly text: string; readonly stopped: string | null }): void {
    if (this.#finish !== null) return;
    if (text !== '') {
      this.#text += text;
      this.#hooks.onPiece({ kind: 'text', text, ids: [] });
    }
    if (stopped === null) return;
    this.#stopped = stopped;
    this.#finish = 'stop';
  }

  /** @throws what the program failed with. */
  result(durationMs: number): EngineResult {
    if (this.#error !== null) throw this.#error;
    return {
      finishReason: this.#finish ?? 'stop',
      usage: this.#usage,
      text: this.#text,
      reasoning: this.#reasoning,
      toolCalls: this.#calls,
      ...(this.#stopped === null ? {} : { stopSequence: this.#stopped }),
      durationMs,
    };
  }
}

/** What a router that knows no features may send all the same. */
function beyond({ features }: CliDriver, { toolChoice, responseFormat }: EngineJob): string | null {
  const forced = toolChoice !== undefined && toolChoice !== 'auto' && toolChoice !== 'none';
  if (forced && !features.includes('tool_choice')) return 'tool_choice: it calls tools as it sees fit';
  const format = record(responseFormat).type ?? 'text';
  if (format !== 'text' && !features.includes('response_format')) return `response_format: it cannot keep to ${format}`;
  return null;
}

const homely = (env: Readonly<Record<string, string>>, { home, temp }: Place): Record<string, string> => ({
  ...env,
  HOME: home,
  TMPDIR: temp,
});

/** The operator's own login, where it is kept in a file: the program reads, and renews, the one there is. */
function linkLogin({ login }: CliDriver, env: CliEngineOptions['env'], at: Place): void {
  const folder = env[login.variable] ?? join(env.HOME ?? homedir(), login.folder);
  const file = join(folder, login.file);
  if (fs.existsSync(file)) fs.symlinkSync(file, join(at.config, login.file));
}

/** C25: a tool without parameters takes an empty object. */
function toolOf(tool: Readonly<Record<string, unknown>>): CliTool {
  const { name, description, parameters } = record(tool.function);
  const schema = record(parameters);
  return {
    name: String(name ?? ''),
    description: typeof description === 'string' ? description : '',
    schema: Object.keys(schema).length > 0 ? schema : { type: 'object', properties: {} },
  };
}

/** Lines that are no JSON objects are remarks for people. */
function objectOf(line: string): Readonly<Record<string, unknown>> | null {
  if (!line.startsWith('{')) return null;
  try {
    return record(JSON.parse(line));
  } catch {
    return null;
  }
}
