/**
 * Looks at everything that a worker needs, without being one: settings, router, key, clock, GPU, memory, model, disk.
 *
 * - Every check is done, whatever the others found; what cannot be looked at without another is `skipped`, and says why.
 * - What is `broken` keeps a worker from serving, and has a fix. A `warning` does not.
 */
import { httpBase, withoutPassword } from '../../protocol/router-url.ts';
import type { Policy } from '../../protocol/worker-frames.parts.ts';
import type { MachineFacts } from '../engine/engine.ts';
import { dialTrouble } from './dial-trouble.ts';
import type { Greeting } from './greet.ts';

export interface Check {
  readonly name: 'key' | 'router' | 'clock' | 'gpu' | 'memory' | 'model' | 'disk' | 'program';
  readonly state: 'ok' | 'warning' | 'broken' | 'skipped';
  readonly message: string;
  readonly fix?: string;
}

/** What a router says at `/health`, and how that went. */
export interface Health {
  readonly status: number;
  readonly ms: number;
  /** Its `Date`, and our clock in the middle of the request; null: it sent none. */
  readonly dates: { readonly theirs: number; readonly ours: number } | null;
}

/** A model on this disk, or what is known of it before it is there. */
export type ModelPlace =
  | { readonly kind: 'here'; readonly path: string }
  | { readonly kind: 'to fetch'; readonly name: string; readonly fileBytes: number; readonly memoryBytes: number }
  /** It cannot be known here, and that breaks nothing more. */
  | { readonly kind: 'unknown'; readonly reason: string }
  | { readonly kind: 'none'; readonly reason: string; readonly fix: string };

export interface DoctorOptions {
  /** Several are separated by commas. */
  readonly routerUrl: string;
  readonly askHealth: (url: string) => Promise<Health>;
  /** null: there is no key to greet with. */
  readonly greet: ((url: string) => Promise<Greeting>) | null;
  /** Without a model, the machine alone. */
  readonly probe: (modelPath: string | null, policy: Policy | null) => Promise<MachineFacts>;
  /** That this worker would serve. */
  readonly findModel: (policy: Policy | null) => Promise<ModelPlace>;
  readonly modelsFolder: string;
  readonly freeBytes: (folder: string) => Promise<number>;
  /** The agent program of the policy: what it is. @throws a sentence for people. */
  readonly findProgram: (policy: Policy) => Promise<string>;
}

export async function examine(options: DoctorOptions): Promise<Check[]> {
  const checks: Check[] = [];
  let policy: Policy | null = null;
  for (const url of options.routerUrl.split(',')) {
    const found = await router(url, options);
    checks.push(...found.checks);
    policy ??= found.policy;
  }
  if (policy?.worker_type === 'cli') {
    checks.push(await program(policy, options));
    return checks;
  }
  const place = await options
    .findModel(policy)
    .catch((error: unknown): ModelPlace => ({ kind: 'none', reason: messageOf(error), fix: 'See the message.' }));
  checks.push(...(await machine(place, policy, options)), await disk(place, options));
  return checks;
}

async function router(url: string, options: DoctorOptions): Promise<{ checks: Check[]; policy: Policy | null }> {
  const base = withoutPassword(httpBase(url));
  const health = await options
    .askHealth(`${httpBase(url)}/health`)
    .catch((error: unknown) => dialTrouble(messageOf(error)));
  if (typeof health === 'string') {
    const fix =
      'Is the router running, and is this its address (--router-url, AUXOT_ROUTER_URL)? Without a scheme, ws:// is meant on this machine and in private networks, wss:// elsewhere.';
    const why = 'the router does not answer';
    const checks: Check[] = [
      { name: 'router', state: 'broken', message: `${base} does not answer: ${health}`, fix },
      options.greet === null ? noKey : { name: 'key', state: 'skipped', message: why },
      { name: 'clock', state: 'skipped', message: why },
    ];
    return { checks, policy: null };
  }
  // Routers take nobody without a key, so that one is not even asked.
  if (options.greet === null)
    return { checks: [routerCheck(base, health, null), noKey, clockCheck(health)], policy: null };
  const greeting = await options.greet(url);
  const wanted = greeting.kind === 'taken' ? greeting.policy : null;
  return {
    checks: [routerCheck(base, health, greeting), keyCheck(base, greeting), clockCheck(health)],
    policy: wanted,
  };
}

