/** What is measured, and at what size. README.md says what each one shows and what it does not. */
import type { Load } from './round.ts';

export const scenarioNames = ['relay', 'ttft', 'blocking', 'paced', 'held'] as const;
export type ScenarioName = (typeof scenarioNames)[number];

export interface Scenario {
  readonly name: ScenarioName;
  readonly title: string;
  readonly load: Load;
  readonly workerConnections: number;
  /** Rounds for each side, in the order A B A B. */
  readonly rounds: number;
}

const common = {
  rampMs: 0,
  warmMs: 500,
  tokens: 1,
  everyMs: 0,
  streamed: true,
  repeat: true,
  holdAfter: 0,
} as const;

export interface Size {
  readonly quick: boolean;
  /** Given on the command line instead of the scenario's own. */
  readonly rounds: number | undefined;
  /** File descriptors that a process may have: each held stream takes one in the server and one in the callers. */
  readonly filesMax: number;
}

export function scenario(name: ScenarioName, { quick, rounds, filesMax }: Size): Scenario {
  // Many short rounds meet what else the machine does more evenly than few long ones.
  const windowMs = quick ? 1_000 : 2_000;
  const several = rounds ?? (quick ? 2 : 9);
  switch (name) {
    case 'relay': {
      const load = { ...common, connections: 32, windowMs, tokens: 100 };
      return {
        name,
        title: '32 streams of 100 tokens, as fast as they come',
        load,
        workerConnections: 1,
        rounds: several,
      };
    }
    case 'ttft': {
      const load = { ...common, connections: 1, windowMs };
      return { name, title: 'one connection, streams of one token', load, workerConnections: 1, rounds: several };
    }
    case 'blocking': {
      const load = { ...common, connections: 32, windowMs, streamed: false };
      return {
        name,
        title: '32 connections, answers of one token, not streamed',
        load,
        workerConnections: 1,
        rounds: several,
      };
    }
    case 'paced': {
      const connections = quick ? 200 : 1_000;
      const spans = { rampMs: 2_000, warmMs: 1_000, windowMs: quick ? 3_000 : 10_000 };
      const everyMs = 50;
      const tokens = Math.ceil((spans.rampMs + spans.warmMs + spans.windowMs) / everyMs) + 20;
      const load = { ...common, ...spans, connections, tokens, everyMs, repeat: false };
      const title = `${connections} streams at ${1000 / everyMs} tokens/s each`;
      return { name, title, load, workerConnections: 4, rounds: rounds ?? (quick ? 1 : 2) };
    }
    case 'held': {
      const connections = Math.min(quick ? 1_000 : 10_000, filesMax - 500);
      const load = {
        ...common,
        connections,
        rampMs: connections / 2,
        warmMs: 500,
        windowMs: quick ? 2_000 : 5_000,
        tokens: 5,
        repeat: false,
        holdAfter: 1,
      };
      // A second round would find the first one's memory already there.
      return {
        name,
        title: `${connections} open streams, silent after one token`,
        load,
        workerConnections: 10,
        rounds: 1,
      };
    }
  }
}
