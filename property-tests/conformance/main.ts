/**
 * `npm run conformance`: asks any router or worker, from outside, whether it keeps the contract.
 *
 * Exit code 0: nothing failed. 1: something failed. 2: the peer could not be asked.
 */
import { randomBytes } from 'node:crypto';
import { type Flags, parseFlags, UsageError } from '../../actors/config/flags.ts';
import { httpBase, routerUrl } from '../../protocol/router-url.ts';
import { type Case, chosen } from './case.ts';
import { routerCases, workerCases } from './cases.ts';
import { conformanceFlags, conformanceHelp } from './help.ts';
import { type ReportOptions, report, titleOf } from './report.ts';
import { RouterPeer } from './router-peer.ts';
import { WorkerPeer } from './worker-peer.ts';

type Given = Flags<keyof typeof conformanceFlags>;

const arrivalMs = 10 * 60_000;
const loadMs = 30 * 60_000;
/** Reference workers wait for up to a minute between their attempts to dial. */
const redialMs = 70_000;

async function main(args: readonly string[]): Promise<number> {
  const flags = parseFlags('conformance', args, conformanceFlags);
  if (flags.has('help')) return print(conformanceHelp.trimEnd());
  const words = (flags.value('only') ?? '').split(',').filter(word => word !== '');
  const isWorker = flags.has('worker');
  const isRouter = flags.value('router') !== undefined;
  if (isWorker && isRouter) throw new UsageError('conformance: one peer at a time: --router or --worker');
  const router = isWorker ? [] : named(routerCases, words);
  const worker = isRouter ? [] : named(workerCases, words);
  if (router.length + worker.length === 0)
    throw new UsageError(`conformance: no case has ${words.join(' or ')} in its id; --list shows them all`);
  if (flags.has('list')) return print([...router.map(titleOf), ...worker.map(titleOf)].join('\n'));

  const options = { json: flags.has('json'), reference: flags.has('reference'), print };
  if (isRouter) return askRouter(router, flags, { ...options, patience: 2 });
  if (isWorker) return askWorker(worker, flags, { ...options, patience: 15 });
  throw new UsageError('conformance: which peer? --router URL or --worker; --help says more');
}

/** Those that end their peer only where a word is meant for them. */
function named<Peer>(cases: readonly Case<Peer>[], words: readonly string[]): Case<Peer>[] {
  return chosen(cases, words).filter(({ id }) => !id.startsWith('worker/refused') || words.some(endsWorker));
}

const endsWorker = (word: string): boolean => word.startsWith('worker/refused') || word.startsWith('refused');

async function askRouter(cases: readonly Case<RouterPeer>[], flags: Given, options: ReportOptions): Promise<number> {
  const given = flags.value('router') ?? '';
  const address = routerUrl(given, '/ws');
  if (!address.ok) throw new UsageError(`conformance: --router ${given}: ${address.message}`);
  const gpuKey = flags.value('key') ?? process.env.AUXOT_GPU_KEY;
  if (gpuKey === undefined)
    throw new UsageError('conformance: --key KEY (or AUXOT_GPU_KEY) is missing: what GPU workers show to this router');
  const apiKey = flags.value('api-key') ?? process.env.AUXOT_API_KEY ?? null;
  const peer = new RouterPeer({ wsUrl: address.url, httpUrl: httpBase(address.url), gpuKey, apiKey });
  const health = await peer.health().catch((error: Error) => {
    throw new UsageError(`conformance: ${given} does not answer GET /health: ${error.message}`);
  });
  if (health?.workers !== 0)
    throw new UsageError(
      `conformance: ${given} has ${health?.workers ?? 'an unknown number of'} workers, which would get the jobs of the cases: stop them first`,
    );
  return report(cases, peer, options);
}

async function askWorker(cases: readonly Case<WorkerPeer>[], flags: Given, options: ReportOptions): Promise<number> {
  const [, host = '127.0.0.1', port = '0'] = /^(?:(.+):)?(\d{1,5})$/.exec(flags.value('listen') ?? '0') ?? [];
  if (Number(port) > 65_535) throw new UsageError(`conformance: --listen ${flags.value('listen')}: no such port`);
  const key = flags.value('key') ?? process.env.AUXOT_GPU_KEY ?? `adm_${randomBytes(32).toString('base64url')}`;
  const peer = await WorkerPeer.listen({
    host,
    port: Number(port),
    key,
    loadMs,
    redialMs,
    policy: {
      model_name: flags.value('model') ?? 'conformance',
      quantization: flags.value('quantization') ?? '',
      context_size: 2048,
      max_parallelism: 2,
      capabilities: ['chat'],
    },
    mayEnd: true,
  });
  const say = (text: string): void => void process.stderr.write(`${text}\n`);
  say(`Waiting for a GPU worker, for ${arrivalMs / 60_000} minutes. Start it with\n`);
  say(`  AUXOT_ROUTER_URL=ws://${host.includes(':') ? `[${host}]` : host}:${peer.port} AUXOT_GPU_KEY=${key}\n`);
  try {
    await peer.arrived(arrivalMs);
    return await report(cases, peer, options);
  } finally {
    await peer.close();
  }
}

function print(text: string): 0 {
  process.stdout.write(`${text}\n`);
  return 0;
}

process.exitCode = await main(process.argv.slice(2)).catch((error: unknown) => {
  process.stderr.write(`${error instanceof Error ? error.message : error}\n`);
  return 2;
});
// Sockets that a peer keeps half-open must not keep the program.
process.stdout.write('', () => process.exit());
