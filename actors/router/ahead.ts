/**
 * What need not wait for the log: effects that only choose where something will go. What goes there then follows from an
 * event of its own, which is appended behind those that the choice follows from, so that these are in the log before it
 * (log, then act). Choosing while the log writes takes one wait out of each half of a tool round.
 *
 * A1. A call's worker is chosen at once, unless the call is over in the same chunk.
 * A2. A job that goes on after a tool round is given a slot at once, if there is one that it need not share: while other
 *     routers live, or none is free, it may be offered to them, and then what it goes on from must be in the log. Nor does
 *     it overtake what else its chunk does in the queue, or chunks before it that wait.
 */
import type { Chunk, Effect } from '../../protocol/shard-messages.ts';

export interface Place {
  /** Nothing of the job is on its way to the log. */
  readonly settled: boolean;
  /** A slot is free here, and no other router lives. */
  readonly hasSlot: boolean;
}

export function splitAhead(chunk: Chunk, placeOf: () => Place): { readonly chunk: Chunk; readonly ahead: Effect[] } {
  const { effects } = chunk;
  if (chunk.count === 0 || !effects.some(({ kind }) => kind === 'callTool' || kind === 'enqueueJob'))
    return { chunk, ahead: [] };
  const isEnded = (callId: string): boolean => effects.some(each => each.kind === 'endTool' && each.callId === callId);
  const mayEnqueue = (): boolean => {
    if (chunk.creates || effects.some(({ kind }) => kind === 'freeSlot' || kind === 'dequeueJob')) return false;
    const { settled, hasSlot } = placeOf();
    return settled && hasSlot;
  };
  const ahead = effects.filter(effect => {
    if (effect.kind === 'callTool') return !isEnded(effect.callId);
    return effect.kind === 'enqueueJob' && effect.again && (effect.notBeforeAt ?? 0) === 0 && mayEnqueue();
  });
  return ahead.length === 0
    ? { chunk, ahead }
    : { chunk: { ...chunk, effects: effects.filter(each => !ahead.includes(each)) }, ahead };
}
