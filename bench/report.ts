/** Turns rounds into a table: a figure is the median of its side's rounds, a ratio the median of the rounds' own ratios. */
import { readFileSync } from 'node:fs';
import { availableParallelism, cpus, release } from 'node:os';
import { Histogram } from './histogram.ts';
import type { Side } from './measure.ts';
import type { RoundResult } from './round.ts';
import type { Scenario, ScenarioName } from './scenarios.ts';

export interface Measured {
  readonly scenario: Scenario;
  /** The router first, when both are there. */
  readonly sides: readonly Side[];
}

/** NaN stands for what could not be measured. */
interface Figure {
  readonly label: string;
  readonly digits: number;
  readonly each: (side: Side) => readonly number[];
}

const perRound = (label: string, digits: number, of: (round: RoundResult, side: Side) => number): Figure => ({
  label,
  digits,
  each: side => side.rounds.map(round => of(round, side)),
});

const perSide = (label: string, digits: number, of: (side: Side) => number): Figure => ({
  label,
  digits,
  each: side => [of(side)],
});

const cpuMs = (round: RoundResult, side: Side): number =>
  (round.serverCpuMs ?? Number.NaN) - side.idleCpuShare * round.windowMs;

const mib = 1024 * 1024;
const tokensPerS = perRound('tokens/s', 0, round => (round.tokens * 1000) / round.windowMs);
const requestsPerS = perRound('requests/s', 0, round => (round.requests * 1000) / round.windowMs);
const cpuPerToken = perRound(
  'server CPU per token, µs',
  2,
  (round, side) => (cpuMs(round, side) * 1000) / round.tokens,
);
const cpuPerRequest = perRound('server CPU per request, µs', 0, (r, side) => (cpuMs(r, side) * 1000) / r.requests);
const tokensPerArrival = perRound('tokens per read at the caller', 2, round => round.tokens / round.arrivals);
const loadCpu = perRound('load generator CPU, cores', 2, r => (r.workerCpuMs + r.callerCpuMs) / r.windowMs);
const otherCpu = perRound("other programs' CPU, cores", 2, round => round.otherCpuMs / round.windowMs);
const generator = [loadCpu, otherCpu];
const serverCpu = perRound('server CPU, cores', 3, round => (round.serverCpuMs ?? Number.NaN) / round.windowMs);
const firstToken = (label: string, q: number) =>
  perRound(label, 3, round => Histogram.of(round.firstToken).quantileMs(q));
const gap = (label: string, q: number) => perRound(label, 3, round => Histogram.of(round.gap).quantileMs(q));
const firstTokens = [firstToken('time to first token p50, ms', 0.5), firstToken('time to first token p99, ms', 0.99)];
const gaps = [gap('inter-token gap p50, ms', 0.5), gap('inter-token gap p99, ms', 0.99)];
const memory = [
  perSide('RSS before, MiB', 1, side => side.rssIdleBytes / mib),
  perSide('RSS peak, MiB', 1, side => side.rssPeakBytes / mib),
  perSide('RSS after, MiB', 1, side => side.rssAfterBytes / mib),
];

function figuresOf({ name, load }: Scenario): readonly Figure[] {
  switch (name satisfies ScenarioName) {
    case 'relay':
      return [
        tokensPerS,
        requestsPerS,
        cpuPerToken,
        ...firstTokens,
        ...gaps,
        tokensPerArrival,
        ...generator,
        ...memory,
      ];
    case 'ttft':
      return [...firstTokens, requestsPerS, cpuPerRequest, ...generator, ...memory];
    case 'blocking':
      return [
        requestsPerS,
        cpuPerRequest,
        firstToken('time to answer p50, ms', 0.5),
        firstToken('time to answer p99, ms', 0.99),
        ...generator,
        ...memory,
      ];
    case 'paced': {
      const wanted = (load.connections * 1000) / load.everyMs;
      const kept = perRound('pace kept, %', 2, r => (r.tokens * 100_000) / (r.windowMs * wanted));
      const worst = perRound('inter-token gap max, ms', 1, round => round.gap.maxUs / 1000);
      return [kept, tokensPerS, cpuPerToken, serverCpu, ...gaps, worst, tokensPerArrival, ...generator, ...memory];
    }
    case 'held':
      return [
        perSide('RSS per held stream, KiB', 2, s => (s.rssHeldBytes - s.rssIdleBytes) / load.connections / 1024),
        perSide('RSS while held, MiB', 1, side => side.rssHeldBytes / mib),
        ...memory,
        perRound('server CPU while held, cores', 3, round => (round.serverCpuMs ?? Number.NaN) / round.windowMs),
        perRound('all open after, ms', 0, round => round.openedMs ?? Number.NaN),
        perRound('all finished after their release, ms', 0, round => round.releasedMs ?? Number.NaN),
        ...generator,
      ];
  }
}

