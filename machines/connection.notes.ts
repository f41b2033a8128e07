/**
 * What people are told about worker connections. Never a key, and never a peer's words beyond those already bounded.
 */
import type { ConnectionAction, ConnectionContext, ConnectionTurn } from './connection.events.ts';

type Note = Extract<ConnectionAction, { type: 'note' }>;
type Level = Note['params']['level'];
type Fields = Note['params']['fields'];

export function note({ workerId, remote }: ConnectionContext, level: Level, message: string, fields: Fields): Note {
  return { type: 'note', params: { level, message, fields: { workerId, remote, ...fields } } };
}

/** A flood of bad frames must not become a flood of notes: the 1st, 2nd, 4th, 8th … is told. */
export const isTold = (count: number): boolean => (count & (count - 1)) === 0;

/** What a change of state is worth saying. */
export function changeNote(context: ConnectionContext, before: string, after: string, event: ConnectionTurn): Note {
  switch (event.type) {
    case 'hello.received':
      return note(context, 'debug', 'a worker said hello', { protocol: event.protocol, role: event.role });
    case 'key.refused':
      return note(context, 'warn', 'a worker was refused', { verdict: event.verdict, role: context.role });
    case 'connection.refused': {
      const { code, reason } = event;
      return note(context, 'warn', 'a worker connection was closed by the router', { code, reason, before });
    }
    case 'connection.closed': {
      const level = before === 'awaitingHello' ? 'debug' : 'info';
      return note(context, level, 'a worker connection is gone', { code: event.code, before });
    }
    default: {
      const { announced, protocol } = context;
      const { model = '', backend = '' } = announced ?? {};
      return note(context, 'info', `a worker is ${after}`, { before, model, backend, protocol });
    }
  }
}
