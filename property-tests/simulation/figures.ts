/** What many worlds came to, added up and told. */

import { delayKinds, faultKinds, total } from './tally.ts';
import type { Outcome } from './world.ts';

export interface Figures {
  worlds: number;
  virtualMs: number;
  events: number;
  callers: number;
  /** CPU time of the processes, ms: what it cost, whatever else the machine did. */
  cpuMs: number;
  faults: Record<string, number>;
  delays: Record<string, number>;
  endings: Record<string, number>;
}

export const newFigures = (): Figures => ({
  worlds: 0,
  virtualMs: 0,
  events: 0,
  callers: 0,
  cpuMs: 0,
  faults: {},
  delays: {},
  endings: {},
});

const addAll = (sums: Record<string, number>, more: Iterable<readonly [string, number]>): void => {
  for (const [name, count] of more) sums[name] = (sums[name] ?? 0) + count;
};

export function addOutcome(sums: Figures, { virtualMs, events, callers, faults, delays, endings }: Outcome): void {
  sums.worlds += 1;
  sums.virtualMs += virtualMs;
  sums.events += events;
  sums.callers += callers;
  addAll(sums.faults, faults);
  addAll(sums.delays, delays);
  addAll(sums.endings, endings);
}

export function addFigures(sums: Figures, more: Figures): void {
  for (const name of ['worlds', 'virtualMs', 'events', 'callers', 'cpuMs'] as const) sums[name] += more[name];
  for (const name of ['faults', 'delays', 'endings'] as const) addAll(sums[name], Object.entries(more[name]));
}

export const faultsOf = ({ faults }: Figures): number => total(Object.values(faults));

const grouped = (n: number): string => Math.round(n).toLocaleString('en-US');

export function told(sums: Figures, realMs: number, processes: number): string {
  const ratio = sums.virtualMs / realMs;
  const row = (name: string, count: number | undefined): string =>
    `  ${name.padEnd(24)}${grouped(count ?? 0).padStart(12)}`;
  const ways = Object.entries(sums.endings).sort((a, b) => b[1] - a[1]);
  return [
    `${grouped(sums.worlds)} worlds, ${grouped(sums.callers)} requests, ${grouped(sums.events)} events`,
    `${grouped(sums.virtualMs / 1000)} s of virtual time in ${(realMs / 1000).toFixed(1)} s on ${processes} processes: ${grouped(ratio)} times real time`,
    `${grouped(faultsOf(sums))} faults, ${grouped((faultsOf(sums) / realMs) * 1000)} a second`,
    `${(sums.cpuMs / 1000).toFixed(1)} s of CPU: ${(sums.cpuMs / faultsOf(sums)).toFixed(2)} s for 1,000 faults, ${grouped(sums.virtualMs / sums.cpuMs)} times real time on each core`,
    ...faultKinds.map(kind => row(kind, sums.faults[kind])),
    `${grouped(total(Object.values(sums.delays)))} delays`,
    ...delayKinds.map(kind => row(kind, sums.delays[kind])),
    `how requests ended: ${ways.map(([way, count]) => `${way} ${grouped(count)}`).join(', ')}`,
  ].join('\n');
}
