#!/usr/bin/env node
/** `auxot-worker`: reads what it is told, builds a GPU worker, starts it, and stops it when asked to. */
import { randomUUID } from 'node:crypto';
import { driverNames, driverOf } from '../actors/cli/drivers.ts';
import { cliEngine } from '../actors/cli/engine.cli.ts';
import { placesFolder } from '../actors/cli/places.ts';
import { openDiagnostics } from '../actors/config/diagnostics.ts';
import { parseFlags, unknownCommand } from '../actors/config/flags.ts';
import {
  noModel,
  readWorkerConfig,
  type WorkerConfig,
  workerFlags,
  workerHelp,
} from '../actors/config/worker-config.ts';
import { llamaEngine } from '../actors/engine/engine.llama.ts';
import type { Engine } from '../actors/engine/engine.ts';
import { systemClock } from '../actors/worker/clock.ts';
import { type EngineEvents, gpuWorker, type Wanted } from '../actors/worker/gpu-worker.ts';
import { dialWs } from '../actors/worker/socket.ws.ts';
import { demoModel } from '../registry/load.ts';
import { programEnv, programVersion, showFailure, stopSignal } from './program.ts';

// The command line may hold the key, and everybody on the machine can read a process's title.
process.title = 'auxot-worker';

/** When the policy does not say how much an agent program's model can take, tokens. */
const cliContextSize = 200_000;

async function main(args: readonly string[]): Promise<number> {
  const flags = parseFlags('auxot-worker', args, workerFlags, { restMax: 1 });
  const [command] = flags.rest;
  if (flags.has('help') || command === 'help') return print(workerHelp);
  if (flags.has('version') || command === 'version') return print(`auxot-worker v${programVersion()}\n`);
  if (command !== undefined) throw unknownCommand('auxot-worker', command, ['help', 'version']);

  const config = readWorkerConfig(programEnv(), flags);
  const diagnostics = openDiagnostics({ level: config.logLevel });
  const worker = gpuWorker({
    ...config,
    instanceId: randomUUID(),
    openEngine: (wanted, events) => (wanted.kind === 'cli' ? cliOf(wanted, events) : llamaOf(config, wanted, events)),
    dial: dialWs,
    clock: systemClock,
    random: Math.random,
    diagnostics,
  });
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

/** @throws when no file was named. */
function llamaOf({ modelPath, threads, gpuLayers }: WorkerConfig, wanted: Wanted, events: EngineEvents): Engine {
  if (modelPath === null) throw noModel();
  const { contextSize, slots } = wanted;
  const path = modelPath === 'demo' ? demoModel().path : modelPath;
  return llamaEngine({ modelPath: path, threads, gpuLayers, contextSize, slots, ...events });
}

/** @throws when the policy names a program that nobody has written a driver for. */
function cliOf({ cli, model, builtins, contextSize, slots }: Wanted, { onState, onTrouble }: EngineEvents): Engine {
  const driver = driverOf(cli);
  if (driver === undefined) {
    const known = driverNames.join(', ');
    throw new Error(`the router wants ${cli} as CLI worker (AUXOT_CLI_TYPE there); this program knows ${known}`);
  }
  const folder = placesFolder(process.env);
  const size = contextSize ?? cliContextSize;
  return cliEngine({ driver, model, builtins, contextSize: size, slots, folder, env: process.env, onState, onTrouble });
}

function print(text: string): number {
  process.stdout.write(text);
  return 0;
}

process.exitCode = await main(process.argv.slice(2)).catch(showFailure);
// Signals are listened for until the end, and that alone must not keep the program alive.
process.stdout.write('', () => process.exit());
