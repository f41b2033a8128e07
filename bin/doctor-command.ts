/** `auxot-worker doctor`: looks at everything that a worker needs here, and says what is wrong. */
import { randomUUID } from 'node:crypto';
import { access, constants, statfs } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { Env } from '../actors/config/env.ts';
import { parseFlags } from '../actors/config/flags.ts';
import { readWorkerConfig, type WorkerConfig, workerFlags } from '../actors/config/worker-config.ts';
import type { Engine } from '../actors/engine/engine.ts';
import { probeMachine } from '../actors/engine/probe.ts';
import { findModel } from '../actors/models/find-model.ts';
import { checkLocalModel } from '../actors/models/local-model.ts';
import { askHealth } from '../actors/worker/ask-health.ts';
import { systemClock } from '../actors/worker/clock.ts';
import { examine, isBroken, type ModelPlace, table } from '../actors/worker/doctor.ts';
import { type CliWanted, type EngineEvents, wantedOf } from '../actors/worker/gpu-worker.ts';
import { greet } from '../actors/worker/greet.ts';
import { dialWs } from '../actors/worker/socket.ws.ts';
import { withoutPassword } from '../protocol/router-url.ts';
import type { Policy } from '../protocol/worker-frames.parts.ts';
import { estimate } from '../registry/estimate.ts';
import { demoModel, openRegistry } from '../registry/load.ts';
import { resolve } from '../registry/resolve.ts';
import { programEnv } from './program.ts';

export const doctorHelp = `auxot-worker doctor: looks at everything that a worker needs here, and says what is wrong.

Usage: auxot-worker doctor [--json] [flags and environment as for auxot-worker itself]

Asks the router (reachable, key accepted, clock), the machine (GPU, memory, disk) and the model (would it fit?).
Nothing is fetched or loaded. The exit status is 1 when something is broken.
`;

const healthMsMax = 10_000;

type OpenCli = (wanted: CliWanted, events: EngineEvents) => Engine;

export async function doctorCommand(args: readonly string[], cliFor: (env: Env) => OpenCli): Promise<number> {
  const flags = parseFlags('auxot-worker doctor', args, { ...workerFlags, json: 'switch' });
  if (flags.has('help')) {
    process.stdout.write(doctorHelp);
    return 0;
  }
  const env = programEnv();
  const config = readWorkerConfig(env, flags, { keyless: true });
  const checks = await examine({
    routerUrl: config.routerUrl,
    askHealth,
    greet: config.gpuKey === '' ? null : url => greet(url, config.gpuKey, randomUUID(), dialWs, systemClock),
    probe: (modelPath, policy) => {
      if (modelPath === null) return probeMachine(null);
      const { threads, gpuLayers, embeddings, memory } = config;
      return probeMachine({ modelPath, ...wantedOf(policy), threads, gpuLayers, embeddings, memory });
    },
    findModel: policy => placeOf(policy, config),
    modelsFolder: config.models.folder,
    freeBytes,
    findProgram: policy => programOf(policy, cliFor(env)),
  });
  const ok = !isBroken(checks);
  process.stdout.write(flags.has('json') ? `${JSON.stringify({ ok, checks }, null, 2)}\n` : table(checks));
  return ok ? 0 : 1;
}

async function placeOf(
  policy: Policy | null,
  { modelPath, models, llamaServer, sdServerPath }: WorkerConfig,
): Promise<ModelPlace> {
  // A llama-server that runs has loaded what it serves.
  if (llamaServer?.kind === 'running') return served(llamaServer.url);
  for (const program of [llamaServer?.path, sdServerPath])
    if (program?.includes('/') && !(await isProgram(program)))
      return { kind: 'none', reason: `no program is at ${program}`, fix: 'Give the path of one that may be run.' };
  if (modelPath === 'demo') return { kind: 'here', path: demoModel().path };
  if (modelPath !== null) {
    await checkLocalModel(modelPath);
    return { kind: 'here', path: modelPath };
  }
  if (policy === null) return { kind: 'unknown', reason: 'the router names it, and could not be asked' };
  if (policy.model_name === '')
    return { kind: 'none', reason: 'the router names none', fix: 'Start the worker with --model-path.' };
  const registry = openRegistry(models.registryFile);
  const wanted = { name: policy.model_name, quantization: policy.quantization, withProjector: false };
  const quiet = { signal: AbortSignal.timeout(healthMsMax), onProgress: () => undefined, onTrouble: () => undefined };
  try {
    const { modelPath: path } = await findModel(wanted, registry, { ...models, offline: true }, quiet);
    return { kind: 'here', path };
  } catch (error) {
    const found = resolve(registry.entries, wanted.name, wanted.quantization);
    if (!found.ok || models.offline) throw error;
    const { entry } = found;
    const { contextSize, slots } = wantedOf(policy);
    const needs = estimate({ ...entry, projector: null }, { contextSize: contextSize ?? entry.contextMax, slots });
    const name = `${entry.name} (${entry.quantization})`;
    return { kind: 'to fetch', name, fileBytes: needs.weightBytes, memoryBytes: needs.totalBytes };
  }
}

async function served(url: string): Promise<ModelPlace> {
  const fix = 'Start it, or correct AUXOT_LLAMA_URL.';
  const where = withoutPassword(url);
  return askHealth(`${url}/health`).then(
    ({ status }): ModelPlace =>
      status === 200
        ? { kind: 'unknown', reason: `the llama-server at ${where} has loaded it` }
        : { kind: 'none', reason: `the llama-server at ${where} answers with status ${status}`, fix },
    (error: unknown): ModelPlace => {
      const why = error instanceof Error ? error.message : String(error);
      return { kind: 'none', reason: `no llama-server answers at ${where}: ${why}`, fix };
    },
  );
}

const isProgram = (path: string): Promise<boolean> =>
  access(path, constants.X_OK).then(
    () => true,
    () => false,
  );

/** Of the disk on which the folder is, or will be. */
async function freeBytes(folder: string): Promise<number> {
  try {
    const { bavail, bsize } = await statfs(folder);
    return bavail * bsize;
  } catch (error) {
    const isMissing = error instanceof Error && 'code' in error && error.code === 'ENOENT';
    if (!isMissing || dirname(folder) === folder) throw error;
    return freeBytes(dirname(folder));
  }
}

async function programOf(policy: Policy, openCli: OpenCli): Promise<string> {
  const quiet = {
    onState: () => undefined,
    onLoading: () => undefined,
    onChosen: () => undefined,
    onTrouble: () => undefined,
  };
  const { contextSize, slots } = wantedOf(policy);
  const wanted = { type: policy.cli_type ?? '', model: policy.model_name, builtins: [], contextSize, slots };
  const engine = openCli(wanted, quiet);
  try {
    const { backend, model } = await engine.load();
    return `${backend} is there, for ${model || 'its own model'}`;
  } finally {
    await engine.close();
  }
}
