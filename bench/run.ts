/**
 * The benchmark: the router, scripted workers and callers as processes of their own, the bare relay beside it in the
 * same run. Prints Markdown; ends with status 1 when any answer differs from what the worker said.
 */
import { readFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { parseArgs } from 'node:util';
import { measure } from './measure.ts';
import { failuresOf, hardwareLine, type Measured, tableOf } from './report.ts';
import { startRouter } from './router.ts';
import { type ScenarioName, scenario, scenarioNames } from './scenarios.ts';
import { runningServer, startBareRelay, type Target } from './target.ts';

const usage = `Usage: npm run bench -- [scenario …] [options]

Scenarios: ${scenarioNames.join(', ')} (default: all)

  --quick             small and short: does it run, not how fast
  --rounds N          rounds for each side (default: the scenario's own, 1 to 9)
  --only SIDE         router or bare (default: both, alternating)
  --command LINE      start the router by this command instead
  --url URL           measure the server that runs at http://host:port instead of starting one
  --path PATH         where it answers chat completions (default: /v1/chat/completions)
  --key KEY           its key for callers, with --url
  --worker-key KEY    its key for workers, with --url
  --pid N             its process id, for processor time and memory, with --url
  --json FILE         write every round's numbers to FILE
  --help              this text
`;

const options = {
  quick: { type: 'boolean', default: false },
  rounds: { type: 'string' },
  only: { type: 'string' },
  command: { type: 'string' },
  url: { type: 'string' },
  path: { type: 'string', default: '/v1/chat/completions' },
  key: { type: 'string', default: '' },
  'worker-key': { type: 'string', default: '' },
  pid: { type: 'string' },
  json: { type: 'string' },
  help: { type: 'boolean', default: false },
} as const;

type Options = ReturnType<typeof parseArgs<{ options: typeof options; allowPositionals: true }>>['values'];

class UsageError extends Error {}

async function main(args: string[]): Promise<number> {
  const { values, positionals } = parseArgs({ args, options, allowPositionals: true });
  if (values.help) {
    console.log(usage);
    return 0;
  }
  const names = positionals.length === 0 ? scenarioNames : positionals.map(asScenarioName);
  const starts = sidesOf(values);
  const size = { quick: values.quick, rounds: count('--rounds', values.rounds), filesMax: filesMax() };

  console.log(`${hardwareLine()}\n\n\`npm run bench${args.length > 0 ? ' -- ' : ''}${args.join(' ')}\`\n`);
  const all: Measured[] = [];
  for (const name of names) {
    const chosen = scenario(name, size);
    const sides = await measure(chosen, starts, values.path, text => console.error(text));
    all.push({ scenario: chosen, sides });
    console.log(`${tableOf({ scenario: chosen, sides })}\n`);
  }
  if (values.json !== undefined) {
    const raw = { hardware: hardwareLine(), at: new Date().toISOString(), args, measured: all };
    await writeFile(values.json, `${JSON.stringify(raw)}\n`);
  }
  return all.some(({ sides }) => sides.some(side => failuresOf(side) > 0)) ? 1 : 0;
}

function sidesOf(values: Options): (() => Promise<Target>)[] {
  const { url, key, command, only } = values;
  if (only !== undefined && only !== 'router' && only !== 'bare')
    throw new UsageError(`--only ${only}: router or bare`);
  const router = () =>
    url === undefined
      ? startRouter(command?.split(' '))
      : Promise.resolve(runningServer(url, key, values['worker-key'], count('--pid', values.pid)));
  if (only === 'router') return [router];
  return only === 'bare' ? [startBareRelay] : [router, startBareRelay];
}

function asScenarioName(given: string): ScenarioName {
  const name = scenarioNames.find(each => each === given);
  if (name === undefined) throw new UsageError(`no scenario ${given}; there are ${scenarioNames.join(', ')}`);
  return name;
}

function count(option: string, given: string | undefined): number | undefined {
  if (given === undefined) return undefined;
  if (!/^[1-9]\d{0,8}$/.test(given)) throw new UsageError(`${option} ${given}: a whole number above 0`);
  return Number(given);
}

/** Node raises its own limit of open files to the hard limit when it starts, and so do the processes started here. */
function filesMax(): number {
  const line = /^Max open files\s+\S+\s+(\S+)/m.exec(readFileSync('/proc/self/limits', 'utf8'));
  return line?.[1] === 'unlimited' ? 1_048_576 : Number(line?.[1]);
}

process.once('SIGINT', () => process.exit(130));
process.once('SIGTERM', () => process.exit(143));

try {
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  const message = error instanceof Error ? error.message : String(error);
  const misused =
    error instanceof UsageError ||
    (error instanceof TypeError && 'code' in error && /^ERR_PARSE_ARGS/.test(`${error.code}`));
  console.error(misused ? `${message}\n\n${usage}` : message);
  process.exitCode = misused ? 2 : 1;
}
