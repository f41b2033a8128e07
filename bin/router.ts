#!/usr/bin/env node
/** `auxot-router`: the command line. */
import { openDiagnostics } from '../actors/config/diagnostics.ts';
import { parseFlags, unknownCommand } from '../actors/config/flags.ts';
import { resolvePolicy } from '../actors/config/model-config.ts';
import { readRouterConfig } from '../actors/config/router-config.ts';
import { openRegistry } from '../registry/load.ts';
import { listModels } from './models-command.ts';
import { refreshModels } from './models-refresh.ts';
import { outliveReaders, programEnv, programVersion, showFailure, stopSignal } from './program.ts';
import { replayJob } from './replay-command.ts';
import { routerHelp } from './router-help.ts';
import { serveRouter } from './serve.ts';
import { setup } from './setup-command.ts';
import { up } from './up-command.ts';

/** How long jobs may go on after a signal (spec/http-api §2.5). */
export const stopGraceMs = 10_000;

async function serve(args: readonly string[]): Promise<number> {
  parseFlags('auxot-router', args, {});
  outliveReaders();
  const given = readRouterConfig(programEnv());
  const diagnostics = openDiagnostics({ level: given.logLevel });
  const { policy, note } = resolvePolicy(given.policy, () => openRegistry(given.policy.registryFile));
  if (note !== null) diagnostics.warn(note);
  const config = { ...given, policy };
  const router = await serveRouter(config, diagnostics);
  diagnostics.info('router started', {
    url: router.url,
    model: policy.model,
    quantization: policy.quantization,
    store: config.store.kind,
    shards: config.shards,
    recovered: router.recovered,
  });
  const signal = await Promise.race([stopSignal(), router.asked, router.failed]);
  diagnostics.info('router stops', { signal });
  await router.stop(stopGraceMs - 1000);
  diagnostics.info('router stopped');
  return 0;
}

async function main(args: readonly string[]): Promise<number> {
  const [command = '', ...rest] = args;
  switch (command) {
    case '':
      return serve([]);
    case 'up':
      return up(rest, programEnv());
    case 'setup':
      return setup(rest, programEnv(), { out: process.stdout, err: process.stderr, directory: process.cwd() });
    case 'models':
      if (rest[0] === 'refresh') {
        const stop = new AbortController();
        void stopSignal().then(() => stop.abort());
        const streams = { out: process.stdout, err: process.stderr };
        return refreshModels(rest.slice(1), programEnv(), streams, { signal: stop.signal });
      }
      return listModels(rest, programEnv(), { out: process.stdout, err: process.stderr });
    case 'replay':
      return replayJob(rest, programEnv(), { out: process.stdout, err: process.stderr });
    case 'version':
    case '--version':
    case '-v':
      process.stdout.write(`auxot-router v${programVersion()}\n`);
      return 0;
    case 'help':
    case '--help':
    case '-h':
      process.stdout.write(routerHelp);
      return 0;
    default:
      if (command.startsWith('-')) return serve(args);
      throw unknownCommand('auxot-router', command, ['up', 'setup', 'models', 'replay', 'version', 'help']);
  }
}

process.exitCode = await main(process.argv.slice(2)).catch(showFailure);
// Whatever is still open (a pool's thread, an idle connection) does not keep a program alive that has ended.
process.stdout.write('', () => process.exit());