/** `greeting` null: it was not greeted. */
function routerCheck(base: string, { status, ms }: Health, greeting: Greeting | null): Check {
  const answered = `${base} answers in ${Math.round(ms)} ms`;
  if (greeting?.kind === 'failed') {
    const fix = 'If there is a proxy between, it must pass WebSockets on at /ws.';
    return { name: 'router', state: 'broken', message: `${answered}, but takes no worker: ${greeting.reason}`, fix };
  }
  if (status !== 200) {
    const fix = 'Look at the router: its store may be down.';
    return { name: 'router', state: 'warning', message: `${answered} with status ${status}`, fix };
  }
  const version = greeting?.kind === 'taken' ? `, worker protocol ${greeting.version}` : '';
  return { name: 'router', state: 'ok', message: `${answered}${version}` };
}

const keyFix = 'Give the workers’ key that auxot-router setup printed (adm_…), by --gpu-key or AUXOT_GPU_KEY.';
const noKey: Check = { name: 'key', state: 'broken', message: 'none is given', fix: keyFix };

function keyCheck(base: string, greeting: Greeting): Check {
  switch (greeting.kind) {
    case 'taken':
      return { name: 'key', state: 'ok', message: `${base} takes it` };
    case 'failed':
      return { name: 'key', state: 'skipped', message: 'the router did not get as far as looking at it' };
    case 'refused':
      return { name: 'key', state: 'broken', message: `${base} refuses it: ${greeting.reason}`, fix: keyFix };
  }
}

/** `Date` has whole seconds. */
const skewMsFine = 2000;
/** Certificates and deadlines go wrong by about here. */
const skewMsMax = 60_000;

function clockCheck({ dates }: Health): Check {
  if (dates === null) return { name: 'clock', state: 'skipped', message: 'the router sends no Date' };
  // The router's instant was somewhere within the second that it wrote down.
  const skewMs = dates.ours - (dates.theirs + 500);
  const seconds = Math.abs(skewMs / 1000).toFixed(1);
  if (Math.abs(skewMs) <= skewMsFine) return { name: 'clock', state: 'ok', message: 'within 2 s of the router’s' };
  const message = `${seconds} s ${skewMs > 0 ? 'ahead of' : 'behind'} the router’s`;
  const fix = 'Let both machines keep their time by NTP.';
  return { name: 'clock', state: Math.abs(skewMs) > skewMsMax ? 'broken' : 'warning', message, fix };
}

async function machine(place: ModelPlace, policy: Policy | null, options: DoctorOptions): Promise<Check[]> {
  const path = place.kind === 'here' ? place.path : null;
  // A model that cannot be read says nothing about the machine: then it is asked for alone.
  const whole = await options.probe(path, policy).catch((error: unknown) => messageOf(error));
  const facts = typeof whole === 'string' ? await options.probe(null, null).catch(() => null) : whole;
  if (facts === null) {
    const fix = 'Install the program again; node-llama-cpp’s prebuilt libraries must fit this system.';
    const message = typeof whole === 'string' ? whole : 'the engine cannot be asked';
    return [
      { name: 'gpu', state: 'broken', message, fix },
      { name: 'memory', state: 'skipped', message: 'the engine cannot be asked' },
      modelCheck(place, null, null),
    ];
  }
  return [gpuCheck(facts), memoryCheck(facts), modelCheck(place, facts, typeof whole === 'string' ? whole : null)];
}

function gpuCheck({ gpu, gpuNames, vram, release }: MachineFacts): Check {
  if (gpu === '') {
    const message = `none that llama.cpp ${release} can use: models run on the processor`;
    return {
      name: 'gpu',
      state: 'warning',
      message,
      fix: 'If there is one, install its driver (CUDA 12.4 or newer, or Vulkan).',
    };
  }
  const memory = `${gb(vram.freeBytes)} of ${gb(vram.totalBytes)} GB free`;
  return { name: 'gpu', state: 'ok', message: `${gpuNames.join(', ') || 'a GPU'} by ${gpu}: ${memory}` };
}

