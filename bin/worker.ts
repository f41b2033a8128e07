#!/usr/bin/env node
/** `auxot-worker`: reads what it is told, builds a worker (GPU or CLI, as the router's policy says), starts it, and stops it when asked to. */
import { randomUUID } from 'node:crypto';
import { driverNames, driverOf } from '../actors/cli/drivers.ts';
import { cliEngine } from '../actors/cli/engine.cli.ts';
import { placesFolder } from '../actors/cli/places.ts';
import { openDiagnostics } from '../actors/config/diagnostics.ts';
import type { Env } from '../actors/config/env.ts';
import { parseFlags, unknownCommand } from '../actors/config/flags.ts';
import { readWorkerConfig, workerFlags, workerHelp } from '../actors/config/worker-config.ts';
import { llamaEngine } from '../actors/engine/engine.llama.ts';
import { sdEngine } from '../actors/engine/engine.sd.ts';
import { serverEngine } from '../actors/engine/engine.server.ts';
import type { Engine } from '../actors/engine/engine.ts';
import { probeMachine } from '../actors/engine/probe.ts';
import { findModel, type PaintModel } from '../actors/models/find-model.ts';
import { checkLocalModel } from '../actors/models/local-model.ts';
import { amount, progressView } from '../actors/models/show-progress.ts';
import { systemClock } from '../actors/worker/clock.ts';
import { loggedDial } from '../actors/worker/frame-log.ts';
import { type CliWanted, type EngineEvents, gpuWorker } from '../actors/worker/gpu-worker.ts';
import { serveHealth } from '../actors/worker/health.ts';
import { dialWs } from '../actors/worker/socket.ws.ts';
import { demoModel, openRegistry } from '../registry/load.ts';
import { toolFormatOf } from '../registry/query.ts';
import { doctorCommand } from './doctor-command.ts';
import { outliveReaders, programEnv, programVersion, showFailure, stopSignal } from './program.ts';
import { serviceCommand, serviceCommands } from './service-command.ts';

// The command line may hold the key, and everybody on the machine can read a process's title.
process.title = 'auxot-worker';

/** When the policy does not say how much an agent program's model can take, tokens. */
const cliContextSize = 200_000;

async function main(args: readonly string[]): Promise<number> {
  const [first = '', ...others] = args;
  if (first === 'doctor') return doctorCommand(others, cliFor);
  if (serviceCommands.some(command => command === first)) return serviceCommand(first, others, programEnv());
  const flags = parseFlags('auxot-worker', args, workerFlags, { restMax: 1 });
  const [command] = flags.rest;
  if (flags.has('help') || command === 'help') return print(workerHelp);
  if (flags.has('version') || command === 'version') return print(`auxot-worker v${programVersion()}\n`);
  if (command !== undefined)
    throw unknownCommand('auxot-worker', command, ['help', 'version', 'doctor', ...serviceCommands]);

  outliveReaders();
  const env = programEnv();
  const config = readWorkerConfig(env, flags);
  const diagnostics = openDiagnostics({ level: config.logLevel });
  const modelPath = config.modelPath === 'demo' ? demoModel().path : config.modelPath;
  if (modelPath !== null) await checkLocalModel(modelPath);
  const registry = openRegistry(config.models.registryFile);
  /** Vision encoders, by the file of their model. */
  const projectors = new Map<string, string | null>();
  /** Models that make images, by their file. */
  const painters = new Map<string, PaintModel>();
  const worker = gpuWorker({
    ...config,
    // What a running llama-server has loaded is what is served.
    modelPath: config.llamaServer?.kind === 'running' ? '' : modelPath,
    fetchModel: async ({ name, quantization, signal, onProgress }) => {
      const view = progressView(name, { terminal: process.stderr, diagnostics, now: Date.now });
      try {
        const withProjector = config.llamaServer?.kind === 'program' && config.llamaServer.projectorPath === null;
        const withImages = config.sdServerPath !== null;
        const found = await findModel({ name, quantization, withProjector, withImages }, registry, config.models, {
          signal,
          onTrouble: message => diagnostics.warn(message),
          freeBytes,
          onProgress: progress => {
            view.show(progress);
            const share = progress.totalBytes ? progress.doneBytes / progress.totalBytes : 0;
            onProgress(share, `${progress.phase} ${amount(progress)}`);
          },
        });
        projectors.set(found.modelPath, found.projectorPath);
        if (found.paint !== null) painters.set(found.modelPath, found.paint);
        return found.modelPath;
      } finally {
        view.end();
      }
    },
    instanceId: randomUUID(),
    openEngine: (options, events) => {
      const { embeddings, memory, llamaServer, sdServerPath } = config;
      const painter = painters.get(options.modelPath);
      if (painter !== undefined && sdServerPath !== null) {
        const onLog = (line: string): void => diagnostics.debug('sd-server', { line });
        return sdEngine({ ...painter, ...events, path: sdServerPath, modelPath: options.modelPath, onLog });
      }
      const toolFormat = toolFormatOf(registry.entries, options.modelPath);
      if (llamaServer === null) return llamaEngine({ ...options, ...events, embeddings, memory, toolFormat });
      const server =
        llamaServer.kind === 'running'
          ? llamaServer
          : { ...llamaServer, projectorPath: llamaServer.projectorPath ?? projectors.get(options.modelPath) ?? null };
      const onLog = (line: string): void => diagnostics.debug('llama-server', { line });
      return serverEngine({ ...options, ...events, embeddings, toolFormat, server, onLog });
    },
    openCli: cliFor(env),
    dial: config.debug === 0 ? dialWs : loggedDial(dialWs, config.debug, diagnostics),
    clock: systemClock,
    random: Math.random,
    diagnostics,
  });
  if (config.healthPort !== null) {
    const health = await serveHealth({ port: config.healthPort, version: programVersion(), look: worker.look });
    diagnostics.info('health is told', { url: `http://127.0.0.1:${health.port}/healthz` });
  }
  worker.start();
  void stopSignal().then(signal => {
    diagnostics.info('worker stops: running jobs finish first', { signal });
    return worker.stop();
  });
  const { exitCode, message } = await worker.ended;
  if (exitCode === 0) diagnostics.info(message);
  else diagnostics.error(message);
  return exitCode;
}

async function freeBytes(): Promise<number> {
  const { vram, ram, limit } = await probeMachine(null);
  return vram.freeBytes + Math.min(ram.freeBytes, limit?.freeBytes ?? ram.freeBytes);
}

/** The returned function throws when the policy names a program that nobody has written a driver for. */
const cliFor =
  (env: Env) =>
  (wanted: CliWanted, events: EngineEvents): Engine =>
    cliOf(wanted, events, env);

function cliOf({ type, contextSize, ...wanted }: CliWanted, { onState, onTrouble }: EngineEvents, env: Env): Engine {
  const driver = driverOf(type);
  if (driver === undefined) {
    const known = driverNames.join(', ');
    throw new Error(`the router wants ${type} as CLI worker (AUXOT_CLI_TYPE there); this program knows ${known}`);
  }
  const folder = placesFolder(env);
  return cliEngine({ ...wanted, driver, contextSize: contextSize ?? cliContextSize, folder, env, onState, onTrouble });
}

function print(text: string): number {
  process.stdout.write(text);
  return 0;
}

process.exitCode = await main(process.argv.slice(2)).catch(showFailure);
// Signals are listened for until the end, and that alone must not keep the program alive.
process.stdout.write('', () => process.exit());
