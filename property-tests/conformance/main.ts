/**
 * `npm run conformance`: asks any router, by its address, whether it keeps the contract.
 *
 * Exit code 0: nothing failed. 1: something failed. 2: the peer could not be asked.
 */
import { parseFlags, UsageError } from '../../actors/config/flags.ts';
import { httpBase, routerUrl } from '../../protocol/router-url.ts';
import { type Case, chosen, type Outcome, runCase } from './case.ts';
import { routerCases } from './cases.ts';
import { conformanceFlags, conformanceHelp } from './help.ts';
import { RouterPeer } from './router-peer.ts';

const print = (text: string): void => void process.stdout.write(`${text}\n`);

async function main(args: readonly string[]): Promise<number> {
  const flags = parseFlags('conformance', args, conformanceFlags);
  if (flags.has('help')) {
    print(conformanceHelp.trimEnd());
    return 0;
  }
  const words = (flags.value('only') ?? '').split(',').filter(word => word !== '');
  const cases = chosen(routerCases, words);
  if (cases.length === 0) throw new UsageError('conformance: no case has such an id; --list shows them all');
  if (flags.has('list')) {
    for (const one of cases) print(titleOf(one));
    return 0;
  }
  const peer = await routerAt(
    flags.value('router'),
    flags.value('key') ?? process.env.AUXOT_GPU_KEY,
    flags.value('api-key') ?? process.env.AUXOT_API_KEY ?? null,
  );
  const outcomes: Outcome[] = [];
  for (const one of cases) {
    const { outcome } = await runCase(one, peer);
    outcomes.push(outcome);
    if (!flags.has('json')) print(lineOf(outcome));
  }
  const forgiven = ({ weakness }: Outcome): boolean => flags.has('reference') && weakness !== null;
  const count = (result: Outcome['result']): number => outcomes.filter(one => one.result === result).length;
  const counts = { passed: count('pass'), failed: count('fail'), skipped: count('skipped') };
  if (flags.has('json')) print(JSON.stringify({ ...counts, cases: outcomes }, null, 2));
  else print(`\n${counts.passed} passed, ${counts.failed} failed, ${counts.skipped} skipped`);
  return outcomes.some(one => one.result === 'fail' && !forgiven(one)) ? 1 : 0;
}

async function routerAt(given: string | undefined, gpuKey: string | undefined, apiKey: string | null) {
  if (given === undefined) throw new UsageError('conformance: which peer? --router URL; --help says more');
  if (gpuKey === undefined)
    throw new UsageError('conformance: --key KEY (or AUXOT_GPU_KEY) is missing: what GPU workers show to this router');
  const address = routerUrl(given, '/ws');
  if (!address.ok) throw new UsageError(`conformance: --router ${given}: ${address.message}`);
  const peer = new RouterPeer({ wsUrl: address.url, httpUrl: httpBase(address.url), gpuKey, apiKey });
  const health = await peer.health().catch((error: Error) => {
    throw new UsageError(`conformance: ${given} does not answer GET /health: ${error.message}`);
  });
  if (health?.workers !== 0)
    throw new UsageError(
      `conformance: ${given} has ${health?.workers ?? 'an unknown number of'} workers, which would get the jobs of the cases: stop them first`,
    );
  return peer;
}

const expectation = ({ weakness }: { readonly weakness?: string | null | undefined }): string =>
  weakness === undefined || weakness === null ? '' : `; expected of a reference peer: fails (${weakness})`;

const titleOf = (one: Case<RouterPeer>): string => `${one.id}\n    ${one.says} [${one.of}${expectation(one)}]`;

function lineOf(outcome: Outcome): string {
  const word = { pass: 'ok     ', fail: 'FAIL   ', skipped: 'skipped' }[outcome.result];
  const head = `${word} ${outcome.id} (${outcome.ms} ms)`;
  if (outcome.result === 'pass') return head;
  return `${head}\n        ${outcome.reason}\n        ${outcome.says} [${outcome.of}${expectation(outcome)}]`;
}

process.exitCode = await main(process.argv.slice(2)).catch((error: unknown) => {
  process.stderr.write(`${error instanceof Error ? error.message : error}\n`);
  return 2;
});
// Sockets that a peer keeps half-open must not keep the program.
process.stdout.write('', () => process.exit());
