/**
 * A connection as text, so that the front can keep it and give it to another shard when its own has died.
 *
 * `{ version, value, context }` and nothing else: counts are for people and start again. The text is ours, made by this
 * very version of the program a moment ago, so only its version and state are checked.
 */
import type { ConnectionContext } from './connection.events.ts';
import { type Connection, type ConnectionStateName, connectionFrom, connectionMachine } from './connection.ts';

const version = 1;

interface Saved {
  readonly version: number;
  readonly value: string;
  readonly context: ConnectionContext;
}

export function saveConnection({ state: { value, context } }: Connection): string {
  return JSON.stringify({ version, value, context } satisfies Saved);
}

export function restoreConnection(text: string): Connection {
  const saved = JSON.parse(text) as Partial<Saved>;
  if (saved.version !== version) throw new Error(`a worker's snapshot has version ${saved.version}, not ${version}`);
  const { value, context } = saved;
  if (!isStateName(value) || context === undefined)
    throw new Error(`a worker's snapshot is in no known state: ${value}`);
  return connectionFrom(connectionMachine.resolveState({ value, context }));
}

const isStateName = (value: string | undefined): value is ConnectionStateName =>
  value !== undefined && Object.hasOwn(connectionMachine.states, value);