export function hardwareLine(): string {
  const [cpu] = cpus();
  const model = cpu?.model.trim() ?? 'unknown processor';
  const memoryGiB = Number(/MemTotal:\s+(\d+)/.exec(readFileSync('/proc/meminfo', 'utf8'))?.[1]) / mib;
  return `${availableParallelism()} cores (${model}), ${memoryGiB.toFixed(0)} GiB, Linux ${release()}, Node ${process.version}`;
}

export function tableOf({ scenario, sides }: Measured): string {
  const [first, second] = sides;
  if (first === undefined) return '';
  const seconds = scenario.load.windowMs / 1000;
  const rounds = `${scenario.rounds} round${scenario.rounds === 1 ? '' : 's'} of ${seconds} s a side`;
  const head = second === undefined ? [first.target] : [first.target, second.target, 'ratio (quartiles)'];
  const lines = [
    `### ${scenario.name}: ${scenario.title}`,
    '',
    `${rounds}; ${sides.map(side => `${side.target}: \`${side.about}\``).join('; ')}`,
    '',
    `| figure | ${head.join(' | ')} |`,
    `|---|${head.map(() => '---:|').join('')}`,
    ...figuresOf(scenario).map(figure => `| ${[figure.label, ...cellsOf(figure, first, second)].join(' | ')} |`),
    '',
    sides.map(verdictOf).join('; '),
  ];
  return lines.join('\n');
}

function cellsOf({ each, digits }: Figure, first: Side, second: Side | undefined): string[] {
  const values = each(first);
  const cell = numberText(median(values), digits);
  if (second === undefined) return [cell];
  const others = each(second);
  const ratios = values.map((value, round) => value / (others[round] ?? Number.NaN)).filter(Number.isFinite);
  return [cell, numberText(median(others), digits), ratioText(ratios)];
}

function ratioText(ratios: readonly number[]): string {
  if (ratios.length === 0) return '–';
  const [low, middle, high] = [0.25, 0.5, 0.75].map(q => quantile(ratios, q).toFixed(2));
  return ratios.length < 3 ? `${middle}` : `${middle} (${low}–${high})`;
}

const numberText = (value: number, digits: number): string =>
  Number.isFinite(value)
    ? value.toLocaleString('en-US', { minimumFractionDigits: digits, maximumFractionDigits: digits })
    : '–';

/** Between two values in proportion, as a median of four is. */
function quantile(values: readonly number[], q: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  const at = q * (sorted.length - 1);
  const low = sorted[Math.floor(at)] ?? Number.NaN;
  const high = sorted[Math.ceil(at)] ?? Number.NaN;
  return low + (high - low) * (at - Math.floor(at));
}

const median = (values: readonly number[]): number => quantile(values, 0.5);

export const failuresOf = (side: Side): number => side.rounds.reduce((sum, round) => sum + round.failures, 0);

function verdictOf(side: Side): string {
  const answers = side.rounds.reduce((sum, round) => sum + round.answers, 0);
  const failures = failuresOf(side);
  if (failures === 0) return `${side.target}: ${answers} answers, each equal to what the worker said`;
  const examples = side.rounds.flatMap(round => round.examples).slice(0, 5);
  return `**${side.target}: ${failures} failures** beside ${answers} answers: ${examples.join('; ')}`;
}
