#!/usr/bin/env node
/** `auxot-tools`: reads what it is told, builds a tools worker, starts it, and stops it when asked to. */
import { randomUUID } from 'node:crypto';
import { openDiagnostics } from '../actors/config/diagnostics.ts';
import { parseFlags, unknownCommand } from '../actors/config/flags.ts';
import { readToolsConfig, toolsFlags, toolsHelp } from '../actors/config/tools-config.ts';
import { openHealthPage } from '../actors/tools/health.ts';
import { openTools } from '../actors/tools/open-tools.ts';
import { systemClock } from '../actors/worker/clock.ts';
import { dialWs } from '../actors/worker/socket.ws.ts';
import { outliveReaders, programEnv, programVersion, showFailure, stopSignal } from './program.ts';

// The command line may hold the key, and everybody on the machine can read a process's title.
process.title = 'auxot-tools';

async function main(args: readonly string[]): Promise<number> {
  const flags = parseFlags('auxot-tools', args, toolsFlags, { restMax: 1 });
  const [command] = flags.rest;
  if (flags.has('help') || command === 'help') return print(toolsHelp);
  if (flags.has('version') || command === 'version') return print(`auxot-tools v${programVersion()}\n`);
  if (command !== undefined) throw unknownCommand('auxot-tools', command, ['help', 'version']);

  outliveReaders();
  const env = programEnv();
  const config = readToolsConfig(env, flags);
  const diagnostics = openDiagnostics({ level: config.logLevel });
  const worker = openTools(config, {
    env,
    instanceId: randomUUID(),
    version: programVersion(),
    dial: dialWs,
    clock: systemClock,
    random: Math.random,
    diagnostics,
  });
  const page = config.healthPort === null ? null : await openHealthPage(config.healthPort, () => worker.health());
  worker.start();
  void stopSignal().then(signal => {
    diagnostics.info('tools worker stops: running calls finish first', { signal });
    return worker.stop();
  });
  const { exitCode, message } = await worker.ended;
  await page?.close();
  if (exitCode === 0) diagnostics.info(message);
  else diagnostics.error(message);
  return exitCode;
}

function print(text: string): number {
  process.stdout.write(text);
  return 0;
}

process.exitCode = await main(process.argv.slice(2)).catch(showFailure);
// Signals are listened for until the end, and that alone must not keep the program alive.
process.stdout.write('', () => process.exit());