function memoryCheck({ ram, limit }: MachineFacts): Check {
  const whole = `${gb(ram.freeBytes)} of ${gb(ram.totalBytes)} GB free`;
  if (limit === null) return { name: 'memory', state: 'ok', message: whole };
  const message = `${gb(limit.freeBytes)} of ${gb(limit.totalBytes)} GB that this process may use are free (the machine: ${whole})`;
  return { name: 'memory', state: 'ok', message };
}

function modelCheck(place: ModelPlace, facts: MachineFacts | null, trouble: string | null): Check {
  const name = 'model';
  if (place.kind === 'unknown') return { name, state: 'skipped', message: place.reason };
  if (place.kind === 'none') return { name, state: 'broken', message: place.reason, fix: place.fix };
  if (trouble !== null && place.kind === 'here')
    return { name, state: 'broken', message: `${place.path}: ${trouble}`, fix: 'Fetch it again, or choose another.' };
  if (facts === null) return { name, state: 'skipped', message: 'the engine cannot be asked' };
  if (place.kind === 'here') {
    const { ok = false, message = 'nothing is known of it' } = facts.fit ?? {};
    if (ok) return { name, state: 'ok', message: `${place.path}: ${message}` };
    return { name, state: 'broken', message: `${place.path}: ${message}`, fix: 'See the message.' };
  }
  const free = facts.vram.freeBytes + (facts.limit?.freeBytes ?? facts.ram.freeBytes);
  const message = `${place.name} is not on this disk yet; it needs about ${gb(place.memoryBytes)} GB of memory, and ${gb(free)} GB are free`;
  if (place.memoryBytes <= free) return { name, state: 'ok', message };
  const fix = `Fewer slots and a shorter context are tried first; to be sure choose a smaller one at the router (auxot-router models --fits ${Math.floor(free / 2 ** 30)}).`;
  return { name, state: 'warning', message, fix };
}

/** Besides what is fetched. */
const spareBytes = 256 * 2 ** 20;

async function disk(place: ModelPlace, { modelsFolder, freeBytes }: DoctorOptions): Promise<Check> {
  const name = 'disk';
  const fix = 'Make room, or set AUXOT_MODELS_DIR to a folder on another disk.';
  try {
    const free = await freeBytes(modelsFolder);
    const needed = place.kind === 'to fetch' ? place.fileBytes : 0;
    const message = `${gb(free)} GB free for ${modelsFolder}`;
    if (needed === 0) return { name, state: 'ok', message };
    if (free < needed + spareBytes)
      return { name, state: 'broken', message: `${message}, and ${gb(needed)} GB are to be fetched`, fix };
    return { name, state: 'ok', message: `${message}, of which ${gb(needed)} GB will be used` };
  } catch (error) {
    return { name, state: 'broken', message: `${modelsFolder}: ${messageOf(error)}`, fix };
  }
}

async function program(policy: Policy, { findProgram }: DoctorOptions): Promise<Check> {
  try {
    return { name: 'program', state: 'ok', message: await findProgram(policy) };
  } catch (error) {
    const fix = 'See the message; docs/cli-workers.md says what each program needs.';
    return { name: 'program', state: 'broken', message: messageOf(error), fix };
  }
}

/** For a terminal: a line a check, and below what is not well how to mend it. */
export function table(checks: readonly Check[]): string {
  const width = Math.max(...checks.map(({ name }) => name.length));
  const lines = checks.flatMap(({ name, state, message, fix }) => [
    `${state.padEnd(7)}  ${name.padEnd(width)}  ${message}`,
    ...(fix === undefined || state === 'ok' ? [] : [`${' '.repeat(width + 11)}${fix}`]),
  ]);
  return `${lines.join('\n')}\n`;
}

export const isBroken = (checks: readonly Check[]): boolean => checks.some(({ state }) => state === 'broken');

const gb = (bytes: number): string => (bytes / 2 ** 30).toFixed(1);

function messageOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  // What `fetch` throws says nothing by itself; its cause does.
  return error.cause instanceof Error && error.cause.message !== '' ? error.cause.message : error.message;
}
